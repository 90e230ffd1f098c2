"""The elementwise part between one linear operator and the next, as a function that is evaluated and never parsed.

For an accumulator value x of channel c it is a monotone step function f_c. `steps` finds its values over the real line,
`thresholds` the smallest accumulator that reaches each level, both by bisection with onnxruntime (optimisation off).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.read import Model, Node, session

Float = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]

#: a quantizer with more values than this is taken for a continuous function: each level is a neuron
MOST_LEVELS = 4_096
#: |x| at which every exporter's quantizer is saturated, far from float32's own limits
FAR = np.float32(2.0**40)


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Nodes from one tensor (the root) to another (the end), elementwise and per channel."""

    model: Model
    root: str
    end: str
    nodes: tuple[Node, ...]
    channels: int

    def function(self, start: str | None = None) -> Callable[[Float], npt.NDArray[np.float64]]:
        """Return f: float32 (points, channels) -> float64 (points, channels); ``start`` is an inner tensor."""
        from onnx import TensorProto

        start = start or self.root
        rank = len(self.model.shapes[start])
        nodes = _between(self.nodes, start)
        if not nodes:
            return lambda x: x.astype(np.float64)
        shape: tuple[int | str, ...] = ("P", self.channels, *([1] * (rank - 1)))
        part = self.model.subgraph({start: (int(TensorProto.FLOAT), shape)}, [self.end], nodes)
        run = session(part).run

        def evaluate(x: Float) -> npt.NDArray[np.float64]:
            (y,) = run([self.end], {start: x.reshape(len(x), self.channels, *([1] * (rank - 1)))})
            return np.asarray(y, np.float64).reshape(len(x), self.channels)

        return evaluate


def _between(nodes: Sequence[Node], start: str) -> list[Node]:
    """Those nodes that depend on ``start``."""
    reached = {start}
    kept = []
    for node in nodes:
        if reached.intersection(node.inputs):
            reached.update(node.outputs)
            kept.append(node)
    return kept


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """The values of a quantizer: value = scale * (level + zero_point), level 0 .. count."""

    count: int
    scale: float
    zero_point: float
    falling: npt.NDArray[np.bool_]  # (channels,): where f_c decreases


def find_levels(region: Region) -> Levels | None:
    """Find the finite set of values that a region can take, or None where it is continuous.

    A channel that is constant (gamma = 0) says nothing; where all of them are, the quantizer is read from the inner
    tensors of the region, walking towards its end.
    """
    starts = [region.root, *(name for node in region.nodes for name in node.outputs if name != region.end)]
    falling = None
    for start in starts:
        if start not in region.model.shapes:
            continue
        f = region.function(start)
        values = steps(f, region.channels)
        if values is None:
            return None
        if falling is None:
            ends = f(np.stack([np.full(region.channels, -FAR), np.full(region.channels, FAR)]))
            falling = ends[0] > ends[1]
        union = np.unique(np.concatenate(values))
        if len(union) > 1:
            return _on_a_grid(region, union, falling)
    raise ModelError(
        region.end,
        "is constant whatever its input: nothing is left to compute; remove it from the model",
        code="constant-activation",
        node=region.end,
    )


def steps(f: Callable[[Float], npt.NDArray[np.float64]], channels: int) -> list[npt.NDArray[np.float64]] | None:
    """Values of f over the real line, ascending, for each channel; None where they do not end.

    Every jump is bisected down to neighbouring floats, so no value of a monotone f is missed unless its step is
    narrower than a float.
    """
    grid = np.concatenate([[-FAR], -np.logspace(5, -7, 9), [0], np.logspace(-7, 5, 9), [FAR]]).astype(np.float32)
    points = [grid] * channels
    values = list(f(np.repeat(grid[:, None], channels, axis=1)).T)
    while True:
        if any(not np.isfinite(v).all() for v in values):
            return None
        fresh = [_between_jumps(x, v) for x, v in zip(points, values, strict=True)]
        width = max(len(x) for x in fresh)
        if width == 0:
            break
        if max(len(np.unique(v)) for v in values) > MOST_LEVELS or _looks_continuous(points, values):
            return None
        batch = np.zeros((width, channels), np.float32)
        for channel, x in enumerate(fresh):
            batch[: len(x), channel] = x
        found = f(batch)
        for channel, x in enumerate(fresh):
            where = np.argsort(np.concatenate([points[channel], x]), kind="stable")
            points[channel] = np.concatenate([points[channel], x])[where]
            values[channel] = np.concatenate([values[channel], found[: len(x), channel]])[where]
    for value in values:
        moves = np.sign(np.diff(value))
        if (moves > 0).any() and (moves < 0).any():
            raise ModelError(
                "activation", "rises and falls again: only monotone functions can become thresholds", code="not-monotone"
            )
    return [np.unique(v) for v in values]


