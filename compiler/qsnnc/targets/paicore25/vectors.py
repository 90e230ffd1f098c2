"""The weight vectors of a part: for each channel the inputs that its window reads, relative to the first.

A vector is shared by all neurons of a channel, over positions and levels, and by channels whose windows look alike, as those
of a pool do. It is stored dense or compressed, whichever takes fewer rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.paicore.fields import Words
from chipsim.paicore.program import THERMOMETER
from chipsim.paicore.words import CSC_LANES, pack_csc, pack_dense
from qsnnc.ir.layers import Connection, Int
from qsnnc.targets.paicore25.coding import Coding
from qsnnc.targets.paicore25.layout import InputMap, Part

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """Weights that are not zero, and the bit address of each relative to the first."""

    index: Int
    weight: Int
    bits: int  # of a weight
    width: int  # of an input
    compressed: bool
    rows: int

    def words(self) -> Words:
        """Its rows of memory, uint64 (rows, 2)."""
        if self.compressed:
            return pack_csc(self.index, self.weight, self.bits)
        if not len(self.index):
            return np.zeros((0, 2), np.uint64)
        dense = np.zeros(int(self.index[-1]) // self.width + 1, np.int64)
        dense[self.index // self.width] = self.weight
        return pack_dense(dense, self.bits)


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """What the neurons of a part read."""

    vectors: tuple[Vector, ...]
    number: Int  # (channels, inputs or 1): vector of each neuron
    first: Int  # (channels, inputs or 1): bit address of its index 0 at the part's first position
    offset: Int  # (rows, columns): what each position adds to it


def windows(
    part: Part, inputs: InputMap, codings: dict[str, Coding], live: dict[str, Bool], bits: int, max_index: int
) -> Windows:
    """Weight vectors and addresses of a part.

    Parameters
    ----------
    live : dict
        Of each source, (channels, inputs): inputs that some position sends; the others need no weights.
    bits : int
        Width of the weights.
    max_index : int
        Largest index of a compressed weight.
    """
    layer = part.layer
    per_channel = layer.levels if _level_by_level(part, codings) else 1
    index, weight = _terms(part, inputs, codings, live)
    known: dict[bytes, int] = {}
    vectors: list[Vector] = []
    number = np.zeros((layer.shape[0], per_channel), np.int64)
    first = np.zeros((layer.shape[0], per_channel), np.int64)
    for channel in range(layer.shape[0]):
        for level in range(per_channel):
            at, values = index(channel, level), weight(channel, level)
            there = values != 0
            at, values = at[there], values[there]
            begin = int(at[0]) if len(at) else 0
            at = at - begin
            key = at.tobytes() + values.tobytes()
            if key not in known:
                known[key] = len(vectors)
                vectors.append(_stored(at, values, bits, inputs.width, max_index))
            number[channel, level], first[channel, level] = known[key], begin
    return Windows(tuple(vectors), number, first, _offsets(part, inputs))


def _stored(index: Int, weight: Int, bits: int, width: int, max_index: int) -> Vector:
    dense = -(-(int(index[-1]) // width + 1) * bits // 128) if len(index) else 0
    packed = -(-len(index) // CSC_LANES[bits])
    compressed = packed < dense and int(index[-1]) <= max_index
    return Vector(index, weight, bits, width, compressed, packed if compressed else dense)


def _terms(
    part: Part, inputs: InputMap, codings: dict[str, Coding], live: dict[str, Bool]
) -> tuple[Callable[[int, int], Int], Callable[[int, int], Int]]:
    """Functions of channel and level: sorted addresses at the part's first position, and the weight at each."""
    layer = part.layer
    wise = _level_by_level(part, codings)
    orders: dict[tuple[int, ...], tuple[Int, Int]] = {}

    def order(channel: int) -> tuple[Int, Int]:
        blocks = tuple(channel * link.groups // layer.shape[0] for link in layer.connections)
        if blocks not in orders:
            at = [
                _addresses(part, link, inputs, codings, block) for link, block in zip(layer.connections, blocks, strict=True)
            ]
            if wise:
                at = [each[..., :1] for each in at]
            flat = np.concatenate([each.reshape(-1) for each in at])
            sort = np.argsort(flat, kind="stable")
            orders[blocks] = flat[sort], sort
        return orders[blocks]

    def index(channel: int, level: int) -> Int:
        step = inputs.places[layer.connections[0].source].level
        return order(channel)[0] + (level * step if wise else 0)

    def weight(channel: int, level: int) -> Int:
        parts = []
        for link in layer.connections:
            block = channel * link.groups // layer.shape[0]
            channels = slice(block * link.weights.shape[1], (block + 1) * link.weights.shape[1])
            alive = live[link.source][channels, level : level + 1] if wise else live[link.source][channels]
            parts.append((link.weights[channel][..., None] * alive[:, None, None, :]).reshape(-1))
        return np.concatenate(parts)[order(channel)[1]]

    return index, weight


def _level_by_level(part: Part, codings: dict[str, Coding]) -> bool:
    """Whether neuron i reads only neuron i of a feature; a value has no neurons, and its maximum is taken as it is."""
    link = part.layer.connections[0]
    return link.level_wise and codings[link.source].code == THERMOMETER


def _addresses(part: Part, link: Connection, inputs: InputMap, codings: dict[str, Coding], block: int) -> Int:
    """Address of each input of a window at the part's first position, (channels / groups, kernel rows, columns, inputs)."""
    place = inputs.places[link.source]
    _, per_group, *kernel = link.weights.shape
    channel, row, column, level = np.indices((per_group, *kernel, codings[link.source].inputs))
    down = part.first * link.strides[0] - link.pads[0] + row * link.dilations[0]
    along = column * link.dilations[1] - link.pads[1]
    found = place.base + (block * per_group + channel) * place.channel + level * place.level
    return np.asarray(found + down * place.row + along * place.column)


def _offsets(part: Part, inputs: InputMap) -> Int:
    """What the windows of each position are moved by, the same on every source."""
    link = part.layer.connections[0]
    place = inputs.places[link.source]
    rows, columns = part.extent
    down, along = np.arange(rows) * link.strides[0] * place.row, np.arange(columns) * link.strides[1] * place.column
    return np.asarray(down[:, None] + along[None, :], np.int64)


def width_of(weights: Int, allowed: tuple[int, ...]) -> tuple[int, bool] | None:
    """Narrowest width of weights that a chip has, and whether it is two's complement; None where none holds them."""
    low, high = int(weights.min(initial=0)), int(weights.max(initial=0))
    signed = low < 0
    for bits in sorted(allowed):
        top = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1
        if high <= top and (not signed or (bits > 1 and low >= -(1 << (bits - 1)))):
            return bits, signed
    return None
