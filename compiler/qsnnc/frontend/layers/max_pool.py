"""Turn max pools into layers, level by level: a neuron fires if ANY in its window does, or ALL before a decreasing map."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.layers.max_pool_copies import largest_of_copies
from qsnnc.frontend.linear.accumulate import classes, span
from qsnnc.frontend.linear.pooling import Pool
from qsnnc.frontend.linear.tensors import F64, Part, Quantized, natural
from qsnnc.frontend.linear.views import POINT, View, through, views
from qsnnc.frontend.model.model import Model, Node
from qsnnc.frontend.model.outcomes import WindowReordered
from qsnnc.ir.layers import Int, Layer, reachable


def maximum(
    model: Model, node: Node, tensor: Quantized, falling: npt.NDArray[np.bool_], end: str, fresh: Callable[[], str]
) -> tuple[Quantized, list[Layer]]:
    """Turn a max pool of levels into one layer per population.

    Parameters
    ----------
    falling : ndarray, bool, (channels of the tensor,)
        Whether the function after the pool decreases: ALL instead of ANY.
    end : str
        The ONNX tensor of the result.
    fresh : callable
        Returns an unused layer name.
    """
    pool = Pool(model, node, tensor)
    if len(falling) != pool.seen[0]:  # channels are pooled over: the function after the pool is the same for all
        falling = np.full(pool.seen[0], falling.any())
    try:
        copies = _copied(node, pool, fresh)
        found, layers = _largest(node, pool, falling, end, fresh)
    except WindowReordered:
        written = largest_of_copies(pool, falling, end, fresh)
        if written is None:
            raise
        return written
    return found, [*copies, *layers]


def _copied(node: Node, pool: Pool, fresh: Callable[[], str]) -> list[Layer]:
    """Let the pool read a copy of a cropped population if its windows would reach beyond the crop."""
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
    """Build the pool's layers, one window per population."""
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
        held_at = _held(view, pool, falling[view.channels]) if view.part is not None else None
        if view.part is None or held_at is None:
            raise ModelError(
                node.name,
                f"{node.op} over padding or constants that could be the largest and are not levels; pad with a level's "
                f"value, or use its pads attribute",
                code="pad-value",
                node=node.name,
            )
        layer = _any_of(node, pool, view, falling[view.channels], held_at, fresh(), end if _alone(seen, pool) else "")
        layers.append(layer)
        parts.append(replace(view.part, population=layer))
        area = pool.shape[1] * pool.shape[2]
        index[view.channels] = start + view.features[:, None] * area + np.arange(area)
        start += layer.features
    shown = index.reshape(-1)[pool.layout]
    return Quantized(tuple(parts) or pool.tensor.parts, shown, np.array(held, np.float64)), layers


def _alone(seen: list[View], pool: Pool) -> bool:
    return len(seen) == 1 and seen[0].whole(pool.seen[0]) and bool((np.diff(pool.layout.reshape(-1)) == 1).all())


def _of_constants(view: View, pool: Pool, falling: npt.NDArray[np.bool_]) -> F64:
    """Return the largest constant of each window, the smallest before a decreasing map: (view channels, positions)."""
    flat = pool.window.taps(pool.seen[1:], pool.shape[1:])
    values = pool.tensor.fixed[np.where(flat >= 0, view.fixed[flat], 0)]
    most = np.where(flat >= 0, values, -np.inf).max(axis=1)
    least = np.where(flat >= 0, values, np.inf).min(axis=1)
    return np.asarray(np.where(falling[:, None], least[None], most[None]), np.float64)


def _held(view: View, pool: Pool, falling: npt.NDArray[np.bool_]) -> Int | None:
    """Return the lower and, before a decreasing map, upper bound that constants impose on each window's result.

    ``falling`` is (channels of the view,). Returns levels (2, windows), -1 for a window that reads nothing; None if a
    relevant constant is not a level.
    """
    assert view.part is not None
    levels = view.part.population.levels
    least = _floor(view, pool, view.part.values, pool.tensor.fixed) if not falling.all() else 0
    most = _floor(view, pool, -view.part.values[::-1], -pool.tensor.fixed) if falling.any() else 0
    if least is None or most is None:
        return None
    lower, upper = np.broadcast_arrays(least, most)
    return np.stack([lower, np.where(upper < 0, -1, levels - upper)])


def _floor(view: View, pool: Pool, values: F64, fixed: F64) -> Int | None:
    """Return the lowest level that the constants in each window permit; -1 for a window that reads nothing.

    None if a relevant constant (above the lowest level, or alone in its window) is not a level.
    """
    flat = pool.window.taps(pool.seen[1:], pool.shape[1:])
    alone = ~(np.where(flat >= 0, view.positions[flat], -1) >= 0).any(axis=1)
    held = np.where(flat >= 0, view.fixed[flat], -1)
    known = np.full(len(fixed) + 1, -1)  # last entry: no constant (index -1)
    for number in np.unique(held[held >= 0]).tolist():
        level = int(np.abs(values - fixed[number]).argmin())
        counts = fixed[number] > values[0] or (alone & (held == number).any(axis=1)).any()
        if counts and abs(values[level] - fixed[number]) > 1e-6 * abs(fixed[number]):
            return None
        known[number] = level
    floor = known[held].max(axis=1)
    return np.asarray(np.where(alone, floor, np.maximum(floor, 0)))


def _any_of(node: Node, pool: Pool, view: View, falling: npt.NDArray[np.bool_], held: Int, name: str, end: str) -> Layer:
    """Pool all channels of a population."""
    assert view.part is not None
    source = view.part.population
    moved = through(view, pool.window, pool.seen[1:], pool.shape[1:])
    if moved is None:
        raise WindowReordered(
            node.name,
            f"{node.op} after a reshape that reorders features, or after upsampling, is not supported; pool before it",
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
    if (falls & both).any() or (held < 0).any():
        raise ModelError(
            node.name,
            "MaxPool has windows that lie entirely in the padding, or a channel followed by both an increasing and a "
            "decreasing function",
            code="pad-value",
            node=node.name,
        )
    keys = np.stack([inside if falling.any() else np.zeros_like(inside), *held], axis=1)
    border, example = classes(keys, (rows, columns))
    below = np.arange(source.levels) < np.where(falls, held[1, example, None], held[0, example, None])[..., None]
    limits = np.where(falls, inside[example][:, None], 0)[..., None] + np.where(below, 0, 1)
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
        thresholds=limits,
        border=border,
        reach=reach,
        exact_sums=True,
    )
