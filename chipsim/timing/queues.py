"""Reconstruct the number of flits in each queue cycle by cycle, for traces."""

from __future__ import annotations

import numpy as np

from chipsim.timing.network.layout import NEVER, TO_SIDE
from chipsim.timing.network.mesh import Flow, Int, Mesh, Traffic, Trees, within
from chipsim.timing.network.simulate import Workspace


def queued(mesh: Mesh, traffic: Traffic, flow: Flow, *, alone: bool) -> tuple[Int, Int]:
    """When flits enter a FIFO, and the cycles after their grants, each in order: in between it holds them.

    Parameters
    ----------
    flow : Flow
        What became of the traffic.
    alone : bool
        No packet met another; else the network is simulated once more.
    """
    if alone:
        enters = np.sort(_alone(mesh, traffic, flow))
        return enters, enters + mesh.router_cycles
    log = np.full((2, len(flow.sent) + int(flow.load.sum())), NEVER)  # it is never in more: one a source, one an output
    Workspace(mesh, len(flow.sent)).simulate(traffic, log)
    log.sort(axis=1)
    flits = int((log[0] < NEVER).sum())
    return log[0, :flits], log[1, :flits]


def _alone(mesh: Mesh, traffic: Traffic, flow: Flow) -> Int:
    """In a queue all the time between source and ejection, but for its links."""
    hop = mesh.router_cycles + mesh.link_cycles
    if traffic.trees is None:
        hops = (flow.ejected - flow.sent - 2 - mesh.router_cycles) // hop
        sizes = hops + 1
        links = within(sizes)
    else:
        begin, sizes = traffic.trees.root[traffic.target], np.diff(traffic.trees.root)[traffic.target]
        links = _depths(traffic.trees)[np.repeat(begin, sizes) + within(sizes)]
    return np.asarray(np.repeat(flow.sent, sizes) + 1 + links * hop)


def _depths(trees: Trees) -> Int:
    """(nodes,): links from the root."""
    found = np.zeros(len(trees.nodes), np.int64)
    front = trees.root[:-1]
    while len(front):
        behind = trees.nodes[front, TO_SIDE : TO_SIDE + 4]  # 0 where there is none: it is the first root
        front, before = behind[behind > 0].astype(np.int64), np.repeat(front, (behind > 0).sum(axis=1))
        found[front] = found[before] + 1
    return found
