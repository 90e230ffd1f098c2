"""Unusual graphs: each compiled and equal to the bit, or refused with the node's name and what to do."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.against_reference import equal, finish, ints, stem, ternary
from support.networks import Builder

import chipsim
from chipsim.datasets import Dataset
from qsnnc import ModelError, compile_model, verify
from qsnnc.frontend.model.reference import session


def overlapping_slices() -> Builder:
    """One neuron drives two axons of one core."""
    net = stem(channels=2)
    start = net.here
    net.node("Slice", "left", ints(net, "f1", 0), ints(net, "t1", 5), ints(net, "a1", 3))
    left, net.here = net.here, start
    net.node("Slice", "right", ints(net, "f2", 1), ints(net, "t2", 6), ints(net, "a2", 3))
    net.node("Concat", "cat", left, axis=1)
    net.shape = (4, 6, 5)
    net.conv("conv", ternary(np.random.default_rng(0), 3, 4, 2, 2))
    net.quantize("q", 0, 3)
    return finish(net, net.shape)


def two_quantizers_of_one_convolution() -> Builder:
    net = stem(channels=2)
    net.conv("conv", ternary(np.random.default_rng(1), 3, 2, 2, 2))
    sums = net.here
    net.quantize("q1", 1, 3)
    one, net.here = net.here, sums
    net.quantize("q2", 0, 2)
    net.node("Add", "add", one)
    net.quantize("q3", 0, 3)
    return finish(net, net.shape)


def signed_leaky_relu() -> Builder:
    rng = np.random.default_rng(2)
    net = stem(channels=2)
    net.conv("conv", ternary(rng, 3, 2, 2, 2))
    net.node("LeakyRelu", "leaky", alpha=0.25)
    net.node("Round", "round")
    net.node("Clip", "clip", net.const("lo", np.float32(-2)), net.const("hi", np.float32(3)))
    net.conv("conv2", ternary(rng, 2, 3, 2, 2), pads=[1] * 4)
    net.quantize("q", 0, 3)
    return finish(net, net.shape)


def bipolar_levels_in_a_padded_convolution() -> Builder:
    rng = np.random.default_rng(3)
    net = Builder((1, 6, 6))
    net.conv("stem", np.array([1, -1]).reshape(2, 1, 1, 1) / 64.0, np.array([-1.0, 2.0]))
    net.node("GreaterOrEqual", "above", net.const("zero", np.float32(0)))
    net.node("Where", "sign", net.const("one", np.float32(1)), net.const("minus", np.float32(-1)))
    net.conv("conv", ternary(rng, 3, 2, 3, 3), pads=[1] * 4)
    net.quantize("q", 0, 3)
    return finish(net, net.shape)


def constant_less_levels() -> Builder:
    net = stem(channels=3)
    net.nodes.append(helper.make_node("Sub", [net.const("top", np.float32(1.5)), net.here], ["turned"], name="turn"))
    net.here = "turned"
    net.conv("conv", ternary(np.random.default_rng(4), 2, 3, 2, 2), pads=[1] * 4)
    net.quantize("q", 0, 3)
    return finish(net, net.shape)


def pool_of_a_pool_of_sums() -> Builder:
    net = stem(channels=3)
    net.conv("conv", ternary(np.random.default_rng(5), 2, 3, 1, 1))
    net.node("MaxPool", "pool1", kernel_shape=[2, 2])
    net.node("MaxPool", "pool2", kernel_shape=[2, 2], strides=[2, 2])
    net.shape = (2, 2, 2)
    net.quantize("q", 0, 3)
    return finish(net, net.shape)


def broadcast_sum() -> Builder:
    net = stem(channels=3)
    whole = net.here
    net.node("GlobalMaxPool", "pool")
    net.node("Add", "add", whole)
    net.shape = (3, 6, 6)
    net.quantize("q", 1, 5)
    return finish(net, net.shape)


def levels_spread_over_a_map() -> Builder:
    net = stem(channels=3)
    net.node("GlobalMaxPool", "pool")
    net.node("Expand", "expand", ints(net, "to", 1, 3, 4, 4))
    net.shape = (3, 4, 4)
    net.conv("conv", ternary(np.random.default_rng(6), 2, 3, 2, 2))
    net.quantize("q", 0, 3)
    return finish(net, net.shape)


def batch_norm_between_quantizer_and_convolution() -> Builder:
    net = stem(channels=2)
    net.batch_norm("bn", [2.0, 4.0], [0.5, 1.0], [0.0, 0.0], [1 - 1e-5] * 2)
    net.conv("conv", ternary(np.random.default_rng(7), 2, 2, 3, 3))
    net.quantize("q", 0, 3)
    return finish(net, net.shape)


def weights_that_are_all_nought() -> Builder:
    net = stem(channels=2)
    net.conv("conv", np.zeros((2, 2, 3, 3)), np.array([1.0, 0.0]))
    net.quantize("q", 0, 3)
    return finish(net, net.shape)


def nothing_but_an_encoder() -> Builder:
    return stem(channels=2)


@pytest.mark.parametrize(
    "build",
    [
        overlapping_slices,
        two_quantizers_of_one_convolution,
        signed_leaky_relu,
        bipolar_levels_in_a_padded_convolution,
        constant_less_levels,
        pool_of_a_pool_of_sums,
        broadcast_sum,
        levels_spread_over_a_map,
        batch_norm_between_quantizer_and_convolution,
        weights_that_are_all_nought,
        nothing_but_an_encoder,
    ],
    ids=lambda build: build.__name__,
)
def test_equal(save, build) -> None:
    equal(build(), save, certified=False)


def refused(net: Builder, op: str, name: str, *inputs: str, shape: tuple[int, ...] | None = None, **attributes) -> Builder:
    net.node(op, name, *inputs, **attributes)
    net.shape = shape or net.shape
    net.quantize("last", 0, 3)
    return finish(net, net.shape)


def softmax_between() -> Builder:
    net = stem(channels=3)
    net.flatten()
    net.gemm("fc", np.ones((5, 108)))
    return refused(net, "Softmax", "soft", axis=1)


def product_of_a_tensor_and_its_own_mean() -> Builder:
    net = stem(channels=2)
    start = net.here
    net.node("GlobalAveragePool", "squeeze")
    net.node("Relu", "relu")
    return refused(net, "Mul", "excite", start, shape=(2, 6, 6))


def weights_computed_from_the_data() -> Builder:
    net = stem(channels=3)
    start = net.here
    net.node("ReduceMean", "mean", axes=[2, 3], keepdims=1)
    net.quantize("q", 1, 3)
    weights = net.here
    net.here = start
    return refused(net, "Conv", "dynamic", weights, shape=(1, 6, 6))


def bounds_along_an_axis_of_their_own() -> Builder:
    """What torch.bucketize becomes."""
    net = stem(channels=2)
    net.conv("conv", ternary(np.random.default_rng(8), 2, 2, 2, 2))
    net.node("Unsqueeze", "wide", ints(net, "axis", -1))
    net.node("Less", "below", net.const("bounds", np.array([0.5, 1.5, 2.5], np.float32)))
    net.node("Cast", "ones", to=TensorProto.FLOAT)
    net.node("ReduceSum", "level", ints(net, "last axis", -1), keepdims=0)
    return refused(net, "Identity", "same")


@pytest.mark.parametrize(
    ("build", "subject", "code"),
    [
        (softmax_between, "soft", "model-operator"),
        (product_of_a_tensor_and_its_own_mean, "excite", "two-activations"),
        (weights_computed_from_the_data, "dynamic", "weights-not-constant"),
        (bounds_along_an_axis_of_their_own, "ones_out", "activation-widened"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_refused(save, build, subject, code) -> None:
    with pytest.raises(ModelError) as caught:
        equal(build(), save)
    assert (caught.value.subject, caught.value.code, caught.value.exit_code) == (subject, code, 3)


@pytest.mark.parametrize("first", ["DequantizeLinear", "Cast", "ConvInteger"])
def test_integer_images_stay_with_the_host_until_they_are_quantized(save, first) -> None:
    rng = np.random.default_rng(9)
    node = helper.make_node
    weights = rng.integers(-1, 2, (3, 1, 3, 3))
    constants = {
        "s": np.float32(0.25), "z": np.uint8(3), "w": weights.astype(np.float32), "wi": weights.astype(np.int8),
        "lo": np.float32(0), "hi": np.float32(3), "k": np.float32(2.0**-6), "w2": rng.integers(-3, 4, (48, 4)).astype(np.float32),
    }  # fmt: skip
    start = {
        "DequantizeLinear": [node("DequantizeLinear", ["image", "s", "z"], ["x"]), node("Conv", ["x", "w"], ["c"])],
        "Cast": [node("Cast", ["image"], ["x"], to=TensorProto.FLOAT), node("Conv", ["x", "w"], ["c"])],
        "ConvInteger": [node("ConvInteger", ["image", "wi", "z"], ["i"]), node("Cast", ["i"], ["c"], to=TensorProto.FLOAT)],
    }[first]
    nodes = [
        *start, node("Mul", ["c", "k"], ["m"]), node("Round", ["m"], ["r"]), node("Clip", ["r", "lo", "hi"], ["q"]),
        node("Flatten", ["q"], ["f"]), node("Gemm", ["f", "w2"], ["y"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 1, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    path = save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    images = rng.integers(0, 256, (9, 1, 6, 6)).astype(np.uint8)
    assert verify(path, images).equal
    result = chipsim.run(compile_model(path).mapping, Dataset("random", "test", images, None))
    np.testing.assert_array_equal(result.scores, session(path.read_bytes()).run(None, {"image": images})[0])


def float_network() -> onnx.ModelProto:
    """Depthwise, branches, a concat and pools in floats: what onnxruntime's own tool is given."""
    rng = np.random.default_rng(10)
    constants, nodes, node = {}, [], helper.make_node

    def conv(x: str, name: str, *shape: int, **attributes) -> str:
        constants[f"{name}.w"] = rng.normal(0, 0.4, shape).astype(np.float32)
        constants[f"{name}.b"] = rng.normal(0, 0.1, shape[0]).astype(np.float32)
        nodes.append(node("Conv", [x, f"{name}.w", f"{name}.b"], [name], name=name, **attributes))
        nodes.append(node("Relu", [name], [f"{name}.r"], name=f"{name}.relu"))
        return f"{name}.r"

    x = conv("image", "c1", 4, 1, 3, 3, pads=[1] * 4, strides=[2, 2])
    x = conv(x, "dw", 4, 1, 3, 3, pads=[1] * 4, group=4)
    operands = [conv(x, "b1", 4, 4, 1, 1), conv(x, "b2", 4, 4, 3, 3, pads=[1] * 4)]
    nodes.append(node("Concat", operands, ["cat"], name="cat", axis=1))
    nodes.append(node("MaxPool", ["cat"], ["pool"], name="pool", kernel_shape=[2, 2], strides=[2, 2]))
    nodes.append(node("GlobalAveragePool", ["pool"], ["gap"], name="gap"))
    nodes.append(node("Flatten", ["gap"], ["flat"], name="flat"))
    constants["fc.w"] = rng.normal(0, 0.4, (8, 5)).astype(np.float32)
    nodes.append(node("Gemm", ["flat", "fc.w"], ["y"], name="fc"))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 12, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_what_quantize_static_makes_of_a_branching_network(save, tmp_path, form) -> None:
    from onnxruntime import quantization

    logging.getLogger().setLevel(logging.ERROR)

    class Images(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            self.left = [{"image": rng.random((1, 1, 12, 12)).astype(np.float32)} for _ in range(4)]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return self.left.pop() if self.left else None

    quantization.quantize_static(
        str(save(float_network())),
        str(tmp_path / "quantized.onnx"),
        Images(),
        quant_format=quantization.QuantFormat[form],
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=form == "QDQ",
    )
    found = verify(tmp_path / "quantized.onnx", limit=20)
    assert found.equal, str(found.mismatches[0])


def test_an_activation_with_a_scale_a_channel_is_told_so(save) -> None:
    net = stem(channels=2)
    net.conv("conv", ternary(np.random.default_rng(8), 2, 2, 2, 2))
    net.quantize("q", 0, 3)
    net.node("Mul", "scales", net.const("own", np.float32([0.3, 0.4711]).reshape(2, 1, 1)))
    net.conv("next", ternary(np.random.default_rng(9), 2, 2, 2, 2))
    net.quantize("q2", 0, 3)
    with pytest.raises(ModelError, match="give its inputs one scale for all channels") as caught:
        equal(finish(net, net.shape), save)
    assert caught.value.code == "concat-scales"


def test_a_constant_map_beside_levels_is_pooled(save) -> None:
    """What a second quantizer makes but one value of, joined to levels before a max pool."""
    net = stem(channels=2)
    first = net.here
    net.node("Neg", "neg")
    net.node("Clip", "clip", net.const("low", np.float32(0)), net.const("high", np.float32(3)))
    net.node("Concat", "cat", first, axis=1)
    net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[2, 2])
    net.shape = (4, 3, 3)
    equal(finish(net), save)


