"""Time one tick of a core, in machine code: read axon bits, sweep the neurons, send packets.

A core begins a tick with ``start_cycles``, reads the rows of the axons that hold a bit (T_in), then sweeps over its neurons
(T_update, ``update_cycles`` each); one that fires is ready when its update is done, and the target table gives a packet
every ``lookup_cycles``. The table looks up the next packet while the last one waits for the network.

Where the chip reads rows in parallel, T_in is the sum over the words of axon bits of max(1, bits set); a bank has a word for
every ``word_bits`` rows of all folds, used or not. Where it works off one synapse after another, T_in is the number of
synaptic operations over ``synapses_per_cycle``, rounded up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.compiled import compiled
from chipsim.timing.network.mesh import Int, Int32, Traffic
from chipsim.timing.plan import Plan

Bools = npt.NDArray[np.bool_]
Bits = npt.NDArray[np.uint8]
Fired = npt.NDArray[np.uint8]  # (E+N,), contiguous: what each source sent in a step of a frame
#: steps whose axon bits are counted together
TOGETHER = 32


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """The axon bits that the cores read in a frame."""

    cycles: Int  # (C,): T_in
    events: Int  # (C,): axons that hold a bit
    operations: Int  # (C,): synaptic operations, relays' included


def inputs(plan: Plan, fired: Fired, bits: Bits | None = None) -> list[Inputs]:
    """Latch the spikes of some steps, and compute how long each core reads in each.

    Parameters
    ----------
    fired : ndarray, uint8, (steps, E+N)
    bits : ndarray, uint8, (steps, A), optional
        What each axon holds on a faulty chip, where not all that is sent arrives.
    """
    m, t = plan.mapping, plan.timing
    at = m.axon_source if bits is None else np.arange(bits.shape[1], dtype=np.int32)
    given, found = fired if bits is None else bits, []
    for first in range(0, len(given), TOGETHER):
        held = np.ascontiguousarray(given[first : first + TOGETHER].T)
        nonempty, events, operations = (np.zeros((m.cores, held.shape[1]), np.int64) for _ in range(3))
        _latch(m.axon_offset, at, held, plan.synapses, t.word_bits, nonempty, events, operations)
        cycles = plan.words[:, None] - nonempty + events
        if t.input != "row_parallel":
            cycles = -(-operations // t.synapses_per_cycle)
        found += [Inputs(*each) for each in zip(cycles.T.copy(), events.T.copy(), operations.T.copy(), strict=True)]
    return found


def emit(
    plan: Plan, cycles: Int, fired: Fired, tick: int | None, *, reads: bool = True, encoder: int | None = None
) -> Traffic:
    """Return the packets of the terminals that are active in a tick.

    Parameters
    ----------
    cycles : ndarray, int64, (C,)
        T_in of each core.
    fired : ndarray, uint8, (E+N,)
        In a stream each layer's of its own frame.
    tick : int or None
        Tick of the frame; the host sends in as many as it has steps. None: everyone is at work, each on a frame of its own.
    reads : bool
        Whether potentials leave.
    encoder : int, optional
        Only so many sources of the host send, the first ones.
    """
    m, terminals = plan.mapping, plan.mesh.terminals
    offset = np.zeros(terminals + 1, np.int64)
    host, cores = tick is None or tick < m.steps, _active(plan, tick)
    potential = plan.potential if reads else np.zeros_like(plan.potential)
    encoder = (m.encoder_neurons if encoder is None else encoder) if host else 0
    _measure(
        encoder, m.encoder_neurons, fired, potential, plan.offset, plan.port, plan.mesh.routers,
        cores, m.neuron_offset, plan.terminal, offset,
    )  # fmt: skip
    np.cumsum(offset, out=offset)
    ready, target = np.empty(offset[-1], np.int64), np.empty(offset[-1], np.int32)
    begin = plan.timing.start_cycles + cycles
    _fill(
        encoder, m.encoder_neurons, fired, potential, plan.leaves, plan.offset, plan.target, plan.port, plan.mesh.routers,
        cores, m.neuron_offset, plan.terminal, begin, plan.update_cycles, plan.timing.lookup_cycles,
        offset[:-1].copy(), ready, target,
    )  # fmt: skip
    return Traffic(offset, ready, target, plan.trees)


def _active(plan: Plan, tick: int | None) -> Int32:
    """Cores at work, by terminal."""
    if tick is None:
        return plan.order
    first = plan.tick[plan.order]
    return plan.order[(first <= tick) & (tick < first + plan.mapping.steps)]


@compiled
def _latch(
    axon_offset: Int, at: Int32, held: Bits, synapses: Int, word_bits: int,
    nonempty: Int, events: Int, operations: Int,
) -> None:  # fmt: skip  # pragma: no cover
    """Words with a bit, bits and synaptic operations of each core in each step: what sources hold is (sources, steps)."""
    steps = held.shape[1]
    word = np.zeros(steps, np.uint8)
    for core in range(len(nonempty)):
        for begin in range(axon_offset[core], axon_offset[core + 1], word_bits):
            word[:] = 0
            for axon in range(begin, min(begin + word_bits, axon_offset[core + 1])):
                source, synapses_here = at[axon], synapses[axon]
                for step in range(steps):
                    bit = held[source, step]
                    word[step] |= bit
                    events[core, step] += bit
                    operations[core, step] += synapses_here * bit
            for step in range(steps):
                nonempty[core, step] += word[step]


@compiled
def _measure(
    encoder: int, first_neuron: int, fired: Fired, potential: Bools, entries: Int, port: Int32, routers: int,
    cores: Int32, neuron_offset: Int, terminal: Int32, offset: Int,
) -> None:  # fmt: skip  # pragma: no cover
    """Packets of each terminal, at offset[terminal + 1]."""
    for source in range(encoder):
        if fired[source]:
            for entry in range(entries[source], entries[source + 1]):
                offset[routers + port[entry] + 1] += 1
    for core in cores:
        for source in range(first_neuron + neuron_offset[core], first_neuron + neuron_offset[core + 1]):
            if fired[source] or potential[source]:
                offset[terminal[core] + 1] += entries[source + 1] - entries[source]


@compiled
def _fill(
    encoder: int, first_neuron: int, fired: Fired, potential: Bools, leaves: Bools, entries: Int, targets: Int32,
    port: Int32, routers: int,
    cores: Int32, neuron_offset: Int, terminal: Int32, begin: Int, update_cycles: Int, lookup_cycles: int,
    place: Int, ready: Int, target: Int32,
) -> None:  # fmt: skip  # pragma: no cover
    """Each terminal's packets from its place on."""
    first = place.copy()
    for source in range(encoder):
        if fired[source]:
            for entry in range(entries[source], entries[source + 1]):
                sender = routers + port[entry]
                ready[place[sender]] = place[sender] - first[sender]  # one a cycle
                target[place[sender]] = targets[entry]
                place[sender] += 1
    for core in cores:
        updated, free, at = begin[core], 0, place[terminal[core]]
        for source in range(first_neuron + neuron_offset[core], first_neuron + neuron_offset[core + 1]):
            updated += update_cycles[core]
            if fired[source] or potential[source]:
                for entry in range(entries[source], entries[source + 1]):
                    free = max(updated, free)
                    ready[at] = free
                    target[at] = targets[entry]
                    free += 1 if leaves[source] else lookup_cycles  # what goes to the host is in no table
                    at += 1
