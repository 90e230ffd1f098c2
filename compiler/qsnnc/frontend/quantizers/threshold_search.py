"""Find the smallest potential that reaches each level, by bisection."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.quantizers.levels import Levels
from qsnnc.frontend.quantizers.region import Float

Int = npt.NDArray[np.int64]

#: number of thresholds searched for at a time
AT_ONCE = 1 << 22


def thresholds(
    f: Callable[[Float], npt.NDArray[np.float64]],
    levels: Levels,
    accumulator: Callable[[Int], Float],
    reach: Int,
) -> Int:
    """Return the smallest potential p with f(accumulator(p)) above level i, for every level i.

    Parameters
    ----------
    f : callable
        The region, (points, channels) -> (points, channels).
    accumulator : callable
        Potentials int64 (classes, channels, levels) to float32 accumulators of the same shape; increasing where f
        increases and decreasing where f decreases, so that f(accumulator(p)) never decreases.
    reach : ndarray, int64, (classes, channels, 2)

    Returns
    -------
    ndarray, int64, (classes, channels, levels)
        Between the smallest reachable potential (always reached) and the largest + 1 (never reached).
    """
    classes, channels, _ = reach.shape
    size = max(1, AT_ONCE // (classes * channels))
    parts = [levels.cuts[first : first + size] for first in range(0, levels.count, size)]
    return np.concatenate([_search(f, cut, accumulator, reach) for cut in parts], axis=2)


def _search(
    f: Callable[[Float], npt.NDArray[np.float64]],
    cut: npt.NDArray[np.float64],
    accumulator: Callable[[Int], Float],
    reach: Int,
) -> Int:
    """Find the smallest potential above each of some cuts."""
    classes, channels, _ = reach.shape
    low = np.repeat(reach[..., :1], len(cut), axis=2)
    high = np.repeat(reach[..., 1:] + 1, len(cut), axis=2)
    while (low < high).any():
        middle = (low + high) // 2
        x = accumulator(middle).transpose(0, 2, 1).reshape(-1, channels)
        above = f(x).reshape(classes, len(cut), channels).transpose(0, 2, 1) > cut
        open_ = low < high
        high = np.where(open_ & above, middle, high)
        low = np.where(open_ & ~above, middle + 1, low)
    return low
