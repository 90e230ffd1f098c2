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
    starts = tensor.starts
    area = np.array([part.population.shape[1] * part.population.shape[2] for part in tensor.parts] or [1])
    found: dict[tuple[int, bytes, bytes], _Channels] = {}
    last: _Channels | None = None  # most often the next channel is like the one before
    for channel, mine in enumerate(index):
        shown = mine >= 0
        owner = np.where(shown, np.searchsorted(starts, mine, side="right") - 1, -1) if len(starts) > 2 else shown - 1
        feature, position = np.divmod(mine - starts[np.maximum(owner, 0)], area[owner])
        position, fixed = np.where(shown, position, -1), np.where(shown, -1, -1 - mine)
        owners, features = owner[shown], feature[shown]
        if len(owners) and (owners.min() < owners.max() or features.min() < features.max()):
            raise WindowReordered(
                node.name,
                f"{node.op} reads a tensor whose channel {channel} mixes channels or tensors, because a reshape or "
                "transpose before it reorders features; move that to before a matrix product",
                node=node.name,
            )
        number = int(owners[0]) if len(owners) else -1
        if last is None or not last.alike(number, position, fixed):
            key = (number, position.tobytes(), fixed.tobytes())
            last = found.setdefault(key, _Channels(number, position, fixed, [], []))
        last.channels.append(channel)
        last.features.append(int(features[0]) if len(features) else 0)
    return [
        View(
            tensor.parts[group.part] if group.part >= 0 else None,
            np.array(group.channels),
            np.array(group.features),
            group.position,
            group.fixed,
        )
        for group in found.values()
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _Channels:
    """Channels of a tensor that hold one population, or constants, at the same positions."""

    part: int  # -1: constants
    position: Int
    fixed: Int
    channels: list[int]
    features: list[int]

    def alike(self, part: int, position: Int, fixed: Int) -> bool:
        return part == self.part and np.array_equal(position, self.position) and np.array_equal(fixed, self.fixed)


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
