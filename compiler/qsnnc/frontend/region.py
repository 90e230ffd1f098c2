"""The elementwise part between one linear operator and the next, as a function that is evaluated and never parsed.

For an accumulator value x of channel c it is a monotone step function f_c. `steps` finds its values over the real line,
`thresholds` the smallest accumulator that reaches each level, both by bisection with onnxruntime (optimisation off).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.load import free_reshapes
from qsnnc.frontend.read import Model, Node, downstream, session

Float = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]

#: levels of an activation: 16 bits
MOST_LEVELS = 1 << 16
#: a function with more values than this is looked at from within (`wide`): is it a quantizer, or continuous?
MANY_LEVELS = 1 << 12
#: thresholds that are searched for together
AT_ONCE = 1 << 22
#: points of a function that rises and falls again after which it is taken for noise, and no further looked at
MOST_POINTS = 1 << 16
#: |x| at which every exporter's quantizer is saturated, far from float32's own limits
FAR = np.float32(2.0**40)
#: functions that are too many for a close look each
MANY = 512
#: where to look instead if f rises and falls at FAR: |x| - |x - a| is rounding noise there
NEAR = np.float32(2.0**14)


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Nodes from one tensor (the root) to another (the end), elementwise; f may differ along ``axes`` of the root."""

    model: Model
    root: str
    end: str
    nodes: tuple[Node, ...]
    axes: tuple[int, ...]  # the batch counted
    moves: bool = False  # whether an operator that moves values stands among the nodes

    @property
    def columns(self) -> int:
        """How many functions there are."""
        return int(np.prod([self.model.shapes[self.root][axis - 1] for axis in self.axes]))

    def function(self, start: str | None = None) -> Callable[[Float], npt.NDArray[np.float64]]:
        """Return f: float32 (points, columns) -> float64 (points, columns); ``start`` is an inner tensor."""
        from onnx import TensorProto, helper

        start = start or self.root
        nodes = downstream(self.nodes, start)
        if not nodes:
            return lambda x: x.astype(np.float64)
        sizes = self.model.shapes[start]
        shape = tuple(size if axis in self.axes else 1 for axis, size in enumerate(sizes, start=1))
        given = start
        if self.model.whole(start):  # of an integer type: levels are put in as floats, and cast
            given = "qsnnc.start"
            kind = self.model.kinds[start]
            cast = helper.make_node("Cast", [given], [start], to=kind)
            nodes = [Node("", "Cast", (given,), (start,), {"to": kind}, cast), *nodes]
        part = self.model.subgraph({given: (int(TensorProto.FLOAT), ("P", *shape))}, [self.end], nodes)
        if self.moves:
            free_reshapes(part.graph, self.model.constants, 1, "qsnnc.shape")
        run = session(part).run
        columns = self.columns

        def evaluate(x: Float) -> npt.NDArray[np.float64]:
            (y,) = run([self.end], {given: x.reshape(len(x), *shape)})
            if y.size != len(x) * columns:  # a constant with an axis of its own: a comparison with a list of bounds, say
                raise ModelError(
                    self.end,
                    f"makes {y.size // len(x)} values of {columns}; an activation keeps its shape: compare with one bound "
                    "after the other and add, or round and clip",
                    code="activation-widened",
                    node=self.end,
                    found=y.size // len(x),
                    allowed=columns,
                )
            return np.asarray(y, np.float64).reshape(len(x), columns)

        return evaluate

    @property
    def single(self) -> Region:
        """The same with one function, where there is but one."""
        varies = varying(self.model, self.nodes)
        return self if varies or self.moves else replace(self, axes=())


