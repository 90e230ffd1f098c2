"""Residual sums and averages without a quantizer: the next linear layer reads their terms, or a level for each value."""

from __future__ import annotations

import numpy as np
import pytest
from support.against_reference import equal, finish, ints, stem, ternary
from support.networks import Builder

from qsnnc import ModelError


def residual(rng, *, channels: int = 3, k: int = 1) -> Builder:
    """Levels plus the levels of a convolution on them."""
    net = stem(channels=channels)
    start = net.here
    net.conv("block", ternary(rng, channels, channels, 3, 3), pads=[1] * 4)
    net.quantize("block/q", k, 3)
    net.node("Add", "sum", start)
    return net


def names(done) -> list[str]:
    return [layer.name for layer in done.graph.layers]


@pytest.mark.slow
def test_convolution_on_a_residual_sum_reads_its_operands(save) -> None:
    rng = np.random.default_rng(1)
    net = residual(rng)
    net.conv("next", ternary(rng, 4, 3, 3, 3), pads=[1] * 4)
    net.quantize("q", 0, 3)
    finish(net)
    done, _ = equal(net, save)
    assert "sum" not in names(done)
    assert [link.source for link in done.graph.population("next").connections] == ["block", "stem"]


@pytest.mark.slow
def test_linear_bottlenecks_one_after_the_other(save) -> None:
    """MobileNet's second version: expand, depthwise, project to signed levels, add; three times, no quantizer behind."""
    rng = np.random.default_rng(2)
    net = stem(channels=4)
    for block in range(3):
        start, shape = net.here, net.shape
        net.conv(f"expand{block}", ternary(rng, 6, 4, 1, 1))
        net.quantize(f"expand{block}/q", 0, 3)
        net.conv(f"depth{block}", ternary(rng, 6, 1, 3, 3), pads=[1] * 4, group=6)
        net.quantize(f"depth{block}/q", 0, 3)
        net.conv(f"project{block}", ternary(rng, 4, 6, 1, 1))
        low = net.const(f"low{block}", np.int8(-2)), net.const(f"high{block}", np.int8(3))
        step, zero = net.const(f"step{block}", np.float32(0.5)), net.const(f"zero{block}", np.int8(0))
        net.node("QuantizeLinear", f"quantize{block}", step, zero)
        net.node("Clip", f"clip{block}", *low)
        net.node("DequantizeLinear", f"real{block}", step, zero)
        net.shape = shape
        net.node("Add", f"sum{block}", start)
    finish(net)
    done, _ = equal(net, save)
    assert {link.source for link in done.graph.population("expand2").connections} == {"stem", "project0", "project1"}


@pytest.mark.slow
@pytest.mark.parametrize("op", ["Sub", "Sum"])
def test_difference_and_sum_of_three(save, op) -> None:
    rng = np.random.default_rng(3)
    net = residual(rng)
    net.node(op, "more", *["stem/quant/level_out"] * (2 if op == "Sum" else 1))
    net.conv("next", ternary(rng, 4, 3, 2, 2))
    net.quantize("q", 0, 3)
    finish(net)
    equal(net, save)


