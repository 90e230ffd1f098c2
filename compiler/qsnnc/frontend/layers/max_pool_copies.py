"""Turn max pools on reordered or upsampled tensors into layers, where the windows are not windows on a population.

Each tap of the window becomes a copy: a matrix that selects one feature for every window. The maximum is taken over copies.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.linear.pooling import Pool
from qsnnc.frontend.linear.tensors import F64, Part, Quantized
from qsnnc.frontend.linear.unrolled import MOST_WEIGHTS
from qsnnc.ir.layers import Connection, Int, Layer

#: index of padding, which is ignored
NONE = np.iinfo(np.int64).min


def largest_of_copies(
    pool: Pool, falling: npt.NDArray[np.bool_], end: str, fresh: Callable[[], str]
) -> tuple[Quantized, list[Layer]] | None:
    """Take the maximum over copies; None if the levels differ between parts or there are too many weights.

    Parameters
    ----------
    falling : ndarray, bool, (channels of the tensor,)
        Whether the function after the pool decreases: ALL instead of ANY.
    end : str
        The ONNX tensor of the result.
    fresh : callable
        Returns an unused layer name.
    """
    tensor = pool.tensor
    if not tensor.parts or any(not _alike(part, tensor.parts[0]) for part in tensor.parts):
        return None
    flat = pool.window.taps(pool.seen[1:], pool.shape[1:])
    shown = tensor.index.reshape(pool.seen[0], -1)
    read = np.where(flat >= 0, shown[:, flat], NONE).reshape(-1, flat.shape[1])  # (windows, taps)
    falls = np.repeat(falling, len(flat))
    held = _levels_held(tensor.parts[0], tensor.fixed, read, falls)
    if held is None or int(tensor.starts[-1]) * read.size > MOST_WEIGHTS:
        return None
    read = _filled(read)
    copies = [_copy(tensor, read[:, tap], held, fresh()) for tap in range(read.shape[1])]
    plain = bool((np.diff(pool.layout.reshape(-1)) == 1).all())
    layer = _largest(tensor.parts[0], copies, falls, fresh(), end if plain else "", tuple(pool.layout.shape))
    part = tensor.parts[0]
    return Quantized((Part(layer, part.scale, part.zero_point, part.values, part.slack),), pool.layout), [*copies, layer]


def _alike(part: Part, other: Part) -> bool:
    return part.key[1:] == other.key[1:] and np.array_equal(part.values, other.values)


def _levels_held(part: Part, fixed: F64, read: Int, falls: npt.NDArray[np.bool_]) -> Int | None:
    """Return the level of each constant; None if a relevant one is not a level, or a window reads nothing."""
    if (read == NONE).all(axis=1).any():
        return None
    low, high = part.values[0], part.values[-1]
    held = np.zeros(len(fixed), np.int64)
    for number, value in enumerate(fixed):
        there = (read == -1 - number).any(axis=1)
        alone = there & (read < 0).all(axis=1)
        held[number] = np.abs(part.values - value).argmin()
        exact = abs(part.values[held[number]] - value) <= 1e-6 * abs(value)
        idle = (not falls[there].any() and value < low) or (falls[there].all() and value > high)
        if there.any() and not exact and (alone.any() or not idle):
            return None
    return held


def _filled(read: Int) -> Int:
    """Replace padding by an element that the window reads anyway, which leaves the maximum unchanged."""
    first = np.argmax(read != NONE, axis=1)
    return np.where(read == NONE, np.take_along_axis(read, first[:, None], axis=1), read)


def _copy(tensor: Quantized, read: Int, held: Int, name: str) -> Layer:
    """Build a copy with one channel per element read: the feature's level, or that of a constant."""
    part = tensor.parts[0]
    levels, windows = part.population.levels, len(read)
    links = []
    for start, stop, source in zip(tensor.starts[:-1], tensor.starts[1:], tensor.parts, strict=True):
        here = np.flatnonzero((read >= start) & (read < stop))
        if len(here):
            weights = np.zeros((windows, stop - start), np.int64)
            weights[here, read[here] - start] = 1
            links.append(Connection(source.population.name, weights.reshape(windows, *source.population.shape)))
    if not links:  # only constants, but a layer must read something
        weights = np.zeros((windows, *part.population.shape), np.int64)
        links.append(Connection(part.population.name, weights))
    constant = read < 0
    level = np.arange(levels)
    known = np.where(constant, held[np.where(constant, -1 - read, 0)] if len(held) else 0, 0)
    thresholds = np.where(constant[:, None], np.where(level < known[:, None], 0, 1), 1 + level)
    reach = np.stack([np.zeros(windows, np.int64), np.where(constant, 0, levels)], axis=1)
    return _layer(part, name, "identity", tuple(links), thresholds, reach)


def _largest(
    part: Part, copies: list[Layer], falls: npt.NDArray[np.bool_], name: str, end: str, shape: tuple[int, ...]
) -> Layer:
    windows, levels = copies[0].shape[0], part.population.levels
    ones = np.ones((windows, 1, 1, 1), np.int64)
    links = tuple(Connection(copy.name, ones, groups=windows, level_wise=True) for copy in copies)
    thresholds = np.repeat(np.where(falls, len(copies), 1)[:, None], levels, axis=1)
    reach = np.tile([0, len(copies)], (windows, 1))
    return _layer(part, name, "pool", links, thresholds, reach, end, shape)


def _layer(
    part: Part,
    name: str,
    kind: str,
    links: tuple[Connection, ...],
    thresholds: Int,
    reach: Int,
    end: str = "",
    shape: tuple[int, ...] = (),
) -> Layer:
    """Build a layer with a single position."""
    own = (len(thresholds), 1, 1)
    return Layer(
        name=name,
        tensor=end,
        tensor_shape=shape if end else own,
        shape=own,
        levels=part.population.levels,
        scale=part.scale,
        zero_point=part.zero_point,
        kind=kind,
        connections=links,
        thresholds=thresholds[None],
        border=np.zeros((1, 1), np.int64),
        reach=reach[None],
        exact_sums=True,
    )
