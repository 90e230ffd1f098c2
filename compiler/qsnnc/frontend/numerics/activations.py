"""Bound activation functions on intervals, including the rounding of onnxruntime's float32 kernels.

Piecewise linear functions round as arithmetic does. The others are approximations (polynomials, continued fractions, libm)
for which no error bound is published. Their error is taken to be at most `SMOOTH` times the largest of 1, the result and,
for functions that scale an exponential, that scale. SMOOTH is 64 u, where u = 2**-24 is the unit roundoff of float32. The
largest error measured against float64 is 6 u (Tanh), and 14 u for the tanh form of Gelu: 33 million arguments per function,
from 2**-40 to 2**8 and evenly from -20 to 20, onnxruntime 1.32 on x86-64. `tests/property/test_intervals.py` samples
arguments anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.numerics.exactness import F64, UNIT_ROUNDOFF
from qsnnc.frontend.numerics.intervals import (
    Attributes,
    Interval,
    Rule,
    extremes,
    largest,
    product,
    smallest,
    total,
    widened,
)

#: error bound of a smooth function, relative to the largest of 1, its result and its scale
SMOOTH = 64 * UNIT_ROUNDOFF
#: magnitude beyond which an exponential may saturate or overflow
HUGE = 2.0**126
#: the smallest normal float32
SMALLEST = 2.0**-126


def smooth(function: Callable[[F64], F64], lowest: float = -np.inf) -> Rule:
    """Return the rule of an increasing function of one argument; it is undefined below ``lowest``."""

    def rule(args: list[Interval], _: Attributes) -> Interval:
        low, high = args[0]
        bounds = _approximated(function(np.maximum(low, lowest)), function(np.maximum(high, lowest)))
        return _unknown(low < lowest, bounds)

    return rule


def _approximated(low: F64, high: F64, scale: float = 1.0) -> Interval:
    """Widen bounds by the error of a kernel; near the ends of float32's range it may saturate early or give infinity."""
    size = np.minimum(np.maximum(np.abs(low), np.abs(high)), HUGE)
    bottom, top = widened(np.minimum(low, HUGE), np.maximum(high, -HUGE), SMOOTH * np.maximum(scale, size))
    return np.where(bottom <= -HUGE, -np.inf, bottom), np.where(top >= HUGE, np.inf, top)


def _unknown(where: npt.NDArray[np.bool_], bounds: Interval) -> Interval:
    """Remove the bounds at some points, whose results may be NaN."""
    return np.where(where, -np.inf, bounds[0]), np.where(where, np.inf, bounds[1])


def logarithm(args: list[Interval], _: Attributes) -> Interval:
    """Bound Log; a kernel may treat a subnormal number as zero or as the smallest normal one."""
    low, high = args[0]
    bottom, top = _approximated(np.log(np.maximum(low, SMALLEST)), np.log(np.maximum(high, SMALLEST)))
    return _unknown(low < 0, (np.where(low <= SMALLEST, -np.inf, bottom), top))


def _constant(value: float) -> Interval:
    array = np.full((1, 1), value)
    return array, array


def leaky(args: list[Interval], attributes: Attributes) -> Interval:
    """Bound LeakyRelu and PRelu: x above zero, slope * x below it; the slope is an attribute or an input."""
    slope = args[1] if len(args) > 1 else _constant(float(attributes.get("alpha", 0.01)))
    low, high = args[0]
    below = product([(np.minimum(low, 0.0), np.minimum(high, 0.0)), slope], {})
    above = np.maximum(low, 0.0), np.maximum(high, 0.0)
    return _either((low < 0, below), (high >= 0, above))


def thresholded(args: list[Interval], attributes: Attributes) -> Interval:
    """Bound ThresholdedRelu: x above alpha, zero elsewhere."""
    alpha = float(attributes.get("alpha", 1.0))
    low, high = args[0]
    zero = np.zeros_like(low), np.zeros_like(low)
    return _either((high > alpha, (np.maximum(low, alpha), high)), (low <= alpha, zero))


def shrink(args: list[Interval], attributes: Attributes) -> Interval:
    """Bound Shrink: x + bias below -lambd, x - bias above lambd, zero between."""
    edge, bias = float(attributes.get("lambd", 0.5)), float(attributes.get("bias", 0.0))
    low, high = args[0]
    zero = np.zeros_like(low), np.zeros_like(low)
    below = total([(low, np.minimum(high, -edge)), _constant(bias)], {})
    above = total([(np.maximum(low, edge), high), _constant(-bias)], {})
    return _either((low < -edge, below), ((low <= edge) & (high >= -edge), zero), (high > edge, above))


