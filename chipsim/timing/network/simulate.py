"""Send packets through the mesh, with contention (`simulate`) or without (`ideal`).

Packets are single flits. Those of a terminal are sent in order, at most one a cycle, none before its ``ready``, each only
with a credit of the FIFO it enters: the local one of its router, for a port of the host the west one. With the constants of
the mesh, t_r router, t_l link and t_c credit cycles and B slots in each of the five FIFOs of a router:

- Decisions of cycle t use the state at its start.
- A flit sent in t enters its FIFO at t + 1. One that enters at a may be granted from a + t_r - 1 on, once at the head; the
  next may be granted a cycle later.
- Each output grants one flit a cycle: the local one and the host's always, one to a neighbour if it has a credit. Among the
  inputs that ask, the first in the order east, west, north, south, local is served, beginning behind the one served last.
- Granted in g, a flit enters the next FIFO at g + 1 + t_l, or is ejected at g + 2: one cycle to cross
  the switch, one to leave.
- A slot is taken at the grant upstream, freed at the flit's own grant g, and may be granted again upstream in g + t_c.

So a packet alone takes 1 + (H + 1) t_r + H t_l + 1 cycles from source to ejection over H links, 3 H + 4 with the usual
constants, and one flow gets min(1, B / (t_r + t_l + t_c)) flits a cycle (from its source to the first router there is no
link: B / (t_r + t_c)). Along x first, then along y, nothing can wait in a circle; a table of routes can make it so, which
is noticed and refused.

A packet of a tree (`mesh.Trees`) forks: at the head of a FIFO it asks for all outputs by which its branches leave, each
grants it when it does, in the same cycle or not, and its slot is freed in the cycle of the last of these grants.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chipsim.chip.routes import EAST, NORTH, SOUTH, WEST
from chipsim.timing.network import layout
from chipsim.timing.network.checks import check_mesh, check_traffic, slots, wrong
from chipsim.timing.network.mesh import Flow, Int, Int32, Mesh, Traffic


def simulate(mesh: Mesh, traffic: Traffic) -> Flow:
    """Send the packets through the routers, cycle by cycle.

    Parameters
    ----------
    mesh : Mesh
        The network; empty at the start.
    traffic : Traffic
        The packets.

    Returns
    -------
    Flow
        When each was sent and ejected; what each output and FIFO did.

    Raises
    ------
    InputError
        The mesh or the traffic is impossible, or the routes block each other or lead nowhere.
    """
    check_traffic(mesh, traffic)
    return Workspace(mesh, len(traffic.ready)).simulate(traffic)


def ideal(mesh: Mesh, traffic: Traffic) -> Flow:
    """Send each packet as if it were alone: without contention and back-pressure.

    A source still sends one packet a cycle. The loads are those of `simulate`; stalls, waits and queues are 0.
    """
    check_traffic(mesh, traffic)
    return Workspace(mesh, 1).ideal(traffic)


class Workspace:
    """The kernel's memory for one mesh, for any number of runs that each start from an empty network.

    A caller with many short runs, ticks of a chip for example, makes one for each of its threads and calls `run` with
    arrays of its own; nothing is allocated and the interpreter's lock is free meanwhile. ``load``, ``blocked``,
    ``queue_peak``, ``queue_cycles`` and ``stalls`` are those of the last run.

    Parameters
    ----------
    mesh : Mesh
        The network.
    packets : int, optional
        No run will have more: saves memory where buffers are deep.
    """

    def __init__(self, mesh: Mesh, packets: int | None = None) -> None:
        check_mesh(mesh)
        buffer, routes = slots(mesh, packets), mesh.routes
        self.mesh = mesh
        self._constants = (
            mesh.width, buffer, mesh.router_cycles, mesh.link_cycles, mesh.credit_cycles,
            np.zeros((0, 0), np.uint8) if routes is None else np.ascontiguousarray(routes),
        )  # fmt: skip
        self._lane, size = layout.words(buffer), layout.router_words(buffer)
        self._ends = layout.ends(mesh)
        self._beyond = layout.beyond(mesh, buffer)
        self._routers = layout.aligned(mesh.routers * size).reshape(mesh.routers, size)
        self.stalls = np.zeros(mesh.terminals, np.int64)
        self._state = (
            self._routers.ravel(), np.zeros(layout.TURN * -(-mesh.routers // 64), np.int64),
            *(np.zeros(count, np.int64) for count in (layout.SOURCE_TURN, *4 * [mesh.terminals])), self.stalls,
        )  # fmt: skip

    def _record(self, word: int) -> Int:
        """(R, 5): a word of each FIFO's record; a view."""
        fifos = self._routers[:, layout.HEADER :].reshape(self.mesh.routers, 5, self._lane)
        return fifos[:, :, word]

    @property
    def load(self) -> Int:
        """(R, 5): as in `Flow`."""
        found, mesh = self._record(layout.LOAD), self.mesh
        found = found.reshape(mesh.height, mesh.width, 5)
        out = found.copy()  # of outputs that lead to no router
        out[:, :-1, EAST] = found[:, 1:, WEST]  # what leaves to the east comes in from the west
        out[:, 1:, WEST] = found[:, :-1, EAST]
        out[1:, :, NORTH] = found[:-1, :, SOUTH]
        out[:-1, :, SOUTH] = found[1:, :, NORTH]
        return out.reshape(mesh.routers, 5)

    @property
    def blocked(self) -> Int:
        """(R, 5): as in `Flow`; a view."""
        return self._record(layout.BLOCKED)

    @property
    def queue_peak(self) -> Int:
        """(R, 5): as in `Flow`; a view."""
        return self._record(layout.PEAK)

    @property
    def queue_cycles(self) -> Int:
        """(R, 5): as in `Flow`; a view."""
        return self._record(layout.CYCLES)

    def run(
        self, offset: Int, ready: Int, target: Int32, sent: Int, ejected: Int, until: int = 0,
        trees: Int32 | None = None, arrival: Int | None = None, log: Int | None = None,
    ) -> None:  # fmt: skip
        """Simulate, writing into ``sent`` and ``ejected``; all arrays contiguous, int64, ``target`` int32; not checked.

        With ``until`` it may stop when the first so many packets are ejected, and leave the others where they are.
        """
        from chipsim.timing.network.kernel import DEADLOCK, run

        found = run(
            offset, ready, target, sent, ejected, trees, arrival, *self._constants, *self._ends, self._lane, layout.WINNERS,
            self._beyond, *self._state, until, log,
        )  # fmt: skip
        if found == DEADLOCK:
            raise wrong("network-routes", "the routes let packets wait for each other for ever; order the turns they take")

    def simulate(self, traffic: Traffic, log: Int | None = None, watch: Callable[[Int], object] | None = None) -> Flow:
        """Simulate traffic that has been checked; the result is a copy.

        ``log``, int64 (2, flits), takes the cycles in which a flit enters a FIFO, and those after its grants.
        ``watch`` is called before the start with the array that takes the cycles of arrival, -1 until then.
        """
        packets, trees = len(traffic.ready), traffic.trees
        if self.mesh.routes is not None and trees is None:
            self.ideal(traffic)  # does each packet arrive?
        sent = np.full(packets, -1, np.int64)
        offset, ready, target = _arrays(traffic)
        if trees is None:
            ejected = np.full(packets, -1, np.int64)
            if watch is not None:
                watch(ejected)
            self.run(offset, ready, target, sent, ejected, log=log)
        else:
            begin, arriving = traffic.arrivals()
            ejected, root = np.full(len(arriving), -1, np.int64), trees.root[target].astype(np.int32)
            if watch is not None:
                watch(ejected)
            self.run(offset, ready, root, sent, ejected, trees=trees.nodes.ravel(), arrival=begin, log=log)
        return Flow(
            sent, ejected, self.load.copy(), self.stalls.copy(), self.blocked.copy(), self.queue_peak.copy(),
            self.queue_cycles.copy(), self.mesh,
        )  # fmt: skip

    def times(self, traffic: Traffic) -> tuple[Int, Int]:
        """When each packet is sent and ejected, as `simulate` says, and no counters.

        Where the mesh has one port and no table of routes, and packets one target, the host's packets, which are the last,
        have the network for themselves once the cores' are out of it; from there on they are worked off one after the
        other, many times sooner.
        """
        from chipsim.timing.network.tree import finish

        packets, cores = len(traffic.ready), int(traffic.offset[self.mesh.routers])
        plain = self.mesh.routes is None and traffic.trees is None
        if not plain or len(self.mesh.ports) != 1 or cores in (0, packets):
            flow = self.simulate(traffic)
            return flow.sent, flow.ejected
        sent, ejected = np.full(packets, -1, np.int64), np.full(packets, -1, np.int64)
        offset, ready, target = _arrays(traffic)
        self.run(offset, ready, target, sent, ejected, cores)
        clock = int(ejected[:cores].max()) - 1  # the cycle after the last grant
        finish(
            cores, clock, ready, target, sent, ejected, *self._constants[1:5], *self._ends, self._lane, self._beyond,
            self._state[0],
        )  # fmt: skip
        return sent, ejected

    def ideal(self, traffic: Traffic) -> Flow:
        """Send traffic that has been checked as if each packet were alone."""
        if traffic.trees is not None:
            from chipsim.timing.network.trees import alone

            return alone(self.mesh, traffic)
        from chipsim.timing.network.walk import walk

        mesh, packets = self.mesh, len(traffic.ready)
        sent, hops, load = np.zeros(packets, np.int64), np.zeros(packets, np.int64), np.zeros(5 * mesh.routers, np.int64)
        router_of, _, place_of = self._ends
        lost = walk(*_arrays(traffic), sent, hops, mesh.width, self._constants[-1], router_of, place_of, self._beyond, load)
        if lost >= 0:
            raise wrong(
                "network-routes", f"packet {lost} never arrives: the routes to terminal {traffic.target[lost]} lead astray"
            )
        ejected = sent + 2 + (hops + 1) * mesh.router_cycles + hops * mesh.link_cycles
        none = np.zeros((mesh.routers, 5), np.int64)
        stalls = np.zeros(mesh.terminals, np.int64)
        return Flow(sent, ejected, load.reshape(-1, 5), stalls, none, none, none, mesh)


def _arrays(traffic: Traffic) -> tuple[Int, Int, Int32]:
    return (
        np.ascontiguousarray(traffic.offset, np.int64),
        np.ascontiguousarray(traffic.ready, np.int64),
        np.ascontiguousarray(traffic.target, np.int32),
    )
