"""The host's packets in closed form, where they enter by one port and meet nobody (`Plan.one_tree`).

Packet n is sent in cycle n and arrives a packet's flight later, so neither the packets nor their times need be written down:
how many go to each terminal says which links they load, and the last ones say when the last arrives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chipsim.chip.routes import EAST, LOCAL, NORTH, SOUTH
from chipsim.compiled import compiled
from chipsim.timing.core import Fired
from chipsim.timing.network.mesh import Int, Int32, Mesh
from chipsim.timing.plan import Plan


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """The packets of one frame."""

    packets: int
    end: int  # cycle of the last arrival; 0 without packets
    counts: Int  # (routers,): packets to each core's router
    hops: int


class Ingress:
    """The one port of a plan."""

    def __init__(self, plan: Plan) -> None:
        assert plan.one_tree
        assert plan.trees is None
        mesh, first = plan.mesh, plan.mapping.encoder_neurons
        self.plan, self.mesh = plan, mesh
        self.sizes = np.diff(plan.offset[: first + 1])
        ((self.x, self.y),) = mesh.ports
        y, x = np.divmod(np.arange(mesh.routers), mesh.width)
        self.far = np.abs(x - self.x) + np.abs(y - self.y)  # (routers,): links from the port
        self.each = mesh.router_cycles + mesh.link_cycles

    def enter(self, fired: Fired) -> Entry:
        """Return what becomes of the packets of the sources that fired, uint8 (E+N,)."""
        counts = np.zeros(self.mesh.routers, np.int64)
        flight = 2 + self.mesh.router_cycles + self.each * self.far
        packets, end = _enter(len(self.sizes), fired, self.plan.offset, self.plan.target, flight, counts)
        return Entry(int(packets), int(end), counts, int(counts @ self.far))

    def load(self, counts: Int) -> Int:
        """(R, 5): flits through each output."""
        return entering(self.mesh, counts)

    def first(self, fired: Fired, packets: int) -> int:
        """How many sources, the first ones, send at least so many packets, or all there are."""
        sent = np.cumsum(self.sizes * fired[: len(self.sizes)])
        return min(int(np.searchsorted(sent, packets)) + 1, len(sent))

    def last(self, fired: Fired, shift: int, packets: int) -> int:
        """Cycle of the last arrival, with packet n granted its way out of the port's FIFO in n + shift.

        A packet's flight is at most one across the whole mesh, so one of the last packets is the last to arrive; 0 if there
        are not so many from the one numbered ``packets`` on.
        """
        mesh = self.mesh
        total, most = int(self.sizes @ fired[: len(self.sizes)]), self.each * (mesh.width + mesh.height) + 2
        if total - most < packets:
            return 0
        flight = shift + 2 + self.each * self.far
        return int(_last(len(self.sizes), fired, self.plan.offset, self.plan.target, flight, total, most))


def entering(mesh: Mesh, counts: Int) -> Int:
    """Return the loads (R, 5) of packets from the one port to each router, (R,), along x first, then along y."""
    ((x, y),) = mesh.ports
    assert x == 0
    goals = counts.reshape(mesh.height, mesh.width)
    load = np.zeros((mesh.height, mesh.width, 5), np.int64)
    load[y, :-1, EAST] = np.cumsum(goals.sum(axis=0)[::-1])[::-1][1:]
    load[y:-1, :, SOUTH] = np.cumsum(goals[::-1], axis=0)[::-1][y + 1 :]
    load[1 : y + 1, :, NORTH] = np.cumsum(goals, axis=0)[:y]
    load[:, :, LOCAL] = goals
    return load.reshape(-1, 5)


@compiled
def _enter(
    encoder: int, fired: Fired, entries: Int, targets: Int32, flight: Int, counts: Int
) -> tuple[int, int]:  # pragma: no cover
    """Packets and the last arrival."""
    packet, end = 0, 0
    for source in range(encoder):
        if fired[source]:
            for entry in range(entries[source], entries[source + 1]):
                counts[targets[entry]] += 1
                end = max(end, packet + flight[targets[entry]])
                packet += 1
    return packet, end


@compiled
def _last(
    encoder: int, fired: Fired, entries: Int, targets: Int32, flight: Int, total: int, most: int
) -> int:  # pragma: no cover
    """The last arrival of the last packets."""
    packet, end = total, 0
    for source in range(encoder - 1, -1, -1):
        if fired[source]:
            for entry in range(entries[source + 1] - 1, entries[source] - 1, -1):
                packet -= 1
                end = max(end, packet + flight[targets[entry]])
            if total - packet >= most:
                break
    return end