def varying(model: Model, nodes: Sequence[Node]) -> tuple[int, ...]:
    """Axes, the batch counted, along which constants make elementwise nodes differ."""
    axes: set[int] = set()
    for node in nodes:
        for name in node.inputs:
            constant = model.constants.get(name)
            if constant is None or constant.size <= 1:
                continue
            rank = len(model.shapes.get(node.outputs[0], ())) + 1
            if node.op == "BatchNormalization":
                axes.add(1)
            elif node.op in ("QuantizeLinear", "DequantizeLinear"):
                axes.add(int(node.attributes.get("axis", 1)) % rank)
            else:
                axes.update(rank - constant.ndim + d for d, size in enumerate(constant.shape) if size > 1)
    return tuple(sorted(axes))


def cuts(region: Region, start: str) -> bool:
    """Whether all that leads to the end of a region passes through one of its tensors."""
    known = {start}
    for node in downstream(region.nodes, start):
        if any(name and name not in known and name not in region.model.constants for name in node.inputs):
            return False
        known.update(node.outputs)
    return True


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """The values of a quantizer: value = scale * (level + zero_point), level 0 .. count."""

    count: int
    scale: float
    zero_point: float
    values: npt.NDArray[np.float64]  # (count + 1,): as the graph computes them
    falling: npt.NDArray[np.bool_]  # (columns,): where f decreases

    @property
    def cuts(self) -> npt.NDArray[np.float64]:
        """Between each level and the next."""
        return np.asarray(self.scale * (np.arange(self.count) + 0.5 + self.zero_point))


def find_levels(region: Region) -> Levels | None:
    """Find the finite set of values that a region can take, or None where it is continuous.

    A channel that is constant (gamma = 0) says nothing; where all of them are, the quantizer is read from the inner
    tensors of the region, walking towards its end.
    """
    single = region.single
    inner = [] if region.moves else [name for node in region.nodes for name in node.outputs if name != region.end]
    falling = None
    for start in (region.root, *inner):
        if start not in region.model.shapes:
            continue
        if start != region.root and (region.model.whole(start) or not cuts(region, start)):
            continue  # no float can be put into it, or another branch passes it by
        f = single.function(start)
        far = FAR
        try:
            values = steps(f, single.columns, region.end)
        except ModelError:
            far = NEAR
            values = steps(f, single.columns, region.end, far)
        if values is None:
            return None
        if falling is None:
            ends = f(np.stack([np.full(single.columns, -far), np.full(single.columns, far)]))
            falling = np.broadcast_to(ends[0] > ends[1], (region.columns,))
        union = np.unique(np.concatenate(values))
        if len(union) > 1:
            _refuse_scales(region.end, values)
            return on_a_grid(region.end, union, falling)
    raise ModelError(
        region.end,
        "is constant whatever its input: nothing is left to compute; remove it from the model",
        code="constant-activation",
        node=region.end,
    )


def _refuse_scales(end: str, values: list[npt.NDArray[np.float64]]) -> None:
    """Refuse a quantizer that is uniform in every channel, at a step of the channel's own."""
    gaps = [np.diff(value) for value in values if len(value) > 2]
    if not gaps or any(np.ptp(gap) > 0.01 * gap.mean() for gap in gaps):
        return
    sizes = np.array([gap.mean() for gap in gaps])
    ratio = sizes / sizes.min()
    if np.abs(ratio - np.round(ratio)).max() > 0.01:
        raise ModelError(
            end,
            f"has one scale a channel, {sizes.min():g} to {sizes.max():g}; use one scale for all channels (Brevitas: "
            "scaling_per_output_channel=False)",
            code="levels-uneven",
            node=end,
        )


