"""Tabulate what the cycles of a mapping depend on, once for all images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from chipsim.chip.ports import assign_ports, nearest_port
from chipsim.chip.routes import routes
from chipsim.chip.spec import Timing
from chipsim.engine.count import sops_per_spike
from chipsim.faults import THROUGH, Damage, unharmed
from chipsim.mapping import Mapping
from chipsim.timing.network.checks import check_mesh, slots
from chipsim.timing.network.mesh import Int, Int32, Mesh, Trees, mesh_of


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A mapping on its chip, ready to be timed.

    The packets of a source are ``target[offset[s] : offset[s + 1]]``: the entries of its target table, in their order; for a
    neuron that is read out its potential, one packet to a port of the host. With ``trees`` they are one, from the host one
    through each port that has a part in it, and the target is the number of its tree. On a faulty chip (docs/faults.md) the
    target of what a dead link stops is the router in front of that link: it goes so far and leaves the network there.
    """

    mapping: Mapping
    mesh: Mesh
    timing: Timing
    tick: Int32  # (C,): tick in which each core does the first step of a frame; negative: never, it is dead
    source_tick: Int32  # (E+N,): the same of each source's core, 0 for the host
    terminal: Int32  # (C,): router of each core
    words: Int  # (C,): words of its bank of axon bits; none of a dead core's are read
    update_cycles: Int  # (C,): of one neuron in the sweep
    synapses: Int  # (A,): SOPs of one spike on each axon
    offset: Int  # (E+N+1,)
    target: Int32  # terminal of each packet; with trees its tree
    trees: Trees | None  # None: a packet goes to one terminal
    port: Int32  # (packets of the host,): port by which each enters
    flits: int  # no FIFO ever holds more: each is on its way to something else
    potential: npt.NDArray[np.bool_]  # (E+N,): neurons whose potentials are read out
    leaves: npt.NDArray[np.bool_]  # (E+N,): neurons that send to the host, potentials or spikes that it counts
    readout: npt.NDArray[np.bool_]  # (C,): cores that hold them
    heard: npt.NDArray[np.bool_]  # (C,): those of them whose potentials reach the host
    order: Int32  # cores that work, by their terminal
    sync_cycles: int  # of the barrier after each tick

    @property
    def chip(self) -> ChipSpec:
        """The mapping's chip."""
        return self.mapping.chip

    def at_work(self, tick: int) -> Int:
        """Cores that do a step of a frame in a tick of it."""
        return np.flatnonzero((self.tick >= 0) & (self.tick <= tick) & (tick < self.tick + self.mapping.steps))

    @property
    def one_tree(self) -> bool:
        """Whether the packets of an ingress tick can never contend, so that it need not be simulated.

        From one port along x first, then along y, each router is reached by one way alone: nothing is arbitrated. The port
        sends at most a packet a cycle, so packets stay a cycle apart on all of their common way, and each is at the head of
        its FIFO when it is ready to go. A slot is taken again no sooner than router + link + credit cycles after it was
        taken if no FIFO is ever held up by the one behind; with as many slots none is. No more so where packets fork: an
        output is asked by one input alone, so all branches of a flit are granted in the first cycle in which it asks.
        """
        m = self.mesh
        return len(m.ports) == 1 and m.routes is None and m.buffer >= m.router_cycles + m.link_cycles + m.credit_cycles


def plan(mapping: Mapping | Damage, mesh: Mesh | None = None) -> Plan:
    """Return the tables that the cycles of a mapping depend on.

    Parameters
    ----------
    mapping : Mapping or Damage
        The latter: on a faulty chip.
    mesh : Mesh, optional
        The chip's by default. Not one with a table of routes where dead links stop packets: a packet that is to go as far
        as some router of its way may take another way there.

    Raises
    ------
    InputError
        The chip says nothing of its timing, has a port inside the mesh, or constants that no network can have,
        or its FIFOs take too much memory.
    """
    damage = mapping if isinstance(mapping, Damage) else unharmed(mapping)
    m, chip = damage.mapping, damage.mapping.chip
    mesh = mesh_of(chip, routes(chip)) if mesh is None else mesh
    check_mesh(mesh)
    timing = chip.timing
    assert timing is not None, "mesh_of has seen to it"
    cuts = damage.cut != THROUGH
    assert mesh.routes is None or not ((damage.stopped != THROUGH).any() or cuts.any()), "`planned` has seen to it"
    readout = m.core_layer == m.readout
    terminal = (m.core_position[:, 1] * chip.grid[0] + m.core_position[:, 0]).astype(np.int32)
    leaves = np.concatenate([np.zeros(m.encoder_neurons, bool), np.repeat(readout, np.diff(m.neuron_offset))])
    counts, target = _targets(damage, mesh, terminal, leaves)
    ticks = np.array([layer.tick for layer in m.layers], np.int32)[m.core_layer]
    slots(mesh, len(target))  # what takes too much memory is refused here, before anything runs
    order = np.argsort(terminal).astype(np.int32)
    offset = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    hosted = _core_of_axon(m)[m.target_axon][: m.target_offset[m.encoder_neurons]]
    port = assign_ports(chip, m.core_position, np.bincount(hosted, minlength=m.cores))[hosted]
    flits, trees = len(target), None
    if timing.multicast:
        senders = terminal[np.repeat(np.arange(m.cores), np.diff(m.neuron_offset))]
        root = np.concatenate([mesh.router_of(mesh.routers + port), np.repeat(senders, counts[m.encoder_neurons :])])
        offset, target, port, trees = _forked(m, mesh, offset, target, port, root)
    return Plan(
        **_of_chip(m, mesh, damage.dead),
        tick=np.where(damage.dead, -1, ticks).astype(np.int32),
        source_tick=np.concatenate([np.zeros(m.encoder_neurons, np.int32), np.repeat(ticks, np.diff(m.neuron_offset))]),
        terminal=terminal,
        synapses=sops_per_spike(m),
        offset=offset,
        target=target,
        trees=trees,
        port=port,
        flits=flits,
        potential=leaves if m.readout_of != "count" else np.zeros_like(leaves),
        leaves=leaves,
        readout=readout,
        heard=readout & ~damage.dead & ~cuts,
        order=order[~damage.dead[order]],
    )


