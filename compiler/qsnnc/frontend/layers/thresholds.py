"""Accumulators and quantizers to layers: integer thresholds, and which of them are certain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.layers.columns import Columns, columns_of, each
from qsnnc.frontend.linear.tensors import Accumulator
from qsnnc.frontend.model.model import Model
from qsnnc.frontend.model.outcomes import NotMonotone, TooManyLevels
from qsnnc.frontend.numerics.exactness import sum_error
from qsnnc.frontend.quantizers.error_bounds import propagate
from qsnnc.frontend.quantizers.extrema import rises
from qsnnc.frontend.quantizers.levels import MANY_LEVELS, Levels, not_monotone
from qsnnc.frontend.quantizers.region import Region
from qsnnc.frontend.quantizers.threshold_search import AT_ONCE, thresholds
from qsnnc.ir.layers import Int, Layer, Uncertain

#: potentials, of all channels together, that a layer's thresholds are held against
HELD = 1 << 17
#: the same where the activation might turn
HELD_CLOSELY = 1 << 21
#: thresholds of one layer
MOST_THRESHOLDS = 1 << 27


def _refuse_size(root: Accumulator, region: Region, levels: Levels) -> None:
    """Refuse more thresholds than can be held."""
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
    """A layer whose levels are those of the region's end.

    Where f_c falls, the channel's weights are negated: p <= U becomes -p >= -U.
    """
    _refuse_size(root, region, levels)
    seen = columns_of(root, region.axes)
    if seen is None:  # a function for every element
        levels, region = _everywhere(levels, region)
        root, seen = _apart(root), each(root)
    rising = turned(root, _falling(root, region, levels, seen))
    columns = seen.of(rising)
    limits = thresholds(region.function(), levels, columns.value, columns.reach)
    _hold(region, levels, columns, limits)
    found = seen.back_uncertain(uncertain(columns, region, levels, limits))
    limits = seen.back(rising, limits, region.output)
    return fires(rising, levels, name, tensor, shape, limits, exact_sums=bool(rising.exact.all()), uncertain=found)


def fires(
    root: Accumulator,
    levels: Levels,
    name: str,
    tensor: str,
    shape: tuple[int, ...],
    limits: Int,
    *,
    exact_sums: bool,
    uncertain: tuple[Uncertain, ...],
) -> Layer:
    """The layer of some sums that fires at thresholds (classes, channels, levels)."""
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


def _hold(region: Region, levels: Levels, root: Accumulator, limits: Int) -> None:
    """Hold the thresholds against f on every reachable potential, or on so many that no dip of an activation hides.

    Raises
    ------
    ModelError
        f is no step function that rises, whatever the search for its levels has seen.
    """
    classes, channels, _ = root.reach.shape
    low, high = root.reach[..., :1], root.reach[..., 1:]
    most = max(16, (HELD if rises(region) else HELD_CLOSELY) // (classes * channels))
    points = min(most, int((high - low).max()) + 1)
    share = np.arange(points) / max(1, points - 1)
    potential = low + np.round(share * (high - low)).astype(np.int64)  # (classes, channels, points)
    x = root.value(potential).transpose(0, 2, 1).reshape(-1, channels)
    found = np.searchsorted(levels.cuts, region.function()(x)).reshape(classes, points, channels)
    for k, channel in np.ndindex(classes, channels):
        if (found[k, :, channel] != np.searchsorted(limits[k, channel], potential[k, channel], side="right")).any():
            raise not_monotone(region.output)


def _everywhere(levels: Levels, region: Region) -> tuple[Levels, Region]:
    """A function for every element of the tensor."""
    sizes = region.model.shapes[region.input]
    every = tuple(range(1, len(sizes) + 1))
    if region.axes == every:
        return levels, region
    if region.moves:
        raise ModelError(
            region.output,
            "is quantized behind a transpose whose sums were reordered before; put the quantizer before the transpose",
            code="reshape-before-quantizer",
            node=region.output,
        )
    falling = levels.falling.reshape([size if axis in region.axes else 1 for axis, size in enumerate(sizes, start=1)])
    return replace(levels, falling=np.broadcast_to(falling, sizes).reshape(-1)), replace(region, axes=every)


def _apart(root: Accumulator) -> Accumulator:
    """Every position in a class of its own."""
    flat = root.border.reshape(-1)
    return replace(
        root,
        border=np.arange(flat.size).reshape(root.border.shape),
        scale=root.scale[flat],
        offset=root.offset[flat],
        reach=root.reach[flat],
    )


def _falling(root: Accumulator, region: Region, levels: Levels, seen: Columns) -> npt.NDArray[np.bool_]:
    """Channels whose f falls."""
    every = np.broadcast_to(levels.falling, seen.channel.shape)
    falls, rises = np.zeros((2, root.shape[0]), bool)
    falls[seen.channel[seen.shown & every]] = True
    rises[seen.channel[seen.shown & ~every]] = True
    if (falls & rises).any():
        raise NotMonotone(
            region.output,
            "rises at some positions of a channel and falls at others; one weight cannot do both",
            node=region.output,
        )
    return falls


def readout_of(root: Accumulator, tensor: str, model: Model) -> Layer:
    """The layer whose potentials the host reads."""
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


def turned(root: Accumulator, falling: npt.NDArray[np.bool_]) -> Accumulator:
    """The same with the weights of some channels negated."""
    if not falling.any():
        return root
    sign = np.where(falling, -1, 1)
    connections = tuple(replace(link, weights=link.weights * sign[:, None, None, None]) for link in root.connections)
    reach = np.where(falling[None, :, None], -root.reach[..., ::-1], root.reach)
    return replace(root, connections=connections, reach=reach, scale=root.scale * sign)


def uncertain(root: Accumulator, region: Region, levels: Levels, limits: Int) -> tuple[Uncertain, ...]:
    """Thresholds whose nearest reachable potentials, T and T - 1, float rounding could move across the decision."""
    size = max(1, AT_ONCE // (limits.shape[0] * limits.shape[1]))
    cuts = levels.cuts
    open_ = [
        _open(root, region, cuts[first : first + size], limits[..., first : first + size])
        for first in range(0, levels.count, size)
    ]
    found = np.concatenate(open_, axis=2)
    error, unit = error_of(root), np.abs(root.scale)
    if levels.count <= MANY_LEVELS:
        return tuple(Uncertain(int(c), int(k), int(i), float(error[c] / unit[k, c])) for k, c, i in np.argwhere(found))
    runs = []
    for k, c in np.ndindex(found.shape[:2]):
        edges = np.flatnonzero(np.diff(found[k, c], prepend=False, append=False)).reshape(-1, 2).tolist()
        bound = float(error[c] / unit[k, c])
        runs += [Uncertain(c, k, first, bound, last - first) for first, last in edges]
    return tuple(runs)


def error_of(root: Accumulator) -> npt.NDArray[np.float64]:
    """Bound of the float error of the sums, by channel."""
    error = np.where(root.exact, 0.0, sum_error(root.terms, root.magnitude))
    return np.where(np.isfinite(error), error, np.inf)


def _open(root: Accumulator, region: Region, cuts: npt.NDArray[np.float64], limits: Int) -> npt.NDArray[np.bool_]:
    """Whether rounding could move each decision of some levels."""
    classes, channels, count = limits.shape
    error = error_of(root)
    cut = cuts[:, None]
    low, high = root.reach[..., :1], root.reach[..., 1:]
    found = np.zeros(limits.shape, bool)
    for potential, reachable, above in ((limits, limits <= high, True), (limits - 1, limits - 1 >= low, False)):
        real = root.scale[..., None] * potential + root.offset[..., None]
        x = real.transpose(0, 2, 1).reshape(-1, channels)
        slack = error + np.where(root.exact, 0.0, np.spacing(np.abs(x).astype(np.float32)).astype(np.float64))
        bounds = propagate(region, (x - slack, x + slack))
        if bounds is None:
            found |= reachable
            continue
        bottom, top = (np.broadcast_to(b, x.shape).reshape(classes, count, channels) for b in bounds)
        sure = (bottom > cut if above else top < cut).transpose(0, 2, 1)
        found |= reachable & ~sure
    return found
