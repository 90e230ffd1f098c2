"""Pools: averages are sums, scaled; a maximum of thermometer codes is ANY of them, level by level."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.convolve import convolve
from qsnnc.frontend.linear import Arm, Sums, classes, span
from qsnnc.frontend.matrices import constant
from qsnnc.frontend.read import Model, Node
from qsnnc.frontend.reference import session
from qsnnc.frontend.tensors import F64, Accumulator, Part, Quantized, Terms, as_map, natural
from qsnnc.frontend.views import POINT, View, Window, space_of, through, views
from qsnnc.ir.layers import Int, Layer, reachable

MAXIMUM = frozenset("MaxPool GlobalMaxPool ReduceMax".split())


def window_of(node: Node, kernel: tuple[int, ...], space: tuple[int, ...], out: tuple[int, ...]) -> Window:
    """Strides, pads and dilations of a convolution or pool, in two dimensions.

    Padding at the end is what the output's shape asks for, so that ``ceil_mode`` and ``auto_pad`` need no case of their own.
    """
    axes = len(kernel)
    attributes = node.attributes
    strides = tuple(attributes.get("strides", (1,) * axes))
    dilations = tuple(attributes.get("dilations", (1,) * axes))
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    begin = list(attributes.get("pads", (0,) * (2 * axes)))[:axes]
    if axes > 2:
        raise ModelError(
            node.name,
            f"{node.op} over {axes} axes; one or two are supported",
            code="tensor-rank",
            node=node.name,
            found=axes,
            allowed=2,
        )
    end = []
    for axis in range(axes):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        total = max(0, (out[axis] - 1) * strides[axis] + reach - space[axis])
        if auto.startswith("SAME"):
            begin[axis] = total // 2 if auto == "SAME_UPPER" else total - total // 2
        elif auto == "VALID":
            begin[axis] = 0
        end.append(max(0, total - begin[axis]))
    if axes == 1:
        return Window((1, kernel[0]), (1, strides[0]), (0, begin[0], 0, end[0]), (1, dilations[0]))
    return Window(
        (kernel[0], kernel[1]), (strides[0], strides[1]), (begin[0], begin[1], end[0], end[1]), (dilations[0], dilations[1])
    )


def reduced(model: Model, node: Node, rank: int) -> tuple[int, ...]:
    """Axes that an operator pools over altogether, the batch counted; () for a pool with a window.

    Raises
    ------
    ModelError
        The batch is among them.
    """
    if node.op in ("GlobalAveragePool", "GlobalMaxPool"):
        return tuple(range(2, rank))
    if not node.op.startswith("Reduce"):
        return ()
    axes = node.attributes.get("axes")
    if axes is None and len(node.inputs) > 1 and node.inputs[1]:
        axes = constant(model, node, 1).astype(np.int64).tolist()
    if axes is None:
        axes = [] if node.attributes.get("noop_with_empty_axes", 0) else list(range(rank))
    found = tuple(sorted({int(axis) % rank for axis in axes}))
    if 0 in found:
        raise ModelError(
            node.name,
            f"{node.op} over the batch axis; leave axis 0 out",
            code="batch-moved",
            node=node.name,
            found=list(axes),
        )
    return found


class Pool:
    """A pool's geometry: which tensor it sees as a map, and through which window."""

    def __init__(self, model: Model, node: Node, tensor: Quantized) -> None:
        rank = tensor.index.ndim + 1
        out = model.shapes[node.outputs[0]]
        axes = [axis - 1 for axis in reduced(model, node, rank)]
        self.tensor, self.axis = tensor, 1
        if not axes:
            kernel = tuple(node.attributes["kernel_shape"])
            self.seen = as_map(tensor.index.shape, node)
            self.window = window_of(node, kernel, tensor.index.shape[1:], out[1:])
            self.shape = as_map(out, node)
            self.layout = natural(self.shape, out)
            return
        if len(axes) == tensor.index.ndim:
            raise ModelError(node.name, f"{node.op} over every axis; keep the channels", code="tensor-rank", node=node.name)
        kept = [axis for axis in range(tensor.index.ndim) if axis not in axes]
        if kept[0] == 0 and tensor.index.ndim <= 3:
            self.seen = as_map(tensor.index.shape, node)
            first = 4 - tensor.index.ndim  # the first of its spatial axes, in the map
            over = {axis - 1 + first for axis in axes}
            self.window = Window(tuple(size if axis in over else 1 for axis, size in enumerate(self.seen[1:], start=1)))  # type: ignore[arg-type]
            self.shape = (self.seen[0], *(1 if axis in over else self.seen[axis] for axis in (1, 2)))  # type: ignore[assignment]
        else:  # the channels first, then what else stays, and what goes behind it
            index = tensor.index.transpose(*kept, *axes)
            self.tensor = replace(tensor, index=index)
            if len(kept) == 1:
                space = space_of(tensor, index, node)
                self.seen, self.window, self.shape = (len(index), *space), Window(space), (len(index), 1, 1)
            else:
                rest = int(np.prod(index.shape[1 : len(kept)]))
                gone = int(np.prod(index.shape[len(kept) :]))
                self.seen, self.window, self.shape = (len(index), rest, gone), Window((1, gone)), (len(index), rest, 1)
        self.layout = natural(self.shape, out)
        self.axis = 1 + kept[0] if node.attributes.get("keepdims", 1) else 1


