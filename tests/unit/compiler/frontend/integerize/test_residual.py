"""Residual sums: operands of levels, of sums and of both, with other signs and scales; second quantizers."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper
from support.against_reference import equal, finish, ints, stem, ternary
from support.networks import Builder

from qsnnc import ModelError


@pytest.mark.slow
def test_sum_of_a_convolution_and_levels(save) -> None:
    """As fused quantizers leave it: the convolution's result is added before it is quantized."""
    rng = np.random.default_rng(1)
    net = stem(channels=3)
    trunk = net.here
    net.conv("conv", ternary(rng, 3, 3, 3, 3), np.array([0.5, -1, 0]), pads=[1] * 4)
    net.node("Add", "join", trunk)
    net.node("Relu", "relu")
    net.quantize("q", 0, 3)
    finish(net)
    done, _ = equal(net, save)
    join = next(layer for layer in done.graph.layers if layer.name == "join")
    assert {link.source for link in join.connections} == {"stem"}
    assert len(join.connections) == 2


@pytest.mark.slow
def test_sum_of_two_convolutions_of_different_scale(save) -> None:
    rng = np.random.default_rng(2)
    net = stem(channels=3)
    trunk = net.here
    net.conv("a", ternary(rng, 2, 3, 1, 1) * 0.25)
    left = net.here
    net.here, net.shape = trunk, (3, 6, 6)
    net.conv("b", ternary(rng, 2, 3, 1, 1))
    net.node("Sub", "join", left)
    net.quantize("q", 1, 3)
    finish(net)
    equal(net, save)


@pytest.mark.slow
def test_scaled_sums_are_added_where_the_scale_is_a_power_of_two(save) -> None:
    rng = np.random.default_rng(3)
    net = stem(channels=3)
    trunk = net.here
    net.conv("a", ternary(rng, 3, 3, 1, 1))
    net.node("Mul", "half", net.const("half.value", np.float32(0.5)))
    net.node("Neg", "turn")
    net.node("Sum", "join", trunk)
    net.quantize("q", 1, 3)
    finish(net)
    equal(net, save, certified=False)


@pytest.mark.slow
def test_sum_of_three(save) -> None:
    rng = np.random.default_rng(4)
    net = stem(channels=3)
    trunk = net.here
    operands = []
    for name in "ab":
        net.here, net.shape = trunk, (3, 6, 6)
        net.conv(name, ternary(rng, 3, 3, 1, 1))
        net.quantize(f"{name}/q", 1, 3)
        operands.append(net.here)
    net.here = trunk
    net.node("Sum", "join", *operands)
    net.quantize("q", 1, 7)
    finish(net)
    equal(net, save)


@pytest.mark.slow
def test_chain_of_adds_without_quantizers(save) -> None:
    rng = np.random.default_rng(5)
    net = stem(channels=3)
    trunk = net.here
    net.conv("a", ternary(rng, 3, 3, 1, 1))
    net.quantize("a/q", 1, 3)
    net.node("Add", "one", trunk)
    net.node("Add", "two", trunk)
    net.quantize("q", 1, 7)
    finish(net)
    equal(net, save)


def test_a_tensor_added_to_itself(save) -> None:
    net = stem(channels=3)
    net.node("Add", "join", net.here)
    net.quantize("q", 1, 5)
    finish(net)
    equal(net, save)


@pytest.mark.slow
def test_levels_that_are_known_already_added_to_themselves(save) -> None:
    net = stem(channels=3)
    net.node("MaxPool", "pool", kernel_shape=[2, 2])
    net.shape = (3, 5, 5)
    net.node("Add", "join", net.here)
    net.quantize("q", 1, 5)
    finish(net)
    done, _ = equal(net, save)
    join = next(layer for layer in done.graph.layers if layer.name == "join")
    assert [int(link.weights.max()) for link in join.connections] == [2]


@pytest.mark.slow
def test_two_quantizers_of_one_sum_meet_and_meet_again(save) -> None:
    """The first sum rises with their common root, and so joins nothing; the second reads one of them once more."""
    rng = np.random.default_rng(13)
    net = stem(channels=3)
    net.conv("conv", ternary(rng, 3, 3, 1, 1), np.array([1.0, -2.0, 1.0]))

    def levels(name: str, low: int, high: int) -> None:
        net.node("Round", f"{name}/round")
        bounds = [net.const(f"{name}.{end}", np.float32(value)) for end, value in (("low", low), ("high", high))]
        net.node("Clip", f"{name}/clip", *bounds)

    levels("fine", -1, 2)
    fine = net.here
    net.node("Neg", "turn")
    levels("turned", -1, 0)
    turned = net.here
    net.node("Add", "meet", fine)
    levels("middle", -1, 2)
    net.node("Add", "again", turned)
    levels("q", -1, 2)
    finish(net)
    equal(net, save)


