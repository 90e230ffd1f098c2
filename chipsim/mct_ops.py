"""Rewrite the quantizers of Sony's Model Compression Toolkit, domain ``mct_quantizers``, as standard ONNX operators.

They compute as the kernels of mct_quantizers 1.7 for onnxruntime-extensions do with NumPy 2: activations in float32, those
with a range of two ends in float64; weights, which must be constants, are quantized here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chipsim.errors import InputError

if TYPE_CHECKING:
    from chipsim.node_rewrite import Rewrite

Array = npt.NDArray[Any]
Single = npt.NDArray[np.float32]

#: bits that a quantizer may have
BITS = range(1, 17)


def writers() -> dict[str, Callable[[Rewrite], None]]:
    """Return a function for each operator."""
    return {
        "ActivationPOTQuantizer": _symmetric_activation,
        "ActivationSymmetricQuantizer": _symmetric_activation,
        "ActivationUniformQuantizer": _uniform_activation,
        "WeightsPOTQuantizer": _symmetric_weights,
        "WeightsSymmetricQuantizer": _symmetric_weights,
        "WeightsUniformQuantizer": _uniform_weights,
        "WeightsLUTPOTQuantizer": _table_weights,
        "WeightsLUTSymmetricQuantizer": _table_weights,
    }


def _symmetric_activation(s: Rewrite) -> None:
    """Compute round(clip(x, low, high) / scale) * scale."""
    bits, threshold, signed = _bits(s), _real(s, "threshold"), bool(_given(s, "signed", 0))
    _all_read(s)
    _refuse_range(s, 0.0, threshold)
    scale = threshold / 2 ** (bits - signed)
    clipped = s.put("Max", s.node.input[0], s.value("low", -threshold if signed else 0.0))
    clipped = s.put("Min", clipped, s.value("high", threshold - scale))
    step = s.value("scale", scale)
    s.put("Mul", s.put("Round", s.put("Div", clipped, step)), step, last=True)


def _uniform_activation(s: Rewrite) -> None:
    """Compute scale * round((clip(x, low, high) - low) / scale) + low in float64, zero being one of the levels."""
    bits, ends = _bits(s), [_real(s, name) for name in ("min_range", "max_range")]
    _all_read(s)
    _refuse_range(s, *ends)
    low, high = _with_zero(np.float64(ends[0]), np.float64(ends[1]), bits)
    first, scale = s.double("low", low), s.double("scale", (high - low) / (2**bits - 1))
    clipped = s.put("Min", s.put("Max", s.node.input[0], first), s.double("high", high))
    level = s.put("Round", s.put("Div", s.put("Sub", clipped, first), scale))
    s.put("Add", s.put("Mul", scale, level), first, last=True)


def _symmetric_weights(s: Rewrite) -> None:
    weights, bits, axis = _weights(s)
    threshold = _along(s, _numbers(s, 1, "threshold"), weights, axis)
    scale = threshold / 2 ** (bits - 1)
    _write(s, np.round(np.minimum(np.maximum(weights, -threshold), threshold - scale) / scale) * scale)


def _uniform_weights(s: Rewrite) -> None:
    weights, bits, axis = _weights(s)
    ends = _with_zero(_numbers(s, 1, "lower end"), _numbers(s, 2, "upper end"), bits)
    low, high = (_along(s, end, weights, axis) for end in ends)
    scale = (high - low) / (2**bits - 1)
    _write(s, np.round(np.minimum(np.maximum(weights, low), high) / scale) * scale)


def _table_weights(s: Rewrite) -> None:
    """Take the nearest of a table's values, the first of two that are as near."""
    width, tiny = int(_given(s, "lut_values_bitwidth", 0)), _real(s, "eps")
    s.option("input_rank", 0)
    weights, _, axis = _weights(s)
    table, threshold = _numbers(s, 1, "table"), _along(s, _numbers(s, 2, "threshold"), weights, axis)
    if width not in BITS:
        raise _refusal(s, "lut_values_bitwidth", width, "1 to 16")
    most = 2 ** (width - 1)
    scaled = np.clip(weights / (threshold + tiny) * most, -most, most - 1)
    nearest = np.argmin(np.abs(scaled[..., None] - table), axis=-1)
    _write(s, table[nearest] / most * threshold)