def average(model: Model, node: Node, terms: Terms, name: str) -> Accumulator:
    """AveragePool, GlobalAveragePool, ReduceMean and ReduceSum: a sum, scaled by what the reference divides by."""
    seen = [Pool(model, node, tensor) for tensor in terms.tensors]
    pool = seen[0]
    channels = pool.seen[0]
    ones = np.ones((channels, 1, *pool.window.kernel))
    arms = [
        Arm(mine.tensor, pool.seen, sign * ones, channels, pool.window) for mine, sign in zip(seen, terms.signs, strict=True)
    ]
    counts = divisors(model, node, pool)
    uniform = len(np.unique(counts)) == 1
    sums = Sums(name, "pool", node, pool.shape, pool.layout, pool.axis)
    found = terms.read(convolve(sums, arms, np.zeros(channels), apart=None if uniform else counts))
    if uniform:
        divisor = counts[:1, None].astype(np.float64)
    elif found.shape == pool.shape:
        example = np.unique(found.border.reshape(-1), return_index=True)[1]
        divisor = counts[example][:, None].astype(np.float64)
    else:  # written out, feature by feature
        divisor = np.tile(counts, channels)[None].astype(np.float64)
    largest, smallest = float(counts.max()), float(counts.min())
    clean = bool((counts & (counts - 1) == 0).all())
    return replace(
        found,
        scale=found.scale / divisor,
        offset=found.offset / divisor,
        exact=(found.exact | (node.name in model.integral)) & clean,
        grid=found.grid / largest if clean else np.zeros_like(found.grid),
        magnitude=found.magnitude / smallest,
    )


def divisors(model: Model, node: Node, pool: Pool) -> Int:
    """What the reference divides each window's sum by: int64 (positions,)."""
    positions = pool.shape[1] * pool.shape[2]
    if node.op == "ReduceSum":
        return np.ones(positions, np.int64)
    if node.op != "AveragePool":
        return np.full(positions, pool.window.kernel[0] * pool.window.kernel[1], np.int64)
    from onnx import TensorProto

    shape = (1, 1, *pool.tensor.index.shape[1:])
    part = model.subgraph({node.inputs[0]: (TensorProto.FLOAT, shape)}, [node.outputs[0]], [node])
    (means,) = session(part).run(None, {node.inputs[0]: np.ones(shape, np.float32)})
    inside = (pool.window.taps(pool.seen[1:], pool.shape[1:]) >= 0).sum(axis=1)
    if not (np.isfinite(means).all() and (means > 0).all() and (inside > 0).all()):
        raise ModelError(
            node.name,
            "AveragePool has windows that lie in the padding altogether; use less padding",
            code="pool-divisor",
            node=node.name,
        )
    return np.asarray(np.round(inside / means.reshape(-1).astype(np.float64)), np.int64)


