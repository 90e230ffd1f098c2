"""Decompose com.microsoft's 8-bit and fused operators, operation by operation as onnxruntime executes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from chipsim.errors import InputError
from chipsim.node_rewrite import Rewrite
from qsnnc.frontend.decompose.arithmetic import Array, as_given, channels_first, geometry, summed
from qsnnc.frontend.model.dtypes import ends

#: activations of fused operators, and the names of their parameters
ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "Relu": (),
    "Tanh": (),
    "Sigmoid": (),
    "LeakyRelu": ("alpha",),
    "Clip": ("min", "max"),
    "HardSigmoid": ("alpha", "beta"),
}


def writers(exact: set[str]) -> dict[str, Callable[[Rewrite], None]]:
    """Return a function for each operator's name; names of nodes with integer sums are added to ``exact``."""
    return {
        "QLinearAdd": _add,
        "QLinearMul": _multiply,
        "QLinearAveragePool": _average_pool,
        "QLinearGlobalAveragePool": partial(_global_average_pool, exact),
        "NhwcMaxPool": _nhwc_max_pool,
        "QLinearConcat": _concat,
        "QLinearLeakyRelu": partial(_elementwise, "LeakyRelu", ("alpha",)),
        "QLinearSigmoid": partial(_elementwise, "Sigmoid", ()),
        "QLinearSoftmax": _softmax,
        "Gelu": _gelu,
        "BiasGelu": _gelu,
        "QuickGelu": _quick_gelu,
        "FusedConv": _fused_convolution,
        "FusedGemm": _fused_gemm,
        "FusedMatMul": _fused_matmul,
    }


def _zero_point(s: Rewrite, position: int, like: int) -> Array:
    """Return a zero point; uint8 zero if it is omitted."""
    if position < len(s.node.input) and s.node.input[position]:
        return s.constant(position, "zero point")
    return np.zeros((), _dtype(s, like))


def _dtype(s: Rewrite, position: int) -> Any:
    known = s.node.input[position] if position < len(s.node.input) else ""
    return s.known[known].dtype if known in s.known else np.uint8


def _one(value: Array) -> Array:
    return np.asarray(value.astype(np.float32).reshape(-1)[0])


def _whole(s: Rewrite, name: str) -> str:
    """Append the cast of integers to float; a constant is converted directly."""
    if name in s.known:
        return s.value(f"{name}.whole", s.known[name].astype(np.float32))
    return s.put("Cast", name, to=1)


def _real(s: Rewrite, name: str, scale: Array, zero: Array) -> str:
    """Append (q - zero) * scale."""
    here = s.put("Sub", _whole(s, name), s.value(f"{name}.zero_{len(s.nodes)}", _one(zero)))
    return s.put("Mul", here, s.value(f"{name}.scale_{len(s.nodes)}", _one(scale)))


def _round_and_saturate(s: Rewrite, name: str, typed: Array, *, last: bool) -> str:
    """Append saturate(round(x) + zero)."""
    from onnx import helper

    zero, (low, high) = _one(typed), ends(typed.dtype)
    mark = len(s.nodes)
    bounds = s.value(f"low_{mark}", low - zero), s.value(f"high_{mark}", high - zero)
    moved = s.put("Add", s.put("Round", s.put("Clip", name, *bounds)), s.value(f"zero_{mark}", zero))
    return s.put("Cast", moved, last=last, to=helper.np_dtype_to_tensor_dtype(typed.dtype))


def _quantize(s: Rewrite, name: str, scale: Array, typed: Array, *, last: bool) -> str:
    """Append saturate(round(x / scale) + zero)."""
    return _round_and_saturate(s, s.put("Div", name, s.value(f"scale_{len(s.nodes)}", _one(scale))), typed, last=last)


def _add(s: Rewrite) -> None:
    """Decompose QLinearAdd (a, a scale, a zero, b, b scale, b zero, y scale, y zero) by the ratios of the scales."""
    s.all_read()
    y_scale, typed = _one(s.constant(6, "output scale")), _zero_point(s, 7, 2)
    ratios = [_one(s.constant(i, "scale")) / y_scale for i in (1, 4)]
    zeros = [_one(_zero_point(s, i, 7)) for i in (2, 5)]
    shift = _one(typed) - (ratios[0] * zeros[0] + ratios[1] * zeros[1])
    a = s.put("Mul", _whole(s, s.node.input[0]), s.value("a_ratio", ratios[0]))
    b = s.put("Mul", _whole(s, s.node.input[3]), s.value("b_ratio", ratios[1]))
    _round_with_zero_point(s, s.put("Add", s.put("Add", b, s.value("shift", shift)), a), typed)


