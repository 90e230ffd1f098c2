"""Bound arithmetic, rounding and comparison operators on intervals, including float32 rounding.

A rule takes the intervals of a node's inputs and its attributes. It returns an interval that contains every result that
float32 arithmetic can give, or None if there is no such bound. The two ends of a constant are one array. The operator table
(`model.operator_table`) assigns a rule to each operator.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.numerics.exactness import F64, UNIT_ROUNDOFF

Interval = tuple[F64, F64]
Attributes = Mapping[str, Any]
Rule = Callable[[list[Interval], Attributes], Interval | None]


def widened(low: F64, high: F64, slack: F64 | float) -> Interval:
    """Move both ends outwards by ``slack``."""
    return low - slack, high + slack


def rounded(low: F64, high: F64) -> Interval:
    """Widen bounds by the rounding of one float32 operation, and as much again for a fused variant of it.

    Rounding is monotone, so a bound that float32 represents exactly is not moved.
    """
    return low - _slack(low), high + _slack(high)


def _slack(bound: F64) -> F64:
    held = bound.astype(np.float32) == bound
    return np.where(held, 0.0, 2 * UNIT_ROUNDOFF * np.abs(bound) + 2.0**-149)


def extremes(a: Interval, b: Interval, op: Callable[[F64, F64], F64]) -> Interval:
    """Return the smallest and largest result of an operation that is monotone in each of its two arguments."""
    corners = [op(x, y) for x in a for y in b]
    return np.minimum.reduce(corners), np.maximum.reduce(corners)


def unchanged(args: list[Interval], _: Attributes) -> Interval:
    """Return the interval itself: values and the order of columns do not change."""
    return args[0]


def rising(function: Callable[[F64], F64]) -> Rule:
    """Return the rule of a non-decreasing function of one argument that is exact in float32."""
    return lambda args, _: (function(args[0][0]), function(args[0][1]))


def negative(args: list[Interval], _: Attributes) -> Interval:
    """Bound Neg."""
    return -args[0][1], -args[0][0]


def total(args: list[Interval], _: Attributes) -> Interval:
    """Bound Add and Sum: operands are added one after the other, each partial sum rounded."""
    result = args[0]
    for low, high in args[1:]:
        result = rounded(result[0] + low, result[1] + high)
    return result


def mean(args: list[Interval], attributes: Attributes) -> Interval:
    """Bound Mean: a sum divided by the number of terms or multiplied by its rounded reciprocal."""
    low, high = (bound / len(args) for bound in total(args, attributes))
    return widened(low, high, 4 * UNIT_ROUNDOFF * np.maximum(np.abs(low), np.abs(high)))


def difference(args: list[Interval], _: Attributes) -> Interval:
    """Bound Sub."""
    return rounded(args[0][0] - args[1][1], args[0][1] - args[1][0])


def smallest(args: list[Interval], _: Attributes) -> Interval:
    """Bound Min of any number of inputs."""
    return _reduced([low for low, _ in args], np.minimum), _reduced([high for _, high in args], np.minimum)


def largest(args: list[Interval], _: Attributes) -> Interval:
    """Bound Max of any number of inputs."""
    return _reduced([low for low, _ in args], np.maximum), _reduced([high for _, high in args], np.maximum)


def _reduced(bounds: list[F64], op: Callable[[F64, F64], F64]) -> F64:
    return functools.reduce(op, bounds)


def product(args: list[Interval], _: Attributes) -> Interval:
    """Bound Mul."""
    exact = _only_shifts(args[1]) or _only_shifts(args[0])
    bounds = extremes(args[0], args[1], np.multiply)
    return bounds if exact else rounded(*bounds)


def quotient(args: list[Interval], _: Attributes) -> Interval | None:
    """Bound Div by an interval that excludes zero; None for any other."""
    low, high = args[1]
    if (low * high <= 0).any():
        return None
    bounds = extremes(args[0], args[1], np.divide)
    return bounds if _only_shifts(args[1]) else rounded(*bounds)


def powers_of_two(values: F64) -> npt.NDArray[np.bool_]:
    """Return which factors are powers of two, of either sign: multiplying by them only shifts the exponent."""
    return np.asarray(np.abs(np.frexp(values)[0]) == 0.5)


def _only_shifts(factor: Interval) -> bool:
    """Return whether a factor is a constant power of two: the product is then exact."""
    return factor[0] is factor[1] and bool(powers_of_two(factor[0]).all())


def batch_norm(args: list[Interval], attributes: Attributes) -> Interval:
    """Bound BatchNormalization with constant statistics."""
    x, (gamma, _), (beta, _), (mean, _), (var, _) = args
    factor = gamma / np.sqrt(var + float(attributes.get("epsilon", 1e-5)))
    low, high = extremes(x, (factor, factor), np.multiply)
    shift = beta - mean * factor
    # float32 computes the factor (3 roundings), two products and two sums, in one of two orders
    size = np.maximum(np.abs(low), np.abs(high)) + 2 * np.abs(mean * factor) + np.abs(beta)
    return widened(low + shift, high + shift, 8 * UNIT_ROUNDOFF * size)


def clip(args: list[Interval], attributes: Attributes) -> Interval:
    """Bound Clip; its limits are inputs, or attributes in old opsets."""
    low, high = args[0]
    bottom = args[1][0] if len(args) > 1 else attributes.get("min", -np.inf)
    top = args[2][1] if len(args) > 2 else attributes.get("max", np.inf)
    return np.clip(low, bottom, top), np.clip(high, bottom, top)


def quantize(args: list[Interval], attributes: Attributes) -> Interval | None:
    """Bound QuantizeLinear to integers from ``lowest`` to ``highest``: saturate(round(x / scale) + zero)."""
    low, high = attributes.get("lowest"), attributes.get("highest")
    scaled = quotient(args[:2], attributes)
    if scaled is None or low is None:
        return None
    zero = _zero_point(args)
    return np.clip(np.round(scaled[0]) + zero, low, high), np.clip(np.round(scaled[1]) + zero, low, high)


def dequantize(args: list[Interval], attributes: Attributes) -> Interval:
    """Bound DequantizeLinear, (q - zero) * scale; the difference of small integers is exact."""
    zero = _zero_point(args)
    return product([(args[0][0] - zero, args[0][1] - zero), args[1]], attributes)


def _zero_point(args: list[Interval]) -> F64:
    return args[2][0] if len(args) > 2 and np.isfinite(args[2][0]).all() else np.zeros(())


def compared(strict: bool, swapped: bool = False) -> Rule:
    """Return the rule of a > b (>= unless ``strict``), or of a < b if ``swapped``; 1 is true and 0 is false."""
    above = np.greater if strict else np.greater_equal

    def rule(args: list[Interval], _: Attributes) -> Interval:
        (a, b), (c, d) = args[::-1] if swapped else args
        return above(a, d).astype(np.float64), above(b, c).astype(np.float64)

    return rule


def equal(args: list[Interval], _: Attributes) -> Interval:
    """Bound Equal: 1 where both are the same constant, 0 where the intervals are disjoint."""
    (a, b), (c, d) = args
    return ((a == b) & (c == d) & (a == c)).astype(np.float64), ((a <= d) & (c <= b)).astype(np.float64)


def exclusive_or(args: list[Interval], _: Attributes) -> Interval:
    """Bound Xor of truth values, 0 and 1."""
    (a, b), (c, d) = args
    known, differ = (a == b) & (c == d), a != c
    return (known & differ).astype(np.float64), (~known | differ).astype(np.float64)


def negation(args: list[Interval], _: Attributes) -> Interval:
    """Bound Not of truth values, 0 and 1."""
    return 1 - args[0][1], 1 - args[0][0]


def where(args: list[Interval], _: Attributes) -> Interval:
    """Bound Where: the union of both branches, unless the condition is certain."""
    (surely, maybe), (a, b), (c, d) = args
    low = np.where(surely > 0, a, np.where(maybe > 0, np.minimum(a, c), c))
    return low, np.where(surely > 0, b, np.where(maybe > 0, np.maximum(b, d), d))


#: smallest and largest value of ONNX's integer types; float32 cannot represent those of int64
INTEGERS = {
    2: (0, 2**8 - 1), 3: (-(2**7), 2**7 - 1), 4: (0, 2**16 - 1), 5: (-(2**15), 2**15 - 1), 6: (-(2**31), 2**31 - 1),
    7: (-(2.0**63), 2.0**63),
}  # fmt: skip


def cast(args: list[Interval], attributes: Attributes) -> Interval | None:
    """Bound Cast and CastLike to float32 or double (no change), float16, or an integer type (truncation); None for bool."""
    to = attributes.get("to")
    if to in (1, 11):
        return args[0]
    if to == 10:
        return in_half_precision(*args[0])
    if to not in INTEGERS:
        return None
    low, high = np.trunc(args[0][0]), np.trunc(args[0][1])
    bottom, top = INTEGERS[to]
    return None if (low < bottom).any() or (high > top).any() else (low, high)


def in_half_precision(low: F64, high: F64) -> Interval:
    """Round bounds to float16, which keeps their order."""
    with np.errstate(over="ignore"):
        return low.astype(np.float16).astype(np.float64), high.astype(np.float16).astype(np.float64)


def absolute(args: list[Interval], _: Attributes) -> Interval:
    """Bound Abs."""
    low, high = args[0]
    inside = (low <= 0) & (high >= 0)
    ends = np.abs(low), np.abs(high)
    return np.where(inside, 0.0, np.minimum(*ends)), np.maximum(*ends)


def reciprocal(args: list[Interval], attributes: Attributes) -> Interval | None:
    """Bound Reciprocal of an interval that excludes zero; None for any other."""
    one = np.ones((1, 1))
    return quotient([(one, one), args[0]], attributes)
