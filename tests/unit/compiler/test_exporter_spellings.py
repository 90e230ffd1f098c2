"""Spellings that exporters write and that were once misread."""

from __future__ import annotations

import numpy as np
from networks import Builder
from onnx import TensorProto, helper

from qsnnc.verification import verify


def small() -> Builder:
    """A ternary convolution between two quantizers, and a classifier."""
    net = Builder((1, 6, 6))
    net.conv("stem", np.resize([1.0, -1.0, 0.0, 1.0], (3, 1, 3, 3)) / 64.0)
    net.quantize("stem/quant", 1, 4)
    net.conv("conv", np.resize([1.0, -1.0, 0.0], (4, 3, 1, 1)), np.array([0.5, -0.5, 1.5, 0.25]))
    net.quantize("quant", 1, 4)
    net.flatten()
    net.gemm("head", np.resize([1.0, -3.0, 2.0], (3, 64)))
    return net


def test_a_bias_shaped_like_weights_that_are_made_in_the_graph(save) -> None:
    """torch's dynamo exporter, unoptimised, asks weights for their shape; they have no batch axis."""
    net = small()
    net.constants = [tensor for tensor in net.constants if tensor.name != "conv.bias"]
    nought, one = net.const("nought", np.int64(0)), net.const("one", np.int64(1))
    made = [
        helper.make_node("Mul", ["conv.weight", net.const("unit", np.float32(1))], ["made"], "make"),
        helper.make_node("Shape", ["made"], ["many"], "shape", start=0, end=1),
        helper.make_node("Squeeze", ["many"], ["channels"], "squeeze"),
        helper.make_node("Range", [nought, "channels", one], ["number"], "range"),
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
    assert verify(save(model), samples=10).equal


def test_shape_of_images_still_has_the_batch_axis(save) -> None:
    """torch's TorchScript exporter: Reshape(x, Concat(Shape(x)[0], -1))."""
    net = small()
    nodes = [node for node in net.nodes if node.op_type != "Flatten"]
    before, flat = (next(n for n in net.nodes if n.op_type == "Flatten").input[0], "flat")
    at = next(i for i, node in enumerate(nodes) if node.name == "head")
    nodes[at].input[0] = flat
    nodes[at:at] = [
        helper.make_node("Shape", [before], ["shape"], "shape"),
        helper.make_node("Gather", ["shape", net.const("first", np.array([0]))], ["batch"], "gather"),
        helper.make_node("Concat", ["batch", net.const("rest", np.array([-1]))], ["wanted"], "concat", axis=0),
        helper.make_node("Reshape", [before, "wanted"], [flat], "reshape"),
    ]
    net.nodes = nodes
    model = net.model()
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert verify(save(model), samples=10).equal