def _multiply(s: Rewrite) -> None:
    """Decompose QLinearMul; whether a product of two activations is computed from one tensor is checked later."""
    s.all_read()
    y_scale, typed = _one(s.constant(6, "output scale")), _zero_point(s, 7, 2)
    factor = _one(s.constant(1, "scale")) * _one(s.constant(4, "scale")) / y_scale
    parts = [
        s.put("Sub", _whole(s, s.node.input[i]), s.value(f"zero_of_{i}", _one(_zero_point(s, i + 2, 7)))) for i in (0, 3)
    ]
    scaled = s.put("Mul", s.put("Mul", *parts), s.value("factor", factor))
    _round_with_zero_point(s, s.put("Add", scaled, s.value("shift", _one(typed))), typed)


def _round_with_zero_point(s: Rewrite, name: str, typed: Array, *, last: bool = True) -> str:
    """Append round and saturate where the zero point is already added: ties go to the even stored integer."""
    from onnx import helper

    low, high = ends(typed.dtype)
    here = s.put("Round", s.put("Clip", name, s.value("low", low), s.value("high", high)))
    return s.put("Cast", here, last=last, to=helper.np_dtype_to_tensor_dtype(typed.dtype))


def _average_pool(s: Rewrite) -> None:
    """Decompose QLinearAveragePool (x, x scale, x zero, y scale, y zero) through floats."""
    moves = _divided_by_the_window(s.given("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides"))
    rank = 2 + len(moves["kernel_shape"])
    x = channels_first(s, s.node.input[0], rank)
    s.all_read()
    real = _real(s, x, s.constant(1, "scale"), _zero_point(s, 2, 4))
    typed = _zero_point(s, 4, 2)
    scaled = s.put("Div", s.put("AveragePool", real, **moves), s.value("y_scale", _one(s.constant(3, "output scale"))))
    as_given(s, _round_with_zero_point(s, s.put("Add", scaled, s.value("shift", _one(typed))), typed, last=False), rank)


