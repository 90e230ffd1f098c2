"""Find the values that a region takes over the real line: the levels of a quantizer, whatever operators it consists of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.model.outcomes import ConstantActivation, NotMonotone, TooManyLevels, UnevenLevels
from qsnnc.frontend.numerics.exactness import UNIT_ROUNDOFF, dyadic_unit
from qsnnc.frontend.quantizers.extrema import is_monotone_region, leading, turning_points
from qsnnc.frontend.quantizers.region import Float, Region, cuts

#: most levels of an activation: 16 bits
MOST_LEVELS = 1 << 16
#: for a function with more values than this, `levels_wide` decides whether it is a quantizer or continuous
MANY_LEVELS = 1 << 12
#: how far a value may be from its level, in steps and in addition to float32 rounding
CLOSE = 1e-5
#: integers that onnxruntime hands out
WHOLE_BYTES = (2, 3, 4, 5, 6, 7, 12, 13)  # uint8, int8, uint16, int16, int32, int64, uint32, uint64
#: how far a value lies, in steps, from all levels if its own was not found
BESIDE = 0.01
#: most points of a nonmonotonic function; one with more is treated as rounding noise
MOST_POINTS = 1 << 16
#: |x| at which every exporter's quantizer is saturated, far from float32's own limits
FAR = np.float32(2.0**40)
#: number of functions above which each is sampled more coarsely
MANY = 512
#: used instead of FAR if f is nonmonotonic up to FAR, where a function like |x| - |x - a| is rounding noise
NEAR = np.float32(2.0**14)


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """The values of a quantizer: value = scale * (level + zero_point) for level = 0 .. count."""

    count: int
    scale: float
    zero_point: float
    values: npt.NDArray[np.float64]  # (count + 1,): as the graph computes them
    falling: npt.NDArray[np.bool_]  # (columns,): where f decreases

    @property
    def cuts(self) -> npt.NDArray[np.float64]:
        """Midpoints between consecutive levels."""
        return np.asarray(self.scale * (np.arange(self.count) + 0.5 + self.zero_point))


class ChannelScales(UnevenLevels):
    """A quantizer that is uniform in every channel but with a step per channel; ``values`` holds those of each channel."""

    def __init__(self, end: str, values: list[npt.NDArray[np.float64]], least: float, most: float) -> None:
        super().__init__(
            end,
            f"has a per-channel scale, {least:g} to {most:g}, but is read by an operator that mixes channels or positions; "
            "use one scale for all channels (Brevitas: scaling_per_output_channel=False)",
            node=end,
        )
        self.values = values


def find_levels(region: Region, *, turning: bool = False) -> Levels | None:
    """Find the finite set of values that a region can take; None if it is continuous.

    ``turning`` permits a nonmonotonic region.

    A channel that is constant (gamma = 0) tells nothing about the levels. If all channels are, the quantizer is found from
    the inner tensors of the region, tried from input to output.
    """
    single = region.single
    inner = [] if region.moves else [name for node in region.nodes for name in node.outputs if name != region.output]
    falling = None
    for start in (region.input, *inner):
        if start not in region.model.shapes:
            continue
        if start != region.input and (region.model.whole(start) or not cuts(region, start)):
            continue  # it cannot be fed a float, or another branch bypasses it
        f = single.function(start)
        more = _to_look_at(single) if start == region.input else []
        far = FAR
        try:
            values = steps(f, single.columns, region.output, more=more, turning=turning)
        except ModelError:
            far = NEAR
            values = steps(f, single.columns, region.output, far, more, turning=turning)
            if values is not None and _moves_beyond(f, values):
                raise
        if values is None and start != region.input:
            break  # after the quantizer: the operators that follow map all its levels to one value
        if values is None:
            return None
        if falling is None:
            ends = f(np.stack([np.full(single.columns, -far), np.full(single.columns, far)]))
            falling = np.broadcast_to(ends[0] > ends[1], (region.columns,))
        union = np.unique(np.concatenate(values))
        if len(union) > 1:
            _refuse_scales(region.output, values)
            return uniform_levels(region.output, union, falling)
    raise constant(region.output)


def _to_look_at(region: Region) -> list[Float]:
    """Return points at which each nonmonotonic function may have a value that no coarse sample shows.

    They are the extrema of inner functions and a point of each step of the first quantizer inside.
    """
    turning = turning_points(region)
    if not turning:
        return []
    inside = _inside(region)
    return [np.union1d(a, b).astype(np.float32) for a, b in zip(turning, inside, strict=True)] if inside else turning


def _inside(region: Region) -> list[Float]:
    """Return a point of each step of the first quantizer inside on which alone the output depends; [] if there is none."""
    for number, node in enumerate(region.nodes):
        name = node.outputs[0]
        if name == region.output or name not in region.model.shapes or not cuts(region, name):
            continue
        if region.model.whole(name) and region.model.kind(name) not in WHOLE_BYTES:
            continue  # onnxruntime hands out no integers of four bits; the floats that follow will do
        inner = replace(region, output=name, nodes=leading(region, number))
        found = _sampled(inner.function(), inner.columns) if is_monotone_region(inner) else None
        if found is not None:
            return [x[np.unique(y, return_index=True)[1]] for x, y in zip(*found, strict=True)]
    return []


def _moves_beyond(f: Callable[[Float], npt.NDArray[np.float64]], values: list[npt.NDArray[np.float64]]) -> bool:
    """Return whether functions take values beyond those up to `NEAR`: not saturated there, whatever rounding adds."""
    sizes = NEAR * np.float32(2) ** np.arange(1, 7, dtype=np.float32)
    found = f(np.repeat(np.concatenate([-sizes, sizes])[:, None], len(values), axis=1))
    low, high = (np.array([end(value) for value in values]) for end in (np.min, np.max))
    slack = np.where(np.tile(sizes, 2)[:, None] > sizes[0], high - low, 0.0)
    return bool(((found < low - slack) | (found > high + slack)).any())


def constant(end: str) -> ConstantActivation:
    """Return the error for an activation that takes one value."""
    return ConstantActivation(
        end, "has the same value for every input, so there is nothing to compute; remove it from the model", node=end
    )


def _refuse_scales(end: str, values: list[npt.NDArray[np.float64]]) -> None:
    """Raise `ChannelScales` for a quantizer that is uniform in every channel but with a step per channel."""
    several = [value for value in values if len(value) > 2]
    gaps = [np.diff(value) for value in several]
    rounding = [2 * UNIT_ROUNDOFF * float(np.abs(value).max()) for value in several]
    uneven = (np.ptp(gap) > CLOSE * gap.mean() + 16 * off for gap, off in zip(gaps, rounding, strict=True))
    if not gaps or any(uneven):
        return
    sizes = np.array([gap.mean() for gap in gaps])
    ratio = sizes / sizes.min()
    if np.abs(ratio - np.round(ratio)).max() > 0.01:
        raise ChannelScales(end, values, float(sizes.min()), float(sizes.max()))


def steps(
    f: Callable[[Float], npt.NDArray[np.float64]],
    channels: int,
    end: str = "activation",
    far: np.float32 = FAR,
    more: Sequence[Float] = (),
    *,
    turning: bool = False,
) -> list[npt.NDArray[np.float64]] | None:
    """Return the values of f from -far to far, ascending, for each channel; None if there are too many or infinite ones.

    Every jump is bisected down to neighbouring floats, so no value of a monotone f is missed unless its step is narrower
    than the spacing of floats. ``more`` are additional sample points per channel: the extrema of inner functions, so that
    a dip is found however narrow it is after quantization.
    """
    found = _sampled(f, channels, far, more)
    if found is None:
        return None
    if not turning and any(_rises_and_falls(value) for value in found[1]):
        raise not_monotone(end)
    return [np.unique(v) for v in found[1]]


def _sampled(
    f: Callable[[Float], npt.NDArray[np.float64]], channels: int, far: np.float32 = FAR, more: Sequence[Float] = ()
) -> tuple[list[Float], list[npt.NDArray[np.float64]]] | None:
    """Return the points of `steps`, ascending, and the values there, for each channel; None as there."""
    sizes = np.logspace(-7, 5, 97 if channels <= MANY else 9)
    grid = np.concatenate([-sizes[::-1], [0], sizes]).astype(np.float32)
    grid = np.concatenate([[-far], grid[np.abs(grid) < far], [far]]).astype(np.float32)
    points = [grid] * channels
    values = list(f(np.repeat(grid[:, None], channels, axis=1)).T)
    pending = [np.setdiff1d(x[np.abs(x) < far], grid).astype(np.float32) for x in more] or [grid[:0]] * channels
    while True:
        if any(not np.isfinite(v).all() for v in values):
            return None
        fresh = [
            np.unique(np.concatenate([_between_jumps(x, v), extra]))
            for x, v, extra in zip(points, values, pending, strict=True)
        ]
        pending = [grid[:0]] * channels
        width = max(len(x) for x in fresh)
        if width == 0:
            break
        if max(len(np.unique(v)) for v in values) > MANY_LEVELS or _looks_continuous(points, values):
            return None
        if any(len(v) > MOST_POINTS and _rises_and_falls(v) for v in values):
            return None
        batch = np.zeros((width, channels), np.float32)
        for channel, x in enumerate(fresh):
            batch[: len(x), channel] = x
        found = f(batch)
        for channel, x in enumerate(fresh):
            where = np.argsort(np.concatenate([points[channel], x]), kind="stable")
            points[channel] = np.concatenate([points[channel], x])[where]
            values[channel] = np.concatenate([values[channel], found[: len(x), channel]])[where]
    return points, values


def _rises_and_falls(value: npt.NDArray[np.float64]) -> bool:
    """Return whether a function both rises and falls."""
    moves = np.diff(value)
    return bool((moves > 0).any() and (moves < 0).any())


def not_monotone(end: str) -> NotMonotone:
    """Return the error for an activation that both rises and falls."""
    return NotMonotone(
        end,
        "rises and falls; a nonmonotonic activation must directly follow a linear operator or a quantizer: move it there "
        "(before a max pool), replace it by a ReLU, or let its levels begin at zero",
        node=end,
    )


def _looks_continuous(points: list[Float], values: list[npt.NDArray[np.float64]]) -> bool:
    """Return whether nearly all of many sampled points have distinct values."""
    return any(len(x) > 2048 and len(np.unique(v)) > 0.9 * len(x) for x, v in zip(points, values, strict=True))


def _between_jumps(x: Float, value: npt.NDArray[np.float64]) -> Float:
    """Return the midpoints, in the order of float32's bit patterns, of neighbours with different values."""
    jump = np.flatnonzero(value[1:] != value[:-1])
    bits = x.view(np.int32).astype(np.int64)
    order = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    low, high = order[jump], order[jump + 1]
    middle = (low + high) // 2
    middle = middle[(middle > low) & (middle < high)]
    back = np.where(middle < 0, -middle | 0x80000000, middle)
    return back.astype(np.uint32).view(np.float32)


