"""Activations that rise and fall, SiLU, GELU and HardSwish: two layers on the same sums, whose difference is the level.

No threshold stands for a level that is left and reached again. But every step of the activation is one: a neuron of the
first layer for each step up, one of the second for each step down, and level = steps up - steps down. What reads the
activation reads both layers, the second with its weights negated. All reachable sums are looked at, so nothing is missed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.certify import propagate
from qsnnc.frontend.intervals import UNIT_ROUNDOFF
from qsnnc.frontend.levels import Levels, find_levels
from qsnnc.frontend.region import Region
from qsnnc.frontend.tensors import Accumulator, Part, Quantized, Terms
from qsnnc.frontend.thresholds import error_of, fires, turned
from qsnnc.frontend.walk import Walk
from qsnnc.ir.layers import Doubt, Int

#: potentials, of all channels together, that an activation is evaluated on
MOST_POTENTIALS = 1 << 23
#: a potential beyond all that are reached
NOWHERE = 1 << 60


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """An activation on every reachable potential: (classes, channels, potentials) throughout."""

    potential: Int  # the last one repeated where a channel has fewer
    level: Int
    open: npt.NDArray[np.bool_]  # whether rounding could make it another level


def up_and_down(walk: Walk, root: Accumulator, region: Region, refusal: ModelError) -> Terms:
    """The steps of an activation as levels of two layers; of one where no reachable sum lies where it falls.

    Raises
    ------
    ModelError
        The refusal, where there is too much to look at, or nothing to be gained.
    """
    plain = not region.moves and region.axes == (root.axis,) and region.columns == root.shape[0]
    most = root.reach.shape[0] * root.shape[0] * (int(np.ptp(root.reach, axis=2).max()) + 1)
    levels = find_levels(region, turning=True) if plain and most <= MOST_POTENTIALS else None
    if levels is None:
        raise refusal
    root = turned(root, _falls(root, region))
    table = _table(root, region, levels)
    if table is None:
        raise refusal
    steps = np.diff(table.level, axis=2)
    up = _limits(root, table, np.maximum(steps, 0), table.level[..., 0])
    down = _limits(root, table, np.maximum(-steps, 0), 0 * table.level[..., 0])
    if not up.shape[2] or down.shape[2] > levels.count:
        raise refusal
    doubts = _doubts(root, table, (up, down))
    off = float(np.abs(levels.values - levels.scale * np.arange(levels.count + 1) - levels.scale * levels.zero_point).max())
    tensors = [_tensor(walk, root, levels, up, doubts[0], off, root.name)]
    if down.shape[2]:
        below = replace(levels, zero_point=0.0)
        tensors.append(_tensor(walk, root, below, down, doubts[1], off, walk.namer.text(f"{root.name}.falls")))
    return Terms(tuple(tensors), (1, -1)[: len(tensors)], 0)


def _tensor(
    walk: Walk, root: Accumulator, levels: Levels, limits: Int, doubts: tuple[Doubt, ...], off: float, name: str
) -> Quantized:
    """One of the two layers; ``off`` is what a value of the tensor may be off the grid of both."""
    own = replace(levels, count=limits.shape[2])
    exact = bool(root.exact.all())
    layer = fires(root, own, walk.unused(name), "", root.shape, limits, exact_sums=exact, doubts=doubts)
    walk.add(layer)
    said = np.asarray(own.scale * np.arange(own.count + 1) + own.scale * own.zero_point, np.float64)
    slack = int(np.ceil(off / (UNIT_ROUNDOFF * float(np.abs(said).max()))))
    return Quantized((Part(layer, own.scale, own.zero_point, said, slack),), root.layout)


def _falls(root: Accumulator, region: Region) -> npt.NDArray[np.bool_]:
    """Channels that are lower at the end of their reach than at its beginning."""
    ends = root.value(root.reach).transpose(0, 2, 1).reshape(-1, root.shape[0])
    found = region.function()(ends).reshape(-1, 2, root.shape[0])
    return np.asarray((found[:, 1] - found[:, 0]).sum(axis=0) < 0)


def _table(root: Accumulator, region: Region, levels: Levels) -> _Table | None:
    """None where a value is none of the levels."""
    low, high = root.reach[..., :1], root.reach[..., 1:]
    potential = np.minimum(low + np.arange(int((high - low).max()) + 1), high)
    classes, channels, points = potential.shape
    x = root.value(potential).transpose(0, 2, 1).reshape(-1, channels)
    y = region.function()(x)
    level = np.searchsorted(levels.cuts, y)
    if np.abs(levels.values[level] - y).max() > 0.01 * levels.scale:
        return None
    real = x.astype(np.float64)
    slack = error_of(root) + np.where(root.exact, 0.0, np.spacing(np.abs(x)).astype(np.float64))
    bounds = propagate(region, (real - slack, real + slack))
    if bounds is None:
        open_ = np.ones(level.shape, bool)
    else:
        cuts = levels.cuts
        open_ = (np.searchsorted(cuts, bounds[0], side="left") != level) | (np.searchsorted(cuts, bounds[1]) != level)
    shape = classes, points, channels
    return _Table(potential, level.reshape(shape).transpose(0, 2, 1), open_.reshape(shape).transpose(0, 2, 1))


def _limits(root: Accumulator, table: _Table, steps: Int, base: Int) -> Int:
    """Thresholds (classes, channels, levels): always for the base, then a potential for each step, never for the rest."""
    count = base + steps.sum(axis=2)
    limits = np.repeat(root.reach[..., 1:] + 1, int(count.max()), axis=2)
    for k, c in np.ndindex(*count.shape):
        limits[k, c, : base[k, c]] = root.reach[k, c, 0]
        limits[k, c, base[k, c] : count[k, c]] = np.repeat(table.potential[k, c, 1:], steps[k, c])
    return limits


def _doubts(root: Accumulator, table: _Table, layers: tuple[Int, Int]) -> tuple[tuple[Doubt, ...], tuple[Doubt, ...]]:
    """Each open potential, as a doubt about the thresholds that are nearest to it."""
    found: tuple[list[Doubt], list[Doubt]] = ([], [])
    bound = error_of(root) / np.abs(root.scale)
    for k, c in np.unique(np.argwhere(table.open)[:, :2], axis=0).tolist():
        edges = np.unique(np.concatenate([limits[k, c] for limits in layers]))
        p = np.unique(table.potential[k, c][table.open[k, c]])
        after = np.searchsorted(edges, p, side="right")
        above = np.append(edges, NOWHERE)[after] - 1 - p
        below = p - np.append(-NOWHERE, edges)[after]
        nearest = np.minimum(above, below)
        far = np.full(len(edges), -1)  # of the potentials that are nearest to an edge, the farthest
        for at, distance in ((after, above), (after - 1, below)):
            hit = distance == nearest
            np.maximum.at(far, at[hit], nearest[hit])
        for doubts, limits in zip(found, layers, strict=True):
            own = far[np.searchsorted(edges, limits[k, c])]
            doubts += [Doubt(c, k, n, max(float(bound[k, c]), float(own[n]))) for n in np.flatnonzero(own >= 0).tolist()]
    return tuple(found[0]), tuple(found[1])
