"""Accumulate the work of frames over a sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chipsim.chip.routes import LOCAL, WEST
from chipsim.engine.count import sums
from chipsim.timing.core import Inputs
from chipsim.timing.network.mesh import Flow, Int, Mesh
from chipsim.timing.plan import Plan
from chipsim.timing.steps import Steps
from chipsim.timing.tick import Tick

#: what energy is spent on; a count of each, a constant of the chip's each
PARTS = ("rows", "adds", "updates", "spikes", "lookups", "hops", "io", "static")
ROWS, ADDS, UPDATES, SPIKES, LOOKUPS, HOPS, IO, STATIC = range(8)


def _zeros(*shape: int) -> Int:
    return np.zeros(shape, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Routers, links and queues, over all frames of a sample; the names of `Flow`."""

    load: Int  # (R, 5)
    blocked: Int  # (R, 5)
    queue_peak: Int  # (R, 5)
    queue_cycles: Int  # (R, 5)
    stalls: Int  # (terminals,)

    @classmethod
    def empty(cls, mesh: Mesh) -> Network:
        """Return a record with zero counts."""
        load, blocked, peak, cycles = (_zeros(mesh.routers, 5) for _ in range(4))
        return cls(load, blocked, peak, cycles, _zeros(mesh.terminals))

    def add(self, flow: Flow | Network) -> None:
        """Add a tick; whole numbers, so that the order does not matter."""
        for name in ("load", "blocked", "queue_cycles", "stalls"):
            getattr(self, name).__iadd__(getattr(flow, name))
        np.maximum(self.queue_peak, flow.queue_peak, out=self.queue_peak)

    def links(self, mesh: Mesh) -> Int:
        """(R, 4): flits through each link between two routers, by the side at which they leave."""
        return between_routers(self.load, mesh)


def between_routers(load: Int, mesh: Mesh) -> Int:
    """Return the part of a load (R, 5) that is on links between two routers, (R, 4)."""
    found = load[:, :LOCAL].copy()
    found[:: mesh.width, WEST] = 0  # to the host
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """What is added up of one tick of one frame."""

    number: int
    cores: Int  # at work
    ready: Int  # (cores,): cycle at which each had swept over its neurons
    packets: Int  # (terminals,): that each sends
    hops: Int  # (terminals,)
    latest: Int  # (terminals,): cycle from which each might send its last packet; -1 without one
    models: Int  # (6,): cycles of each nested model, the last T_tick
    entering: Int | None  # (R, 5): flits of the host's packets through each output; None where it sends none


def counts_of(plan: Plan, tick: Tick) -> Counts:
    """Count the packets and hops of each terminal."""
    offset, flow, mesh = tick.traffic.offset, tick.ideal, plan.mesh
    if tick.traffic.trees is None:  # a packet that is alone tells by its time how far it went
        way = (flow.ejected - flow.sent - 2 - mesh.router_cycles) // (mesh.router_cycles + mesh.link_cycles)
    else:
        way = tick.traffic.trees.links[tick.traffic.target]
    packets, latest = np.diff(offset), np.full(len(offset) - 1, -1, np.int64)
    latest[packets > 0] = tick.traffic.ready[offset[1:][packets > 0] - 1]
    return Counts(tick.number, tick.cores, tick.ready, packets, sums(way, offset), latest, tick.models, tick.entering)