def maximum(
    model: Model, node: Node, tensor: Quantized, falling: npt.NDArray[np.bool_], end: str, fresh: Callable[[], str]
) -> tuple[Quantized, list[Layer]]:
    """ANY neuron i of the window fired, or ALL of them where a falling map follows; one layer a population.

    Parameters
    ----------
    falling : ndarray, bool, (channels of the tensor,)
        Where what follows the pool falls.
    end : str
        The ONNX tensor that the result is.
    fresh : callable
        Gives a name for each layer.
    """
    pool = Pool(model, node, tensor)
    copies = _copied(node, pool, fresh)
    found, layers = _largest(node, pool, falling, end, fresh)
    return found, [*copies, *layers]


def _copied(node: Node, pool: Pool, fresh: Callable[[], str]) -> list[Layer]:
    """Where windows would reach beyond the part of a population that a tensor shows, let the pool see a copy of it."""
    seen = views(pool.tensor, pool.seen, node)
    if all(view.part is None or through(view, pool.window, pool.seen[1:], pool.shape[1:]) for view in seen):
        return []
    index, known = pool.tensor.index.reshape(pool.seen), pool.tensor.fixed
    shown = np.argwhere((index >= 0).any(axis=0))
    box = (slice(None), *(slice(low, high + 1) for low, high in zip(shown.min(axis=0), shown.max(axis=0), strict=True)))
    alike = copy(pool)
    alike.seen = alike.shape = index[box].shape  # type: ignore[assignment]
    alike.tensor, alike.window = replace(pool.tensor, index=index[box]), POINT
    alike.layout = natural(alike.shape, alike.shape)
    if any(
        view.part and not through(view, POINT, alike.seen[1:], alike.seen[1:])
        for view in views(alike.tensor, alike.seen, node)
    ):
        return []  # to be refused
    found, layers = _largest(node, alike, np.zeros(pool.seen[0], bool), "", fresh)
    whole = index.copy()
    whole[box] = np.where(found.index < 0, found.index - len(known), found.index)
    pool.tensor = Quantized(found.parts, whole.reshape(pool.tensor.index.shape), np.concatenate([known, found.fixed]))
    return layers


def _largest(
    node: Node, pool: Pool, falling: npt.NDArray[np.bool_], end: str, fresh: Callable[[], str]
) -> tuple[Quantized, list[Layer]]:
    """The pool itself, of what is seen through one window a population."""
    layers: list[Layer] = []
    parts: list[Part] = []
    index = np.full((pool.shape[0], pool.shape[1] * pool.shape[2]), -1, np.int64)
    start = 0
    seen = views(pool.tensor, pool.seen, node)
    held: list[float] = []
    for view in seen:
        if view.part is None:
            values = _of_constants(view, pool, falling[view.channels])
            if np.isfinite(values).all():
                index[view.channels] = -1 - len(held) - np.arange(values.size).reshape(values.shape)
                held += values.reshape(-1).tolist()
                continue
        floor = _floor(view, pool) if view.part is not None else None
        if view.part is None or floor is None or (falling.any() and (floor > 0).any()):
            raise ModelError(
                node.name,
                f"{node.op} over padding or constants that could win and are no level; pad with a level's value, or use its "
                f"pads",
                code="pad-value",
                node=node.name,
            )
        layer = _any_of(node, pool, view, falling[view.channels], floor, fresh(), end if _alone(seen, pool) else "")
        layers.append(layer)
        parts.append(replace(view.part, population=layer))
        area = pool.shape[1] * pool.shape[2]
        index[view.channels] = start + view.features[:, None] * area + np.arange(area)
        start += layer.features
    shown = index.reshape(-1)[pool.layout]
    return Quantized(tuple(parts), shown, np.array(held, np.float64)), layers


