"""Count the packets between each pair of cores, tick by tick."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from qsnnc.ir.cores import CoreGraph
from qsnnc.ir.layers import Int

F64 = npt.NDArray[np.float64]
HOST = -1
#: packets are multiples of 1 / GRAIN, so that sums of them are exact in any order
GRAIN = 256


@dataclass(frozen=True, eq=False)
class Traffic:
    """Connected pairs, one row each; either side is a core or `HOST`."""

    cores: int
    sender: Int
    receiver: Int
    tick: Int  # in which it is sent; 0: by the host
    packets: F64  # expected an image; without rates as many as entries
    host_entries: Int  # (cores,): entries of the host's target table that lead to each core

    @cached_property
    def row(self) -> Int:
        """Row of link loads that each pair adds to: 0 for packets from or to the host, then one per tick between cores."""
        between = (self.sender != HOST) & (self.receiver != HOST)
        there = np.bincount(self.tick[between], minlength=1) > 0
        number = np.append(np.cumsum(there), 0)  # of each tick; of those after the last one, which the host's rows may have
        return np.where(between, number[np.minimum(self.tick, len(there))], 0)

    @cached_property
    def rows(self) -> int:
        """Number of rows of link loads: the host's, one per tick, and their sum."""
        return int(self.row.max(initial=0)) + 2

    def hurried(self, times: float) -> Traffic:
        """Return the same traffic with the potentials weighted by a factor."""
        return replace(self, packets=self.packets * np.where(self.receiver == HOST, times, 1.0))


def in_order(core: npt.NDArray[np.integer], cores: int) -> tuple[Int, Int]:
    """Order rows by their core, those of the host first; rows of one core stay in order.

    Returns
    -------
    order : ndarray, int64, (rows,)
    start : ndarray, int64, (cores + 1,)
        Where the rows of each core begin in that order; those before are the host's.
    """
    number = core + 1
    order = np.argsort(number.astype(np.uint16) if cores < 1 << 16 else number, kind="stable")  # 16 bits: much sooner
    return order, np.cumsum(np.bincount(number, minlength=cores + 1))


def traffic_of(graph: CoreGraph, rates: F64 | None = None) -> Traffic:
    """Count target entries, each as often as its source fires, and the potentials that the host reads.

    Parameters
    ----------
    rates : ndarray, float64, (sources,), optional
        How often each source fires an image; without them every source fires once.
    """
    from qsnnc.place.axon_kernel import count_pairs  # numba, which a chip of another kind does not wait for

    owner = np.repeat(np.arange(1, graph.cores + 1, dtype=np.int32), np.diff(graph.neuron_offset))
    sender_of = np.concatenate([np.zeros(graph.encoder_neurons, np.int32), owner])
    ends = np.empty((2, len(graph.axon_source)), np.int32)  # as many pairs as axons at most, of which few are touched
    sums = np.empty((2, len(graph.axon_source)))
    each = np.zeros(0) if rates is None else np.asarray(rates, np.float64)
    found = count_pairs(sender_of, graph.axon_source, graph.axon_offset, each, np.zeros((2, graph.cores + 1)), ends, sums)
    sender = ends[0, :found].astype(np.int64) - 1
    order, _ = in_order(sender, graph.cores)
    sender, receiver = sender[order], ends[1, order].astype(np.int64)
    entries, packets = sums[0, order], sums[1, order]
    from_host = sender == HOST
    host_entries = np.bincount(receiver[from_host], entries[from_host], graph.cores).astype(np.int64)
    ticks = np.array([0, *(entry.tick for entry in graph.layers)])
    last = np.flatnonzero(graph.core_layer == len(graph.layers) - 1)
    return Traffic(
        graph.cores,
        np.concatenate([sender, last]),
        np.concatenate([receiver, np.full(len(last), HOST)]),
        np.concatenate([ticks[np.where(from_host, 0, 1 + graph.core_layer[sender])], np.full(len(last), ticks[-1])]),
        np.round(np.concatenate([packets, np.diff(graph.neuron_offset)[last]]) * GRAIN) / GRAIN,
        host_entries,
    )
