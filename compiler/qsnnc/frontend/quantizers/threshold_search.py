"""Find the smallest potential that reaches each level: a guess from where the function steps, checked, else by bisection."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.quantizers.extrema import evaluate_each, numbered
from qsnnc.frontend.quantizers.levels import Levels
from qsnnc.frontend.quantizers.region import Float

Int = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Function = Callable[[Float], F64]

#: number of thresholds searched for at a time
AT_ONCE = 1 << 22
#: levels whose steps are found where there is a function for each channel; those of the others lie between
SOME = 9
#: bits of the numbers that float32 is counted in
BITS = 32


def thresholds(f: Function, one: Function | None, levels: Levels, sums: tuple[F64, F64], reach: Int) -> Int:
    """Return the smallest potential p with f(float32(scale * p + offset)) above level i, for every level i.

    Parameters
    ----------
    f : callable
        The region, (points, channels) -> (points, channels).
    one : callable, optional
        The same for a single column, where all channels have one function.
    sums : pair of ndarray, float64, (classes, channels)
        Scale and offset; the scale is positive where f increases and negative where it decreases, so that
        f(float32(scale * p + offset)) never decreases.
    reach : ndarray, int64, (classes, channels, 2)

    Returns
    -------
    ndarray, int64, (classes, channels, levels)
        Between the smallest reachable potential (always reached) and the largest + 1 (never reached).
    """
    classes, channels, _ = reach.shape
    size = max(1, AT_ONCE // (classes * channels))
    parts = [levels.cuts[first : first + size] for first in range(0, levels.count, size)]
    return np.concatenate([_search(f, one, cut, sums, reach) for cut in parts], axis=2)


def _search(f: Function, one: Function | None, cut: F64, sums: tuple[F64, F64], reach: Int) -> Int:
    """Find the smallest potential above each of some cuts."""
    scale, offset = (values[..., None] for values in sums)
    low, high = reach[..., :1], reach[..., 1:] + 1
    found = _guessed(f, one, cut, sums, reach)
    classes, channels, count = found.shape

    def above(potential: Int) -> npt.NDArray[np.bool_]:
        x = (scale * potential + offset).astype(np.float32).transpose(0, 2, 1).reshape(-1, channels)
        return np.asarray(f(x).reshape(classes, count, channels).transpose(0, 2, 1) > cut)

    late = (found < high) & ~above(found)
    early = (found > low) & above(found - 1)
    k, channel, level = np.nonzero(late | early)
    if len(k):
        of = (k, channel, level)
        bottom = np.where(late[of], found[of] + 1, low[k, channel, 0])
        top = np.where(late[of], high[k, channel, 0], found[of] - 1)
        found[of] = _bisected(f, cut[level], (sums[0][k, channel], sums[1][k, channel]), channel, channels, bottom, top)
    return found


def _bisected(f: Function, cut: F64, sums: tuple[F64, F64], channel: Int, channels: int, low: Int, high: Int) -> Int:
    """Find single thresholds between two potentials each; all arguments but f and ``channels`` are one-dimensional."""
    row = numbered(channel)
    while (low < high).any():
        middle = (low + high) // 2
        above = evaluate_each(f, sums[0] * middle + sums[1], channel, row, channels) > cut
        open_ = low < high
        high = np.where(open_ & above, middle, high)
        low = np.where(open_ & ~above, middle + 1, low)
    return low


def _guessed(f: Function, one: Function | None, cut: F64, sums: tuple[F64, F64], reach: Int) -> Int:
    """Return potentials that are most often the thresholds, if the function's steps are as wide as each other."""
    scale, offset = sums
    falls = scale < 0
    alone = one is not None and bool((falls == falls[0, 0]).all())
    at = np.arange(len(cut)) if alone else np.unique(np.linspace(0, len(cut) - 1, SOME).astype(np.int64))
    ends = [(scale * reach[..., side] + offset).astype(np.float32) for side in (0, 1)]
    low, high = np.minimum(*ends).min(axis=0), np.maximum(*ends).max(axis=0)  # (channels,)
    if alone:
        assert one is not None
        steps = _steps(one, cut, falls[0, :1], low.min(keepdims=True), high.max(keepdims=True))
    else:
        steps = _steps(f, cut[at], falls[0], low, high)
        right = np.clip(np.searchsorted(at, np.arange(len(cut))), 1, max(1, len(at) - 1))
        if len(at) > 1:
            share = ((np.arange(len(cut)) - at[right - 1]) / (at[right] - at[right - 1]))[:, None]
            steps = steps[right - 1] * (1 - share) + steps[right] * share
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.ceil((steps.T[None] - offset[..., None]) / scale[..., None])  # (classes, channels, levels)
    return np.asarray(np.clip(np.nan_to_num(found), reach[..., :1], reach[..., 1:] + 1), np.int64)


def _steps(f: Function, cut: F64, falls: npt.NDArray[np.bool_], low: Float, high: Float) -> F64:
    """Return where each function crosses each cut, between the floats on either side: (cuts, columns).

    Parameters
    ----------
    falls : ndarray, bool, (columns,)
        Where f decreases.
    low, high : ndarray, float32, (columns,)
        Where to look.
    """
    shape = (len(cut), len(low))
    bottom, top = (np.broadcast_to(_number(end), shape).copy() for end in (low, high))
    top += 1
    for _ in range(BITS + 1):  # f(bottom - 1) is on the near side, f(top) on the far one, as far as they are in the range
        middle = (bottom + top) // 2
        far = (f(_float(middle)) > cut[:, None]) != falls
        open_ = bottom < top
        top = np.where(open_ & far, middle, top)
        bottom = np.where(open_ & ~far, middle + 1, bottom)
    return (_float(bottom - 1).astype(np.float64) + _float(bottom).astype(np.float64)) / 2


def _number(x: Float) -> Int:
    """Number floats in their order: 0 for zero, 1 for the smallest positive one."""
    bits = x.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _float(number: Int) -> Float:
    """Return the float of a number, see `_number`."""
    bits = np.where(number < 0, np.abs(number) | 0x80000000, number).astype(np.uint32)
    return bits.view(np.float32)
