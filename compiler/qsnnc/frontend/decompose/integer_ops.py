"""Decompose integer and com.microsoft operators into float arithmetic on whole numbers.

QLinearConv, QLinearMatMul, QGemm, ConvInteger and MatMulInteger sum integers exactly, whatever their size: their names are
recorded, so that the sums count as exact. Results are still compared with the model as it was exported.

onnxruntime's QLinearConv and similar operators round ``float(sum) * (x_scale * w_scale / y_scale)`` half to even and add the
zero point; its QuantizeLinear rounds ``x / scale``, adds the zero point, and saturates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from chipsim.errors import InputError
from chipsim.node_rewrite import Rewrite
from chipsim.onnx_repair import opset_of, upgraded
from chipsim.qonnx_ops import OLDEST, replace_nodes
from qsnnc.frontend.decompose import contrib_ops
from qsnnc.frontend.decompose.arithmetic import (
    along,
    as_given,
    channels_first,
    geometry,
    number,
    requantize,
    shifted,
    summed,
)
from qsnnc.frontend.model.constant_folding import with_constants
from qsnnc.frontend.model.dtypes import ends
from qsnnc.frontend.model.operator_table import MICROSOFT
from qsnnc.frontend.model.operators import INTEGER, REFUSED

if TYPE_CHECKING:
    import onnx


def decompose(model: onnx.ModelProto) -> tuple[onnx.ModelProto, frozenset[str]]:
    """Return the model in float operators, and the names of the nodes whose sums are integer sums.

    Raises
    ------
    InputError
        A node is not statically quantized, or an operator is not supported.
    """
    exact: set[str] = set()
    moving = {value.name for value in model.graph.input}
    for node in model.graph.node:
        reason = REFUSED.get(node.op_type)
        if moving.intersection(node.input):
            moving.update(node.output)
            if _blocks(node):
                reason = "its activation has one scale per block; quantize it with one scale, or one per channel"
        elif _blocks(node) and node.domain == MICROSOFT:
            reason = REFUSED["MatMulNBits"]
        if reason:
            label = node.name or node.output[0]
            raise InputError(label, f"{node.op_type}: {reason}", code="not-static", found=node.op_type)
    read = {name for node in model.graph.node if _to_decompose(node) for name in node.input}
    if not read:
        return model, frozenset()
    model = _standard(with_constants(model, read))
    first = next((node for node in model.graph.node if _to_decompose(node)), None)
    if first is not None:
        model = upgraded(model, OLDEST, first.op_type)
    return replace_nodes(model, _to_decompose, writers(exact)), frozenset(exact)


def _blocks(node: onnx.NodeProto) -> bool:
    """Return whether a node quantizes by blocks."""
    sizes = [entry.i for entry in node.attribute if entry.name == "block_size"]
    return node.op_type in ("DequantizeLinear", "QuantizeLinear") and any(sizes)


def writers(exact: set[str]) -> dict[str, Callable[[Rewrite], None]]:
    """Return a function for each operator's name; names of nodes with integer sums are added to ``exact``."""
    return {
        "QuantizeLinear": _quantize,
        "DequantizeLinear": _dequantize,
        "QLinearConv": partial(_convolution, exact),
        "ConvInteger": partial(_convolution_integer, exact),
        "QLinearMatMul": partial(_matmul, exact),
        "MatMulInteger": partial(_matmul_integer, exact),
        "QGemm": partial(_gemm, exact),
        **contrib_ops.writers(exact),
    }


def _standard(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace com.microsoft's quantizers by the standard ones where the opset has them, so that integers stay integers."""
    import onnx

    opset = opset_of(model)
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    out = onnx.ModelProto()
    out.CopyFrom(model)
    for node in out.graph.node:
        if node.domain != MICROSOFT or node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        writes = node.op_type == "QuantizeLinear"
        kind = types.get(node.input[2] if len(node.input) > 2 else node.input[0], onnx.TensorProto.UINT8 if writes else 0)
        if kind not in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8) and opset < 21:
            continue
        if opset >= (10 if sizes.get(node.input[1]) == 1 else 13) and all(entry.name == "axis" for entry in node.attribute):
            node.domain = ""
            if opset < 13:
                del node.attribute[:]
    return out


def _to_decompose(node: onnx.NodeProto) -> bool:
    return node.domain == MICROSOFT or (not node.domain and node.op_type in INTEGER)


def _quantize(s: Rewrite) -> None:
    """Decompose QuantizeLinear: saturate(round(x / scale) + zero); the result is a float with an integer value."""
    s.option("axis", 1)
    s.all_read()
    typed = s.constant(2, "zero point") if len(s.node.input) > 2 and s.node.input[2] else np.zeros((), np.uint8)
    scale = number(s, 1, "scale")
    if scale.size > 1:
        raise InputError(s.label, "quantizes an activation with a per-channel scale; use one scale", code="levels-uneven")
    zero, (low, high) = float(typed.astype(np.float32).reshape(-1)[0]), ends(typed.dtype)
    whole = s.put(
        "Add", s.put("Round", s.put("Div", s.node.input[0], s.value("scale", scale.reshape(())))), s.value("zero", zero)
    )
    s.put("Clip", whole, s.value("low", low), s.value("high", high), last=True)