def _looks_continuous(points: list[Float], values: list[npt.NDArray[np.float64]]) -> bool:
    """Whether nearly all of many sampled points have values of their own."""
    return any(len(x) > 2048 and len(np.unique(v)) > 0.9 * len(x) for x, v in zip(points, values, strict=True))


def _between_jumps(x: Float, value: npt.NDArray[np.float64]) -> Float:
    """Midpoints, in the order of float32's bit patterns, of neighbours with different values."""
    jump = np.flatnonzero(value[1:] != value[:-1])
    bits = x.view(np.int32).astype(np.int64)
    order = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    low, high = order[jump], order[jump + 1]
    middle = (low + high) // 2
    middle = middle[(middle > low) & (middle < high)]
    back = np.where(middle < 0, -middle | 0x80000000, middle)
    return back.astype(np.uint32).view(np.float32)


def _on_a_grid(region: Region, values: npt.NDArray[np.float64], falling: npt.NDArray[np.bool_]) -> Levels:
    """The finest spacing that all values share."""
    count = len(values) - 1
    scale = (values[-1] - values[0]) / count
    if np.abs((values - values[0]) / scale - np.arange(count + 1)).max() < 0.01:  # every level is taken
        return Levels(count, float(scale), float(np.round(values[0] / scale * 2**20) / 2**20), falling)
    gaps = np.diff(values)
    for parts in range(1, 257):
        scale = gaps.min() / parts
        ratio = gaps / scale
        if np.all(np.abs(ratio - np.round(ratio)) < 1e-3 * np.maximum(1, 1e-3 * ratio)):
            break
    else:
        raise ModelError(
            region.end,
            "has levels that are not equally spaced; use a uniform quantizer",
            code="levels-uneven",
            node=region.end,
        )
    count = round((values[-1] - values[0]) / scale)
    scale = (values[-1] - values[0]) / count
    return Levels(count, float(scale), float(np.round(values[0] / scale * 2**20) / 2**20), falling)


def thresholds(
    f: Callable[[Float], npt.NDArray[np.float64]],
    levels: Levels,
    accumulator: Callable[[Int], Float],
    reach: Int,
) -> Int:
    """Smallest potential p that reaches each level: f(accumulator(p)) is above level i.

    Parameters
    ----------
    f : callable
        The region, (points, channels) -> (points, channels).
    accumulator : callable
        Potentials int64 (classes, channels, levels) to float32 accumulators of the same shape; it rises where f rises
        and falls where f falls, so that f(accumulator(p)) never falls.
    reach : ndarray, int64, (classes, channels, 2)

    Returns
    -------
    ndarray, int64, (classes, channels, levels)
        Between the smallest reachable potential (always) and the largest + 1 (never).
    """
    classes, channels, _ = reach.shape
    cut = levels.scale * (np.arange(levels.count) + 0.5 + levels.zero_point)
    low = np.repeat(reach[..., :1], levels.count, axis=2)
    high = np.repeat(reach[..., 1:] + 1, levels.count, axis=2)
    while (low < high).any():
        middle = (low + high) // 2
        x = accumulator(middle).transpose(0, 2, 1).reshape(-1, channels)
        above = f(x).reshape(classes, levels.count, channels).transpose(0, 2, 1) > cut
        open_ = low < high
        high = np.where(open_ & above, middle, high)
        low = np.where(open_ & ~above, middle + 1, low)
    return low