def test_a_plane_of_constants_is_pooled(save) -> None:
    net = stem(channels=2)
    plane = net.const("plane", (np.arange(36).reshape(1, 1, 6, 6) % 5 / 2).astype(np.float32))
    net.node("Concat", "cat", plane, axis=1)
    net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[2, 2])
    net.shape = (3, 3, 3)
    model = finish(net).model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    equal(model, save)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "outputs"),
    [
        ("BatchNormalization", [[1.0] * 3, [0.0] * 3, [0.0] * 3, [1.0] * 3], {"training_mode": 1}, ["mean", "var"]),
        ("Dropout", [0.5, True], {}, []),
        ("RandomNormalLike", [], {}, []),
    ],
)
def test_what_has_no_one_result_is_refused(op, inputs, attributes, outputs, save) -> None:
    """torch exports what it is given: a model that was left in training mode."""
    net = stem(channels=3)
    values = [np.asarray(value, bool if value is True else np.float32) for value in inputs]
    net.node(op, "odd", *(net.const(f"odd.{n}", value) for n, value in enumerate(values)), **attributes)
    net.nodes[-1].output.extend(outputs)
    net.quantize("q", 1, 3)
    with pytest.raises(ModelError, match=f"^odd: {op}.*model.eval") as refusal:
        verify(save(finish(net, (3, 6, 6)).model()))
    assert refusal.value.code == "model-chance"


def test_dropout_of_nothing_is_no_training(save) -> None:
    net = stem(channels=3)
    net.node("Dropout", "drop", net.const("ratio", np.float32(0)), net.const("mode", np.array(True)))
    equal(finish(net, (3, 6, 6)), save)