def _alone(seen: list[View], pool: Pool) -> bool:
    return len(seen) == 1 and seen[0].whole(pool.seen[0]) and bool((np.diff(pool.layout.reshape(-1)) == 1).all())


def _of_constants(view: View, pool: Pool, falling: npt.NDArray[np.bool_]) -> F64:
    """The largest constant of each window, the smallest where a falling map follows: (channels of the view, positions)."""
    flat = pool.window.taps(pool.seen[1:], pool.shape[1:])
    values = pool.tensor.fixed[np.where(flat >= 0, view.fixed[flat], 0)]
    most = np.where(flat >= 0, values, -np.inf).max(axis=1)
    least = np.where(flat >= 0, values, np.inf).min(axis=1)
    return np.asarray(np.where(falling[:, None], least[None], most[None]), np.float64)


def _floor(view: View, pool: Pool) -> Int | None:
    """The level below which the constants in each window let the largest not fall; -1 where it reads nothing at all.

    None where a constant that counts is no level: above the lowest, or alone in its window.
    """
    assert view.part is not None
    values, fixed = view.part.values, pool.tensor.fixed
    flat = pool.window.taps(pool.seen[1:], pool.shape[1:])
    alone = ~(np.where(flat >= 0, view.positions[flat], -1) >= 0).any(axis=1)
    held = np.where(flat >= 0, view.fixed[flat], -1)
    known = np.full(len(fixed) + 1, -1)  # the last, which -1 reads: no constant
    for number in np.unique(held[held >= 0]).tolist():
        level = int(np.abs(values - fixed[number]).argmin())
        counts = fixed[number] > values[0] or (alone & (held == number).any(axis=1)).any()
        if counts and abs(values[level] - fixed[number]) > 1e-6 * abs(fixed[number]):
            return None
        known[number] = level
    floor = known[held].max(axis=1)
    return np.asarray(np.where(alone, floor, np.maximum(floor, 0)))


def _any_of(node: Node, pool: Pool, view: View, falling: npt.NDArray[np.bool_], floor: Int, name: str, end: str) -> Layer:
    """The pooled population, all of its channels."""
    assert view.part is not None
    source = view.part.population
    moved = through(view, pool.window, pool.seen[1:], pool.shape[1:])
    if moved is None:
        raise ModelError(
            node.name,
            f"{node.op} after a reshape that reorders features, or after an enlarged map, is not supported; pool before it",
            code="reshape-before-window",
            node=node.name,
        )
    channels, (rows, columns) = source.shape[0], pool.shape[1:]
    shape = (channels, rows, columns)
    link = moved.connect(source.name, np.ones((channels, 1, *moved.kernel), np.int64), channels, level_wise=True)
    inside = (link.taps(source.shape[1:], (rows, columns)) >= 0).sum(axis=1)
    falls = np.zeros(channels, bool)
    falls[view.features] = falling
    both = np.zeros(channels, bool)
    both[view.features] |= ~falling
    if (falls & both).any() or (floor < 0).any():
        raise ModelError(
            node.name,
            "MaxPool has windows that lie in the padding altogether, or a channel that is read both rising and falling",
            code="pool-divisor",
            node=node.name,
        )
    keys = np.stack([inside if falling.any() else np.zeros_like(inside), floor], axis=1)
    border, example = classes(keys, (rows, columns))
    always = np.arange(source.levels) < floor[example][:, None, None]
    wanted = np.where(falls[None, :], inside[example][:, None], 1)
    reach = span(reachable((link,), {source.name: source}, shape), border)
    reach[..., 0] = 0
    return Layer(
        name=name,
        tensor=end,
        tensor_shape=tuple(pool.layout.shape) if end else shape,
        shape=shape,
        levels=source.levels,
        scale=view.part.scale,
        zero_point=view.part.zero_point,
        kind="pool",
        connections=(link,),
        thresholds=np.where(always, 0, wanted[..., None]).astype(np.int64),
        border=border,
        reach=reach,
        exact_sums=True,
    )
