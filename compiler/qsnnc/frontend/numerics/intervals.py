"""What each elementwise operator makes of an interval, float32 rounding included.

A rule takes the intervals of the inputs and the node's attributes, and returns an interval that holds every result that
float32 arithmetic can give, or None where it cannot tell. Constants have both ends in one array.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.numerics.exactness import F64, UNIT_ROUNDOFF

Interval = tuple[F64, F64]
Attributes = dict[str, Any]


def _widen(low: F64, high: F64, slack: F64 | float) -> Interval:
    return low - slack, high + slack


def _rounded(low: F64, high: F64) -> Interval:
    """One float32 operation's rounding, and as much again for a fused variant of it.

    Rounding never turns an order round, so a bound that float32 holds is not moved by it.
    """
    return low - _slack(low), high + _slack(high)


def _slack(bound: F64) -> F64:
    held = bound.astype(np.float32) == bound
    return np.where(held, 0.0, 2 * UNIT_ROUNDOFF * np.abs(bound) + 2.0**-149)


def _extremes(a: Interval, b: Interval, op: Callable[[F64, F64], F64]) -> Interval:
    corners = [op(x, y) for x in a for y in b]
    return np.minimum.reduce(corners), np.maximum.reduce(corners)


def _product(args: list[Interval], _: object) -> Interval:
    exact = _only_shifts(args[1]) or _only_shifts(args[0])
    bounds = _extremes(args[0], args[1], np.multiply)
    return bounds if exact else _rounded(*bounds)


def _quotient(args: list[Interval], _: object) -> Interval | None:
    low, high = args[1]
    if (low * high <= 0).any():
        return None
    bounds = _extremes(args[0], args[1], np.divide)
    return bounds if _only_shifts(args[1]) else _rounded(*bounds)


def powers_of_two(values: F64) -> npt.NDArray[np.bool_]:
    """Which factors only shift the exponent, whatever their sign."""
    return np.asarray(np.abs(np.frexp(values)[0]) == 0.5)


def _only_shifts(factor: Interval) -> bool:
    """Whether a factor is constant and only shifts the exponent: such a product is exact."""
    return factor[0] is factor[1] and bool(powers_of_two(factor[0]).all())


def _batch_norm(args: list[Interval], attributes: Attributes) -> Interval:
    x, (gamma, _), (beta, _), (mean, _), (var, _) = args
    factor = gamma / np.sqrt(var + float(attributes.get("epsilon", 1e-5)))
    low, high = _extremes(x, (factor, factor), np.multiply)
    shift = beta - mean * factor
    # float32 computes the factor (3 roundings), two products and two sums, in one of two orders
    size = np.maximum(np.abs(low), np.abs(high)) + 2 * np.abs(mean * factor) + np.abs(beta)
    return _widen(low + shift, high + shift, 8 * UNIT_ROUNDOFF * size)


def _clip(args: list[Interval], attributes: Attributes) -> Interval:
    low, high = args[0]
    bottom = args[1][0] if len(args) > 1 else attributes.get("min", -np.inf)
    top = args[2][1] if len(args) > 2 else attributes.get("max", np.inf)
    return np.clip(low, bottom, top), np.clip(high, bottom, top)


def _quantize(args: list[Interval], attributes: Attributes) -> Interval | None:
    """Saturate round(x / scale) + zero."""
    low, high = attributes.get("lowest"), attributes.get("highest")
    scaled = _quotient(args[:2], attributes)
    if scaled is None or low is None:
        return None
    zero = args[2][0] if len(args) > 2 else np.zeros(())
    return np.clip(np.round(scaled[0]) + zero, low, high), np.clip(np.round(scaled[1]) + zero, low, high)


def _dequantize(args: list[Interval], attributes: Attributes) -> Interval:
    """(q - zero) * scale: the difference of small integers is exact."""
    zero = args[2][0] if len(args) > 2 else np.zeros(())
    return _product([(args[0][0] - zero, args[0][1] - zero), args[1]], attributes)


def _compared(strict: bool) -> Callable[[list[Interval], Attributes], Interval]:
    """Whether the first is above the second: 1 where it must be, 0 where it cannot."""
    above = np.greater if strict else np.greater_equal

    def rule(args: list[Interval], _: Attributes) -> Interval:
        (a, b), (c, d) = args
        return above(a, d).astype(np.float64), above(b, c).astype(np.float64)

    return rule


def _where(args: list[Interval], _: Attributes) -> Interval:
    """Either, unless the condition is beyond doubt."""
    (surely, maybe), (a, b), (c, d) = args
    low = np.where(surely > 0, a, np.where(maybe > 0, np.minimum(a, c), c))
    return low, np.where(surely > 0, b, np.where(maybe > 0, np.maximum(b, d), d))


def _cast(args: list[Interval], attributes: Attributes) -> Interval | None:
    """To float32 or double nothing changes, to an integer the fraction goes; a truth value is none of these."""
    to = attributes.get("to")
    if to in (1, 11):
        return args[0]
    whole = {2: (0, 2**8 - 1), 3: (-(2**7), 2**7 - 1), 6: (-(2**31), 2**31 - 1), 7: (-(2.0**63), 2.0**63)}
    if to not in whole:
        return None
    low, high = np.trunc(args[0][0]), np.trunc(args[0][1])
    bottom, top = whole[to]
    return None if (low < bottom).any() or (high > top).any() else (low, high)


def _absolute(args: list[Interval], _: Attributes) -> Interval:
    low, high = args[0]
    inside = (low <= 0) & (high >= 0)
    ends = np.abs(low), np.abs(high)
    return np.where(inside, 0.0, np.minimum(*ends)), np.maximum(*ends)


def _sum(args: list[Interval], _: Attributes) -> Interval:
    """One after the other, each sum rounded."""
    total = args[0]
    for low, high in args[1:]:
        total = _rounded(total[0] + low, total[1] + high)
    return total


RULES: dict[str, Callable[[list[Interval], Attributes], Interval | None]] = {
    "Transpose": lambda a, _: a[0],  # these where the columns keep their order
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
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "Sign": lambda a, _: (np.sign(a[0][0]), np.sign(a[0][1])),
    "Abs": _absolute,
    "Sum": _sum,
    "Greater": _compared(strict=True),
    "GreaterOrEqual": _compared(strict=False),
    "Less": lambda a, _: _compared(strict=True)([a[1], a[0]], {}),
    "LessOrEqual": lambda a, _: _compared(strict=False)([a[1], a[0]], {}),
    "Not": lambda a, _: (1 - a[0][1], 1 - a[0][0]),
    "Where": _where,
    "Cast": _cast,
}