def _with_zero(low: Any, high: Any, bits: int) -> tuple[Any, Any]:
    """Move the ends of a range so that zero is one of its levels, in their own type."""
    scale = (high - low) / (2**bits - 1)
    moved_low = scale * np.round(low / scale)
    moved_high = high - low + moved_low
    above, below = low > 0, high < 0
    between = np.logical_not(above) & np.logical_not(below)
    return (
        np.minimum(moved_low * between + below * low, 0),
        np.maximum(moved_high * between + above * high, 0),
    )


def _weights(s: Rewrite) -> tuple[Single, int, int | None]:
    """Return constant weights, their bits, and the axis of their channels, None if all have one scale."""
    weights = s.constant(0, "weights").astype(np.float32)
    bits, channels, axis = _bits(s), bool(_given(s, "per_channel", 0)), int(_given(s, "channel_axis", 0))
    s.option("signed", 1)
    _all_read(s)
    if channels and not -weights.ndim <= axis < weights.ndim:
        raise _refusal(s, "channel_axis", axis, f"an axis of {weights.ndim}")
    return weights, bits, axis if channels else None


def _along(s: Rewrite, numbers: Single, weights: Single, axis: int | None) -> Single:
    """Return a number for each channel, or one for all, in a shape that broadcasts."""
    wanted = 1 if axis is None else weights.shape[axis]
    if numbers.shape != (wanted,):
        text = f"{s.node.op_type} has ranges of shape {numbers.shape} for weights of shape {weights.shape}"
        raise InputError(
            s.label, f"{text}; allowed: ({wanted},)", code="model-shapes", found=list(numbers.shape), allowed=wanted
        )
    return (
        numbers
        if axis is None
        else numbers.reshape([-1 if each == axis % weights.ndim else 1 for each in range(weights.ndim)])
    )


def _numbers(s: Rewrite, position: int, what: str) -> Single:
    return s.constant(position, what).astype(np.float32)


def _write(s: Rewrite, weights: Array) -> None:
    assert weights.dtype == np.float32
    s.put("Identity", s.value("quantized", weights), last=True)


def _bits(s: Rewrite) -> int:
    bits = int(_given(s, "num_bits", 0))
    if bits not in BITS:
        raise _refusal(s, "num_bits", bits, f"{BITS.start} to {BITS.stop - 1}")
    return bits


def _given(s: Rewrite, name: str, kind: float) -> Any:
    """Return an attribute that must be there, of the type of ``kind``."""
    if name not in s.attributes:
        raise _refusal(s, name, None, "a number")
    return s.option(name, kind)


def _real(s: Rewrite, name: str) -> float:
    """Return an attribute as onnxruntime-extensions 0.15 hands it to the kernels: as text of six digits."""
    return float(f"{float(_given(s, name, 0.0)):g}")


def _all_read(s: Rewrite) -> None:
    s.option("mctq_version", "")
    s.all_read()


def _refuse_range(s: Rewrite, low: float, high: float) -> None:
    if not (np.isfinite([low, high]).all() and low < high):
        text = f"{s.node.op_type} has the range {low:g} to {high:g}; the upper end must be above the lower one"
        raise InputError(s.label, text, code="model-attribute", found=high, allowed=f"more than {low:g}")


def _refusal(s: Rewrite, name: str, found: object, allowed: str) -> InputError:
    text = f"{s.node.op_type} has the attribute {name} = {found}" if found is not None else f"{s.node.op_type} lacks {name}"
    return InputError(s.label, f"{text}; allowed: {allowed}", code="model-attribute", found=str(found), allowed=allowed)