def uniform_levels(end: str, values: npt.NDArray[np.float64], falling: npt.NDArray[np.bool_]) -> Levels:
    """Return equally spaced levels that include all values, with the widest possible step.

    Raises
    ------
    ModelError
        There is no such step, or too many levels.
    """
    if not np.isfinite(values).all():
        raise UnevenLevels(end, "takes infinite values, or is no number for some inputs; use finite scales", node=end)
    count = len(values) - 1
    scale = (values[-1] - values[0]) / count
    rounding = 2 * UNIT_ROUNDOFF * float(np.abs(values).max())  # of the gap between two float32 values
    close = min(0.01, CLOSE + 16 * rounding / scale)
    if np.abs((values - values[0]) / scale - np.arange(count + 1)).max() >= close:  # some levels are not taken
        gaps = np.diff(values)
        small = gaps[gaps < 1.01 * gaps.min()]
        for parts in range(1, 257):
            scale = small.mean() / parts
            ratio = gaps / scale
            off = rounding / scale + ratio * rounding / (scale * parts * len(small))
            if scale > rounding and np.all(
                np.abs(ratio - np.round(ratio)) < np.minimum(CLOSE * np.maximum(1, 0.1 * ratio) + off, 0.02)
            ):
                break
        else:
            scale = dyadic_unit(gaps)
            if (values[-1] - values[0]) / scale >= MOST_LEVELS:
                raise UnevenLevels(
                    end,
                    "has levels that are not equally spaced; use a uniform quantizer with one scale for all channels",
                    node=end,
                )
        count = round((values[-1] - values[0]) / scale)
        scale = (values[-1] - values[0]) / count
        if count >= MOST_LEVELS:
            much = f"has {count + 1:,} levels; at most {MOST_LEVELS:,} are supported (each level is a neuron): quantize "
            much += "activations to 8 bits or fewer"
            if len(values) < MOST_LEVELS:  # as those of an 8-bit float
                much = f"has {len(values):,} values at different distances, which take {count + 1:,} equal steps; at most "
                much += f"{MOST_LEVELS:,} are supported (each step is a neuron): quantize to integers, with one scale"
            raise TooManyLevels(
                end,
                much,
                node=end,
                found=count + 1,
                allowed=MOST_LEVELS,
            )
    zero = zero_point_of(values, float(scale))
    table = np.asarray(np.float32(scale) * (np.arange(count + 1) + zero), np.float32).astype(np.float64)
    table[np.round((values - values[0]) / scale).astype(np.int64)] = values
    return Levels(count, float(scale), zero, table, falling)


def zero_point_of(values: npt.NDArray[np.float64], scale: float) -> float:
    """Return the zero point of equally spaced, ascending values, removing float32 rounding where that explains them.

    With a scale that float32 cannot represent, levels -128 to 127 may start at -128.00000003 steps; the zero point is then
    -128. Values that scale * (level + zero point) gives exactly in float64 keep it: -1/3 for -0.5 and 1.
    """
    lowest, largest = float(values[0]), float(np.abs(values).max())
    zero = lowest / scale
    neat = float(np.round(zero * 2**20) / 2**20)
    level = np.round((values - lowest) / scale)
    exact = bool((scale * level + scale * zero == values).all())
    return zero if exact or abs(scale * neat - lowest) > UNIT_ROUNDOFF * largest else neat