def steps(
    f: Callable[[Float], npt.NDArray[np.float64]], channels: int, end: str = "activation", far: np.float32 = FAR
) -> list[npt.NDArray[np.float64]] | None:
    """Values of f from -far to far, ascending, for each channel; None where they do not end.

    Every jump is bisected down to neighbouring floats, so no value of a monotone f is missed unless its step is
    narrower than a float. The points to begin with are dense enough to see a dip such as that of SiLU.
    """
    sizes = np.logspace(-7, 5, 97 if channels <= MANY else 9)
    grid = np.concatenate([-sizes[::-1], [0], sizes]).astype(np.float32)
    grid = np.concatenate([[-far], grid[np.abs(grid) < far], [far]]).astype(np.float32)
    points = [grid] * channels
    values = list(f(np.repeat(grid[:, None], channels, axis=1)).T)
    while True:
        if any(not np.isfinite(v).all() for v in values):
            return None
        fresh = [_between_jumps(x, v) for x, v in zip(points, values, strict=True)]
        width = max(len(x) for x in fresh)
        if width == 0:
            break
        if max(len(np.unique(v)) for v in values) > MANY_LEVELS or _looks_continuous(points, values):
            return None
        if any(len(v) > MOST_POINTS and _turns(v) for v in values):
            return None
        batch = np.zeros((width, channels), np.float32)
        for channel, x in enumerate(fresh):
            batch[: len(x), channel] = x
        found = f(batch)
        for channel, x in enumerate(fresh):
            where = np.argsort(np.concatenate([points[channel], x]), kind="stable")
            points[channel] = np.concatenate([points[channel], x])[where]
            values[channel] = np.concatenate([values[channel], found[: len(x), channel]])[where]
    if any(_turns(value) for value in values):
        raise not_monotone(end)
    return [np.unique(v) for v in values]


def _turns(value: npt.NDArray[np.float64]) -> bool:
    """Whether a function both rises and falls."""
    moves = np.diff(value)
    return bool((moves > 0).any() and (moves < 0).any())


def not_monotone(end: str) -> ModelError:
    """What to raise for an activation that both rises and falls."""
    return ModelError(
        end,
        "rises and falls again: only monotone functions can become thresholds; replace the activation before it",
        code="not-monotone",
        node=end,
    )


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


def on_a_grid(end: str, values: npt.NDArray[np.float64], falling: npt.NDArray[np.bool_]) -> Levels:
    """Levels at the finest spacing that all values share.

    Raises
    ------
    ModelError
        There is none.
    """
    count = len(values) - 1
    scale = (values[-1] - values[0]) / count
    if np.abs((values - values[0]) / scale - np.arange(count + 1)).max() >= 0.01:  # some levels are not taken
        gaps = np.diff(values)
        for parts in range(1, 257):
            scale = gaps.min() / parts
            ratio = gaps / scale
            if np.all(np.abs(ratio - np.round(ratio)) < 1e-3 * np.maximum(1, 1e-3 * ratio)):
                break
        else:
            raise ModelError(
                end,
                "has levels that are not equally spaced; use a uniform quantizer with one scale for all channels",
                code="levels-uneven",
                node=end,
            )
        count = round((values[-1] - values[0]) / scale)
        scale = (values[-1] - values[0]) / count
        if count >= MOST_LEVELS:
            raise ModelError(
                end,
                f"has {count + 1:,} levels; at most {MOST_LEVELS:,} are supported, each level being a neuron: quantize "
                "activations to 8 bits or fewer",
                code="levels-many",
                node=end,
                found=count + 1,
                allowed=MOST_LEVELS,
            )
    zero = float(np.round(values[0] / scale * 2**20) / 2**20)
    table = np.asarray(np.float32(scale) * (np.arange(count + 1) + zero), np.float32).astype(np.float64)
    table[np.round((values - values[0]) / scale).astype(np.int64)] = values
    return Levels(count, float(scale), zero, table, falling)


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
    size = max(1, AT_ONCE // (classes * channels))
    parts = [levels.cuts[first : first + size] for first in range(0, levels.count, size)]
    return np.concatenate([_search(f, cut, accumulator, reach) for cut in parts], axis=2)


def _search(
    f: Callable[[Float], npt.NDArray[np.float64]],
    cut: npt.NDArray[np.float64],
    accumulator: Callable[[Int], Float],
    reach: Int,
) -> Int:
    """The smallest potential beyond each of some cuts."""
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
