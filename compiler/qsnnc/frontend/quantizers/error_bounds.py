"""When does equality with float32 hold on every input? Exact sums, and decisions that no rounding can turn.

Error model: IEEE 754 binary32, round to nearest, u = 2**-24 (Higham, Accuracy and Stability of Numerical Algorithms,
sections 2.2 and 3.1): one operation errs by a factor 1 + d, |d| <= u; a sum of n products by at most n u / (1 - n u)
times the sum of their magnitudes, in any order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.decompose.arithmetic import ends
from qsnnc.frontend.importer.read import Node
from qsnnc.frontend.numerics.intervals import F64, RULES, UNIT_ROUNDOFF, Interval
from qsnnc.frontend.quantizers.region import Region, own_axis

EXACT_BELOW = 2.0**24  # integers that float32 holds


def dyadic_unit(values: npt.NDArray[np.floating]) -> float:
    """Largest power of two that divides every value (1.0 if all are zero)."""
    found = float(dyadic_units(values.reshape(1, -1))[0])
    return found if np.isfinite(found) else 1.0


def dyadic_units(rows: npt.NDArray[np.floating]) -> F64:
    """Largest power of two that divides every value of a row; infinity where all are zero."""
    mantissa, exponent = np.frexp(np.abs(rows.astype(np.float64)))
    whole = (mantissa * 2.0**53).astype(np.int64)
    lowest = (whole & -whole).astype(np.float64)
    with np.errstate(divide="ignore"):
        unit = np.where(lowest > 0, 2.0 ** (exponent - 53.0) * lowest, np.inf)
    return np.asarray(unit.min(axis=1, initial=np.inf))


def sums_are_exact(weights: F64, bias: F64, unit: float, largest: float) -> npt.NDArray[np.bool_]:
    """Whether every float32 partial sum is exact in any order.

    Parameters
    ----------
    weights : ndarray, float64, (channels, terms)
        As the ONNX graph holds them.
    bias : ndarray, float64, (channels,)
    unit, largest : float
        Every input value is a multiple of the power of two ``unit`` and at most ``largest`` in magnitude.

    Returns
    -------
    ndarray, bool, (channels,)
        All terms are multiples of one power of two g and their magnitudes sum to less than 2**24 g.
    """
    exact = np.zeros(len(weights), bool)
    for channel, (row, offset) in enumerate(zip(weights, bias, strict=True)):
        step = dyadic_unit(row) * unit
        if offset:
            step = min(step, dyadic_unit(np.array([offset])))
        exact[channel] = (np.abs(row).sum() * largest + abs(offset)) / step < EXACT_BELOW
    return exact


def sum_error(terms: int, magnitude: F64) -> F64:
    """Bound of a float32 sum's error: (n + 2) u times the sum of the terms' magnitudes."""
    n = terms + 2
    return n * UNIT_ROUNDOFF / (1 - n * UNIT_ROUNDOFF) * magnitude


def propagate(region: Region, root: Interval) -> Interval | None:
    """Bounds of the region's end for bounds of its root, float32 rounding included; None where an operator is not known.

    Parameters
    ----------
    root : pair of ndarray, float64, (points, channels)
    """
    known: dict[str, Interval] = {region.root: root}
    for node in region.nodes:
        arguments: list[Interval] = []
        for name in node.inputs:
            if name in known:
                arguments.append(known[name])
                continue
            if not name:  # left out: no bound
                arguments.append((np.full((1, 1), -np.inf), np.full((1, 1), np.inf)))
                continue
            row = _row(region, node, name)
            if row is None:
                return None
            arguments.append((row, row))
        rule = RULES.get(node.op)
        if rule is None or len(node.outputs) != 1:
            return None
        result = rule(arguments, {**node.attributes, **_types(region, node)})
        if result is None:
            return None
        known[node.outputs[0]] = result
    return known.get(region.end)


def _row(region: Region, node: Node, name: str) -> F64 | None:
    """A constant as the region's columns see it: (1, columns) or (1, 1)."""
    constant = region.model.constants.get(name)
    if constant is None:
        return None
    value = constant.astype(np.float64)
    if value.size == 1 or value.size == region.columns:
        return value.reshape(1, -1)
    sizes = region.model.shapes[region.root]
    if value.ndim == 1 and (axis := own_axis(node, len(sizes) + 1)) is not None:
        value = value.reshape(*[1] * (axis - 1), -1, *[1] * (len(sizes) - axis))
    full = tuple(size if axis in region.axes else 1 for axis, size in enumerate(sizes, start=1))
    try:
        return np.broadcast_to(value, (1, *full)).reshape(1, -1)
    except ValueError:
        return None


def _types(region: Region, node: Node) -> dict[str, object]:
    """The ends of a quantizer's integer type: what its zero point says, or its attribute, or else uint8."""
    if node.op != "QuantizeLinear":
        return {}
    from onnx import helper

    dtype: np.dtype[Any] | None = np.dtype(np.uint8)
    if len(node.inputs) > 2 and node.inputs[2] in region.model.constants:
        dtype = region.model.constants[node.inputs[2]].dtype
    elif node.attributes.get("output_dtype"):
        dtype = helper.tensor_dtype_to_np_dtype(node.attributes["output_dtype"])
    ends = integer_range(dtype)
    return {} if ends is None else {"lowest": ends[0], "highest": ends[1]}  # none: a float8, whose values are no integers


def integer_range(dtype: np.dtype[Any] | None) -> tuple[float, float] | None:
    """Ends of an integer type, the narrow ones included; None for any other."""
    try:
        return ends(dtype)
    except ValueError:
        return None
