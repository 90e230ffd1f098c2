"""Spellings that the standard allows and few exporters write."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper
from support.against_reference import equal, finish, head, ints, stem, ternary
from support.networks import Builder

import chipsim
from chipsim.datasets import Dataset
from qsnnc import compile_model, verify
from qsnnc.frontend.model.reference import session


def typed(net: Builder, name: str, kind: int, *values: int) -> str:
    """A constant of a type that numpy has not."""
    net.constants.append(helper.make_tensor(name, kind, [len(values)] if len(values) > 1 else [], values))
    return name


@pytest.mark.parametrize("which", [0, 1])
def test_the_host_reads_both_outputs_of_topk(which, save) -> None:
    net = stem()
    net.flatten()
    head(net, 108)
    net.nodes.append(helper.make_node("TopK", [net.here, ints(net, "k", 2)], ["values", "indices"], name="top", axis=1))
    net.here, net.shape = ("values", "indices")[which], (2,)
    model = net.model()
    if which:
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    equal(model, save)


def test_a_batch_norm_behind_a_slice_that_leaves_one_channel(save) -> None:
    net = stem()
    net.conv("conv", ternary(np.random.default_rng(2), 3, 3, 2, 2))
    net.node("Slice", "cut", ints(net, "starts", 1), ints(net, "ends", 2), ints(net, "axes", 1))
    net.batch_norm("bn", [-0.5], [1.0], [0.5], [1.0 - 1e-5])
    net.quantize("quant", 1, 3)
    equal(finish(net, (1, 5, 5)), save, certified=False)


def test_a_pad_before_a_flatten_of_opset_8(save) -> None:
    net = Builder((1, 6, 6))
    net.node("Mul", "scale", net.const("scale.k", np.float32(1 / 64)))
    net.node("Clip", "clip", min=0.0, max=3.0)
    net.node("Floor", "floor")
    net.node("Pad", "pad", pads=[0, 0, 0, 1, 0, 0, 2, 0])
    equal(finish(net, (1, 8, 7)), save, opset=8)


@pytest.mark.parametrize(("kind", "opset"), [(TensorProto.INT8, 10), (TensorProto.UINT8, 13), (TensorProto.INT16, 21)])
def test_integers_between_microsofts_quantizers(kind, opset, save) -> None:
    """What clips or moves them has their type."""
    net = stem() if opset > 10 else Builder((1, 6, 6))
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    constants = [net.const("unit", np.float32(0.5)), net.const("zero", dtype.type(3))]
    net.node("QuantizeLinear", "q", *constants, domain="com.microsoft", **({} if opset > 10 else {"axis": 1}))
    if opset > 11 and dtype.itemsize == 1:
        net.node("Clip", "clip", net.const("low", dtype.type(4)), net.const("high", dtype.type(6)))
    net.node("Transpose", "turn", perm=[0, 1, 3, 2])
    net.node("DequantizeLinear", "dq", *constants, domain="com.microsoft")
    if opset == 10:
        net.node("Clip", "clip", min=0.0, max=2.0)
    model = finish(net).model(opset=opset)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    equal(model, save)


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
def test_less_than_a_byte_that_the_file_computes(kind, domain, opset, inside, save) -> None:
    """onnxruntime computes with such integers and does not hand them over as arrays."""
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


def reordered(net: Builder, how: str) -> Builder:
    """A max pool whose windows do not lie in a population's rows and columns: levels of a convolution, moved."""
    pool = {"kernel_shape": [2, 2], "strides": [1, 1], "pads": [1, 0, 0, 1]}
    if how == "transpose":
        net.node("Transpose", "turn", perm=[0, 2, 3, 1])
        net.node("MaxPool", "pool", **pool)
        return finish(net, (6, 6, 3))
    if how == "reshape":
        net.node("Reshape", "deal", ints(net, "shape", 0, 4, 9, 3))
        net.node("MaxPool", "pool", **pool, dilations=[2, 1])
        return finish(net, (4, 8, 3))
    if how == "edge":
        net.node("Pad", "edge", ints(net, "pads", 0, 0, 1, 1, 0, 0, 0, 1), "", mode="edge")
        net.node("MaxPool", "pool", kernel_shape=[3, 2], strides=[2, 2])
        return finish(net, (3, 3, 4))
    if how == "constant":
        net.node("Transpose", "turn", perm=[0, 2, 1, 3])
        net.node("Pad", "one", ints(net, "pads", 0, 0, 0, 2, 0, 0, 0, 0), net.const("value", np.float32(0.5)))
        net.node("MaxPool", "pool", kernel_shape=[2, 2])
        return finish(net, (6, 2, 7))
    net.node("ReduceMax", "most", axes=[1], keepdims=how == "kept")
    return finish(net, (1, 6, 6))


