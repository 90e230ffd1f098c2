"""Bound a region's output for a bounded input: a threshold decision that these bounds do not reach holds for every input."""

from __future__ import annotations

from typing import Any

import numpy as np

from qsnnc.frontend.model.dtypes import integer_range
from qsnnc.frontend.model.model import HALF, Node
from qsnnc.frontend.model.operators import facts
from qsnnc.frontend.numerics.exactness import F64
from qsnnc.frontend.numerics.intervals import Interval, in_half_precision
from qsnnc.frontend.quantizers.region import Region, own_axis


def propagate(region: Region, root: Interval) -> Interval | None:
    """Return bounds of the region's output, float32 rounding included; None if an operator has no interval rule.

    Parameters
    ----------
    root : pair of ndarray, float64, (points, channels)
    """
    known: dict[str, Interval] = {region.input: root}
    for node in region.nodes:
        arguments: list[Interval] = []
        for name in node.inputs:
            if name in known:
                arguments.append(known[name])
                continue
            if not name:  # omitted input
                arguments.append((np.full((1, 1), -np.inf), np.full((1, 1), np.inf)))
                continue
            row = _row(region, node, name)
            if row is None:
                return None
            arguments.append((row, row))
        rule = facts(node.op).bounds
        if rule is None or len(node.outputs) != 1:
            return None
        with np.errstate(all="ignore"):
            result = rule(arguments, {**node.attributes, **_types(region, node)})
        if result is None:
            return None
        result = _certain(result)
        half = region.model.kind(node.outputs[0]) == HALF
        known[node.outputs[0]] = in_half_precision(*result) if half else result
    return known.get(region.output)


def _certain(interval: Interval) -> Interval:
    """Replace bounds that are NaN, from infinity times zero, by infinite ones."""
    low, high = interval
    if np.isnan(low).any() or np.isnan(high).any():
        return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)
    return interval


def _row(region: Region, node: Node, name: str) -> F64 | None:
    """Broadcast a constant to the region's columns: (1, columns) or (1, 1)."""
    constant = region.model.constants.get(name)
    if constant is None:
        return None
    value = constant.astype(np.float64)
    if value.size == 1 or value.size == region.columns:
        return value.reshape(1, -1)
    sizes = region.model.shapes[region.input]
    if value.ndim == 1 and (axis := own_axis(node, len(sizes) + 1)) is not None:
        value = value.reshape(*[1] * (axis - 1), -1, *[1] * (len(sizes) - axis))
    full = tuple(size if axis in region.axes else 1 for axis, size in enumerate(sizes, start=1))
    try:
        return np.broadcast_to(value, (1, *full)).reshape(1, -1)
    except ValueError:
        return None


def _types(region: Region, node: Node) -> dict[str, object]:
    """Return the range of a quantizer's integer type, from its zero point or attribute, as attributes for its rule."""
    if node.op not in ("CastLike", "QuantizeLinear"):
        return {}
    from onnx import helper

    if node.op == "CastLike":
        like = region.model.constants.get(node.inputs[1])
        return {} if like is None else {"to": helper.np_dtype_to_tensor_dtype(like.dtype)}
    dtype: np.dtype[Any] | None = np.dtype(np.uint8)
    if len(node.inputs) > 2 and node.inputs[2] in region.model.constants:
        dtype = region.model.constants[node.inputs[2]].dtype
    elif node.attributes.get("output_dtype"):
        dtype = helper.tensor_dtype_to_np_dtype(node.attributes["output_dtype"])
    ends = integer_range(dtype)
    return {} if ends is None else {"lowest": ends[0], "highest": ends[1]}  # None: float8
