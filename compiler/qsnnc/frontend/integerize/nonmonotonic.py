"""Turn nonmonotonic activations (SiLU, GELU, HardSwish) into two layers on the same sums, whose difference is the level.

One threshold per level is not enough for an activation that reaches a level twice. Instead, each step up is a neuron of the
first layer, each step down one of the second, and level = steps up - steps down. Readers of the activation read both
layers, the second with negated weights. All reachable sums are looked at, so no step is missed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.integerize.activation_steps import Steps, steps_of
from qsnnc.frontend.integerize.reachable_levels import bounded, ends_of
from qsnnc.frontend.integerize.walk import Walk
from qsnnc.frontend.layers.columns import Columns, columns_of
from qsnnc.frontend.layers.thresholds import error_of, fires, with_negated
from qsnnc.frontend.linear.tensors import F64, Accumulator, Part, Quantized, Terms
from qsnnc.frontend.model.outcomes import NotMonotone
from qsnnc.frontend.numerics.exactness import UNIT_ROUNDOFF
from qsnnc.frontend.quantizers.levels import Levels, find_levels, uniform_levels
from qsnnc.frontend.quantizers.region import Region
from qsnnc.ir.layers import Int, Layer
from qsnnc.ir.uncertain import Uncertain, UncertainThresholds

#: most potentials, over all channels, on which an activation is evaluated
MOST_POTENTIALS = 1 << 27
#: most steps down per level; more are rounding noise
MOST_FALLS = 4
#: a potential that is never reached
NOWHERE = 1 << 60


def up_and_down(walk: Walk, root: Accumulator, region: Region, values: F64 | None = None) -> Terms | None:
    """Turn an activation into the levels of two layers; of one if it does not decrease on any reachable sum.

    None if there are too many steps down, or if it has no levels. ``values`` are the exact values of potentials 0, 1, 2 and
    so on, if the sums are levels that are read.
    """
    seen = None if region.moves else columns_of(root, region.axes)
    levels = _levels(root, region, values) if seen else None
    if seen is None or levels is None:
        return None
    root = with_negated(root, _falls(root, region, seen))
    columns = seen.of(root)
    steps = steps_of(columns, region, levels, values)
    if steps is None:
        return None
    up = _limits(columns, steps, np.maximum(steps.size, 0), steps.base, least=1)
    down = _limits(columns, steps, np.maximum(-steps.size, 0), 0 * steps.base)
    if down.shape[2] > MOST_FALLS * levels.count:
        return None
    uncertain = _uncertain(columns, steps, (up, down))
    names = (root.name, walk.namer.text(f"{root.name}.falls"))
    layers: list[Layer] = []
    for name, limits, found in zip(names, (up, down), uncertain, strict=True):
        own = replace(levels, count=limits.shape[2], zero_point=0.0 if layers else levels.zero_point)
        if own.count:
            limits, found = seen.back(root, limits, region.output), seen.back_uncertain(found)
            exact = bool(root.exact.all())
            layers.append(
                fires(root, own, walk.sink.free_name(name), "", root.shape, limits, exact_sums=exact, uncertain=found)
            )
            walk.sink.add(layers[-1])
    if len(layers) == 1:
        part = replace(Part.of(layers[0], levels), values=levels.values[: layers[0].levels + 1])
        return Terms.of(Quantized((part,), root.layout))
    off = float(np.abs(levels.values - levels.scale * np.arange(levels.count + 1) - levels.scale * levels.zero_point).max())
    return Terms(tuple(Quantized((_term(layer, off),), root.layout) for layer in layers), (1, -1), 0, levels.values)


def _term(layer: Layer, off: float) -> Part:
    """Return one of the two terms of a value; ``off`` is the error bound of the value."""
    said = np.asarray(layer.scale * np.arange(layer.levels + 1) + layer.scale * layer.zero_point, np.float64)
    slack = int(np.ceil(off / (UNIT_ROUNDOFF * float(np.abs(said).max()))))
    return Part(layer, layer.scale, layer.zero_point, said, slack)


def few_enough(root: Accumulator) -> bool:
    """Return whether there are few enough potentials to evaluate an activation on all of them."""
    return _potentials(root) <= MOST_POTENTIALS


def too_many(end: str, root: Accumulator) -> NotMonotone:
    """Return the error for an activation with too many potentials."""
    count = _potentials(root)
    return NotMonotone(
        end,
        f"rises and falls over {count:,} potentials; a nonmonotonic activation may have at most {MOST_POTENTIALS:,}: put a "
        "quantizer between the weights and the activation, or use a ReLU",
        node=end,
        found=count,
        allowed=MOST_POTENTIALS,
    )


def _potentials(root: Accumulator) -> int:
    return int(root.reach[..., 0].size * (int(np.ptp(root.reach, axis=2).max()) + 1))


def _falls(root: Accumulator, region: Region, seen: Columns) -> npt.NDArray[np.bool_]:
    """Return the channels whose activation is lower at the largest potential than at the smallest."""
    columns = seen.of(root)
    rows, count = columns.scale.shape
    ends = columns.value(columns.reach).transpose(0, 2, 1).reshape(-1, count)
    found = region.function()(ends).reshape(rows, 2, count)
    lower = np.zeros(root.shape[0])
    np.add.at(lower, seen.channel[seen.shown], (found[:, 1] - found[:, 0])[seen.shown])
    return np.asarray(lower < 0)


def _levels(root: Accumulator, region: Region, values: F64 | None) -> Levels | None:
    """Find the levels of an activation over the real line, else over its sums; or over the given values of its input."""
    if values is None:
        return find_levels(region, turning=True) or find_levels(bounded(region, ends_of(root)), turning=True)
    made = region.function()(np.repeat(values[:, None], region.columns, axis=1).astype(np.float32))
    return uniform_levels(region.output, np.unique(made), np.zeros(0, bool))


def _limits(columns: Accumulator, steps: Steps, size: Int, base: Int, least: int = 0) -> Int:
    """Return thresholds (rows, columns, levels): always reached for the base, one per step, the rest never reached."""
    count = base.copy()
    np.add.at(count, (steps.at[:, 0], steps.at[:, 1]), size)
    limits = np.repeat(columns.reach[..., 1:] + 1, max(least, int(count.max())), axis=2)
    for k, c in np.ndindex(*count.shape):
        mine = (steps.at[:, 0] == k) & (steps.at[:, 1] == c)
        limits[k, c, : base[k, c]] = columns.reach[k, c, 0]
        limits[k, c, base[k, c] : count[k, c]] = np.repeat(steps.at[mine, 2], size[mine])
    return limits


def _uncertain(
    columns: Accumulator, steps: Steps, layers: tuple[Int, Int]
) -> tuple[UncertainThresholds, UncertainThresholds]:
    """Return each potential that rounding could change, as an uncertainty of the thresholds nearest to it."""
    found: tuple[list[Uncertain], list[Uncertain]] = ([], [])
    error = error_of(columns) / np.abs(columns.scale)
    for k, c in np.unique(steps.open[:, :2], axis=0).tolist():
        edges = np.unique(np.concatenate([limits[k, c] for limits in layers]))
        p = steps.open[(steps.open[:, 0] == k) & (steps.open[:, 1] == c), 2]
        after = np.searchsorted(edges, p, side="right")
        above = np.append(edges, NOWHERE)[after] - 1 - p
        below = p - np.append(-NOWHERE, edges)[after]
        nearest = np.minimum(above, below)
        far = np.full(len(edges), -1)  # the farthest of the potentials that are nearest to an edge
        for at, distance in ((after, above), (after - 1, below)):
            hit = distance == nearest
            np.maximum.at(far, at[hit], nearest[hit])
        for uncertain, limits in zip(found, layers, strict=True):
            own = far[np.searchsorted(edges, limits[k, c])]
            bound = np.maximum(error[k, c], own)
            uncertain += [Uncertain(c, k, n, float(bound[n])) for n in np.flatnonzero(own >= 0).tolist()]
    return UncertainThresholds.of(found[0]), UncertainThresholds.of(found[1])
