"""When does equality with float32 hold on every input? Exact sums, and decisions that no rounding can turn.

Error model: IEEE 754 binary32, round to nearest, u = 2**-24 (Higham, Accuracy and Stability of Numerical Algorithms,
sections 2.2 and 3.1): one operation errs by a factor 1 + d, |d| <= u; a sum of n products by at most n u / (1 - n u)
times the sum of their magnitudes, in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.read import Node
from qsnnc.frontend.region import Region

F64 = npt.NDArray[np.float64]
Interval = tuple[F64, F64]

UNIT_ROUNDOFF = 2.0**-24
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
            row = _row(region, node, name) if name else None
            if name and row is None:
                return None
            if row is not None:
                arguments.append((row, row))
        rule = _RULES.get(node.op)
        if rule is None or len(node.outputs) != 1:
            return None
        result = rule(arguments, {**node.attributes, "dtypes": _dtypes(region, node)})
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
    if value.ndim == 1 and node.op in ("BatchNormalization", "QuantizeLinear", "DequantizeLinear"):
        axis = 1 if node.op == "BatchNormalization" else int(node.attributes.get("axis", 1)) % (len(sizes) + 1)
        value = value.reshape(*[1] * (axis - 1), -1, *[1] * (len(sizes) - axis))
    full = tuple(size if axis in region.axes else 1 for axis, size in enumerate(sizes, start=1))
    try:
        return np.broadcast_to(value, (1, *full)).reshape(1, -1)
    except ValueError:
        return None


def _dtypes(region: Region, node: Node) -> list[np.dtype[Any] | None]:
    constants = region.model.constants
    return [constants[name].dtype if name in constants else None for name in node.inputs]


def _widen(low: F64, high: F64, slack: F64 | float) -> Interval:
    return low - slack, high + slack


def _rounded(low: F64, high: F64) -> Interval:
    """One float32 operation's rounding, and as much again for a fused variant of it."""
    return _widen(low, high, 2 * UNIT_ROUNDOFF * np.maximum(np.abs(low), np.abs(high)) + 2.0**-149)


def _extremes(a: Interval, b: Interval, op: Callable[[F64, F64], F64]) -> Interval:
    corners = [op(x, y) for x in a for y in b]
    return np.minimum.reduce(corners), np.maximum.reduce(corners)


def _product(args: list[Interval], _: object) -> Interval:
    exact = _powers_of_two(args[1]) or _powers_of_two(args[0])
    bounds = _extremes(args[0], args[1], np.multiply)
    return bounds if exact else _rounded(*bounds)


def _quotient(args: list[Interval], _: object) -> Interval | None:
    low, high = args[1]
    if (low * high <= 0).any():
        return None
    bounds = _extremes(args[0], args[1], np.divide)
    return bounds if _powers_of_two(args[1]) else _rounded(*bounds)


def _powers_of_two(factor: Interval) -> bool:
    """Whether a constant factor only shifts the exponent: such a product is exact."""
    return factor[0] is factor[1] and bool((np.abs(np.frexp(factor[0])[0]) == 0.5).all())


def _batch_norm(args: list[Interval], attributes: dict[str, Any]) -> Interval:
    x, (gamma, _), (beta, _), (mean, _), (var, _) = args
    factor = gamma / np.sqrt(var + float(attributes.get("epsilon", 1e-5)))
    low, high = _extremes(x, (factor, factor), np.multiply)
    shift = beta - mean * factor
    # float32 computes the factor (3 roundings), two products and two sums, in one of two orders
    size = np.maximum(np.abs(low), np.abs(high)) + 2 * np.abs(mean * factor) + np.abs(beta)
    return _widen(low + shift, high + shift, 8 * UNIT_ROUNDOFF * size)


def _clip(args: list[Interval], attributes: dict[str, Any]) -> Interval:
    low, high = args[0]
    bottom = args[1][0] if len(args) > 1 else attributes.get("min", -np.inf)
    top = args[2][0] if len(args) > 2 else attributes.get("max", np.inf)
    return np.clip(low, bottom, top), np.clip(high, bottom, top)


def _quantize(args: list[Interval], attributes: dict[str, Any]) -> Interval | None:
    """Saturate(round(x / scale) + zero point); of the type that the zero point has."""
    if len(args) != 3:
        return None
    info = integer_range(attributes["dtypes"][2])
    bounds = _quotient(args[:2], {})
    if bounds is None or info is None:
        return None
    zero = args[2][0]
    low, high = (np.clip(np.round(bound) + zero, *info) for bound in bounds)
    return low, high


def _dequantize(args: list[Interval], _: dict[str, Any]) -> Interval:
    """(q - zero point) * scale."""
    (low, high), (scale, _unused) = args[0], args[1]
    zero = args[2][0] if len(args) > 2 else np.zeros((1, 1))
    return _product([(low - zero, high - zero), (scale, scale)], {})


def integer_range(dtype: np.dtype[Any] | None) -> tuple[float, float] | None:
    """Ends of an integer type, the narrow ones included."""
    import ml_dtypes

    try:
        info = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    except ValueError:
        return None
    return float(info.min), float(info.max)


def _compared(test: Callable[[F64, F64], npt.NDArray[np.bool_]]) -> Callable[[list[Interval], dict[str, Any]], Interval]:
    """A comparison that rises with its first argument."""
    return lambda a, _: (test(a[0][0], a[1][1]).astype(np.float64), test(a[0][1], a[1][0]).astype(np.float64))


def _cast(args: list[Interval], attributes: dict[str, Any]) -> Interval | None:
    """To float32, whole numbers stay what they are."""
    return args[0] if attributes.get("to") == 1 else None


_RULES: dict[str, Callable[[list[Interval], dict[str, Any]], Interval | None]] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "Greater": _compared(np.greater),
    "GreaterOrEqual": _compared(np.greater_equal),
    "Cast": _cast,
    "Sign": lambda a, _: (np.sign(a[0][0]), np.sign(a[0][1])),
    "Reshape": lambda a, _: a[0],
    "Flatten": lambda a, _: a[0],
    "Squeeze": lambda a, _: a[0],
    "Unsqueeze": lambda a, _: a[0],
    "Identity": lambda a, _: a[0],
    "Dropout": lambda a, _: a[0],
    "Add": lambda a, _: _rounded(a[0][0] + a[1][0], a[0][1] + a[1][1]),
    "Sub": lambda a, _: _rounded(a[0][0] - a[1][1], a[0][1] - a[1][0]),
    "Mul": _product,
    "Div": _quotient,
    "Neg": lambda a, _: (-a[0][1], -a[0][0]),
    "Relu": lambda a, _: (np.maximum(a[0][0], 0), np.maximum(a[0][1], 0)),
    "Round": lambda a, _: (np.round(a[0][0]), np.round(a[0][1])),
    "Floor": lambda a, _: (np.floor(a[0][0]), np.floor(a[0][1])),
    "Ceil": lambda a, _: (np.ceil(a[0][0]), np.ceil(a[0][1])),
    "Min": lambda a, _: (np.minimum(a[0][0], a[1][0]), np.minimum(a[0][1], a[1][1])) if len(a) == 2 else None,
    "Max": lambda a, _: (np.maximum(a[0][0], a[1][0]), np.maximum(a[0][1], a[1][1])) if len(a) == 2 else None,
    "Clip": _clip,
    "BatchNormalization": _batch_norm,
}
