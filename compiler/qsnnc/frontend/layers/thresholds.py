"""Turn accumulators and quantizers into layers: find the integer thresholds, and which of them are uncertain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.layers.columns import Columns, columns_of, per_element
from qsnnc.frontend.linear.tensors import Accumulator
from qsnnc.frontend.model.model import Model
from qsnnc.frontend.model.outcomes import NotMonotone, TooManyLevels
from qsnnc.frontend.numerics.exactness import sum_error
from qsnnc.frontend.quantizers.error_bounds import propagate
from qsnnc.frontend.quantizers.extrema import is_monotone_region
from qsnnc.frontend.quantizers.levels import BESIDE, MANY_LEVELS, Levels, not_monotone
from qsnnc.frontend.quantizers.region import Region
from qsnnc.frontend.quantizers.threshold_search import AT_ONCE, thresholds
from qsnnc.ir.layers import Int, Layer
from qsnnc.ir.uncertain import UncertainThresholds

#: number of potentials, over all channels, on which a layer's thresholds are checked
CHECKED = 1 << 17
#: the same for an activation that may be nonmonotonic
CHECKED_CLOSELY = 1 << 21
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
    limits = thresholds(region.function(), levels, columns.value, columns.reach)
    _check(region, levels, columns, limits)
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


def _check(region: Region, levels: Levels, root: Accumulator, limits: Int) -> None:
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
    y = region.function()(x)
    found = np.searchsorted(levels.cuts, y)
    if np.abs(levels.values[found] - y).max() > BESIDE * levels.scale:
        raise not_monotone(region.output)
    found = found.reshape(classes, points, channels)
    for k, channel in np.ndindex(classes, channels):
        if (found[k, :, channel] != np.searchsorted(limits[k, channel], potential[k, channel], side="right")).any():
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


def uncertain(root: Accumulator, region: Region, levels: Levels, limits: Int) -> UncertainThresholds:
    """Return the thresholds T for which float rounding could carry the potential T or T - 1 across the decision."""
    size = max(1, AT_ONCE // (limits.shape[0] * limits.shape[1]))
    cuts = levels.cuts
    open_ = [
        _open(root, region, cuts[first : first + size], limits[..., first : first + size])
        for first in range(0, levels.count, size)
    ]
    found = np.concatenate(open_, axis=2)
    error, unit = error_of(root), np.abs(root.scale)
    begins, ends = found, found
    if levels.count > MANY_LEVELS:  # runs of them
        begins, ends = found.copy(), found.copy()
        begins[..., 1:] &= ~found[..., :-1]
        ends[..., :-1] &= ~found[..., 1:]
    k, c, first = np.nonzero(begins)
    return UncertainThresholds(c, k, first, error[c] / unit[k, c], np.nonzero(ends)[2] - first + 1)


def error_of(root: Accumulator) -> npt.NDArray[np.float64]:
    """Bound the float error of the sums, by channel."""
    error = np.where(root.exact, 0.0, sum_error(root.terms, root.magnitude))
    return np.where(np.isfinite(error), error, np.inf)


def _open(root: Accumulator, region: Region, cuts: npt.NDArray[np.float64], limits: Int) -> npt.NDArray[np.bool_]:
    """Return whether rounding could change each decision of some levels."""
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
