"""Operators that move values: concatenated, sliced, padded, transposed and split tensors, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper
from support.against_reference import equal, finish, head, ints, stem, ternary
from support.networks import Builder

from qsnnc import ModelError


def branch(net: Builder, name: str, start: str, channels: int, inputs: int, rng, k: int = 1, levels: int = 3) -> str:
    """A convolution of one tap and a quantizer on an earlier tensor."""
    net.here = start
    net.conv(name, ternary(rng, channels, inputs, 1, 1))
    net.quantize(f"{name}/quant", k, levels)
    return net.here


def joined(rng, kinds=((2, 1, 3), (3, 1, 3))) -> Builder:
    """Two quantized branches, concatenated on channels."""
    net = stem(channels=3)
    start, shape = net.here, net.shape
    operands = []
    for number, (channels, k, levels) in enumerate(kinds):
        net.shape = shape
        operands.append(branch(net, f"operand{number}", start, channels, 3, rng, k, levels))
    net.here = operands[0]
    net.node("Concat", "cat", *operands[1:], axis=1)
    net.shape = (sum(kind[0] for kind in kinds), *shape[1:])
    return net


@pytest.mark.slow
@pytest.mark.parametrize("groups", [1, 5])
def test_concat_before_a_convolution(save, groups) -> None:
    rng = np.random.default_rng(1)
    net = joined(rng)
    net.conv("conv", ternary(rng, 5, 5 // groups, 3, 3), pads=[1] * 4, group=groups)
    net.quantize("q", 0, 3)
    finish(net, net.shape)
    done, _ = equal(net, save)
    conv = next(layer for layer in done.graph.layers if layer.name == "conv")
    assert [link.source for link in conv.connections] == ["operand0", "operand1"]


@pytest.mark.slow
def test_concat_of_different_scales_and_levels(save) -> None:
    rng = np.random.default_rng(2)
    net = joined(rng, ((2, 1, 3), (2, 2, 5)))
    net.conv("conv", ternary(rng, 3, 4, 2, 2))
    net.quantize("q", 0, 3)
    finish(net, net.shape)
    done, _ = equal(net, save)
    conv = next(layer for layer in done.graph.layers if layer.name == "conv")
    assert [int(np.abs(link.weights).max()) for link in conv.connections] == [2, 1]


@pytest.mark.slow
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_concat_before_a_pool(save, op) -> None:
    rng = np.random.default_rng(3)
    net = joined(rng, ((2, 1, 3), (1, 1, 2), (2, 1, 3)))
    net.node(op, "pool", kernel_shape=[2, 2], strides=[2, 2])
    net.shape = (5, 3, 3)
    if op == "AveragePool":
        net.quantize("q", 1, 3)
    finish(net, net.shape)
    equal(net, save)


@pytest.mark.slow
def test_concat_of_sums_before_a_quantizer_with_a_scale_a_channel(save) -> None:
    rng = np.random.default_rng(4)
    net = stem(channels=3)
    start = net.here
    net.conv("a", ternary(rng, 2, 3, 1, 1))
    left = net.here
    net.here = start
    net.shape = (3, 6, 6)
    net.conv("b", ternary(rng, 3, 3, 1, 1))
    right = net.here
    net.here = left
    net.node("Concat", "cat", right, axis=1)
    net.shape = (5, 6, 6)
    net.batch_norm("bn", [0.5, -0.5, 0.25, 1, 2], np.zeros(5), [0.1, 0.2, 0.3, 0, 0], np.ones(5))
    net.quantize("q", 1, 3)
    finish(net, net.shape)
    equal(net, save)


@pytest.mark.slow
def test_concat_then_batch_norm_then_quantizer_as_dense_nets_do(save) -> None:
    rng = np.random.default_rng(5)
    net = joined(rng)
    net.batch_norm("bn", [0.5, 0.7, 0.25, 1, -2], np.array([0, 0.1, 0.2, 0, 2]), np.zeros(5), np.ones(5))
    net.node("Relu", "relu")
    net.quantize("q", 1, 3)
    net.conv("conv", ternary(rng, 3, 5, 2, 2))
    net.quantize("q2", 0, 3)
    finish(net, net.shape)
    equal(net, save, certified=False)


@pytest.mark.slow
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_slices(save, axis) -> None:
    rng = np.random.default_rng(6)
    net = stem(channels=4)
    net.node("Slice", "cut", ints(net, "from", 1), ints(net, "to", 100), ints(net, "axes", axis), ints(net, "steps", 2))
    shape = [4, 6, 6]
    shape[axis - 1] = len(range(1, shape[axis - 1], 2))
    net.shape = tuple(shape)
    net.conv("conv", ternary(rng, 3, shape[0], 2, 2), pads=[1, 1, 1, 1] if axis == 1 else [0, 0, 0, 0])
    net.quantize("q", 0, 3)
    finish(net, net.shape)
    equal(net, save)


@pytest.mark.slow
def test_split_and_shuffle_of_channels(save) -> None:
    """As ShuffleNet does: groups, channels dealt out anew, and a depthwise convolution on half of them."""
    rng = np.random.default_rng(7)
    net = stem(channels=4)
    net.node("Reshape", "deal", ints(net, "deal.shape", 0, 2, 2, 6, 6))
    net.node("Transpose", "swap", perm=[0, 2, 1, 3, 4])
    net.node("Reshape", "back", ints(net, "back.shape", 0, 4, 6, 6))
    net.nodes.append(
        helper.make_node("Split", [net.here, ints(net, "sizes", 2, 2)], ["left", "right"], axis=1, name="split")
    )
    net.here, net.shape = "left", (2, 6, 6)
    net.conv("depthwise", ternary(rng, 2, 1, 3, 3), pads=[1] * 4, group=2)
    net.quantize("q", 1, 3)
    net.node("Concat", "cat", "right", axis=1)
    net.shape = (4, 6, 6)
    net.conv("conv", ternary(rng, 3, 4, 1, 1))
    net.quantize("q2", 0, 3)
    finish(net, net.shape)
    equal(net, save)


@pytest.mark.slow
def test_gather_reorders_channels(save) -> None:
    rng = np.random.default_rng(8)
    net = stem(channels=4)
    net.node("Gather", "pick", ints(net, "pick.at", 3, 0, 0), axis=1)
    net.shape = (3, 6, 6)
    net.conv("conv", ternary(rng, 3, 3, 2, 2))
    net.quantize("q", 0, 3)
    finish(net, net.shape)
    equal(net, save)


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, 0.5, 0.75, -1.0])
@pytest.mark.parametrize("opset", [10, 17])
def test_pad_with_any_constant_before_a_convolution(save, value, opset) -> None:
    rng = np.random.default_rng(9)
    net = Builder((1, 6, 6))
    net.conv("stem", rng.integers(-20, 30, (3, 1, 1, 1)) / 4096.0)
    net.node("Floor", "floor")
    if opset == 10:
        net.node("Clip", "clip", min=0.0, max=2.0)
        net.node("Pad", "pad", pads=[0, 0, 1, 2, 0, 0, 0, 1], value=value)
    else:
        net.node("Clip", "clip", net.const("low", np.float32(0)), net.const("high", np.float32(2)))
        net.node("Pad", "pad", ints(net, "pads", 0, 0, 1, 2, 0, 0, 0, 1), net.const("value", np.float32(value)))
    net.shape = (3, 7, 9)
    net.conv("conv", ternary(rng, 3, 3, 3, 3), pads=[1] * 4)
    net.node("Floor", "floor2")
    bounds = {"min": 0.0, "max": 2.0} if opset == 10 else {}
    extra = [] if opset == 10 else [net.const("low2", np.float32(0)), net.const("high2", np.float32(2))]
    net.node("Clip", "clip2", *extra, **bounds)
    finish(net, net.shape)
    done, _ = equal(net, save, opset=opset)
    conv = next(layer for layer in done.graph.layers if layer.name == "conv")
    assert (len(np.unique(conv.border)) == 1) == (value == 0.0)


@pytest.mark.slow
def test_pad_before_a_max_pool_wins_where_it_is_a_level(save) -> None:
    for value, code in ((0.0, ""), (-3.0, ""), (0.5, ""), (1.5, ""), (0.3, "pad-value"), (2.0, "pad-value")):
        net = stem(channels=2)
        net.node("Pad", "pad", ints(net, "pads", 0, 0, 1, 1, 0, 0, 1, 1), net.const("value", np.float32(value)))
        net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[2, 2])
        net.shape = (2, 4, 4)
        finish(net, net.shape)
        if code:
            with pytest.raises(ModelError) as caught:
                equal(net, save)
            assert caught.value.code == code
        else:
            equal(net, save)


@pytest.mark.slow
def test_space_to_depth_before_a_convolution(save) -> None:
    rng = np.random.default_rng(10)
    net = stem(channels=2)
    net.node("SpaceToDepth", "fold", blocksize=2)
    net.shape = (8, 3, 3)
    net.conv("conv", ternary(rng, 3, 8, 2, 2), pads=[1] * 4)
    net.quantize("q", 0, 3)
    finish(net, net.shape)
    equal(net, save)


@pytest.mark.slow
def test_quantizer_with_a_scale_a_channel_behind_a_transpose(save) -> None:
    rng = np.random.default_rng(11)
    net = stem(channels=3)
    net.conv("conv", ternary(rng, 4, 3, 2, 2))
    net.node("Transpose", "last", perm=[0, 2, 3, 1])
    net.node("Add", "shift", net.const("shift.value", np.float32([0.5, -0.5, 0, 1])))
    net.quantize("q", 0, 3)
    net.node("Transpose", "first", perm=[0, 3, 1, 2])
    net.shape = (4, 5, 5)
    net.conv("conv2", ternary(rng, 2, 4, 2, 2))
    net.quantize("q2", 0, 3)
    finish(net, net.shape)
    equal(net, save)


@pytest.mark.slow
@pytest.mark.parametrize("pooled", [False, True])
def test_sums_whose_channels_are_shuffled_before_a_quantizer_with_a_scale_a_channel(save, pooled) -> None:
    rng = np.random.default_rng(12)
    net = stem(channels=2)
    net.conv("conv", ternary(rng, 6, 2, 3, 3))
    net.node("Reshape", "deal", net.const("deal.shape", np.array([0, 3, 2, 4, 4], np.int64)))
    net.node("Transpose", "swap", perm=[0, 2, 1, 3, 4])
    net.node("Reshape", "back", net.const("back.shape", np.array([0, 6, 4, 4], np.int64)))
    if pooled:
        net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[2, 2])
        net.shape = (6, 2, 2)
    net.node("Mul", "gain", net.const("gain.value", np.float32([1, 2, -1, 0.5, 1, 4]).reshape(6, 1, 1)))
    net.node("Add", "bias", net.const("bias.value", np.float32([0, -1, 2, 0.5, 1, -3]).reshape(6, 1, 1)))
    net.quantize("q", 0, 3)
    finish(net)
    equal(net, save, certified=False)


@pytest.mark.slow
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("op", ["MaxPool", "Transpose", "Concat"])
def test_values_on_no_grid_between_two_quantizers(op, twice, save) -> None:
    """A batch normalization of levels, left in float, has uneven values: they count once they are quantized again."""
    rng = np.random.default_rng(8)
    net = stem(channels=3)
    net.conv("conv", ternary(rng, 4, 3, 3, 3))
    net.quantize("q0", 1, 3)
    levels = net.here
    net.node("Mul", "factor", net.const("factor.k", np.float32([0.71327, 1.31713, -0.93771, 1.11937]).reshape(4, 1, 1)))
    net.node("Add", "shift", net.const("shift.k", np.float32([0.12391, -0.31117, 2.21733, 0.41719]).reshape(4, 1, 1)))
    net.node("Relu", "relu")
    if op == "MaxPool":
        net.node(op, "move", kernel_shape=[3, 3], pads=[1] * 4)
    elif op == "Transpose":
        net.node(op, "move", perm=[0, 1, 3, 2])
    else:
        net.node(op, "move", net.here, axis=1)
        net.shape = (8, 4, 4)
    net.quantize("q1", 1, 3)
    net.conv("next", ternary(rng, 4, net.shape[0], 3, 3))
    net.quantize("q2", 0, 3)
    if twice:
        first, net.here, net.shape = net.here, levels, (4, 4, 4)
        net.conv("again", ternary(rng, 4, 4, 3, 3))
        net.quantize("q3", 0, 3)
        net.node("Add", "both", first)
    equal(finish(net, net.shape), save)


@pytest.mark.slow
def test_constants_that_differ_by_position_before_a_quantizer(save) -> None:
    rng = np.random.default_rng(12)
    net = stem(channels=3)
    net.conv("conv", ternary(rng, 2, 3, 1, 1))
    net.node("Add", "place", net.const("place.value", (rng.integers(-4, 5, (1, 2, 6, 6)) / 2).astype(np.float32)))
    net.quantize("q", 0, 3)
    finish(net, net.shape)
    done, _ = equal(net, save)
    conv = next(layer for layer in done.graph.layers if layer.name == "conv")
    assert len(np.unique(conv.border)) == 36


@pytest.mark.slow
def test_constants_by_feature_behind_a_flatten(save) -> None:
    rng = np.random.default_rng(13)
    net = stem(channels=3)
    net.conv("conv", ternary(rng, 2, 3, 1, 1))
    net.flatten()
    net.node("Mul", "scale", net.const("scale.value", rng.choice(np.float32([0.25, 0.5, 1]), 72)))
    net.quantize("q", 0, 3)
    head(net, 72)
    equal(net, save)


@pytest.mark.slow
def test_a_reflection_that_would_take_too_many_weights_is_refused_with_what_to_do(save) -> None:
    net = stem(shape=(1, 40, 40), channels=4)
    net.node("Pad", "pad", ints(net, "pads", 0, 0, 1, 1, 0, 0, 1, 1), mode="reflect")
    net.shape = (4, 42, 42)
    net.conv("conv", np.ones((4, 4, 3, 3)))
    net.quantize("q", 0, 3)
    finish(net, net.shape)
    with pytest.raises(ModelError, match="before a matrix product") as caught:
        equal(net, save, shape=(1, 40, 40))
    assert caught.value.code == "reordered"


@pytest.mark.slow
def test_reflection_before_a_matrix_is_an_order_of_columns(save) -> None:
    net = stem(channels=2)
    net.node("Pad", "pad", ints(net, "pads", 0, 0, 1, 1, 0, 0, 1, 1), mode="reflect")
    net.shape = (2, 8, 8)
    net.flatten()
    head(net, 128)
    equal(net, save)


MOVERS = {
    "pad": ("Pad", [(0, 0, 1, 0, 0, 0, 0, 1)], {}, (4, 6, 6)),
    "channels": ("Pad", [(0, 1, 0, 0, 0, 0, 1, 0)], {}, (5, 6, 5)),
    "reflect": ("Pad", [(0, 0, 1, 0, 0, 0, 0, 1)], {"mode": "reflect"}, (4, 6, 6)),
    "cut": ("Slice", [(1,), (9,), (1,)], {}, (3, 5, 5)),
    "crop": ("Slice", [(1,), (9,), (2,), (2,)], {}, (4, 2, 5)),
    "gather": ("Gather", [(3, 0, 2)], {"axis": 1}, (3, 5, 5)),
    "turn": ("Transpose", [], {"perm": [0, 2, 3, 1]}, (5, 5, 4)),
    "flat": ("Reshape", [(0, -1)], {}, (100,)),
    "last": ("Reshape", [(0, 5, 4, 5)], {}, (5, 4, 5)),
}


@pytest.mark.slow
@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("second", [None, "pad", "cut"])
@pytest.mark.parametrize("first", MOVERS)
def test_moved_averages_before_a_quantizer_that_differs_by_channel(save, first, second, scaled) -> None:
    """What moves values stands between unquantized sums and constants that belong to the places behind it."""
    net = stem(channels=4, shape=(1, 6, 6))
    net.node("AveragePool", "average", kernel_shape=[2, 2], strides=[1, 1])
    if scaled:  # by channel, before the values are moved
        net.node("Mul", "before", net.const("before.k", np.float32([1, 0.5, 2, 1]).reshape(4, 1, 1)))
        net.node("Add", "shift", net.const("shift.k", np.float32([0.5, 0, -1, 0.25]).reshape(4, 1, 1)))
    steps = (first, second) if second and len(MOVERS[first][3]) == 3 else (first,)
    for step, name in enumerate(steps):
        op, inputs, attributes, shape = MOVERS[name]
        rows = [ints(net, f"{net.here}.{number}", *values) for number, values in enumerate(inputs)]
        net.node(op, f"{net.here}.{name}", *rows, **attributes)
        more = {"pad": (0, 1, 1), "cut": (-1, 0, 0)}
        net.shape = tuple(np.add(net.shape, more[name]).tolist()) if step else shape
    bias = np.resize(np.float32([0, 0.5, -0.25, 1, 0.75]), (net.shape[0], *[1] * (len(net.shape) - 1)))
    net.node("Add", "bias", net.const("bias.k", bias))
    net.quantize("q", 1, 5)
    finish(net)
    done, _ = equal(net, save)
    assert not any(layer.uncertain for layer in done.graph.layers)


def test_copies_of_sums_that_are_quantized_in_two_ways_are_refused(save) -> None:
    net = stem(channels=4)
    net.node("AveragePool", "average", kernel_shape=[2, 2], strides=[1, 1])
    net.node("Gather", "gather", ints(net, "which", 0, 1, 0), axis=1)
    net.node("Add", "bias", net.const("bias.k", np.float32([0, 0, 1]).reshape(3, 1, 1)))
    net.quantize("q", 1, 5)
    finish(net, (3, 5, 5))
    with pytest.raises(ModelError, match="copies of the same sums differently") as caught:
        equal(net, save)
    assert caught.value.code == "requantized"


@pytest.mark.slow
def test_moved_sums_of_an_integer_type_stay_of_that_type(save) -> None:
    net = stem(channels=4)
    net.node("Cast", "whole", to=TensorProto.INT32)
    net.node("Mul", "four", net.const("four.k", np.int32(2)))
    net.node("ReduceSum", "sum", ints(net, "sum.axis", 3), keepdims=1)
    net.node("Mul", "factor", net.const("factor.k", np.array([1, 2, 1, 3], np.int32).reshape(4, 1, 1)))
    net.node("Slice", "cut", ints(net, "cut.start", 1), ints(net, "cut.end", 9), ints(net, "cut.axis", 1))
    net.node("Add", "bias", net.const("bias.k", np.array([3, -2, 0], np.int32).reshape(3, 1, 1)))
    net.node("Cast", "back", to=TensorProto.FLOAT)
    net.quantize("q", -3, 4)
    equal(finish(net, (3, 6, 1)), save)
