"""When does equality with float32 hold on every input? Exact sums, and decisions that no rounding can turn.

Error model: IEEE 754 binary32, round to nearest, u = 2**-24 (Higham, Accuracy and Stability of Numerical Algorithms,
sections 2.2 and 3.1): one operation errs by a factor 1 + d, |d| <= u; a sum of n products by at most n u / (1 - n u)
times the sum of their magnitudes, in any order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.intervals import F64, RULES, UNIT_ROUNDOFF, Interval
from qsnnc.frontend.read import Node
from qsnnc.frontend.region import Region

EXACT_BELOW = 2.0**24  # integers that float32 holds


def dyadic_unit(values: npt.NDArray[np.floating]) -> float:
    """Largest power of two that divides every value (1.0 if all are zero)."""
    mantissa, exponent = np.frexp(np.unique(np.abs(values[values != 0]).astype(np.float64)))
    if not len(mantissa):
        return 1.0
    whole = (mantissa * 2.0**53).astype(np.int64)
    trailing = np.log2((whole & -whole).astype(np.float64))
    return float(2.0 ** (exponent - 53 + trailing).min())


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
            elif name in region.model.constants:
                constant = region.model.constants[name]
                if node.op == "BatchNormalization" or constant.size == 1 or constant.size == region.channels:
                    row = constant.astype(np.float64).reshape(1, -1)
                else:
                    return None
                arguments.append((row, row))
            elif not name:  # left out: no bound
                arguments.append((np.full((1, 1), -np.inf), np.full((1, 1), np.inf)))
            else:
                return None
        rule = RULES.get(node.op)
        if rule is None or len(node.outputs) != 1:
            return None
        result = rule(arguments, {**node.attributes, **_types(region, node)})
        if result is None:
            return None
        known[node.outputs[0]] = result
    return known[region.end]


def _types(region: Region, node: Node) -> dict[str, object]:
    """The ends of a quantizer's integer type: what its zero point says, or its attribute, or else uint8."""
    if node.op != "QuantizeLinear":
        return {}
    import ml_dtypes
    from onnx import helper

    dtype = np.dtype(np.uint8)
    if len(node.inputs) > 2 and node.inputs[2] in region.model.constants:
        dtype = region.model.constants[node.inputs[2]].dtype
    elif node.attributes.get("output_dtype"):
        dtype = helper.tensor_dtype_to_np_dtype(node.attributes["output_dtype"])
    try:
        info = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    except ValueError:  # a float8: its values are no integers
        return {}
    return {"lowest": float(info.min), "highest": float(info.max)}
