"""Reshaped, transposed, sliced, expanded and padded tensors before a linear layer."""

from __future__ import annotations

import numpy as np
import pytest
from support.against_reference import equal, finish, head, ints, stem, ternary
from support.networks import Builder

from qsnnc import ModelError, compile_model

NHWC, NCHW = [0, 2, 3, 1], [0, 3, 1, 2]


@pytest.mark.parametrize("shape", [[1, -1], [0, -1], [-1, 108], [1, 108]])
def test_reshape_to_a_constant_shape(save, shape) -> None:
    net = stem()
    net.node("Reshape", "flat", net.const("shape", np.array(shape, np.int64)))
    net.shape = (108,)
    head(net, 108)
    model = net.model()
    if shape[0] == 1:
        for value in (model.graph.input[0], model.graph.output[0]):
            value.type.tensor_type.shape.dim[0].dim_value = 1
    equal(model, save)


@pytest.mark.slow
def test_transpose_before_a_matrix_permutes_its_columns(save) -> None:
    net = stem()
    net.node("Transpose", "turn", perm=[0, 2, 3, 1])
    net.flatten()
    net.shape = (108,)
    head(net, 108)
    equal(net, save)


@pytest.mark.slow
def test_overlapping_slices(save) -> None:
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
    equal(finish(net, net.shape), save, certified=False)


@pytest.mark.slow
def test_expand_over_a_map(save) -> None:
    net = stem(channels=3)
    net.node("GlobalMaxPool", "pool")
    net.node("Expand", "expand", ints(net, "to", 1, 3, 4, 4))
    net.shape = (3, 4, 4)
    net.conv("conv", ternary(np.random.default_rng(6), 2, 3, 2, 2))
    net.quantize("q", 0, 3)
    equal(finish(net, net.shape), save, certified=False)


def test_pad_before_a_flatten_in_opset_8(save) -> None:
    net = Builder((1, 6, 6))
    net.node("Mul", "scale", net.const("scale.k", np.float32(1 / 64)))
    net.node("Clip", "clip", min=0.0, max=3.0)
    net.node("Floor", "floor")
    net.node("Pad", "pad", pads=[0, 0, 0, 1, 0, 0, 2, 0])
    equal(finish(net, (1, 8, 7)), save, opset=8)


def channels_last(pool: str, *, late: bool) -> Builder:
    """A transpose before and behind every convolution and pool, as converters from channels-last frameworks write it."""
    rng = np.random.default_rng(5)
    net = Builder((6, 6, 1))
    net.node("Transpose", "t0", perm=NCHW)
    net.shape = (1, 6, 6)
    net.conv("stem", rng.integers(-20, 30, (4, 1, 1, 1)) / 4096.0)
    net.node("Transpose", "t1", perm=NHWC)
    net.node("Add", "bias", net.const("bias.k", np.float32([0.5, 0, -0.5, 1])))
    net.quantize("q0", 1, 3)
    net.node("Transpose", "t2", perm=NCHW)
    net.conv("depthwise", ternary(rng, 4, 1, 3, 3), group=4, pads=[1] * 4)
    if late:
        net.node(pool, "pool", kernel_shape=[2, 2], strides=[2, 2])
        net.node("Transpose", "t3", perm=NHWC)
    else:
        net.node("Transpose", "t3", perm=NHWC)
        net.quantize("q1", 1, 3)
        net.node("Transpose", "t4", perm=NCHW)
        net.node(pool, "pool", kernel_shape=[2, 2], strides=[2, 2])
        net.node("Transpose", "t5", perm=NHWC)
    net.node("Mul", "factor", net.const("factor.k", np.float32([0.5, -1, 1, 2])))
    net.quantize("q2", 1, 3)
    net.shape = (3, 3, 4)
    net.flatten()
    net.gemm("head", np.resize([1.0, -3.0, 2.0, 5.0, -7.0], (4, 36)))
    return net


@pytest.mark.slow
@pytest.mark.parametrize(("pool", "late"), [("MaxPool", False), ("AveragePool", False), ("MaxPool", True)])
def test_channels_last_layout_keeps_the_convolution(pool, late, save) -> None:
    done, _ = equal(channels_last(pool, late=late), save, (6, 6, 1), certified=False)
    depthwise = next(layer for layer in done.graph.layers if layer.name == "depthwise")
    assert depthwise.shape[0] == 4, "a kernel of four channels, not a matrix"
    assert depthwise.connections[0].weights.size == 36


def test_rows_that_mix_channels_beyond_what_a_matrix_may_hold_are_refused_with_its_size(save) -> None:
    rng = np.random.default_rng(0)
    net = Builder((1, 28, 28))
    net.quantize("image", 1, 3)
    net.conv("stem", ternary(rng, 32, 1, 3, 3), pads=[1] * 4)
    net.quantize("q0", 1, 3)
    net.node("Reshape", "rows", net.const("rows.shape", np.array([-1, 16, 1568], np.int64)))
    net.node("MatMul", "tokens", net.const("tokens.weight", ternary(rng, 1568, 64).astype(np.float32)))
    net.quantize("q1", 0, 3)
    net.shape = (1024,)
    with pytest.raises(ModelError, match=r"a matrix of 25,690,112 weights .*at most 8,388,608") as caught:
        compile_model(save(finish(net, (1024,)).model()))
    assert (caught.value.code, caught.value.fields["node"]) == ("reordered", "tokens")
