"""Upsampling, transposed convolutions and what reads them: a channel for each phase, one kernel for all positions."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from support.against_reference import equal, finish, stem, ternary
from support.networks import Builder

from qsnnc import ModelError


def upsampled(net: Builder, factor: int = 2, op: str = "Resize", **options: object) -> None:
    """Nearest, by one factor."""
    extra = [net.const(f"scales{len(net.nodes)}", np.array([1, 1, factor, factor], np.float32))]
    before = ["", *extra] if op == "Resize" else extra
    options = {"mode": "nearest", **({"coordinate_transformation_mode": "asymmetric"} if op == "Resize" else {}), **options}
    if op == "Resize":
        options.setdefault("nearest_mode", "floor")
    net.node(op, f"up{len(net.nodes)}", *before, **options)
    net.shape = (net.shape[0], factor * net.shape[1], factor * net.shape[2])


def turned(net: Builder, name: str, weights: np.ndarray, size: tuple[int, int], bias=None, **options: object) -> None:
    extra = [net.const(f"{name}.weight", weights.astype(np.float32))]
    if bias is not None:
        extra.append(net.const(f"{name}.bias", np.asarray(bias, np.float32)))
    net.node("ConvTranspose", name, *extra, **options)
    net.shape = (weights.shape[1] * options.get("group", 1), *size)


@pytest.mark.slow
@pytest.mark.parametrize(
    "conv",
    [{"pads": [1] * 4}, {"pads": [1] * 4, "group": 3}, {"strides": [2, 2]}, {"strides": [1, 2], "pads": [1, 0, 1, 1]}],
)
@pytest.mark.parametrize("factor", [2, 3])
def test_convolution_on_an_upsampled_map(save, conv, factor) -> None:
    rng = np.random.default_rng(1)
    net = stem(channels=3)
    upsampled(net, factor)
    net.conv("conv", ternary(rng, 3, 3 // conv.get("group", 1), 3, 3), np.array([0.5, -1, 0]), **conv)
    net.node("Mul", "scale", net.const("scale.value", np.float32([1.0, 0.5, -1.0]).reshape(3, 1, 1)))
    net.quantize("q", 0, 3)
    finish(net)
    equal(net, save)


@pytest.mark.slow
def test_a_kernel_serves_all_positions_and_class_and_phase_their_thresholds(save) -> None:
    rng = np.random.default_rng(2)
    net = stem(channels=3)
    upsampled(net)
    net.conv("conv", ternary(rng, 4, 3, 3, 3), pads=[1] * 4)
    net.quantize("q", 0, 3)
    finish(net)
    done, _ = equal(net, save)
    layer = done.graph.population("conv")
    assert layer.shape == (16, 6, 6)
    assert [link.weights.shape for link in layer.connections] == [(16, 3, 3, 3)]
    assert layer.thresholds.shape[0] == 1


@pytest.mark.slow
def test_twice_upsampled_and_joined_with_what_was_there(save) -> None:
    """As U-Net does: down, up, a copy from before beside it, and a convolution on both."""
    rng = np.random.default_rng(3)
    net = stem((1, 8, 8), channels=3)
    first = net.here
    net.node("MaxPool", "down", kernel_shape=[2, 2], strides=[2, 2])
    net.shape = (3, 4, 4)
    net.conv("low", ternary(rng, 4, 3, 3, 3), pads=[1] * 4)
    net.quantize("low/q", 0, 3)
    upsampled(net)
    net.conv("mid", ternary(rng, 2, 4, 3, 3), pads=[1] * 4)
    net.quantize("mid/q", 1, 3)
    net.node("Concat", "cat", first, axis=1)
    net.shape = (5, 8, 8)
    net.conv("out", ternary(rng, 3, 5, 3, 3), pads=[1] * 4)
    net.quantize("out/q", 0, 3)
    net.conv("scores", ternary(rng, 2, 3, 1, 1))
    equal(net, save, shape=(1, 8, 8))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "size", "options"),
    [
        (2, (12, 12), {"strides": [2, 2]}),
        (3, (12, 12), {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]}),
        (4, (12, 12), {"strides": [2, 2], "pads": [1] * 4}),
        (3, (6, 6), {"pads": [1] * 4}),
        (3, (8, 8), {}),
        (3, (13, 13), {"strides": [2, 2]}),
        (2, (12, 12), {"strides": [2, 2], "group": 2}),
        (2, (12, 6), {"strides": [2, 1], "dilations": [1, 1], "pads": [0, 1, 0, 0]}),
        (2, (18, 18), {"strides": [3, 3], "output_padding": [1, 1]}),
    ],
)
def test_transposed_convolution(save, kernel, size, options) -> None:
    rng = np.random.default_rng(4)
    net = stem(channels=4)
    groups = options.get("group", 1)
    turned(net, "up", ternary(rng, 4, 4 // groups, kernel, kernel), size, [0.5, -1, 0, 2], **options)
    net.quantize("q", 0, 3)
    net.conv("conv", ternary(rng, 2, 4, 3, 3), pads=[1] * 4)
    net.quantize("q2", 0, 3)
    finish(net)
    equal(net, save)


@pytest.mark.slow
def test_transposed_convolution_of_levels_with_a_zero_point(save) -> None:
    rng = np.random.default_rng(5)
    net = stem(channels=3)
    net.node("Sub", "shift", net.const("one", np.float32(1.0)))
    net.node("MaxPool", "same", kernel_shape=[1, 1])
    turned(net, "up", ternary(rng, 3, 2, 3, 3), (13, 13), strides=[2, 2])
    net.quantize("q", 0, 3)
    finish(net)
    equal(net, save)


@pytest.mark.slow
def test_older_upsample_and_one_axis(save) -> None:
    rng = np.random.default_rng(6)
    net = stem(channels=3)
    upsampled(net, op="Upsample")
    net.conv("conv", ternary(rng, 2, 3, 3, 3), pads=[1] * 4)
    net.quantize("q", 0, 3)
    finish(net)
    for node in net.nodes:  # opset 9: Clip's bounds are attributes
        if node.op_type == "Clip":
            del node.input[1:]
            node.attribute.extend([helper.make_attribute("min", 0.0), helper.make_attribute("max", 3.0)])
        if node.op_type == "Round":
            node.op_type = "Ceil"
    equal(net, save, opset=9)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "options"), [
    ((12, 13), {"output_shape": [12, 13], "strides": [2, 2], "pads": [1, 0, 1, 1]}),  # pads are not read
    ((13, 12), {"output_shape": [13, 12], "strides": [2, 2], "dilations": [2, 1]}),
    ((12, 16), {"output_shape": [12, 16], "strides": [2, 3], "output_padding": [1, 2]}),
    ((12, 18), {"auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    ((12, 18), {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    ((12, 6), {"auto_pad": "SAME_UPPER", "strides": [2, 1], "output_shape": [12, 6]}),
    ((8, 13), {"auto_pad": "VALID", "strides": [1, 2]}),
])  # fmt: skip
def test_transposed_convolution_whose_size_is_given(save, size, options) -> None:
    """As Keras' Conv2DTranspose, converted by tf2onnx; an odd number of rows is cut once more at one end."""
    net = stem(channels=3)
    turned(net, "up", ternary(np.random.default_rng(6), 3, 2, 3, 3), size, **options)
    net.quantize("q", 0, 3)
    equal(finish(net), save)


def test_what_is_refused_by_name(save) -> None:
    net = stem(channels=3)
    upsampled(net, mode="cubic")
    net.conv("conv", np.ones((2, 3, 1, 1)))
    net.quantize("q", 0, 3)
    finish(net)
    with pytest.raises(ModelError, match="Resize") as caught:
        equal(net, save)
    assert caught.value.code == "model-attribute"


@pytest.mark.slow
def test_an_enlarged_operand_of_another_scale(save) -> None:
    """Added by enumeration of pairs of levels: a channel for each phase, and no tensor of the file that lies so."""
    net = stem(channels=3)
    first, scale = net.here, net.shape
    net.conv("down", ternary(np.random.default_rng(4), 3, 3, 2, 2), strides=[2, 2])
    net.quantize("small", 1, 3)
    net.node("Mul", "odd", net.const("odd.k", np.float32(0.3172)))
    upsampled(net)
    assert net.shape == scale
    net.node("Add", "add", first)
    net.quantize("q", 1, 3)
    finish(net)
    done, _ = equal(net, save, certified=False)
    assert done.graph.population("add").shape == (12, 3, 3)
