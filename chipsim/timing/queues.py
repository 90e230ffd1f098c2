"""Flits in the queues of the network, cycle by cycle: what a trace shows, and what no simulation of many images keeps.

Where the network was simulated it is gone through once more, plainly, from the cycles in which the packets were sent: the
rules are those of `chipsim.timing.network.simulate`, and the packets come out in the same cycles.
"""

from __future__ import annotations

import numpy as np

from chipsim.chip.routes import LOCAL, WEST
from chipsim.compiled import compiled
from chipsim.timing.network.mesh import Flow, Int, Mesh, Traffic


def queued(mesh: Mesh, traffic: Traffic, flow: Flow, *, alone: bool) -> tuple[Int, Int]:
    """When flits enter a FIFO, and the cycles after their grants, each in order: in between it holds them.

    Parameters
    ----------
    flow : Flow
        What became of the traffic.
    alone : bool
        No packet met another.
    """
    grants = int(flow.load.sum())
    enters, leaves = np.zeros(grants, np.int64), np.zeros(grants, np.int64)
    if alone:
        enters = _alone(mesh, flow)
        leaves = enters + mesh.router_cycles
    elif grants:
        side = np.where(np.arange(mesh.terminals) < mesh.routers, LOCAL, WEST)
        source = np.repeat(np.arange(mesh.terminals), np.diff(traffic.offset))
        routes = np.zeros((0, 0), np.uint8) if mesh.routes is None else np.ascontiguousarray(mesh.routes)
        ejected, buffer = np.zeros(len(source), np.int64), min(mesh.buffer, len(source))
        _replay(
            np.argsort(flow.sent, kind="stable"), flow.sent, (5 * mesh.router_of(np.arange(mesh.terminals)) + side)[source],
            mesh.router_of(traffic.target), side[traffic.target], mesh.width, mesh.routers, buffer, mesh.router_cycles,
            mesh.link_cycles, mesh.credit_cycles, routes, np.full((5 * mesh.routers, buffer, 2), -1, np.int64), enters,
            leaves, ejected,
        )  # fmt: skip
        assert (ejected == flow.ejected).all(), "the network does what simulate says"
    return np.sort(enters), np.sort(leaves)


def _alone(mesh: Mesh, flow: Flow) -> Int:
    """In a queue all the time between source and ejection, but for its links."""
    hop = mesh.router_cycles + mesh.link_cycles
    hops = (flow.ejected - flow.sent - 2 - mesh.router_cycles) // hop
    most = int(hops.max(initial=-1))
    return np.concatenate([flow.sent[hops >= number] + 1 + number * hop for number in range(most + 1)] or [hops])


@compiled
def _replay(  # type: ignore[no-untyped-def]  # pragma: no cover
    order, sent, fifo, goal, exits, width, routers, buffer, router_cycles, link_cycles, credit_cycles, routes, ring, enters,
    leaves, ejected,
):  # fmt: skip
    """Note when a flit enters a FIFO and the cycle after its grant.

    ``ring`` has a line for each FIFO 5 * router + side and a pair for each of its slots: the packet, and the cycle from
    which it may be granted or, of an empty slot, from which it may be filled.
    """
    first, count = np.zeros(5 * routers, np.int64), np.zeros(5 * routers, np.int64)
    held, served = np.zeros(routers, np.int64), np.full(5 * routers, 4, np.int64)
    listed, busy = np.zeros(routers, np.bool_), np.zeros(routers, np.int64)  # those that hold any
    wants = np.zeros(5, np.int64)
    never = np.int64(1) << 62
    waiting, entered, left, many, t = 0, 0, 0, 0, np.int64(0)
    while waiting < len(order) or many:
        while waiting < len(order) and sent[order[waiting]] == t:
            packet = order[waiting]
            f = fifo[packet]
            at = (first[f] + count[f]) % buffer
            ring[f, at, 0], ring[f, at, 1] = packet, t + router_cycles
            count[f] += 1
            held[f // 5] += 1
            if not listed[f // 5]:
                listed[f // 5], busy[many] = True, f // 5
                many += 1
            enters[entered] = t + 1
            entered += 1
            waiting += 1
        next_cycle = sent[order[waiting]] if waiting < len(order) else never
        for number in range(many):
            r = busy[number]
            for side in range(5):  # the state at the start of the cycle
                f = 5 * r + side
                wants[side] = -1
                if not count[f]:
                    continue
                if ring[f, first[f], 1] > t:
                    next_cycle = min(next_cycle, ring[f, first[f], 1])
                    continue
                packet = ring[f, first[f], 0]
                to = goal[packet]
                if to == r:
                    wants[side] = exits[packet]
                elif routes.shape[0]:
                    wants[side] = routes[r, to]
                elif to % width != r % width:
                    wants[side] = 0 if to % width > r % width else 1
                else:
                    wants[side] = 3 if to > r else 2
            for out in range(5):
                who = -1
                for turn in range(1, 6):
                    side = (served[5 * r + out] + turn) % 5
                    if wants[side] == out:
                        who = side
                        break
                if who < 0:
                    continue
                f = 5 * r + who
                packet = ring[f, first[f], 0]
                if goal[packet] == r:
                    ejected[packet] = t + 2
                else:  # a flit that leaves to the east comes in from the west
                    there = r + (1 if out == 0 else -1 if out == 1 else -width if out == 2 else width)
                    behind = 5 * there + (out ^ 1)
                    at = (first[behind] + count[behind]) % buffer
                    if count[behind] == buffer:  # until a grant there
                        continue
                    if ring[behind, at, 1] > t:
                        next_cycle = min(next_cycle, ring[behind, at, 1])
                        continue
                    ring[behind, at, 0], ring[behind, at, 1] = packet, t + link_cycles + router_cycles
                    count[behind] += 1
                    held[there] += 1
                    if not listed[there]:
                        listed[there], busy[many] = True, there
                        many += 1
                    enters[entered] = t + 1 + link_cycles
                    entered += 1
                served[5 * r + out] = who
                ring[f, first[f], 1] = t + credit_cycles
                first[f] = (first[f] + 1) % buffer
                count[f] -= 1
                held[r] -= 1
                leaves[left] = t + 1
                left += 1
                next_cycle = t + 1
        kept = 0
        for number in range(many):
            r = busy[number]
            listed[r] = held[r] > 0
            if listed[r]:
                busy[kept] = r
                kept += 1
        many = kept
        t = max(t + 1, next_cycle) if waiting < len(order) or many else t
