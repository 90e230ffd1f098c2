"""Which operators before the first quantizer run on the host."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.against_reference import equal, finish, stem
from support.networks import Builder

import chipsim
from chipsim.datasets import Dataset
from qsnnc import compile_model, verify
from qsnnc.frontend.model.reference import session


def test_encoder_and_classifier_only(save) -> None:
    equal(stem(channels=2), save, certified=False)


def test_sum_of_two_first_convolutions(save) -> None:
    net = Builder((1, 6, 6))
    net.conv("one", np.resize([1.0, -1.0, 0.0, 1.0], (3, 1, 3, 3)) / 64.0, pads=[1] * 4)
    left = net.here
    net.here, net.shape = "image", (1, 6, 6)
    net.conv("two", np.resize([1.0, 2.0, 0.0], (3, 1, 1, 1)) / 64.0)
    net.node("Sigmoid", "sigmoid")
    net.node("Add", "sum", left)
    net.quantize("q", 1, 4)
    net.conv("conv", np.resize([1.0, -1.0, 0.0], (4, 3, 1, 1)))
    net.quantize("quant", 1, 4)
    net.flatten()
    net.gemm("head", np.resize([1.0, -3.0, 2.0], (3, 144)))
    assert verify(save(net.model()), limit=10).equal


def test_gated_first_convolution(save) -> None:
    """x * sigmoid(convolution of x), before the first quantizer."""
    net = Builder((1, 6, 6))
    net.conv("stem", np.resize([1.0, -1.0, 0.0, 1.0], (3, 1, 3, 3)) / 64.0)
    before = net.here
    net.conv("gate", np.resize([1.0, -1.0, 0.0], (3, 3, 1, 1)))
    net.node("Sigmoid", "sigmoid")
    net.node("Mul", "swish", before)
    net.quantize("q", 1, 4)
    net.flatten()
    net.gemm("head", np.resize([1.0, -3.0, 2.0], (3, 48)))
    assert verify(save(net.model()), limit=10).equal


def test_a_quantizer_per_reader_of_the_image(save) -> None:
    """As quantize_static writes them with DedicatedQDQPair."""
    net = Builder((1, 6, 6))
    net.quantize("own", 1, 4)
    first, net.here = net.here, "image"
    net.quantize("other", 1, 4)
    net.conv("conv", np.resize([1.0, -1.0, 0.0], (1, 1, 1, 1)))
    net.quantize("operand", 1, 4)
    net.node("Add", "add", first)
    net.quantize("quant", 1, 4)
    net.flatten()
    net.gemm("head", np.resize([1.0, -3.0, 2.0], (3, 36)))
    assert verify(save(net.model()), limit=10).equal


@pytest.mark.parametrize("first", ["DequantizeLinear", "Cast", "ConvInteger"])
def test_integer_image_up_to_the_first_quantizer(save, first) -> None:
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


@pytest.mark.parametrize("levels", [False, True])
def test_byte_image_dequantized_and_quantized_again(levels, save) -> None:
    net = Builder((1, 6, 6))
    net.node("DequantizeLinear", "bytes", net.const("unit", np.float32(1 / 64)), net.const("zero", np.uint8(128)))
    net.quantize("quant", 1, 3)
    model = (net if levels else finish(net)).model()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    path = save(model)
    assert verify(path).equal
    images = np.random.default_rng(0).integers(0, 256, (9, 1, 6, 6)).astype(np.uint8)
    result = chipsim.run(compile_model(path).mapping, Dataset("random", "test", images, None))
    (wanted,) = session(model).run(None, {"image": images})
    np.testing.assert_array_equal(result.scores.reshape(wanted.shape), wanted)