@pytest.mark.parametrize("how", ["transpose", "reshape", "edge", "constant", "kept", "channels"])
@pytest.mark.parametrize("late", [False, True])
def test_a_max_pool_of_what_was_reordered(how, late, save) -> None:
    """Quantized before the pool, or behind it by a map that falls."""
    net = stem()
    net.conv("conv", ternary(np.random.default_rng(3), 3, 3, 1, 1))
    if not late:
        net.quantize("quant", 1, 3)
    net = reordered(net, how)
    if late:
        at = next(i for i, node in enumerate(net.nodes) if node.op_type in ("MaxPool", "ReduceMax"))
        after, (pooled,) = net.nodes[at + 1 :], net.nodes[at].output
        net.nodes[at].output[0] = net.here = "pooled"
        del net.nodes[at + 1 :]
        net.node("Neg", "neg")
        net.quantize("quant", 1, 3)
        net.nodes[-1].output[0] = pooled
        net.nodes += after
        net.here = after[-1].output[0]
    equal(net, save)


def test_integer_operators_of_opset_10(save) -> None:
    """What onnxruntime's first quantizer wrote: Round came with opset 11, Clip and Pad had attributes until then."""
    net = Builder((1, 6, 6))
    net.node("Mul", "scale", net.const("scale.k", np.float32(1 / 64)))
    net.node("Clip", "clip", min=0.0, max=3.0)
    unit, zero = net.const("unit", np.float32(0.5)), net.const("zero", np.uint8(7))
    net.node("QuantizeLinear", "q", unit, zero)
    weights = np.resize(np.uint8([8, 7, 6, 8, 9]), (2, 1, 3, 3))
    wide = net.const("wide", np.float32(2))
    net.node("QLinearConv", "conv", unit, zero, net.const("w", weights), wide, zero, wide, zero)
    net.node("DequantizeLinear", "dq", wide, zero)
    net.node("Clip", "cut", max=6.0)
    net.node("Clip", "bottom", min=-2.0)
    net.node("Pad", "pad", pads=[0, 0, 0, 1, 0, 0, 1, 0], value=2.0, mode="constant")
    equal(finish(net, (2, 5, 5)), save, opset=10)


@pytest.mark.parametrize("levels", [False, True])
def test_an_image_of_bytes_that_is_dequantized_and_quantized_again(levels, save) -> None:
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


def test_a_residual_sum_that_is_quantized_by_comparisons_and_read_out(save) -> None:
    net = stem()
    levels = net.here
    net.conv("conv", ternary(np.random.default_rng(5), 3, 3, 1, 1))
    net.node("Add", "add", levels)
    sums = net.here
    for name, bound in (("a", 0.5), ("b", 1.5)):
        net.here = sums
        net.node("Greater", f"{name}/greater", net.const(f"{name}.bound", np.float32(bound)))
        net.node("Cast", f"{name}/level", to=1)
    net.node("Add", "both", "a/level_out")
    equal(net, save)


@pytest.mark.parametrize("op", ["Conv", "Gemm", "MatMul", "MaxPool", "AveragePool", "end"])
def test_levels_that_a_second_quantizer_makes_one_of(op, save) -> None:
    """Nothing is left of the image, and the network says so of every image."""
    net = stem()
    net.node("Add", "shift", net.const("shift.k", np.float32(8)))
    net.quantize("dead", 1, 5)
    if op == "Conv":
        net.conv("conv", ternary(np.random.default_rng(6), 2, 3, 3, 3))
        net.quantize("quant", 1, 3)
        finish(net)
    elif op.endswith("Pool"):
        net.node(op, "pool", kernel_shape=[2, 2], strides=[2, 2])
        net.quantize("quant", 0, 3)
        finish(net, (3, 3, 3))
    elif op == "MatMul":
        net.node("MatMul", "mix", net.const("mix.w", np.float32([[1, 0], [0, 1], [1, 1], [0, -1], [1, 0], [0, 1]])))
        net.shape = (3, 6, 2)
    elif op == "Gemm":
        finish(net)
    equal(net, save)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("along", [None, 0, 1, 2])
def test_a_matrix_for_each_channel(left, along, save) -> None:
    """Batched matrices, constant, before a quantizer with a factor along any axis."""
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