@dataclass(frozen=True, slots=True, eq=False)
class Short:
    """What a run adds up of a frame alone on the chip."""

    inputs: Inputs  # of all steps
    steps: Steps
    ticks: tuple[Counts, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """Counts of `PARTS`, each of the frame alone on the chip: by image and, over the sample, by core.

    Static energy is counted in cycles and is no core's. Row C of ``core`` is the host: what it sends, and its hops. A core
    that is read out has its potentials in ``io``.
    """

    image: Int  # (images, 8)
    core: Int  # (C + 1, 8)
    packets: Int  # (C + 1,): the host's last; potentials are none
    sent: Int  # (C + 1,): packets and potentials
    potentials: Int  # (images,): those that reach the host
    operations: Int  # (C,): synaptic operations, relays' included
    input_cycles: Int  # (C,): T_in
    done_cycles: Int  # (C,): until a core had swept and handed out its last packet, if nothing was in its way
    hops: Int  # (images, 2): the host's, the chip's
    most_packets: Int  # (images, ticks): of the terminal that sends most
    tick_packets: Int  # (ticks,): packets and potentials
    tick_hops: Int  # (ticks,)
    entering: Int  # (R, 5): flits of the host's packets through each output
    tick_host: Int  # (ticks,): packets of the host
    port_packets: Int  # (ticks,): of the port through which most of them enter

    @classmethod
    def empty(cls, plan: Plan, images: int) -> Work:
        """Return a record with zero counts."""
        cores, ticks = plan.mapping.cores, plan.mapping.frame_ticks
        return cls(
            image=_zeros(images, 8),
            core=_zeros(cores + 1, 8),
            packets=_zeros(cores + 1),
            sent=_zeros(cores + 1),
            potentials=_zeros(images),
            operations=_zeros(cores),
            input_cycles=_zeros(cores),
            done_cycles=_zeros(cores),
            hops=_zeros(images, 2),
            most_packets=_zeros(images, ticks),
            tick_packets=_zeros(ticks),
            tick_hops=_zeros(ticks),
            entering=_zeros(plan.mesh.routers, 5),
            tick_host=_zeros(ticks),
            port_packets=_zeros(ticks),
        )

    def add(self, plan: Plan, image: int, frame: Short) -> None:
        """Add a frame."""
        m = plan.mapping
        sent, hops, done, of_tick = sent_by(plan, frame.ticks)
        fired = frame.steps.sent[:, m.encoder_neurons :].sum(axis=0, dtype=np.int64)
        spikes = sums(fired, m.neuron_offset)
        core = np.zeros_like(self.core)
        core[:-1, ROWS] = frame.inputs.events
        core[:-1, ADDS] = frame.inputs.operations * m.core_weight_bits
        core[:-1, UPDATES] = np.where(plan.tick < 0, 0, m.steps * np.diff(m.neuron_offset))  # a dead core sweeps over none
        core[:-1, SPIKES] = spikes
        core[:-1, LOOKUPS] = np.where(plan.readout, 0, sent[:-1])
        core[:-1, IO] = np.where(plan.heard, sent[:-1], 0)
        core[-1, IO] = sent[-1]
        core[:, HOPS] = hops
        self.core[:] += core
        self.packets[:-1] += core[:-1, LOOKUPS]
        self.packets[-1] += sent[-1]
        self.sent[:] += sent
        self.image[image] = core.sum(axis=0)
        self.image[image, STATIC] = sum(int(tick.models[-1]) for tick in frame.ticks)
        self.potentials[image] = core[:-1, IO].sum()
        self.hops[image] = hops[-1], hops[:-1].sum()
        self.most_packets[image] = [tick.packets.max() for tick in frame.ticks]
        self.operations[:] += frame.inputs.operations
        self.input_cycles[:] += frame.inputs.cycles
        self.done_cycles[:] += done
        self.tick_packets[:] += of_tick[:, 0]
        self.tick_hops[:] += of_tick[:, 1]
        for tick in frame.ticks:
            if tick.entering is not None:
                self.entering[:] += tick.entering
                ports = tick.packets[plan.mesh.routers :]
                self.tick_host[tick.number] += ports.sum()
                self.port_packets[tick.number] += ports.max()


def sent_by(plan: Plan, ticks: tuple[Counts, ...]) -> tuple[Int, Int, Int, Int]:
    """Count what is sent.

    Returns
    -------
    packets, hops : ndarray, (C + 1,)
        Of each core and, last, the host.
    done : ndarray, (C,)
        Cycles until a core is done with both, over all its ticks.
    of_tick : ndarray, (ticks, 2)
        Packets and hops of each tick.
    """
    of_tick = np.zeros((len(ticks), 2), np.int64)
    cores, first = plan.mapping.cores, plan.mesh.routers
    sent, hops, done = np.zeros(cores + 1, np.int64), np.zeros(cores + 1, np.int64), np.zeros(cores, np.int64)
    for tick in ticks:
        at = plan.terminal[tick.cores]
        sent[tick.cores] += tick.packets[at]
        hops[tick.cores] += tick.hops[at]
        of_tick[tick.number] = tick.packets.sum(), tick.hops.sum()
        sent[-1] += tick.packets[first:].sum()
        hops[-1] += tick.hops[first:].sum()
        done[tick.cores] += np.maximum(tick.ready, tick.latest[at] + 1)
    return sent, hops, done, of_tick