@pytest.mark.slow
def test_operands_of_different_scales(save) -> None:
    rng = np.random.default_rng(4)
    net = residual(rng, k=2)
    net.conv("next", ternary(rng, 4, 3, 2, 2))
    net.quantize("q", 0, 3)
    finish(net)
    done, _ = equal(net, save)
    assert [int(np.abs(link.weights).max()) for link in done.graph.population("next").connections] == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pool", "conv"),
    [
        ({"kernel_shape": [2, 2], "strides": [2, 2]}, {"pads": [1] * 4}),
        ({"kernel_shape": [3, 2], "strides": [1, 2]}, {}),
        ({"kernel_shape": [2, 2], "strides": [1, 1]}, {"strides": [2, 2]}),
        ({"kernel_shape": [2, 2], "strides": [2, 2]}, {"group": 3, "pads": [1] * 4}),
        ({"kernel_shape": [4, 4], "strides": [2, 2], "pads": [1] * 4, "count_include_pad": 1}, {}),
        ({"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4, "count_include_pad": 1}, {"pads": [1] * 4}),
        ({"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1] * 4}, {"pads": [1] * 4}),
    ],
)
def test_convolution_on_an_average(save, pool, conv) -> None:
    rng = np.random.default_rng(5)
    net = stem(channels=3)
    net.node("AveragePool", "pool", **pool)
    pads = pool.get("pads", [0] * 4)
    net.shape = (3, *((6 + pads[a] + pads[a + 2] - pool["kernel_shape"][a]) // pool["strides"][a] + 1 for a in (0, 1)))
    net.conv("next", ternary(rng, 3, 3 // conv.get("group", 1), 2, 2), **conv)
    net.quantize("q", 0, 3)
    finish(net)
    clean = all(size in (1, 2, 4) for size in pool["kernel_shape"]) and ("pads" not in pool or pool.get("count_include_pad"))
    equal(net, save, certified=clean)


@pytest.mark.slow
def test_an_average_becomes_a_larger_kernel(save) -> None:
    rng = np.random.default_rng(6)
    net = stem(channels=3)
    net.node("AveragePool", "pool", kernel_shape=[2, 2], strides=[2, 2])
    net.shape = (3, 3, 3)
    net.conv("next", ternary(rng, 4, 3, 3, 3), pads=[1] * 4)
    net.quantize("q", 0, 3)
    finish(net)
    done, _ = equal(net, save)
    (link,) = done.graph.population("next").connections
    assert (link.weights.shape[2:], link.strides, link.source) == ((6, 6), (2, 2), "stem")
    assert int(np.abs(link.weights).max()) == 1
    assert "pool" not in names(done)


@pytest.mark.slow
def test_an_activation_on_an_average_makes_it_a_layer(save) -> None:
    """ReLU changes nothing there, but that is nothing to rely on: each value of the average is a level."""
    rng = np.random.default_rng(7)
    net = residual(rng)
    net.node("AveragePool", "pool", kernel_shape=[2, 2], strides=[2, 2])
    net.node("Relu", "relu")
    net.shape = (3, 3, 3)
    net.conv("next", ternary(rng, 4, 3, 2, 2))
    net.quantize("q", 0, 3)
    finish(net)
    done, _ = equal(net, save)
    assert done.graph.population("pool").levels == 4 * 6


@pytest.mark.slow
def test_largest_of_residual_sums(save) -> None:
    rng = np.random.default_rng(8)
    net = residual(rng)
    net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[2, 2])
    net.shape = (3, 3, 3)
    net.conv("next", ternary(rng, 4, 3, 2, 2))
    net.quantize("q", 0, 3)
    finish(net)
    done, _ = equal(net, save)
    assert done.graph.population("sum").levels == 6


@pytest.mark.slow
@pytest.mark.parametrize("between", ["pad", "shuffle", "concat", "slice"])
def test_data_movement_of_a_residual_sum_moves_its_operands(save, between) -> None:
    rng = np.random.default_rng(9)
    net = residual(rng, channels=4)
    if between == "pad":
        net.node("Pad", "pad", ints(net, "pads", 0, 0, 1, 0, 0, 0, 0, 2))
        net.shape = (4, 7, 8)
    elif between == "shuffle":
        net.node("Reshape", "deal", ints(net, "deal.shape", 0, 2, 2, 6, 6))
        net.node("Transpose", "swap", perm=[0, 2, 1, 3, 4])
        net.node("Reshape", "back", ints(net, "back.shape", 0, 4, 6, 6))
    elif between == "concat":
        net.node("Concat", "cat", "stem/quant/level_out", axis=1)
        net.shape = (8, 6, 6)
    else:
        net.node("Slice", "cut", ints(net, "from", 1), ints(net, "to", 99), ints(net, "axes", 1))
        net.shape = (3, 6, 6)
    net.conv("next", ternary(rng, 4, net.shape[0], 2, 2))
    net.quantize("q", 0, 3)
    finish(net)
    done, _ = equal(net, save)
    assert "sum" not in names(done)


@pytest.mark.slow
def test_matrix_on_the_tokens_of_a_residual_sum(save) -> None:
    rng = np.random.default_rng(10)
    net = residual(rng, channels=4)
    net.node("Reshape", "flat", ints(net, "flat.shape", 0, 4, 36))
    net.node("Transpose", "tokens", perm=[0, 2, 1])
    net.node("MatMul", "mix", net.const("mix.weight", ternary(rng, 4, 5).astype(np.float32)))
    net.quantize("q", 0, 3)
    finish(net, (36, 5))
    equal(net, save)


@pytest.mark.slow
def test_a_quantizer_without_a_clip_is_bounded_by_what_can_be_reached(save) -> None:
    rng = np.random.default_rng(11)
    net = stem(channels=3)
    net.conv("conv", ternary(rng, 3, 3, 2, 2) * 0.25)
    net.node("Round", "round")
    net.node("Relu", "relu")
    net.conv("next", ternary(rng, 4, 3, 2, 2))
    net.quantize("q", 0, 3)
    finish(net)
    done, _ = equal(net, save)
    assert 1 <= done.graph.population("conv").levels <= 18


def test_weights_on_weights_are_still_told_to_be_quantized(save) -> None:
    rng = np.random.default_rng(12)
    net = stem(channels=3)
    net.conv("one", ternary(rng, 3, 3, 2, 2))
    net.node("Relu", "relu")
    net.conv("two", ternary(rng, 3, 3, 2, 2))
    net.quantize("q", 0, 3)
    finish(net)
    with pytest.raises(ModelError, match="two: reads 'relu_out', which is not quantized") as caught:
        equal(net, save)
    assert caught.value.code == "activation-not-quantized"


def test_reading_a_few_of_the_channels_out(save) -> None:
    """The layer before has more features than the output: the host picks them."""
    net = stem(channels=4)
    net.node("Split", "split", ints(net, "sizes", 1, 3), axis=1)
    net.nodes[-1].output.append("rest")
    net.shape = (1, 6, 6)
    equal(net, save)


@pytest.mark.slow
def test_largest_of_a_few_of_the_channels(save) -> None:
    net = stem(channels=4)
    net.node("Slice", "cut", ints(net, "from", 1), ints(net, "to", 99), ints(net, "axes", 1))
    net.node("GlobalMaxPool", "pool")
    net.shape = (3, 1, 1)
    finish(net)
    equal(net, save)


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, 1.5, -1.0])
@pytest.mark.parametrize("weighted", [True, False])
def test_what_a_pad_fills_in_before_the_quantizer_goes_through_it(save, value, weighted) -> None:
    rng = np.random.default_rng(13)
    net = stem(channels=3)
    if weighted:
        net.conv("conv", ternary(rng, 3, 3, 1, 1))
    else:
        net.node("AveragePool", "pool", kernel_shape=[2, 2], strides=[2, 2])
        net.shape = (3, 3, 3)
    net.node("Pad", "pad", ints(net, "pads", 0, 0, 1, 0, 0, 0, 0, 1), net.const("value", np.float32(value)))
    net.shape = (3, net.shape[1] + 1, net.shape[2] + 1)
    if weighted:
        net.quantize("q", 0, 3)
    finish(net)
    equal(net, save)


@pytest.mark.slow
def test_levels_and_their_opposites_are_two_operands(save) -> None:
    """Both grow from one convolution, but their sum rises and falls: it is no activation of that."""
    rng = np.random.default_rng(14)
    net = stem(channels=3)
    net.conv("conv", ternary(rng, 3, 3, 1, 1))
    net.quantize("q", 0, 4)
    before = net.here
    net.node("Neg", "neg")
    net.node("Mul", "half", net.const("half.value", np.float32(0.5)))
    net.node("Round", "round")
    net.node("Add", "sum", before)
    net.conv("next", ternary(rng, 2, 3, 1, 1))
    net.quantize("q2", 0, 3)
    finish(net)
    equal(net, save)