def _divided_by_the_window(moves: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of an AveragePool with the kernel's divisors.

    With count_include_pad, the kernel divides by the size of the window also where ceil_mode lets it reach beyond the
    padding, which AveragePool does not: that part of the window becomes padding.
    """
    if not moves.get("ceil_mode") or not moves.get("count_include_pad"):
        return moves
    if moves.get("auto_pad", b"NOTSET") not in (b"NOTSET", "NOTSET"):
        return moves
    kernel = list(moves["kernel_shape"])
    pads = list(moves.get("pads", [0] * (2 * len(kernel))))
    strides = list(moves.get("strides", [1] * len(kernel)))
    for axis, (size, stride) in enumerate(zip(kernel, strides, strict=True), start=len(kernel)):
        pads[axis] += max(0, min(stride - 1, size - 1 - pads[axis]))
    return {**moves, "ceil_mode": 0, "pads": pads}


def _global_average_pool(exact: set[str], s: Rewrite) -> None:
    """Decompose QLinearGlobalAveragePool: integer sums, scaled once by x scale / (y scale * area)."""
    name, last = s.node.input[0], s.option("channels_last", 0)
    s.all_read()
    scale, y_scale = _one(s.constant(1, "scale")), _one(s.constant(3, "output scale"))
    whole = s.put("Sub", _whole(s, name), s.value("x_zero", _one(_zero_point(s, 2, 4))))
    if s.opset < 13:
        sums = summed(s, exact, "ReduceSum", whole, axes=[1, 2] if last else [2, 3], keepdims=1)
    else:
        rank, one = s.put("Size", s.put("Shape", name)), s.integers("one", 1)
        ends = (one, s.put("Sub", rank, one)) if last else (s.integers("two", 2), rank)
        sums = summed(s, exact, "ReduceSum", whole, s.put("Range", *ends, one), keepdims=1)
    # the factor depends on the area; it is folded to a constant once shapes are known
    inner = [1, -1] if last else [2, 1 << 30]
    sizes = s.put("Slice", s.put("Shape", name), s.integers("from", inner[:1]), s.integers("to", inner[1:]))
    area = s.put("Cast", s.put("ReduceProd", sizes, keepdims=0), to=1)
    factor = s.put("Div", s.value("scale", scale), s.put("Mul", area, s.value("y_scale", y_scale)))
    _round_and_saturate(s, s.put("Mul", sums, factor), _zero_point(s, 4, 2), last=True)


def _nhwc_max_pool(s: Rewrite) -> None:
    """Decompose NhwcMaxPool: a max pool of integers with the channels last."""
    moves = s.given("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")
    s.all_read()
    rank = 2 + len(moves["kernel_shape"])
    x = s.put("Transpose", s.node.input[0], perm=[0, rank - 1, *range(1, rank - 1)])
    s.put("Transpose", s.put("MaxPool", x, **moves), last=True, perm=[0, *range(2, rank), 1])


def _concat(s: Rewrite) -> None:
    """Decompose QLinearConcat (y scale, y zero, then tensor, scale, zero of each); others' scales go through floats."""
    axis = s.option("axis", None)
    s.all_read()
    y_scale, typed = s.constant(0, "output scale"), s.constant(1, "output zero point")
    operands = []
    for i in range(2, len(s.node.input), 3):
        name, scale, zero = s.node.input[i], s.constant(i + 1, "scale"), s.constant(i + 2, "zero point")
        if _one(scale) != _one(y_scale) or _one(zero) != _one(typed):
            name = _quantize(s, _real(s, name, scale, zero), y_scale, typed, last=False)
        operands.append(name)
    s.put("Concat", *operands, last=True, axis=axis)


def _elementwise(op: str, options: tuple[str, ...], s: Rewrite) -> None:
    """Decompose an elementwise operator on 8-bit values through floats."""
    given = s.given(*options)
    s.all_read()
    real = _real(s, s.node.input[0], s.constant(1, "scale"), _zero_point(s, 2, 4))
    _quantize(s, s.put(op, real, **given), s.constant(3, "output scale"), _zero_point(s, 4, 2), last=True)


def _gelu(s: Rewrite) -> None:
    """Decompose Gelu and BiasGelu: x / 2 * (erf(x / sqrt(2)) + 1), of x plus the bias if there is one."""
    inputs = list(s.node.input)
    s.all_read()
    x = s.put("Add", *inputs) if len(inputs) > 1 else inputs[0]
    inner = s.put("Erf", s.put("Mul", x, s.value("root", 0.5**0.5)))
    gate = s.put("Add", inner, s.value("one", 1.0))
    s.put("Mul", s.put("Mul", x, s.value("half", 0.5)), gate, last=True)


def _quick_gelu(s: Rewrite) -> None:
    """Decompose QuickGelu: x * sigmoid(alpha * x)."""
    alpha, x = s.option("alpha", 1.702), s.node.input[0]
    s.all_read()
    s.put("Mul", x, s.put("Sigmoid", s.put("Mul", x, s.value("alpha", alpha))), last=True)


def _softmax(s: Rewrite) -> None:
    """Keep QLinearSoftmax for the host; add its type and shape, which ONNX shape inference does not know."""
    from onnx import helper

    inputs, given = list(s.node.input), s.given("axis", "opset")
    s.all_read()
    found = s.put("QLinearSoftmax", *inputs, domain="com.microsoft", **given)
    typed = s.put("Cast", found, to=helper.np_dtype_to_tensor_dtype(_zero_point(s, 4, 2).dtype))
    s.put("Reshape", typed, s.put("Shape", inputs[0]), last=True)


def _append_activation(s: Rewrite, name: str, parameters: list[float]) -> None:
    """Append the fused activation."""
    activation = s.option("activation", "")
    s.all_read()
    if not activation:
        s.put("Identity", name, last=True)
        return
    if activation not in ACTIVATIONS:
        raise InputError(
            s.label,
            f"{s.node.op_type} has the activation {activation!r}; allowed: {', '.join(ACTIVATIONS)}",
            code="model-attribute",
            found=activation,
        )
    given = dict(zip(ACTIVATIONS[activation], parameters, strict=False))
    if activation == "Clip":
        bounds = [s.value(f"clip_{key}", value) for key, value in given.items()]
        s.put("Clip", name, *bounds, last=True)
    else:
        s.put(activation, name, last=True, **given)


def _fused_convolution(s: Rewrite) -> None:
    """Decompose FusedConv: Conv, an optional addition, and an activation."""
    moves = geometry(s)
    parameters = list(s.option("activation_params", []))
    inputs = list(s.node.input)
    here = s.put("Conv", *inputs[:3], **moves)
    if len(inputs) > 3 and inputs[3]:
        here = s.put("Add", here, inputs[3])
    _append_activation(s, here, parameters)


def _fused_gemm(s: Rewrite) -> None:
    """Decompose FusedGemm: Gemm and an activation."""
    given = {
        name: s.option(name, default) for name, default in (("alpha", 1.0), ("beta", 1.0), ("transA", 0), ("transB", 0))
    }
    parameters = [s.option(f"activation_{name}", default) for name, default in (("alpha", 0.0), ("beta", 0.0))]
    s.option("activation_gamma", 0.0)
    _append_activation(s, s.put("Gemm", *s.node.input, **given), parameters)


def _fused_matmul(s: Rewrite) -> None:
    """Decompose FusedMatMul: MatMul with an optionally transposed matrix, times alpha."""
    alpha, transposed = s.option("alpha", 1.0), s.option("transB", 0)
    other = [name for name in ("transA", "transBatchA", "transBatchB") if s.option(name, 0)]
    s.all_read()
    if other:
        raise InputError(s.label, f"FusedMatMul with {other[0]} is not supported", code="model-attribute", found=other)
    right = s.node.input[1]
    if transposed:
        weights = s.constant(1, "matrix")
        right = s.value("matrix", weights.swapaxes(-1, -2))
    s.put("Mul", s.put("MatMul", s.node.input[0], right), s.value("alpha", alpha), last=True)
