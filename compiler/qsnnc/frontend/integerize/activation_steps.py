"""Find the steps of an activation over all reachable potentials, and the potentials at which rounding could change it.

Potentials are taken in blocks of neighbours. A block of whose output interval arithmetic proves that it is one level has no
step; only the potentials of the others are evaluated one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.layers.thresholds import error_of
from qsnnc.frontend.linear.tensors import F64, Accumulator
from qsnnc.frontend.quantizers.error_bounds import propagate
from qsnnc.frontend.quantizers.levels import BESIDE, Levels
from qsnnc.frontend.quantizers.region import Float, Region
from qsnnc.frontend.quantizers.threshold_search import Function
from qsnnc.ir.layers import Int

Bool = npt.NDArray[np.bool_]

#: number of potentials, over all channels, that are looked at a time: few enough to stay in a cache
AT_ONCE = 1 << 19
#: potentials of a block
BLOCK = 64


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """The steps of an activation over all reachable potentials, and the potentials at which rounding could change it."""

    base: Int  # (rows, columns): the level at the smallest potential
    at: Int  # (steps, 3): row, column and potential, ascending
    size: Int  # (steps,): change in levels
    open: Int  # (n, 3): row, column and potential that rounding could change


def steps_of(columns: Accumulator, region: Region, levels: Levels, values: F64 | None) -> Steps | None:
    """Find the level of every potential; None if a value is not a level.

    ``values`` are the exact values of potentials 0, 1, 2 and so on, if the sums are levels that are read.
    """
    low, high = columns.reach[..., :1], columns.reach[..., 1:]
    (rows, count), points = low.shape[:2], int((high - low).max()) + 1
    evaluation = _Evaluation(columns, region, region.function(), levels, values)
    size = max(1, AT_ONCE // (rows * count * BLOCK)) * BLOCK
    base = before = np.zeros((0, rows, count), np.int64)
    at: list[Int] = []
    by: list[Int] = []
    open_: list[Int] = []
    for first in range(0, points, size):
        potential = np.minimum(low + np.arange(first, min(points, first + size)), high).transpose(2, 0, 1)
        found = evaluation.by_blocks(potential)
        if found is None:
            return None
        level, unsure = found
        change = np.diff(level, axis=0, prepend=before if first else level[:1])
        base, before = (base if first else level[0]), level[-1:]
        at.append(_where(change != 0, potential))
        by.append(change[change != 0])
        if unsure is not None:
            open_.append(_where(unsure, potential))
        elif values is None:  # an operator has no interval rule: every step is uncertain
            open_ += [at[-1], at[-1] - np.array([0, 0, 1])]
    none = np.zeros((0, 3), np.int64)
    return Steps(base, np.concatenate(at), np.concatenate(by), np.concatenate([none, *open_]))


def _where(chosen: Bool, potential: Int) -> Int:
    """Return row, column and potential of the chosen ones among (points, rows, columns)."""
    point, row, column = np.nonzero(chosen)
    return np.stack([row, column, potential[point, row, column]], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class _Evaluation:
    """The levels of an activation at some of its potentials."""

    columns: Accumulator
    region: Region
    function: Function
    levels: Levels
    values: F64 | None

    def by_blocks(self, potential: Int) -> tuple[Int, Bool | None] | None:
        """Return the level of neighbouring potentials (points, rows, columns), and whether rounding could change it.

        None if a value is not a level, None for what rounding could change if an operator has no interval rule.
        """
        points = len(potential)
        starts = np.arange(0, points, BLOCK)
        ends = np.minimum(starts + BLOCK, points) - 1
        found = None if self.values is not None else self._one_level(potential[starts], potential[ends])
        if found is None:
            return self.one_by_one(potential)
        level, open_ = found
        level = np.repeat(level, BLOCK, axis=0)[:points]
        unsure = np.zeros(level.shape, bool)
        most = int(open_.sum(axis=0).max())
        block = np.argsort(~open_, axis=0, kind="stable")[:most]  # filled up with blocks that are known, to no effect
        at = (block[:, None] * BLOCK + np.arange(BLOCK)[:, None, None]).reshape(-1, *level.shape[1:])
        at = np.minimum(at, points - 1)
        alone = self.one_by_one(np.take_along_axis(potential, at, axis=0))
        if alone is None:
            return None
        np.put_along_axis(level, at, alone[0], axis=0)
        if alone[1] is None:
            return level, None
        np.put_along_axis(unsure, at, alone[1], axis=0)
        return level, unsure

    def one_by_one(self, potential: Int) -> tuple[Int, Bool | None] | None:
        """Return what `by_blocks` does of any potentials (points, rows, columns), each evaluated."""
        x = self._sums(potential)
        level = self._level(x)
        if level is None:
            return None
        bounds = None if self.values is not None else self._bounds(x, x)
        unsure = None if bounds is None else ((bounds[0] != level) | (bounds[1] != level)).reshape(potential.shape)
        return level.reshape(potential.shape), unsure

    def _one_level(self, first: Int, last: Int) -> tuple[Int, Bool] | None:
        """Return the level of blocks (blocks, rows, columns), and which may have several; None without an interval rule."""
        ends = self._sums(first), self._sums(last)
        bounds = self._bounds(np.minimum(*ends), np.maximum(*ends))
        level = self._level(ends[0])
        if bounds is None or level is None:
            return None
        return level.reshape(first.shape), ((bounds[0] != level) | (bounds[1] != level)).reshape(first.shape)

    def _sums(self, potential: Int) -> Float:
        """Return the float sums of potentials (points, rows, columns), as (points, columns)."""
        flat = potential.transpose(1, 2, 0)
        x = self.columns.value(flat) if self.values is None else self.values[np.abs(flat)].astype(np.float32)
        return x.transpose(2, 0, 1).reshape(-1, flat.shape[1])

    def _level(self, x: Float) -> Int | None:
        """Return the level of sums (points, columns); None if a value is not a level."""
        y = self.function(x)
        level = np.searchsorted(self.levels.cuts, y)
        beside = np.abs(self.levels.values[level] - y).max(initial=0.0) > BESIDE * self.levels.scale
        return None if beside else level

    def _bounds(self, low: Float, high: Float) -> tuple[Int, Int] | None:
        """Return the levels that sums from low to high (points, columns) can have at least and at most, rounded anyhow."""
        size = np.spacing(np.maximum(np.abs(low), np.abs(high))).astype(np.float64)
        slack = error_of(self.columns) + np.where(self.columns.exact, 0.0, size)
        bounds = propagate(self.region, (low.astype(np.float64) - slack, high.astype(np.float64) + slack))
        return (
            None
            if bounds is None
            else (np.searchsorted(self.levels.cuts, bounds[0]), np.searchsorted(self.levels.cuts, bounds[1]))
        )
