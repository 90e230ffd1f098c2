"""Spellings that exporters write and that were once misread."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.networks import Builder

from qsnnc import compile_model
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
    assert verify(save(model), limit=10).equal


def activated(*nodes: tuple[str, tuple[list[str], list[str]], dict[str, Any]]) -> Builder:
    """A convolution behind which an activation stands that is spelled in several nodes on one tensor, then a quantizer."""
    net = small()
    at = next(i for i, node in enumerate(net.nodes) if node.name == "quant/mul")
    before, after = net.nodes[:at], net.nodes[at:]
    after[0].input[0] = "activated"
    net.nodes = [*before, *(helper.make_node(op, *ends, **options) for op, ends, options in nodes), *after]
    return net


def test_pact_as_it_was_published(save) -> None:
    """0.5 * (|x| - |x - a| + a): rounding noise far from the origin, a clamp where sums can be."""
    net = activated(
        ("Abs", (["conv_out"], ["size"]), {}),
        ("Sub", (["conv_out", "alpha"], ["shifted"]), {}),
        ("Abs", (["shifted"], ["other"]), {}),
        ("Sub", (["size", "other"], ["parted"]), {}),
        ("Add", (["parted", "alpha"], ["twice"]), {}),
        ("Mul", (["twice", "half"], ["activated"]), {}),
    )
    net.const("alpha", np.float32(1.7))
    net.const("half", np.float32(0.5))
    assert verify(save(net.model()), limit=20).equal


@pytest.mark.parametrize("low", [-3.0, 0.0])
def test_a_dip_is_seen_where_a_level_shows_it(save, low) -> None:
    """x * hardsigmoid(x) falls below zero and rises again: with levels below zero a second layer holds the steps down."""
    net = activated(
        ("HardSigmoid", (["conv_out"], ["gate"]), {"alpha": 1 / 6, "beta": 0.5}),
        ("Mul", (["conv_out", "gate"], ["activated"]), {}),
    )
    for tensor in net.constants:
        if tensor.name == "quant.low":
            tensor.CopyFrom(numpy_helper.from_array(np.float32(low), "quant.low"))
        if tensor.name == "quant.up":  # a step of 0.6: only between -2.4 and -0.7 is there a level below zero
            tensor.CopyFrom(numpy_helper.from_array(np.float32(1.0 / 0.6), "quant.up"))
    path = save(net.model())
    assert verify(path, limit=20).equal
    assert any(layer.name.endswith(".falls") for layer in compile_model(path).graph.layers) == (low < 0)


def test_softmax_that_was_quantized_is_the_hosts(save) -> None:
    """onnxruntime's quantize_static writes QLinearSoftmax behind the last matrix."""
    net = small()
    step, zero = net.const("step", np.float32(2.0)), net.const("zero", np.uint8(100))
    net.node("QuantizeLinear", "scores", step, zero)
    unit, none = net.const("unit", np.float32(1 / 256)), net.const("none", np.uint8(0))
    net.node("QLinearSoftmax", "softmax", step, zero, unit, none, domain="com.microsoft", axis=-1, opset=13)
    net.node("DequantizeLinear", "real", unit, none)
    model = net.model()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    found = verify(save(model), limit=10)
    assert found.equal


def test_two_first_convolutions_that_are_added_before_the_quantizer_are_the_hosts(save) -> None:
    """The sum of both is the first activation."""
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


def test_a_gate_on_the_image_is_the_hosts(save) -> None:
    """x * sigmoid(convolution of x), before anything is quantized."""
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


@pytest.mark.parametrize("domain", ["", "com.microsoft"])
def test_weights_quantized_to_four_bits_in_the_graph(domain, save) -> None:
    """quantize_static with AddQDQPairToWeight: the integers between the pair are of a type that NumPy lacks."""
    net = small()
    scale, zero = net.const("scale", np.float32(0.5)), "zero"
    net.constants.append(helper.make_tensor(zero, TensorProto.INT4, [], [0]))
    pair = [
        helper.make_node("QuantizeLinear", ["conv.weight", scale, zero], ["whole"], "pair/q", domain=domain),
        helper.make_node("DequantizeLinear", ["whole", scale, zero], ["made"], "pair/dq", domain=domain),
    ]
    for node in net.nodes:
        if node.name == "conv":
            node.input[1] = "made"
    model = net.model(opset=17 if domain else 21)
    model.ir_version = 10
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    nodes = [*pair, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    assert verify(save(model), limit=10).equal


def test_a_quantizer_for_every_reader_of_the_image(save) -> None:
    """quantize_static with DedicatedQDQPair."""
    net = Builder((1, 6, 6))
    net.quantize("own", 1, 4)
    first, net.here = net.here, "image"
    net.quantize("twin", 1, 4)
    net.conv("conv", np.resize([1.0, -1.0, 0.0], (1, 1, 1, 1)))
    net.quantize("operand", 1, 4)
    net.node("Add", "add", first)
    net.quantize("quant", 1, 4)
    net.flatten()
    net.gemm("head", np.resize([1.0, -3.0, 2.0], (3, 36)))
    assert verify(save(net.model()), limit=10).equal
