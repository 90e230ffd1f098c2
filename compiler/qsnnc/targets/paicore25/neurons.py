"""The neurons of a part, gathered by weight vector and parameters: what a record can stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsnnc.ir.layers import Int
from qsnnc.targets.paicore25.allocation import Neurons, Parameters
from qsnnc.targets.paicore25.layout import Part, Place
from qsnnc.targets.paicore25.vectors import Windows

#: the group that stands for the host
HOST = -1
#: threshold of neurons that never fire: read out, or looked up in a table
NEVER = (1 << 31) - 1
#: bits of a potential that is read out
POTENTIAL_BITS = 32


@dataclass(frozen=True, slots=True, eq=False)
class Firing:
    """What the neurons of a layer decide by, each (channels, rows, columns, inputs)."""

    kept: npt.NDArray[np.bool_]
    threshold: Int
    leak: Int
    table: Int  # -1: none


@dataclass(frozen=True, slots=True)
class Target:
    """Where some rows of a layer are sent: to the cores of a group, or to the host."""

    group: int
    place: Place
    first: int
    last: int


def readout_place(shape: tuple[int, int, int]) -> Place:
    """Addresses of potentials at the host: 32 for each element, feature-major."""
    _, rows, columns = shape
    each = POTENTIAL_BITS
    return Place(0, rows * columns * each, columns * each, each, each)


def gather(part: Part, windows: Windows, firing: Firing, targets: list[Target], max_step: int) -> list[Neurons]:
    """Neurons by vector and parameters, each set in the order that folds into the fewest rows.

    Parameters
    ----------
    targets : list of Target
        Every row of the layer is one's.
    """
    rows = slice(part.first, part.last + 1)
    inputs = firing.kept.shape[3]
    address, group = (each[:, rows] for each in _sent(targets, firing.kept.shape))
    element = np.arange(firing.kept.size).reshape(firing.kept.shape)[:, rows]
    kept = firing.kept[:, rows]
    threshold, leak, table = (each[:, rows] for each in (firing.threshold, firing.leak, firing.table))
    offset = windows.first[:, None, None, :] + windows.offset[None, :, :, None]
    offset = np.broadcast_to(offset, kept.shape)
    number = np.broadcast_to(windows.number, (windows.number.shape[0], inputs))
    found = []
    order = np.argsort(number.reshape(-1), kind="stable")
    ends = np.searchsorted(number.reshape(-1)[order], np.arange(len(windows.vectors) + 1))
    for vector, stored in enumerate(windows.vectors):
        mine = order[ends[vector] : ends[vector + 1]]
        channel, level = mine // inputs, mine % inputs
        there = kept[channel, :, :, level]
        if not there.any():
            continue
        fields = (threshold, leak, table, group, offset, address, element)
        values: list[Int] = [each[channel, :, :, level][there] for each in fields]
        for same in _alike(*values[:4]):
            limit, add, tables, to = (int(each[same[0]]) for each in values[:4])
            reads, sends, which = (each[same] for each in values[4:])
            parameters = Parameters(limit, add, stored.compressed)
            found.append(_better(Neurons(vector, parameters, reads, sends, which, max_step, tables, to)))
    return found


def _sent(targets: list[Target], shape: tuple[int, ...]) -> tuple[Int, Int]:
    """Address and group that each neuron of a layer sends to, both int64 (channels, rows, columns, inputs)."""
    address, group = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for target in targets:
        rows = slice(target.first, target.last + 1)
        address[:, rows] = target.place.addresses((shape[0], shape[1], shape[2]), shape[3])[:, rows]
        group[:, rows] = target.group
    return address, group


def _alike(threshold: Int, leak: Int, table: Int, group: Int) -> list[Int]:
    """Numbers of the neurons with the same parameters and destination, ascending, for each set of them."""
    key = (threshold + (1 << 31)) << 31 | (leak + (1 << 19)) << 11 | (table + 1) << 7 | (group + 1)
    if key.min() == key.max():
        return [np.arange(len(key))]
    order = np.argsort(key, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(key[order])) + 1)


def _better(neurons: Neurons) -> Neurons:
    """In the order of the addresses, where that takes fewer rows."""
    if (np.diff(neurons.address) > 0).all():
        return neurons
    order = np.argsort(neurons.address, kind="stable")
    sorted_ = Neurons(
        neurons.vector,
        neurons.parameters,
        neurons.offset[order],
        neurons.address[order],
        neurons.element[order],
        neurons.max_step,
        neurons.table,
        neurons.group,
    )
    return sorted_ if sorted_.rows < neurons.rows else neurons
