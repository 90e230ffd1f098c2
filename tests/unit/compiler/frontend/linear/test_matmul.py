"""Matrices and means: every form of Gemm and MatMul, leading axes, and sums over any axis."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from support.against_reference import equal, finish, head, stem, ternary
from support.networks import Builder

from qsnnc import ModelError


def whole(net: Builder, name: str, value: np.ndarray) -> str:
    return net.const(name, value.astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("turned", [0, 1])
def test_gemm_with_alpha_beta_and_bias(save, turned) -> None:
    rng = np.random.default_rng(1)
    net = stem()
    net.flatten()
    weights = ternary(rng, 5, 108) if turned else ternary(rng, 108, 5)
    bias = rng.integers(-8, 9, (1, 5)) / 2
    net.node("Gemm", "fc", whole(net, "w", weights), whole(net, "b", bias), transB=turned, alpha=0.5, beta=2.0)
    net.quantize("q", 0, 3)
    finish(net, (5,))
    equal(net, save)


@pytest.mark.slow
def test_matrix_on_every_position_and_tokens_back_to_a_map(save) -> None:
    """As vision transformers cut patches: a map to tokens, a matrix with leading axes, tokens to a map."""
    rng = np.random.default_rng(2)
    net = stem(channels=4)
    net.node("Reshape", "flat", net.const("flat.shape", np.array([0, 4, 36])))
    net.node("Transpose", "tokens", perm=[0, 2, 1])
    net.node("MatMul", "mix", whole(net, "mix.weight", ternary(rng, 4, 5)))
    net.node("Add", "bias", whole(net, "bias.value", rng.integers(-4, 5, 5) / 2))
    net.quantize("q", 0, 3)
    net.node("MatMul", "mix2", whole(net, "mix2.weight", ternary(rng, 5, 3)))
    net.quantize("q2", 0, 3)
    net.node("Transpose", "back", perm=[0, 2, 1])
    net.node("Reshape", "map", net.const("map.shape", np.array([0, 3, 6, 6])))
    net.shape = (3, 6, 6)
    net.conv("conv", ternary(rng, 2, 3, 3, 3))
    net.quantize("q3", 0, 3)
    finish(net, net.shape)
    equal(net, save)


@pytest.mark.slow
def test_matrix_on_the_left_sums_over_the_axis_before_the_last(save) -> None:
    rng = np.random.default_rng(3)
    net = stem(channels=4)
    net.node("Reshape", "flat", net.const("flat.shape", np.array([0, 4, 36])))
    left = net.const("w", ternary(rng, 3, 4).astype(np.float32))
    data = net.here
    net.node("MatMul", "mix")
    net.nodes[-1].input[:] = [left, data]
    net.quantize("q", 0, 3)
    finish(net, (3, 36))
    equal(net, save)


@pytest.mark.slow
@pytest.mark.parametrize(("axes", "keep"), [((2, 3), 1), ((-1, -2), 0), ((3,), 1), ((2,), 0)])
@pytest.mark.parametrize("op", ["ReduceMean", "ReduceSum", "ReduceMax"])
def test_reductions_over_rows_or_columns(save, op, axes, keep) -> None:
    net = stem(shape=(1, 4, 8), channels=3)
    net.node(op, "reduce", net.const("axes", np.array(axes)), keepdims=keep)
    net.quantize("q", 2, 6)
    shape = [3, 4, 8]
    gone = {axis % 4 - 1 for axis in axes}
    finish(net, tuple(size for axis, size in enumerate(shape) if axis not in gone))
    equal(net, save, shape=(1, 4, 8), opset=18)


@pytest.mark.slow
def test_mean_over_tokens(save) -> None:
    rng = np.random.default_rng(4)
    net = stem(shape=(1, 4, 4), channels=4)
    net.node("Reshape", "flat", net.const("flat.shape", np.array([0, 4, 16])))
    net.node("Transpose", "tokens", perm=[0, 2, 1])
    net.node("MatMul", "mix", whole(net, "mix.weight", ternary(rng, 4, 5)))
    net.quantize("q", 1, 4)
    net.node("ReduceMean", "mean", axes=[1], keepdims=0)
    net.shape = (5,)
    head(net, 5)
    equal(net, save, shape=(1, 4, 4))


@pytest.mark.parametrize("op", ["ReduceMean", "GlobalAveragePool", "AveragePool"])
def test_matrix_on_the_sums_of_a_pool(save, op) -> None:
    net = stem(shape=(1, 4, 4))
    options = {"ReduceMean": {"axes": [2, 3], "keepdims": 1}, "AveragePool": {"kernel_shape": [2, 2], "strides": [2, 2]}}
    net.node(op, "pool", **options.get(op, {}))
    finish(net, (3, 2, 2) if op == "AveragePool" else (3,))
    equal(net, save, shape=(1, 4, 4))


def test_sum_over_the_batch_is_refused(save) -> None:
    net = stem()
    net.flatten()
    net.node("Transpose", "turn", perm=[1, 0])
    net.node("Gemm", "fc", whole(net, "w", np.ones((108, 4))), transA=1)
    net.quantize("q", 0, 3)
    net.shape = (4,)
    with pytest.raises(ModelError) as caught:
        equal(net, save)
    assert caught.value.code == "batch-moved"


@pytest.mark.slow
def test_tokens_mixed_across_positions(save) -> None:
    """As mixers do: the matrix sums over the positions, channel by channel."""
    rng = np.random.default_rng(5)
    net = stem(shape=(1, 3, 3), channels=4)
    net.node("Reshape", "flat", net.const("flat.shape", np.array([0, 4, 9])))
    net.node("MatMul", "mix", whole(net, "mix.weight", ternary(rng, 9, 6)))
    net.quantize("q", 0, 3)
    net.node("Transpose", "turn", perm=[0, 2, 1])
    net.node("MatMul", "mix2", whole(net, "mix2.weight", ternary(rng, 4, 3)))
    net.quantize("q2", 0, 3)
    finish(net, (6, 3))
    equal(net, save, shape=(1, 3, 3))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_convolution_on_a_reflection(save, mode) -> None:
    rng = np.random.default_rng(6)
    net = stem(shape=(1, 4, 4), channels=2)
    net.node("Pad", "pad", net.const("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1])), mode=mode)
    net.shape = (2, 6, 6)
    net.conv("conv", ternary(rng, 3, 2, 3, 3))
    net.quantize("q", 0, 3)
    net.conv("conv2", ternary(rng, 2, 3, 2, 2))
    net.quantize("q2", 0, 3)
    finish(net, net.shape)
    equal(net, save, shape=(1, 4, 4))


@pytest.mark.slow
def test_matmul_followed_by_a_bias(save) -> None:
    rng = np.random.default_rng(0)
    net = stem()
    net.flatten()
    net.node("MatMul", "fc1", net.const("fc1.weight", ternary(rng, 108, 8).astype(np.float32)))
    net.node("Add", "fc1_bias", net.const("fc1.bias", (rng.integers(-4, 5, 8) / 2).astype(np.float32)))
    net.shape = (8,)
    net.quantize("q", 1, 3)
    net.node("MatMul", "fc2", net.const("fc2.weight", rng.integers(-9, 10, (8, 4)).astype(np.float32)))
    net.node("Add", "fc2_bias", net.const("fc2.bias", np.float32([1, 2, -3, 0.5])))
    net.shape = (4,)
    equal(net, save)


@pytest.mark.slow
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("along", [None, 0, 1, 2])
def test_batched_matrices(left, along, save) -> None:
    """A constant matrix per channel, before a quantizer with factors along any axis."""
    net = stem()
    weights = ternary(np.random.default_rng(7), 3, 2, 6) if left else ternary(np.random.default_rng(7), 1, 3, 6, 2)
    name = net.const("w", weights.astype(np.float32))
    if left:
        net.nodes.append(helper.make_node("MatMul", [name, net.here], ["many"], "many"))
        net.here = "many"
    else:
        net.node("MatMul", "many", name)
    shape = (3, 2, 6) if left else (3, 6, 2)
    if along is not None:
        factors = np.resize(np.float32([0.5, 1, 2]), [size if axis == along else 1 for axis, size in enumerate(shape)])
        net.node("Mul", "scale", net.const("factors", factors))
    net.quantize("quant", 0, 3)
    net.node("MatMul", "mix", net.const("mix.w", ternary(np.random.default_rng(8), shape[2], 3).astype(np.float32)))
    net.quantize("quant2", 0, 3)
    equal(finish(net, (*shape[:2], 3)), save)
