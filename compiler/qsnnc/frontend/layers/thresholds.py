"""Turn accumulators and quantizers into layers: find the integer thresholds, and which of them are uncertain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.layers.columns import Columns, columns_of, per_element
from qsnnc.frontend.linear.tensors import Accumulator
from qsnnc.frontend.model.model import Model
from qsnnc.frontend.model.outcomes import NotMonotone, TooManyLevels
from qsnnc.frontend.numerics.exactness import F64, sum_error
from qsnnc.frontend.quantizers.error_bounds import propagate
from qsnnc.frontend.quantizers.extrema import is_monotone_region
from qsnnc.frontend.quantizers.levels import BESIDE, MANY_LEVELS, Levels, not_monotone
from qsnnc.frontend.quantizers.region import Region
from qsnnc.frontend.quantizers.threshold_search import AT_ONCE, Function, thresholds
from qsnnc.ir.execute import reached
from qsnnc.ir.layers import Int, Layer
from qsnnc.ir.uncertain import UncertainThresholds

#: number of potentials, over all channels, on which a layer's thresholds are checked
CHECKED = 1 << 17
#: the same for an activation that may be nonmonotonic
CHECKED_CLOSELY = 1 << 21
#: steps from one potential to the next that the error of a sum is at least, for it to be known to reach across a decision
ACROSS = 1.5
#: most thresholds of one layer
MOST_THRESHOLDS = 1 << 27


def _refuse_size(root: Accumulator, region: Region, levels: Levels) -> None:
    """Refuse a layer with more than `MOST_THRESHOLDS` thresholds."""
    count = root.reach.shape[0] * root.shape[0] * levels.count
    if count > MOST_THRESHOLDS:
        raise TooManyLevels(
            region.output,
            f"has {levels.count + 1:,} levels in {root.shape[0]:,} channels, {count:,} thresholds; at most "
            f"{MOST_THRESHOLDS:,} are supported: quantize activations to 8 bits or fewer",
            node=region.output,
            found=count,
            allowed=MOST_THRESHOLDS,
        )


def layer_of(root: Accumulator, region: Region, levels: Levels, name: str, tensor: str, shape: tuple[int, ...]) -> Layer:
    """Build the layer whose levels are those of the region's output.

    Where f_c decreases, the channel's weights are negated: p <= U becomes -p >= -U.
    """
    _refuse_size(root, region, levels)
    seen = columns_of(root, region.axes)
    if seen is None:  # one function per element
        levels, region = _per_element(levels, region)
        root, seen = _class_per_position(root), per_element(root)
    rising = with_negated(root, _falling(root, region, levels, seen))
    columns = seen.of(rising)
    sums = _apart(columns)
    f, single = region.function(), region.single
    one = single.function() if single.columns == 1 and not region.moves else None
    every = thresholds(f, one, levels, (sums.scale, sums.offset), sums.reach)
    limits = np.clip(every[sums.border], columns.reach[..., :1], columns.reach[..., 1:] + 1)
    _check(region, f, levels, columns, limits)
    found = seen.back_uncertain(uncertain(columns, region, levels, limits, sums, every))
    limits = seen.back(rising, limits, region.output)
    return fires(rising, levels, name, tensor, shape, limits, exact_sums=bool(rising.exact.all()), uncertain=found)


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """The sums of classes that differ in scale or offset: a threshold depends on the rest only if it is out of reach."""

    border: Int  # (classes,): which of them each class is
    scale: F64  # (different classes, channels)
    offset: F64
    reach: Int  # (different classes, channels, 2): of all that are alike


def _apart(root: Accumulator) -> _Sums:
    """Return the sums once for classes that differ in nothing but what they reach, as beside padding of zeros."""
    numbers: dict[bytes, int] = {}
    rows = np.concatenate([root.scale, root.offset], axis=1)
    border = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in rows])
    first = np.unique(border, return_index=True)[1]
    reach = np.stack([root.reach[first, :, side] for side in (0, 1)], axis=-1)
    np.minimum.at(reach[..., 0], border, root.reach[..., 0])
    np.maximum.at(reach[..., 1], border, root.reach[..., 1])
    return _Sums(border, root.scale[first], root.offset[first], reach)


def fires(
    root: Accumulator,
    levels: Levels,
    name: str,
    tensor: str,
    shape: tuple[int, ...],
    limits: Int,
    *,
    exact_sums: bool,
    uncertain: UncertainThresholds,
) -> Layer:
    """Build the layer of some sums with thresholds (classes, channels, levels)."""
    return Layer(
        name=name,
        tensor=tensor,
        tensor_shape=shape,
        shape=root.shape,
        levels=levels.count,
        scale=levels.scale,
        zero_point=levels.zero_point,
        kind=root.kind,
        connections=root.connections,
        thresholds=limits,
        border=root.border,
        reach=root.reach,
        exact_sums=exact_sums,
        uncertain=uncertain,
    )


def _check(region: Region, f: Function, levels: Levels, root: Accumulator, limits: Int) -> None:
    """Compare the thresholds with f on all reachable potentials, or on a sample that is fine enough to find any dip.

    Raises
    ------
    ModelError
        f is not an increasing step function, which the search for its levels did not see.
    """
    classes, channels, _ = root.reach.shape
    low, high = root.reach[..., :1], root.reach[..., 1:]
    most = max(16, (CHECKED if is_monotone_region(region) else CHECKED_CLOSELY) // (classes * channels))
    points = min(most, int((high - low).max()) + 1)
    share = np.arange(points) / max(1, points - 1)
    potential = low + np.round(share * (high - low)).astype(np.int64)  # (classes, channels, points)
    x = root.value(potential).transpose(0, 2, 1).reshape(-1, channels)
    y = f(x)
    found = np.searchsorted(levels.cuts, y)
    if np.abs(levels.values[found] - y).max() > BESIDE * levels.scale:
        raise not_monotone(region.output)
    found = found.reshape(classes, points, channels)
    for own, mine, at in zip(found, limits, potential, strict=True):
        if (own != reached(mine, at.T[:, :, None])[:, :, 0]).any():
            raise not_monotone(region.output)


def _per_element(levels: Levels, region: Region) -> tuple[Levels, Region]:
    """Extend the region to one function per element of the tensor."""
    sizes = region.model.shapes[region.input]
    every = tuple(range(1, len(sizes) + 1))
    if region.axes == every:
        return levels, region
    if region.moves:
        raise ModelError(
            region.output,
            "is quantized after a transpose of sums that were reordered before; put the quantizer before the transpose",
            code="reordered",
            node=region.output,
        )
    falling = levels.falling.reshape([size if axis in region.axes else 1 for axis, size in enumerate(sizes, start=1)])
    return replace(levels, falling=np.broadcast_to(falling, sizes).reshape(-1)), replace(region, axes=every)


def _class_per_position(root: Accumulator) -> Accumulator:
    """Give every position a class of its own."""
    flat = root.border.reshape(-1)
    return replace(
        root,
        border=np.arange(flat.size).reshape(root.border.shape),
        scale=root.scale[flat],
        offset=root.offset[flat],
        reach=root.reach[flat],
    )


def _falling(root: Accumulator, region: Region, levels: Levels, seen: Columns) -> npt.NDArray[np.bool_]:
    """Return the channels whose f decreases."""
    every = np.broadcast_to(levels.falling, seen.channel.shape)
    falls, rises = np.zeros((2, root.shape[0]), bool)
    falls[seen.channel[seen.shown & every]] = True
    rises[seen.channel[seen.shown & ~every]] = True
    if (falls & rises).any():
        raise NotMonotone(
            region.output,
            "increases at some positions of a channel and decreases at others; use functions of one direction per channel",
            node=region.output,
        )
    return falls


def readout_of(root: Accumulator, tensor: str, model: Model) -> Layer:
    """Build the readout layer, whose potentials the host reads."""
    classes, channels = root.scale.shape
    return Layer(
        name=root.name,
        tensor=tensor,
        tensor_shape=model.shapes.get(tensor, root.shape),
        shape=root.shape,
        levels=0,
        scale=float(root.scale.reshape(-1)[0]),
        zero_point=0.0,
        kind=root.kind,
        connections=root.connections,
        thresholds=np.zeros((classes, channels, 0), np.int64),
        border=root.border,
        reach=root.reach,
        exact_sums=bool(root.exact.all()),
        slack=float(np.minimum(error_of(root), np.abs(root.scale) / 2).max()),
    )


def with_negated(root: Accumulator, falling: npt.NDArray[np.bool_]) -> Accumulator:
    """Return the accumulator with the weights of some channels negated."""
    if not falling.any():
        return root
    sign = np.where(falling, -1, 1)
    connections = tuple(replace(link, weights=link.weights * sign[:, None, None, None]) for link in root.connections)
    reach = np.where(falling[None, :, None], -root.reach[..., ::-1], root.reach)
    return replace(root, connections=connections, reach=reach, scale=root.scale * sign)


def uncertain(
    root: Accumulator, region: Region, levels: Levels, limits: Int, sums: _Sums, every: Int
) -> UncertainThresholds:
    """Return the thresholds T for which float rounding could carry the potential T or T - 1 across the decision.

    ``every`` are those of ``sums``, which the limits are within what each class reaches.
    """
    size = max(1, AT_ONCE // (limits.shape[0] * limits.shape[1]))
    open_ = _open(root, region, levels, sums)
    parts = [slice(first, first + size) for first in range(0, levels.count, size)]
    found = np.concatenate([open_(limits[..., part], every[..., part], levels.cuts[part]) for part in parts], axis=2)
    bound = error_of(root) / np.abs(root.scale)
    if levels.count > MANY_LEVELS:  # runs of them
        begins, ends = found.copy(), found.copy()
        begins[..., 1:] &= ~found[..., :-1]
        ends[..., :-1] &= ~found[..., 1:]
        k, c, first = np.nonzero(begins)
        return UncertainThresholds(c, k, first, bound[k, c], np.nonzero(ends)[2] - first + 1)
    rows = found.reshape(-1, levels.count)
    row = np.repeat(np.arange(len(rows)), np.count_nonzero(rows, axis=1))
    level = np.flatnonzero(rows) - row * levels.count
    k, c = np.divmod(np.arange(len(rows)), limits.shape[1])
    return UncertainThresholds(c[row], k[row], level, bound.reshape(-1)[row], np.ones(len(row), np.int64))


def error_of(root: Accumulator) -> npt.NDArray[np.float64]:
    """Bound the float error of the sums, by channel."""
    error = np.where(root.exact, 0.0, sum_error(root.terms, root.magnitude))
    return np.where(np.isfinite(error), error, np.inf)


def _open(
    root: Accumulator, region: Region, levels: Levels, sums: _Sums
) -> Callable[[Int, Int, F64], npt.NDArray[np.bool_]]:
    """Return a function that tells whether rounding could change each decision of some levels.

    Where the error of a sum is larger than the step from one potential to the next, it can: the bounds at T contain the
    value at T - 1, which is below the decision.
    """
    error, (low, high) = error_of(root), (root.reach[..., :1], root.reach[..., 1:])
    lost = error >= ACROSS * np.abs(sums.scale)
    ends = [_bounds(region, root.scale, root.offset, end, root.exact, error) for end in (low, high)]
    seen = np.flatnonzero(~lost.all(axis=0))  # channels to look at: all or none, if each has constants of its own
    some = region.single
    if len(seen) and (some.moves or some.columns > 1):
        seen = np.arange(len(error))
    scale, offset, exact, err = sums.scale[:, seen], sums.offset[:, seen], root.exact[seen], error[seen]

    def is_open(limits: Int, every: Int, cuts: F64) -> npt.NDArray[np.bool_]:
        inside = np.repeat(lost[..., None], len(cuts), axis=2)
        if len(seen):
            above, below = (_bounds(some, scale, offset, every[:, seen] - back, exact, err) for back in (0, 1))
            inside[:, seen] |= above is None or below is None or (above[0] <= cuts) | (below[1] >= cuts)
        bottom, top = ends[0] is None or ends[0][0] <= cuts, ends[1] is None or ends[1][1] >= cuts
        return np.where(limits <= low, bottom, np.where(limits > high, top, inside[sums.border]))

    return is_open


def _bounds(
    region: Region, scale: F64, offset: F64, potential: Int, exact: npt.NDArray[np.bool_], error: F64
) -> tuple[F64, F64] | None:
    """Bound the region's value at potentials (classes, channels, points), as they; None if an operator has no rule."""
    classes, channels, count = potential.shape
    x = (scale[..., None] * potential + offset[..., None]).transpose(0, 2, 1).reshape(-1, channels)
    slack = error + np.where(exact, 0.0, np.spacing(np.abs(x).astype(np.float32)).astype(np.float64))
    bounds = propagate(region, (x - slack, x + slack))
    if bounds is None:
        return None
    bottom, top = (np.broadcast_to(b, x.shape).reshape(classes, count, channels).transpose(0, 2, 1) for b in bounds)
    return bottom, top
