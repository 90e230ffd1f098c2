"""Weights and biases that operators of the file compute from constants."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.against_reference import equal, finish, head, small_network, stem

from qsnnc import verify


def test_bias_whose_size_is_the_shape_of_computed_weights(save) -> None:
    """As torch's dynamo exporter writes it unoptimised; the shape of weights has no batch axis."""
    net = small_network()
    net.constants = [tensor for tensor in net.constants if tensor.name != "conv.bias"]
    zero, one = net.const("zero", np.int64(0)), net.const("one", np.int64(1))
    made = [
        helper.make_node("Mul", ["conv.weight", net.const("unit", np.float32(1))], ["made"], "make"),
        helper.make_node("Shape", ["made"], ["many"], "shape", start=0, end=1),
        helper.make_node("Squeeze", ["many"], ["channels"], "squeeze"),
        helper.make_node("Range", [zero, "channels", one], ["number"], "range"),
        helper.make_node("Cast", ["number"], ["float"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", net.const("half", np.float32(0.5))], ["conv.bias"], "bias"),
    ]
    for node in net.nodes:
        if node.name == "conv":
            node.input[1] = "made"
    model = net.model(opset=20)
    nodes = [*made, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    assert verify(save(model), limit=10).equal


@pytest.mark.slow
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("kind", "domain", "opset"),
    [
        (TensorProto.UINT4, "com.microsoft", 17),
        (TensorProto.INT4, "com.microsoft", 21),
        (TensorProto.INT4, "", 21),
        (TensorProto.UINT2, "", 25),
    ],
)
def test_weights_of_two_and_four_bits(kind, domain, opset, inside, save) -> None:
    """onnxruntime computes with such integers but does not return them as arrays."""
    net = stem()
    low = 0 if kind in (TensorProto.UINT4, TensorProto.UINT2) else -1
    weights = np.resize([1.0, 0.0, -1.0, 1.0, 1.0], (2, 3, 2, 2))
    zero = helper.make_tensor("value", kind, [], [-low])
    net.nodes.append(helper.make_node("Constant", [], ["zero"], "zero", value=zero))
    unit = net.const("unit", np.float32(1))
    if inside:
        net.const("real", (weights * 1.2).astype(np.float32))
        net.nodes.append(helper.make_node("QuantizeLinear", ["real", unit, "zero"], ["q"], "q", domain=domain))
    else:
        value = helper.make_tensor("value", kind, weights.shape, (weights - low).astype(int).ravel())
        net.nodes.append(helper.make_node("Constant", [], ["q"], "q", value=value))
    net.nodes.append(helper.make_node("DequantizeLinear", ["q", unit, "zero"], ["w"], "w", domain=domain))
    net.node("Conv", "conv", "w")
    net.shape = (2, 5, 5)
    net.quantize("quant", 0, 3)
    model = finish(net).model(opset=opset)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    equal(model, save)


@pytest.mark.slow
def test_dequantized_weights_of_every_narrow_type(save) -> None:
    rng = np.random.default_rng(11)
    for kind, low, high, opset in (
        (TensorProto.INT4, -8, 8, 21),
        (TensorProto.UINT4, 0, 16, 21),
        (TensorProto.INT2, -2, 2, 25),
        (TensorProto.UINT2, 0, 4, 25),
        (TensorProto.INT8, -8, 8, 13),
        (TensorProto.UINT8, 0, 16, 13),
        (TensorProto.INT16, -8, 8, 21),
    ):
        net = stem(channels=3)
        values = rng.integers(low, high, (2, 3, 2, 2))
        packed = helper.make_tensor("w.q", kind, values.shape, values.flatten().tolist())
        zero = helper.make_tensor("w.z", kind, (), [min(high - 1, 1)])
        net.constants += [packed, zero, numpy_helper.from_array(np.float32(0.5), "w.s")]
        net.nodes.append(helper.make_node("DequantizeLinear", ["w.q", "w.s", "w.z"], ["w"], name="weights"))
        net.node("Conv", "conv", "w")
        net.shape = (2, 5, 5)
        net.quantize("q", 0, 3)
        finish(net)
        model = net.model(opset=opset)
        model.ir_version = 13 if opset == 25 else 10
        path = save(model)
        assert verify(path, limit=5).exactness == "certified", kind


def test_weights_as_constant_nodes(save) -> None:
    net = stem()
    net.flatten()
    head(net, 108)
    model = net.model()
    for tensor in list(model.graph.initializer):
        model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
    del model.graph.initializer[:]
    equal(model, save)
