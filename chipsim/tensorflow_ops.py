"""Rewrite TensorFlow's fake quantizers as standard ONNX operators, so that onnxruntime can run them.

tf2onnx translates those of 8 bits to QuantizeLinear and leaves others as they are, in the standard's domain or, where it may
write custom operators, in ``ai.onnx.converters.tensorflow``. They are computed as TensorFlow 2.21 does on processors, in
float32: the range is moved so that zero is a level, and halves are rounded up. One quantizer divides by the scale and the
others multiply by a quotient, so that they differ in some values beside a half.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from chipsim.errors import InputError
from chipsim.node_rewrite import Rewrite

Array = npt.NDArray[np.float32]


def writers() -> dict[str, Callable[[Rewrite], None]]:
    """Return the function that rewrites each operator."""
    return {
        "FakeQuantWithMinMaxArgs": _of_attributes,
        "FakeQuantWithMinMaxVars": _of_inputs,
        "FakeQuantWithMinMaxVarsPerChannel": _of_inputs,  # on the last axis, along which a vector broadcasts
    }


def _of_attributes(s: Rewrite) -> None:
    _quantize(s, np.asarray(s.option("min", -6.0), np.float32), np.asarray(s.option("max", 6.0), np.float32))


def _of_inputs(s: Rewrite) -> None:
    _quantize(s, *(s.constant(position, what).astype(np.float32) for position, what in ((1, "minimum"), (2, "maximum"))))


def _quantize(s: Rewrite, low: Array, high: Array) -> None:
    """Clamp to the moved range, round to a level, and scale."""
    op, bits, narrow = s.node.op_type, s.option("num_bits", 8), s.option("narrow_range", 0)
    s.all_read()
    if not 2 <= bits <= 16:
        raise InputError(
            s.label, f"{op} has num_bits = {bits}; allowed: 2 to 16", code="model-attribute", found=bits, allowed=[2, 16]
        )
    empty = (low == 0) & (high == 0)  # every value becomes zero
    if not ((low < high) | empty).all():
        text = f"{op} has a minimum of {low.max():g} and a maximum of {high.min():g}; allowed: a minimum below the maximum"
        raise InputError(s.label, text, code="model-attribute", found=[float(low.max()), float(high.min())])
    first, last, half = np.float32(1 if narrow else 0), np.float32(2**bits - 1), np.float32(0.5)
    span = np.where(empty, np.float32(1), high - low)
    scale, inverse = span / (last - first), (last - first) / span
    divides = op == "FakeQuantWithMinMaxVars"
    zero = np.clip(np.floor(first - low / scale + half), first, last)
    bottom, top = (np.where(empty, np.float32(0), (end - zero) * scale) for end in (first, last))
    offset = np.floor(-bottom * (np.float32(1) / scale if divides else inverse) + half)
    held = s.put("Max", s.put("Min", s.node.input[0], s.value("top", top)), s.value("bottom", bottom))
    above, width = s.put("Sub", held, s.value("lowest", bottom)), s.value("scale", scale)
    steps = s.put("Div", above, width) if divides else s.put("Mul", above, s.value("inverse", inverse))
    moved = s.put("Add", s.put("Sub", steps, s.value("offset", offset)), s.value("half", 0.5))
    s.put("Mul", s.put("Floor", moved), width, last=True)