def _either(*pieces: tuple[Any, Interval]) -> Interval:
    """Return the union of the intervals whose condition holds; at least one holds."""
    low = np.minimum.reduce([np.where(there, interval[0], np.inf) for there, interval in pieces])
    high = np.maximum.reduce([np.where(there, interval[1], -np.inf) for there, interval in pieces])
    return low, high


def hard_sigmoid(args: list[Interval], attributes: Attributes) -> Interval:
    """Bound HardSigmoid: alpha * x + beta, between 0 and 1."""
    alpha, beta = float(attributes.get("alpha", 0.2)), float(attributes.get("beta", 0.5))
    line = total([product([args[0], _constant(alpha)], {}), _constant(beta)], {})
    return largest([smallest([line, _constant(1.0)], {}), _constant(0.0)], {})


def elu(args: list[Interval], attributes: Attributes) -> Interval:
    """Bound Elu: x above zero, alpha * (exp(x) - 1) below it."""
    return _exponential(args[0], float(attributes.get("alpha", 1.0)))


def celu(args: list[Interval], attributes: Attributes) -> Interval | None:
    """Bound Celu: x above zero, alpha * (exp(x / alpha) - 1) below it."""
    alpha = float(attributes.get("alpha", 1.0))
    return _exponential(args[0], alpha, steep=1.0 / alpha) if alpha else None


def selu(args: list[Interval], attributes: Attributes) -> Interval:
    """Bound Selu: gamma times Elu."""
    alpha, gamma = float(attributes.get("alpha", 1.6732632)), float(attributes.get("gamma", 1.0507010))
    return _exponential(args[0], alpha, gamma)


def _exponential(x: Interval, alpha: float, gamma: float = 1.0, steep: float = 1.0) -> Interval:
    """Bound gamma * x above zero and gamma * alpha * (exp(steep * x) - 1) below it; both parts are monotone."""
    (low, high), factor = x, _constant(gamma)
    curve = alpha * np.expm1(steep * np.minimum(low, 0.0)), alpha * np.expm1(steep * np.minimum(high, 0.0))
    below, above = (extremes(part, factor, np.multiply) for part in (curve, (np.maximum(low, 0.0), np.maximum(high, 0.0))))
    scale = max(1.0, abs(gamma)) * max(1.0, abs(alpha))
    return _approximated(*_either((low < 0, below), (high >= 0, above)), scale)


def hard_swish(args: list[Interval], _: Attributes) -> Interval | None:
    """Bound HardSwish: x times clip(x / 6 + 1 / 2, 0, 1)."""
    return _gated(args[0], hard_sigmoid(args, {"alpha": 1 / 6, "beta": 0.5}))


def swish(args: list[Interval], attributes: Attributes) -> Interval | None:
    """Bound Swish: x times sigmoid(alpha * x)."""
    alpha = float(attributes.get("alpha", 1.0))
    return _gated(args[0], sigmoid([(alpha * args[0][0], alpha * args[0][1])], {})) if alpha >= 0 else None


def gelu(args: list[Interval], attributes: Attributes) -> Interval | None:
    """Bound Gelu: x times the cumulative normal distribution, or its approximation by tanh."""
    gate = _normal_by_tanh if attributes.get("approximate", b"none") == b"tanh" else _normal
    return _gated(args[0], smooth(gate)(args, {}))


def mish(args: list[Interval], _: Attributes) -> Interval | None:
    """Bound Mish: x times tanh(softplus(x))."""
    return _gated(args[0], smooth(lambda x: np.tanh(np.logaddexp(0.0, x)))(args, {}))


def _gated(x: Interval, gate: Interval | None) -> Interval | None:
    """Bound x times a gate between 0 and 1."""
    if gate is None:
        return None
    size = np.maximum(np.abs(x[0]), np.abs(x[1]))
    return widened(*extremes(x, gate, np.multiply), SMOOTH * np.maximum(1.0, size))


def _logistic(x: F64) -> F64:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x))


def _error_function(x: F64) -> F64:
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), np.float64)


def _normal(x: F64) -> F64:
    return 0.5 + 0.5 * _error_function(x / math.sqrt(2.0))


def _normal_by_tanh(x: F64) -> F64:
    return np.asarray(0.5 + 0.5 * np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


sigmoid = smooth(_logistic)
erf = smooth(_error_function)
softplus = smooth(lambda x: np.logaddexp(0.0, x))
softsign = smooth(lambda x: x / (1 + np.abs(x)))
