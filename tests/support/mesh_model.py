"""The network as a page of rules: objects, cycle by cycle, nothing skipped and nothing in machine code.

Rules, for buffers of B flits, router cycles r, link cycles l, credit cycles c:

1. What is decided in cycle t is decided from the state at its start.
2. A terminal sends its packets in order, one a cycle, from ``ready`` on, holding a credit; sent in t, a flit enters at t + 1.
3. A flit that entered at a may be granted from a + r - 1 on when it is at the head; one grant a cycle and input.
4. An output grants one flit a cycle: round robin over east, west, north, south, local, from behind the last winner, which
   moves only on a grant. Between routers a grant takes a credit; to a core or to the host it takes none.
5. Granted in g, a flit enters at g + 1 + l, or has left the network at g + 2.
6. Its credit is back upstream in g + c.
7. A flit to several terminals asks for every output that the way to one of them takes, each of which grants it when it does;
   through it goes a flit to those terminals. It keeps its place at the head until the last of these grants, the g of rule 6.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from chipsim.timing.network.mesh import Flow, Mesh, Traffic

STEP = {"east": (1, 0), "west": (-1, 0), "north": (0, -1), "south": (0, 1)}
OPPOSITE = {"east": "west", "west": "east", "north": "south", "south": "north"}
ORDER = ["east", "west", "north", "south", "local"]


@dataclass
class Goal:
    number: int  # of the arrival
    x: int
    y: int
    last: str  # side by which a flit leaves its last router


@dataclass
class Flit:
    goals: list[Goal]  # those to which no grant has been given here
    entered: int = -1


@dataclass
class Input:
    """A FIFO, and what its upstream neighbour knows of it."""

    credits: int
    waiting: deque[Flit] = field(default_factory=deque)
    arriving: list[tuple[int, Flit]] = field(default_factory=list)
    returning: list[int] = field(default_factory=list)
    peak: int = 0
    held: int = 0

    def begin(self, t: int) -> None:
        for when, flit in self.arriving:
            if when == t:
                flit.entered = t
                self.waiting.append(flit)
        self.arriving = [(when, flit) for when, flit in self.arriving if when > t]
        self.credits += self.returning.count(t)
        self.returning = [when for when in self.returning if when > t]
        self.peak = max(self.peak, len(self.waiting))
        self.held += len(self.waiting)

    def accept(self, when: int, flit: Flit) -> None:
        assert self.credits > 0
        self.credits -= 1
        self.arriving.append((when, flit))


class Router:
    def __init__(self, mesh: Mesh, x: int, y: int) -> None:
        self.mesh, self.x, self.y = mesh, x, y
        self.inputs = {side: Input(mesh.buffer) for side in ORDER}
        self.winner = dict.fromkeys(ORDER, "local")
        self.load = dict.fromkeys(ORDER, 0)
        self.blocked = dict.fromkeys(ORDER, 0)

    def way(self, goal: Goal) -> str:
        if (goal.x, goal.y) == (self.x, self.y):
            return goal.last
        if self.mesh.routes is not None:
            width = self.mesh.width
            return ORDER[self.mesh.routes[self.y * width + self.x, goal.y * width + goal.x]]
        if goal.x != self.x:
            return "east" if goal.x > self.x else "west"
        return "south" if goal.y > self.y else "north"

    def asking(self, output: str, t: int) -> list[str]:
        heads = {side: fifo.waiting[0] for side, fifo in self.inputs.items() if fifo.waiting}
        return [
            side
            for side, flit in heads.items()
            if t >= flit.entered + self.mesh.router_cycles - 1 and output in map(self.way, flit.goals)
        ]


def model(mesh: Mesh, traffic: Traffic, longest: int = 100_000) -> Flow:
    """Send the packets; AssertionError if they are not through after the longest time."""
    routers = {(x, y): Router(mesh, x, y) for y in range(mesh.height) for x in range(mesh.width)}
    cores = [(x, y, "local") for y in range(mesh.height) for x in range(mesh.width)]
    terminals = cores + [(x, y, "west") for x, y in mesh.ports]
    queues = [deque(range(traffic.offset[s], traffic.offset[s + 1])) for s in range(len(terminals))]
    begin, arrivals = traffic.arrivals()
    sent, ejected = [-1] * len(traffic.ready), [-1] * len(arrivals)
    stalls = [0] * len(terminals)
    t = 0
    while -1 in ejected:
        assert t < longest
        for router in routers.values():
            for fifo in router.inputs.values():
                fifo.begin(t)
        # decide everything, then do it
        sends, grants = [], []
        for s, (x, y, side) in enumerate(terminals):
            if queues[s] and traffic.ready[queues[s][0]] <= t:
                if routers[x, y].inputs[side].credits:
                    sends.append((s, routers[x, y].inputs[side]))
                else:
                    stalls[s] += 1
        for (x, y), router in routers.items():
            for output in ORDER:
                asking = router.asking(output, t)
                if not asking:
                    continue
                to = None
                if output != "local" and not (x == 0 and output == "west"):
                    dx, dy = STEP[output]
                    to = routers[x + dx, y + dy].inputs[OPPOSITE[output]]
                if to is not None and to.credits == 0:
                    router.blocked[output] += 1
                    continue
                router.blocked[output] += len(asking) > 1
                place = ORDER.index(router.winner[output])
                best = min(asking, key=lambda side: (ORDER.index(side) - place - 1) % 5)
                grants.append((router, best, output, to))
        for s, fifo in sends:
            p = queues[s].popleft()
            sent[p] = t
            goals = [Goal(number, *terminals[arrivals[number]]) for number in range(begin[p], begin[p + 1])]
            fifo.accept(t + 1, Flit(goals))
        for router, side, output, to in grants:
            flit = router.inputs[side].waiting[0]
            branch = [goal for goal in flit.goals if router.way(goal) == output]
            flit.goals = [goal for goal in flit.goals if router.way(goal) != output]
            router.winner[output] = side
            router.load[output] += 1
            if to is None:
                (goal,) = branch
                assert output == goal.last
                ejected[goal.number] = t + 2
            else:
                to.accept(t + 1 + mesh.link_cycles, Flit(branch))
            if not flit.goals:
                router.inputs[side].waiting.popleft()
                router.inputs[side].returning.append(t + mesh.credit_cycles)
        t += 1

    def table(value):
        return np.array([[value(router, side) for side in ORDER] for router in routers.values()])

    return Flow(
        np.array(sent, np.int64),
        np.array(ejected, np.int64),
        table(lambda router, side: router.load[side]),
        np.array(stalls),
        table(lambda router, side: router.blocked[side]),
        table(lambda router, side: router.inputs[side].peak),
        table(lambda router, side: router.inputs[side].held),
        mesh,
    )
