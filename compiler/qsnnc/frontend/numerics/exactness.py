"""Decide whether a float32 sum is exact, and bound its error otherwise.

Error model: IEEE 754 binary32, round to nearest, u = 2**-24 (Higham, Accuracy and Stability of Numerical Algorithms,
sections 2.2 and 3.1): one operation errs by a factor 1 + d, |d| <= u; a sum of n products by at most n u / (1 - n u)
times the sum of their magnitudes, in any order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
UNIT_ROUNDOFF = 2.0**-24
EXACT_BELOW = 2.0**24  # float32 represents every integer below this
TOGETHER = 1 << 16  # values that are looked at together: what is made of them stays in the cache


def dyadic_unit(values: npt.NDArray[np.floating]) -> float:
    """Return the largest power of two that divides every value (1.0 if all are zero)."""
    found = float(dyadic_units(values.reshape(1, -1))[0])
    return found if np.isfinite(found) else 1.0


def dyadic_units(rows: npt.NDArray[np.floating]) -> F64:
    """Return the largest power of two that divides every value of a row; infinity where all are zero."""
    return np.concatenate([_dyadic_units(rows[some]) for some in in_parts(rows)] or [np.zeros(0)])


def in_parts(rows: npt.NDArray[Any]) -> list[slice]:
    """Return the rows of a matrix in parts whose temporaries stay in the cache."""
    step = max(1, TOGETHER // max(1, rows.shape[1]))
    return [slice(first, first + step) for first in range(0, len(rows), step)]


def _dyadic_units(rows: npt.NDArray[np.floating]) -> F64:
    mantissa, exponent = np.frexp(np.abs(rows.astype(np.float64)))
    whole = (mantissa * 2.0**53).astype(np.int64)
    lowest = (whole & -whole).astype(np.float64)
    with np.errstate(divide="ignore"):
        unit = np.where(lowest > 0, 2.0 ** (exponent - 53.0) * lowest, np.inf)
    return np.asarray(unit.min(axis=1, initial=np.inf))


def sums_are_exact(weights: F64, bias: F64, unit: float, largest: float) -> npt.NDArray[np.bool_]:
    """Return whether every float32 partial sum is exact in any order.

    Parameters
    ----------
    weights : ndarray, float64, (channels, terms)
        As stored in the ONNX graph.
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
    """Bound the error of a float32 sum: (n + 2) u times the sum of the terms' magnitudes."""
    n = terms + 2
    return n * UNIT_ROUNDOFF / (1 - n * UNIT_ROUNDOFF) * magnitude