def replanned(known: Plan, chip: ChipSpec) -> Plan:
    """Return what `plan` returns for the mapping on a chip that differs in ``timing``, ``energy`` and ``clock_mhz`` alone.

    Packets and their trees stay, so both chips have trees or neither.

    Raises
    ------
    InputError
        As `plan`.
    """
    mesh = mesh_of(chip, routes(chip))
    assert chip.timing is not None, "mesh_of has seen to it"
    assert chip.timing.multicast == known.timing.multicast, "the same packets"
    check_mesh(mesh)
    slots(mesh, known.flits)
    return replace(known, **_of_chip(replace(known.mapping, chip=chip), mesh, known.tick < 0))


def _of_chip(m: Mapping, mesh: Mesh, dead: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return the fields of a plan that a chip's timing changes."""
    chip, fold = m.chip, m.core_fold.astype(np.int64)
    timing = chip.timing
    assert timing is not None, "mesh_of has seen to it"
    return {
        "mapping": m,
        "mesh": mesh,
        "timing": timing,
        "words": np.where(dead, 0, -(-fold * chip.axons // timing.word_bits)),
        "update_cycles": -(-fold * m.core_weight_bits // timing.columns_per_cycle),
        "sync_cycles": timing.sync_cycles_per_hop * (chip.grid[0] + chip.grid[1] - 2),
    }


def _core_of_axon(m: Mapping) -> Int:
    return np.repeat(np.arange(m.cores), np.diff(m.axon_offset))


def _targets(damage: Damage, mesh: Mesh, terminal: Int32, leaves: npt.NDArray[np.bool_]) -> tuple[Int, Int32]:
    """Return how many packets each source sends, (E+N,), and the terminal at which each leaves the network."""
    m = damage.mapping
    counts = np.diff(m.target_offset)
    counts[leaves] = 1
    leaving = np.repeat(leaves, counts)
    target = np.empty(len(leaving), np.int32)
    arrive = np.where(damage.stopped != THROUGH, damage.stopped, terminal[_core_of_axon(m)])
    target[~leaving] = arrive[m.target_axon]
    owner = np.repeat(np.arange(m.cores), np.diff(m.neuron_offset))
    port = np.where(damage.cut != THROUGH, damage.cut, mesh.routers + nearest_port(m.chip, m.core_position))
    target[leaving] = port[owner[leaves[m.encoder_neurons :]]]
    return counts, target


def _forked(m: Mapping, mesh: Mesh, offset: Int, target: Int32, port: Int32, root: Int) -> tuple[Int, Int32, Int32, Trees]:
    """Make one packet of the entries of a source, from the host one through each port; (E+N+1,) where they begin.

    Parameters
    ----------
    offset, target, port
        The entries of each source, as in `Plan` without trees.
    root : ndarray, int64, (entries,)
        Router at which each enters.
    """
    from chipsim.timing.network.trees import plant

    sources, ports = len(offset) - 1, max(1, len(mesh.ports))
    packet = np.repeat(np.arange(sources), np.diff(offset)) * ports
    packet[: len(port)] += port
    packets, number, trees = plant(mesh, packet, root, target.astype(np.int64))
    source, by = np.divmod(packets, ports)
    begin = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=sources))]).astype(np.int64)
    hosted = by[: begin[m.encoder_neurons]].astype(np.int32)
    return begin, number.astype(np.int32), hosted, trees
