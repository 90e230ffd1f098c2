"""Split a tensor that was concatenated, sliced, padded or moved into views of populations."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.frontend.linear.tensors import Part, Quantized
from qsnnc.frontend.model.model import Node
from qsnnc.frontend.model.outcomes import WindowReordered
from qsnnc.ir.layers import Connection, Int


@dataclass(frozen=True, slots=True)
class Window:
    """Kernel size and movement of a convolution or pool, in two dimensions."""

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)

    def taps(self, space: tuple[int, int], out: tuple[int, int]) -> Int:
        """Return the flat position in the tensor of each tap of each window, -1 in the padding: (windows, taps)."""
        return self.connect("", np.zeros((1, 1, *self.kernel), np.int64)).taps(space, out)

    def connect(self, source: str, weights: Int, groups: int = 1, *, level_wise: bool = False) -> Connection:
        """Return a connection with this movement."""
        return Connection(source, weights, self.strides, self.pads, self.dilations, groups, level_wise)


POINT = Window((1, 1))


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Channels of a tensor that hold one population through one map of positions, or only constants."""

    part: Part | None
    channels: Int  # of the tensor
    features: Int  # the population's channel in each of them
    positions: Int  # (rows * columns of the tensor,): the population's flat position, -1 for a constant
    fixed: Int  # (rows * columns,): index of the constant, -1 for a level

    def whole(self, channels: int) -> bool:
        """Return whether the tensor's channels are all of the population's, in order."""
        assert self.part is not None
        mine = np.arange(channels)
        return (
            channels == self.part.population.shape[0]
            and np.array_equal(self.channels, mine)
            and np.array_equal(self.features, mine)
        )


def views(tensor: Quantized, shape: tuple[int, int, int], node: Node) -> list[View]:
    """Split a tensor into views; ``shape`` is its shape as (channels, rows, columns).

    Raises
    ------
    ModelError
        A channel mixes several channels of a population, which a convolution cannot read.
    """
    index = tensor.index.reshape(shape[0], -1)
    if tensor.canonical and tensor.parts[0].population.shape[0] == shape[0]:
        channels, positions = (np.arange(size) for size in index.shape)
        return [View(tensor.parts[0], channels, channels, positions, np.full(len(positions), -1))]
    starts = tensor.starts
    area = np.array([part.population.shape[1] * part.population.shape[2] for part in tensor.parts] or [1])
    shown = index >= 0
    owner = np.where(shown, np.searchsorted(starts, index, side="right") - 1, -1) if len(starts) > 2 else shown - 1
    feature, position = np.divmod(index - starts[np.maximum(owner, 0)], area[owner])
    position, fixed = np.where(shown, position, -1), np.where(shown, -1, -1 - index)
    first = np.argmax(shown, axis=1)[:, None]  # a channel is a population's if it shows any of it, and one feature's
    number, own = (np.take_along_axis(each, first, axis=1) for each in (owner, feature))
    mixed = (shown & ((owner != number) | (feature != own))).any(axis=1)
    if mixed.any():
        raise WindowReordered(
            node.name,
            f"{node.op} reads a tensor whose channel {np.argmax(mixed)} mixes channels or tensors, because a reshape or "
            "transpose before it reorders features; move that to before a matrix product",
            node=node.name,
        )
    own = np.where(shown.any(axis=1), own[:, 0], 0)
    rows = np.concatenate([number, position, fixed], axis=1)
    found: dict[bytes, list[Int]] = {}
    edges = np.flatnonzero((rows[1:] != rows[:-1]).any(axis=1)) + 1  # most often the next channel is like the one before
    for channels in np.split(np.arange(len(rows)), edges):
        found.setdefault(rows[channels[0]].tobytes(), []).append(channels)
    groups = [np.concatenate(each) for each in found.values()]
    parts = [int(number[mine[0], 0]) for mine in groups]
    return [
        View(tensor.parts[part] if part >= 0 else None, mine, own[mine], position[mine[0]], fixed[mine[0]])
        for part, mine in zip(parts, groups, strict=True)
    ]


def through(view: View, window: Window, space: tuple[int, int], out: tuple[int, int]) -> Window | None:
    """Return the window on the population that reads what ``window`` reads on the tensor; None if there is none."""
    assert view.part is not None
    source = view.part.population.shape[1:]
    flat = window.taps(space, out)
    wanted = np.where(flat >= 0, view.positions[flat], -1)
    strides, dilations, begin = [], [], []
    for axis in (0, 1):
        factor, shift = _affine(view, space, source, axis)
        if factor < 1:
            return None
        strides.append(window.strides[axis] * factor)
        dilations.append(window.dilations[axis] * factor)
        begin.append(window.pads[axis] * factor - shift)
    end = [
        max(
            0, (out[axis] - 1) * strides[axis] + (window.kernel[axis] - 1) * dilations[axis] + 1 - source[axis] - begin[axis]
        )
        for axis in (0, 1)
    ]
    moved = Window(
        window.kernel, (strides[0], strides[1]), (begin[0], begin[1], end[0], end[1]), (dilations[0], dilations[1])
    )
    return moved if np.array_equal(moved.taps(source, out), wanted) else None


def _affine(view: View, space: tuple[int, int], source: tuple[int, int], axis: int) -> tuple[int, int]:
    """Find population position = factor * tensor position + shift along an axis, from its first two positions."""
    shown = np.argwhere(view.positions.reshape(space) >= 0)
    at = view.positions[shown[:, 0] * space[1] + shown[:, 1]]
    along = at // source[1] if axis == 0 else at % source[1]
    first, where = along[0], shown[:, axis]
    other = np.flatnonzero((where != where[0]) & (shown[:, 1 - axis] == shown[0, 1 - axis]))
    factor = 1
    if len(other):
        step = other[0]
        rise, run = int(along[step] - first), int(where[step] - where[0])
        factor = rise // run if rise % run == 0 else 0
    return factor, int(first - factor * where[0])


def space_of(tensor: Quantized, index: Int, node: Node) -> tuple[int, int]:
    """Return rows and columns for the positions: the population's own if their number agrees."""
    positions = index[0].size
    for part in tensor.parts:
        rows, columns = part.population.shape[1:]
        if rows * columns == positions:
            return rows, columns
    if not tensor.parts:
        return 1, positions
    if index.ndim == 3:
        return index.shape[1], index.shape[2]
    moved = replace(tensor, index=index)
    spaces = [(rows, positions // rows) for rows in range(1, positions + 1) if positions % rows == 0]
    return next((space for space in spaces if _straight(moved, (len(index), *space), node)), spaces[0])


def _straight(tensor: Quantized, shape: tuple[int, int, int], node: Node) -> bool:
    """Return whether every population in a tensor keeps its rows and columns, except for cropping and padding."""
    try:
        seen = views(tensor, shape, node)
    except ModelError:
        return False
    return all(view.part is None or through(view, POINT, shape[1:], shape[1:]) is not None for view in seen)