def _dequantize(s: Rewrite) -> None:
    """Decompose DequantizeLinear: (q - zero) * scale; a constant is converted directly."""
    axis = int(s.option("axis", 1))
    s.all_read()
    scale, zero = number(s, 1, "scale"), number(s, 2, "zero point")
    name = s.node.input[0]
    if name in s.known:
        q = s.known[name].astype(np.float32)
        value = (q - along(zero, axis, q.ndim)) * along(scale, axis, q.ndim)
        s.put("Identity", s.value("whole", value), last=True)
        return
    if scale.size > 1:
        raise InputError(s.label, "quantizes an activation with a per-channel scale; use one scale", code="levels-uneven")
    here = s.put("Cast", name, to=1)
    s.put("Mul", s.put("Sub", here, s.value("zero", zero.reshape(()))), s.value("scale", scale.reshape(())), last=True)


def _convolution(exact: set[str], s: Rewrite) -> None:
    """Decompose QLinearConv: x, x scale, x zero, w, w scale, w zero, y scale, y zero, bias."""
    moves = geometry(s)
    w = s.constant(3, "weight").astype(np.float32)
    x = channels_first(s, s.node.input[0], w.ndim)
    s.all_read()
    w = w - along(number(s, 5, "weight zero point"), 0, w.ndim)
    factor = number(s, 1, "scale").reshape(()) * number(s, 4, "weight scale") / number(s, 6, "output scale").reshape(())
    inputs = [shifted(s, x, number(s, 2, "zero point")), s.value("weight", w)]
    if len(s.node.input) > 8 and s.node.input[8]:
        inputs.append(s.value("bias", number(s, 8, "bias")))
    sums = summed(s, exact, "Conv", *inputs, **moves)
    if not s.option("channels_last", 0):
        requantize(s, sums, along(factor, 1, w.ndim), 7)
        return
    as_given(s, requantize(s, sums, along(factor, 1, w.ndim), 7, last=False), w.ndim)


def _convolution_integer(exact: set[str], s: Rewrite) -> None:
    """Decompose ConvInteger: x, w, x zero, w zero."""
    moves = geometry(s)
    s.all_read()
    w = s.constant(1, "weight").astype(np.float32)
    w = w - along(number(s, 3, "weight zero point"), 0, w.ndim)
    sums = summed(s, exact, "Conv", shifted(s, s.node.input[0], number(s, 2, "zero point")), s.value("weight", w), **moves)
    _whole(s, sums)


def _matmul(exact: set[str], s: Rewrite) -> None:
    """Decompose QLinearMatMul: a, a scale, a zero, b, b scale, b zero, y scale, y zero."""
    s.all_read()
    w = s.constant(3, "matrix").astype(np.float32)
    w = w - along(number(s, 5, "matrix zero point"), w.ndim - 1, w.ndim)
    factor = number(s, 1, "scale").reshape(()) * number(s, 4, "matrix scale") / number(s, 6, "output scale").reshape(())
    sums = summed(s, exact, "MatMul", shifted(s, s.node.input[0], number(s, 2, "zero point")), s.value("matrix", w))
    requantize(s, sums, along(factor, 1, 2), 7)


def _matmul_integer(exact: set[str], s: Rewrite) -> None:
    """Decompose MatMulInteger: a, b, a zero, b zero."""
    s.all_read()
    w = s.constant(1, "matrix").astype(np.float32)
    w = w - along(number(s, 3, "matrix zero point"), w.ndim - 1, w.ndim)
    _whole(s, summed(s, exact, "MatMul", shifted(s, s.node.input[0], number(s, 2, "zero point")), s.value("matrix", w)))


def _whole(s: Rewrite, sums: str) -> None:
    """Append a cast to int32, clipped first so that a float outside its range cannot wrap around."""
    bounded = s.put("Clip", sums, s.value("lowest", -(2.0**31)), s.value("highest", 2.0**31 - 128))
    s.put("Cast", bounded, last=True, to=6)


def _gemm(exact: set[str], s: Rewrite) -> None:
    """Decompose QGemm: a, a scale, a zero, b, b scale, b zero, bias, y scale, y zero.

    onnxruntime divides by a y scale wherever there is one, and rounds wherever there is a y zero: either may stand alone.
    """
    alpha, transposed = np.float32(s.option("alpha", 1.0)), int(s.option("transB", 0))
    if s.option("transA", 0):
        raise InputError(s.label, "QGemm with transA is not supported", code="model-attribute")
    s.all_read()
    w = s.constant(3, "matrix").astype(np.float32)
    w = w - along(number(s, 5, "matrix zero point"), 0 if transposed else 1, w.ndim)
    factor = alpha * number(s, 1, "scale").reshape(()) * number(s, 4, "matrix scale")
    inputs = [shifted(s, s.node.input[0], number(s, 2, "zero point")), s.value("matrix", w)]
    if len(s.node.input) > 6 and s.node.input[6]:
        inputs.append(s.value("bias", number(s, 6, "bias")))
    sums = summed(s, exact, "Gemm", *inputs, transB=transposed)
    scale, zero = (len(s.node.input) > at and bool(s.node.input[at]) for at in (7, 8))
    if scale:
        factor = np.divide(factor, number(s, 7, "output scale").reshape(()), dtype=np.float32)
    if zero:
        requantize(s, sums, along(factor, 1, 2), 8)
    else:
        s.put("Mul", sums, s.value("factor", along(factor, 1, 2)), last=True)
