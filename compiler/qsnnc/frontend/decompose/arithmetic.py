"""Provide the building blocks of decomposed integer operators: constants, zero points, rounding to an integer type."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.node_rewrite import Rewrite
from qsnnc.frontend.model.dtypes import ends

Array = npt.NDArray[Any]


def number(s: Rewrite, position: int, what: str) -> Array:
    """Return a constant input in float32; zero if it is omitted."""
    inputs = s.node.input
    if position >= len(inputs) or not inputs[position]:
        return np.zeros((), np.float32)
    return s.constant(position, what).astype(np.float32)


def along(value: Array, axis: int, rank: int) -> Array:
    """Reshape per-channel numbers so that they broadcast along ``axis``."""
    if value.size == 1:
        return value.reshape(())
    shape = [1] * rank
    shape[axis] = value.size
    return value.reshape(shape)


def shifted(s: Rewrite, name: str, zero: Array) -> str:
    """Append the cast of an activation's integers to float, minus the zero point."""
    return s.put("Sub", s.put("Cast", name, to=1), s.value("x_zero", zero.reshape(())))


def channels_first(s: Rewrite, name: str, rank: int) -> str:
    """Append the transpose of a channels-last tensor, unless the operator's tensors have their channels first."""
    return s.put("Transpose", name, perm=[0, rank - 1, *range(1, rank - 1)]) if s.option("channels_last", 0) else name


def as_given(s: Rewrite, name: str, rank: int) -> None:
    """Append the replaced node's output: a tensor with its channels where the operator has them."""
    if s.option("channels_last", 0):
        s.put("Transpose", name, last=True, perm=[0, *range(2, rank), 1])
    else:
        s.put("Identity", name, last=True)


def requantize(s: Rewrite, sums: str, factor: Array, position: int, *, last: bool = True) -> str:
    """Append the scaling of sums and their rounding to the output's type, that of its zero point."""
    from onnx import helper

    typed = s.constant(position, "output zero point")
    zero, (low, high) = float(typed.astype(np.float32).reshape(-1)[0]), ends(typed.dtype)
    scaled = s.put("Mul", sums, s.value("factor", factor))
    bounded = s.put("Clip", scaled, s.value("low", low - zero), s.value("high", high - zero))
    moved = s.put("Add", s.put("Round", bounded), s.value("zero", zero))
    return s.put("Cast", moved, last=last, to=helper.np_dtype_to_tensor_dtype(typed.dtype))


def geometry(s: Rewrite) -> dict[str, Any]:
    """Return the attributes of a convolution, unchanged."""
    return s.given("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


def summed(s: Rewrite, exact: set[str], op: str, *inputs: str, **attributes: Any) -> str:
    """Append a linear operator whose sums are exact, and record its name in ``exact``."""
    out = s.put(op, *inputs, **attributes)
    s.nodes[-1].name = s.label
    exact.add(s.label)
    return out
