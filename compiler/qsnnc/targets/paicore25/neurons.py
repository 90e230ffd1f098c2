"""The neurons of a part, gathered by weight vector and parameters: what a record can stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsnnc.ir.layers import Int
from qsnnc.targets.paicore25.allocation import Neurons, Parameters
from qsnnc.targets.paicore25.layout import Part, Place
from qsnnc.targets.paicore25.vectors import Windows

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


def readout_place(shape: tuple[int, int, int]) -> Place:
    """Addresses of potentials at the host: 32 for each element, feature-major."""
    _, rows, columns = shape
    each = POTENTIAL_BITS
    return Place(0, rows * columns * each, columns * each, each, each)


def gather(part: Part, windows: Windows, firing: Firing, target: Place, max_step: int) -> list[Neurons]:
    """Neurons by vector and parameters, each set in the order that folds into the fewest rows.

    Parameters
    ----------
    target : Place
        Of the layer in the map of its readers, or of its potentials at the host.
    """
    rows = slice(part.first, part.last + 1)
    inputs = firing.kept.shape[3]
    address = target.addresses(part.layer.shape, inputs)[:, rows]
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
        fields = (threshold, leak, table, offset, address, element)
        values: list[Int] = [each[channel, :, :, level][there] for each in fields]
        for same in _alike(values[0], values[1], values[2]):
            first = same[0]
            parameters = Parameters(int(values[0][first]), int(values[1][first]), stored.compressed)
            reads, sends, which = (each[same] for each in values[3:])
            found.append(_better(Neurons(vector, parameters, reads, sends, which, max_step, int(values[2][first]))))
    return found


def _alike(threshold: Int, leak: Int, table: Int) -> list[Int]:
    """Numbers of the neurons with the same parameters, ascending, for each set of them."""
    key = (threshold + (1 << 31)) << 29 | (leak + (1 << 19)) << 9 | (table + 1)
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
    )
    return sorted_ if sorted_.rows < neurons.rows else neurons