@pytest.mark.parametrize("quantized", [True, False])
def test_operands_whose_scales_have_no_small_ratio_need_a_quantizer_behind(save, quantized) -> None:
    net = stem(channels=2)
    trunk = net.here
    net.conv("a", np.ones((2, 2, 1, 1)))
    net.quantize("a/q", 0, 3)
    net.node("Mul", "odd", net.const("odd.value", np.float32(0.3141)))
    net.node("Add", "join", trunk)
    if quantized:
        net.quantize("q", 1, 5)
    finish(net)
    if quantized:
        equal(net, save, certified=False)
        return
    with pytest.raises(ModelError, match="give its inputs one scale, or quantize the sum") as caught:
        equal(net, save)
    assert caught.value.code == "add-scales"


def test_a_product_of_two_activations_is_refused_by_name(save) -> None:
    net = stem(channels=2)
    trunk = net.here
    net.conv("a", np.ones((2, 2, 1, 1)))
    net.quantize("a/q", 0, 3)
    net.node("Mul", "gate", trunk)
    net.conv("b", np.ones((2, 2, 1, 1)))
    net.quantize("q", 1, 5)
    finish(net)
    with pytest.raises(ModelError, match=r"^gate: Mul of two activations") as caught:
        equal(net, save)
    assert caught.value.code == "two-activations"


@pytest.mark.slow
def test_second_quantizer_takes_new_thresholds_and_no_tick(save) -> None:
    rng = np.random.default_rng(6)
    net = stem(channels=3)
    net.conv("a", ternary(rng, 3, 3, 1, 1))
    net.quantize("a/q", 1, 6)
    kept = net.here
    net.conv("b", ternary(rng, 3, 3, 1, 1))
    conv = net.here
    net.here = kept
    net.node("Mul", "third", net.const("third.value", np.float32(0.375)))
    net.quantize("q", 1, 2)
    net.node("Add", "join", conv)
    net.quantize("q2", 1, 7)
    finish(net)
    done, _ = equal(net, save)
    ticks = {layer.name: layer.tick for layer in done.mapping.layers}
    assert ticks["a"] == ticks["a.again"] == 1
    assert ticks["join"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("falls", [False, True])
def test_second_quantizer_of_the_encoder_is_a_layer(save, falls) -> None:
    net = stem(channels=3, levels=5)
    if falls:
        net.node("Neg", "turn")
        net.node("Add", "up", net.const("up.value", np.float32(2)))
    net.node("Mul", "scale", net.const("scale.value", np.float32([0.5, 0.25, 0.75]).reshape(3, 1, 1)))
    net.quantize("q", 1, 2)
    finish(net)
    equal(net, save)


@pytest.mark.slow
@pytest.mark.parametrize("op", ["Softmax", "ArgMax", "TopK", "LogSoftmax"])
def test_levels_that_the_host_finishes(save, op) -> None:
    rng = np.random.default_rng(7)
    net = stem(channels=3)
    net.flatten()
    net.gemm("fc", ternary(rng, 5, 108))
    net.quantize("q", 0, 7)
    net.nodes.append(helper.make_node("Identity", [net.here], ["kept"]))
    if op == "TopK":
        net.nodes.append(helper.make_node("TopK", ["kept", net.const("k", np.array([2]))], ["best", "at"], name="top"))
        net.here, net.shape = "best", (2,)
        equal(net, save, certified=False)
        return
    net.here = "kept"
    net.node(op, "end", axis=1)
    model = net.model()
    if op == "ArgMax":
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info(net.here, TensorProto.INT64, ["N", 1]))
    equal(model, save, certified=False)


@pytest.mark.slow
@pytest.mark.parametrize("gather", [False, True])
def test_quantized_output_of_two_branches_is_read_out_as_levels(save, gather) -> None:
    rng = np.random.default_rng(8)
    net = stem(channels=3)
    trunk = net.here
    net.conv("a", ternary(rng, 2, 3, 1, 1))
    net.quantize("a/q", 2, 5)
    net.node("Concat", "cat", trunk, axis=1)
    net.shape = (5, 6, 6)
    if gather:
        net.node("Gather", "pick", net.const("at", np.array([4, 0, 2])), axis=1)
        net.shape = (3, 6, 6)
    done, result = equal(net, save)
    assert done.mapping.layers[-1].levels == 0
    assert result.potentials.max() <= 5


