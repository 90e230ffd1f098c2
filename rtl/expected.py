"""What chipsim says that a chip does, in the rows of the SystemVerilog's trace: every packet, neuron and tick."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.mapping import Mapping
from chipsim.timing.core import emit, inputs
from chipsim.timing.network.mesh import Flow, Int, Traffic
from chipsim.timing.plan import plan
from chipsim.timing.tick import Bench

Fired = npt.NDArray[np.uint8]
#: what a row of `Ticks.sent` and `Ticks.ejected` is about
SPIKE, POTENTIAL = 0, 1


@dataclass(frozen=True, slots=True, eq=False)
class Ticks:
    """All that happens in some ticks; int64, a row each, cycles from the start of its tick.

    A packet is (SPIKE, axon, delay) or (POTENTIAL, neuron, potential), axons and neurons numbered over all cores. Terminals
    are routers, and R for the host.
    """

    sent: Int  # (packets, 6): tick, terminal, cycle, packet; in the order of sending
    ejected: Int  # (packets, 6): tick, terminal, cycle, packet; sorted
    updates: Int  # (updates, 5): tick, neuron, cycle, potential, spike; sorted
    lengths: Int  # (ticks,)


def alone(mapping: Mapping, fired: Fired) -> Ticks:
    """Return the ticks of frames that are alone on the chip, one after the other.

    Parameters
    ----------
    fired : ndarray, uint8, (frames, E+N)
        What each source sends in its tick.
    """
    return _join(_alone(_Tables(mapping), fired))


def stream(mapping: Mapping, encoder: Fired) -> Ticks:
    """Return the ticks of a stream: frame n enters in tick n, every core works in every tick, until the last frame is out.

    Parameters
    ----------
    encoder : ndarray, uint8, (frames, E)
    """
    return _join(_stream(_Tables(mapping), encoder))


class _Tables:
    """A mapping with its plan and crossbars."""

    def __init__(self, mapping: Mapping) -> None:
        self.mapping, self.plan = mapping, plan(mapping)
        self.crossbars = [mapping.crossbar(int(kind)).astype(np.int64) for kind in mapping.core_crossbar]
        self.core_of = {int(router): core for core, router in enumerate(self.plan.terminal)}

    def potentials(self, core: int, bits: Fired) -> Int:
        """(neurons,): of a core, given the bits of all axons."""
        mine = slice(*self.mapping.axon_offset[core : core + 2].tolist())
        return np.asarray(bits[mine].astype(np.int64) @ self.crossbars[core])

    def packets(self, terminal: int, fired: Fired, potential: Int) -> Int:
        """(packets, 3): what a terminal sends, in order, given what its sources send and the chip's potentials."""
        m = self.mapping
        if terminal == self.plan.mesh.routers:
            first, last = 0, m.encoder_neurons
        else:
            first, last = (m.encoder_neurons + m.neuron_offset[self.core_of[terminal] :][:2]).tolist()
            if self.plan.readout[self.core_of[terminal]]:
                neuron = np.arange(first, last) - m.encoder_neurons
                return np.stack([np.full(len(neuron), POTENTIAL), neuron, potential[neuron]], axis=1)
        sources = first + np.flatnonzero(fired[first:last])
        begin, end = m.target_offset[sources], m.target_offset[sources + 1]
        entries = np.concatenate([np.arange(0), *(np.arange(b, e) for b, e in zip(begin, end, strict=True))]).astype(
            np.int64
        )
        return np.stack([np.full(len(entries), SPIKE), m.target_axon[entries], m.target_delay[entries]], axis=1)


def _alone(tables: _Tables, fired: Fired) -> Iterator[Ticks]:
    m, bench = tables.mapping, Bench(tables.plan)
    number = 0
    for sent in fired:
        frame, bits = bench.frame(sent), sent[m.axon_source]
        for tick in frame.ticks:
            yield _tick(tables, number, tick.cores, sent, bits, frame.inputs.cycles, tick.traffic, tick.flow, tick.cycles)
            number += 1


def _stream(tables: _Tables, encoder: Fired) -> Iterator[Ticks]:
    m, p, bench = tables.mapping, tables.plan, Bench(tables.plan)
    delay = np.empty(len(m.axon_source), np.int64)
    delay[m.target_axon] = m.target_delay
    sources = m.encoder_neurons + m.neurons
    history = np.zeros((m.chip.max_delay + 1, sources), np.uint8)  # by tick, the last ones
    cores = np.arange(m.cores)
    for number in range(len(encoder) + m.ticks - 1):
        bits = history[(number - delay) % len(history), m.axon_source]
        fired = np.zeros(sources, np.uint8)
        fired[: m.encoder_neurons] = encoder[number] if number < len(encoder) else 0
        for core in cores[~p.readout]:
            mine = slice(*m.neuron_offset[core : core + 2].tolist())
            fired[m.encoder_neurons :][mine] = tables.potentials(core, bits) >= m.neuron_threshold[mine]
        history[number % len(history)] = fired
        cycles = inputs(p, fired[None], bits[None])[0].cycles
        traffic = emit(p, cycles, fired, None)
        flow = bench.network.simulate(traffic)
        done = p.timing.start_cycles + cycles + np.diff(m.neuron_offset) * p.update_cycles
        length = max(int(done.max()), flow.end) + p.sync_cycles
        yield _tick(tables, number, cores, fired, bits, cycles, traffic, flow, length)


def _tick(
    tables: _Tables,
    number: int,
    cores: Int,
    fired: Fired,
    bits: Fired,
    cycles: Int,
    traffic: Traffic,
    flow: Flow,
    length: int,
) -> Ticks:
    m, p = tables.mapping, tables.plan
    potential = np.zeros(m.neurons, np.int64)
    updates = []
    for core in cores.tolist():
        neuron = np.arange(*m.neuron_offset[core : core + 2].tolist())
        potential[neuron] = tables.potentials(core, bits)
        # ready is the cycle after the update
        at = p.timing.start_cycles + cycles[core] + np.arange(1, len(neuron) + 1) * p.update_cycles[core] - 1
        spike = np.zeros(len(neuron)) if p.readout[core] else fired[m.encoder_neurons + neuron]
        updates.append(np.stack([np.full(len(neuron), number), neuron, at, potential[neuron], spike], axis=1))
    sizes = np.diff(traffic.offset)
    packets = [tables.packets(int(terminal), fired, potential) for terminal in np.flatnonzero(sizes)]
    terminal = np.repeat(np.arange(len(sizes)), sizes)
    what = np.concatenate([np.zeros((0, 3)), *packets]).astype(np.int64)
    rows = np.stack([np.full(len(terminal), number), terminal, flow.sent], axis=1)
    out = np.stack([np.full(len(terminal), number), traffic.target, flow.ejected], axis=1)
    return Ticks(
        np.concatenate([rows, what], axis=1),
        np.concatenate([out, what], axis=1),
        np.concatenate([np.zeros((0, 5)), *updates]).astype(np.int64),
        np.array([length]),
    )


def _join(ticks: Iterator[Ticks]) -> Ticks:
    parts = list(ticks)
    sent, ejected, updates, lengths = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("sent", "ejected", "updates", "lengths")
    )
    return Ticks(sent, ordered(ejected), ordered(updates), lengths)


def ordered(rows: Int) -> Int:
    """Sort rows by their columns, the first first."""
    return rows[np.lexsort(rows.T[::-1])]