@pytest.mark.slow
def test_a_network_that_ends_in_a_quantized_flat_tensor(save) -> None:
    rng = np.random.default_rng(9)
    net = stem(channels=3)
    net.conv("a", ternary(rng, 2, 3, 3, 3))
    net.quantize("a/q", 1, 3)
    net.node("Transpose", "turn", perm=[0, 2, 3, 1])
    net.flatten()
    net.shape = (32,)
    equal(net, save)


@pytest.mark.slow
def test_signed_levels_are_an_offset_in_thresholds(save) -> None:
    """int4 activations with a zero point, through a padded convolution and a residual sum."""
    rng = np.random.default_rng(10)
    net = Builder((1, 6, 6))
    net.conv("stem", rng.integers(-20, 30, (3, 1, 1, 1)) / 4096.0)
    scale, zero = net.const("s", np.float32(0.25)), net.const("z", np.int8(3))

    def qdq(name: str) -> None:
        net.node("QuantizeLinear", f"{name}/q", scale, zero)
        net.node("DequantizeLinear", f"{name}/dq", scale, zero)

    def low(name: str) -> None:
        net.node("Clip", f"{name}/clip", net.const(f"{name}.a", np.float32(-1.25)), net.const(f"{name}.b", np.float32(0.75)))

    low("one")
    qdq("one")
    trunk = net.here
    net.conv("conv", ternary(rng, 3, 3, 3, 3), pads=[1] * 4)
    low("two")
    qdq("two")
    net.node("Add", "join", trunk)
    low("three")
    qdq("three")
    finish(net)
    done, _ = equal(net, save)
    assert done.graph.encoder.zero_point == -5
    assert [layer.levels for layer in done.graph.layers] == [8, 8, 0]


@pytest.mark.slow
def test_sums_over_tokens_that_are_transposed_before_a_residual_sum(save) -> None:
    """The token mixing of an MLP-mixer."""
    rng = np.random.default_rng(21)
    net = stem(channels=3)
    net.node("Reshape", "flat", ints(net, "flat.shape", 0, 3, 36))
    trunk = net.node("Transpose", "tokens", perm=[0, 2, 1])
    net.node("Transpose", "turned", perm=[0, 2, 1])
    net.node("MatMul", "mix", net.const("mix.weight", ternary(rng, 36, 36).astype(np.float32)))
    net.node("Add", "bias", net.const("mix.bias", rng.integers(-4, 5, 36).astype(np.float32)))
    net.node("Transpose", "back", perm=[0, 2, 1])
    net.node("Add", "join", trunk)
    net.quantize("q", 0, 5)
    equal(finish(net, (36, 3)), save, certified=False)


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [1.0, -0.5])
def test_sums_that_are_cut_before_a_residual_sum(gamma, save) -> None:
    """A causal convolution: padded on both sides, cut on one."""
    rng = np.random.default_rng(22)
    net = stem(channels=3)
    trunk = net.here
    net.conv("conv", ternary(rng, 3, 3, 3, 3), pads=[2] * 4)
    net.node("Mul", "scale", net.const("gamma", np.array([gamma, 1, -2], np.float32).reshape(3, 1, 1)))
    net.node("Slice", "cut", ints(net, "from", 0, 0), ints(net, "to", 6, 6), ints(net, "axes", 2, 3))
    net.node("Add", "join", trunk)
    net.quantize("q", 0, 5)
    equal(finish(net, (3, 6, 6)), save)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["phases", "halves"])
def test_sums_that_lie_differently_are_added_feature_by_feature(save, how) -> None:
    """A convolution and a transposed one, whose sums lie in phases; two halves of one average."""
    net = stem(channels=4)
    start = net.here
    if how == "phases":
        net.node(
            "ConvTranspose",
            "up",
            net.const("up.w", ternary(np.random.default_rng(7), 4, 2, 2, 2).astype(np.float32)),
            strides=[2, 2],
        )
        operand, net.here = net.here, start
        net.node("Pad", "pad", ints(net, "pads", 0, 0, 3, 3, 0, 0, 3, 3))
        net.shape = (4, 12, 12)
        net.conv("conv", ternary(np.random.default_rng(8), 2, 4, 3, 3), pads=[1] * 4)
        net.node("Add", "add", operand)
    else:
        net.node("AveragePool", "average", kernel_shape=[2, 2], strides=[2, 2])
        whole = net.here
        net.node("Slice", "one", ints(net, "a", 0), ints(net, "b", 2), ints(net, "axis", 1))
        one, net.here = net.here, whole
        net.node("Slice", "two", ints(net, "c", 2), ints(net, "d", 4), "axis")
        net.node("Add", "add", one)
        net.shape = (2, 3, 3)
    net.quantize("q", 1, 7)
    equal(finish(net), save)
