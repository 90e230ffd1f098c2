"""Cores to grid positions, so that cores that talk lie close.

Cost: hops, the sum over pairs of connected cores of target entries times Manhattan distance, the host's ports included. For
one core and one port it is the sum of a convex function of x and one of y. So the best free place of a column is the first
free one above or below the minimum in y, and of the whole grid the best of its columns: no search over the grid.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from qsnnc.ir.cores import CoreGraph

F64 = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Traffic = tuple[Int, Int, Int]  # sender (-1: the host), receiver, entries
#: rounds in which every core is offered better places
ROUNDS = 4
#: places that are tried for a core in a round
TRIES = 8
#: equal costs go to the place nearest to a port
TIE = 1e-9
#: owner of a place whose core is dead
DEAD = -2


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Position x, y of each core, int32 (cores, 2), its cost in entry-hops, and that of cores placed row by row."""

    position: npt.NDArray[np.int32]
    hops: int
    row_major_hops: int


def place(graph: CoreGraph, chip: ChipSpec) -> Placement:
    """Greedy from the strongest connections on, then swaps that lower the cost; deterministic."""
    traffic = graph.traffic()
    field = _Field(traffic, graph.cores, chip)
    field.greedy()
    for _ in range(ROUNDS):
        if not field.improve():
            break
    position = field.position.astype(np.int32)
    dead = {y * chip.grid[0] + x for x, y in chip.dead_cores}
    free = [number for number in range(chip.grid[0] * chip.grid[1]) if number not in dead]
    rows = np.stack(np.divmod(np.array(free[: graph.cores]), chip.grid[0])[::-1], axis=1)
    return Placement(position, _hops(traffic, chip, position), _hops(traffic, chip, rows))


def verify_placement(graph: CoreGraph, placed: Placement, chip: ChipSpec) -> None:
    """Assert that every core has a place of its own on the grid."""
    x, y = placed.position.T
    assert ((x >= 0) & (x < chip.grid[0]) & (y >= 0) & (y < chip.grid[1])).all()
    assert not set(chip.dead_cores) & set(map(tuple, placed.position.tolist()))
    assert len(np.unique(y.astype(np.int64) * chip.grid[0] + x)) == graph.cores


def hops(graph: CoreGraph, chip: ChipSpec, position: npt.NDArray[np.integer]) -> int:
    """Entry-hops of a placement; the host enters through the port nearest to the receiver."""
    return _hops(graph.traffic(), chip, position)


def _hops(traffic: Traffic, chip: ChipSpec, position: npt.NDArray[np.integer]) -> int:
    sender, receiver, entries = traffic
    ports = np.array(chip.ports)
    host = np.abs(position[:, None, :] - ports[None]).sum(axis=2).min(axis=1)
    between = np.abs(position[sender] - position[receiver]).sum(axis=1)
    return int((entries * np.where(sender < 0, host[receiver], between)).sum())


class _Field:
    """Working state: neighbours of each core, positions, who stands where, and the next free place up and down."""

    def __init__(self, traffic: Traffic, cores: int, chip: ChipSpec) -> None:
        sender, receiver, entries = traffic
        inner = sender >= 0
        ends = np.concatenate([sender[inner], receiver[inner]])
        other = np.concatenate([receiver[inner], sender[inner]])
        weight = np.concatenate([entries[inner], entries[inner]]).astype(np.float64)
        order = np.argsort(ends, kind="stable")
        self.start = np.searchsorted(ends[order], np.arange(cores + 1))
        self.other, self.weight = other[order], weight[order]
        self.host = np.zeros(cores)
        np.add.at(self.host, receiver[~inner], entries[~inner])
        self.width, self.height = chip.grid
        self.ports = np.array(chip.ports)
        self.away = [(np.abs(np.arange(self.width) - x), np.abs(np.arange(self.height) - y)) for x, y in chip.ports]
        self.position = np.full((cores, 2), -1, np.int64)
        self.owner = np.full((self.width, self.height), -1, np.int64)
        self.restless = np.ones(cores, bool)
        # for each place the free one nearest at or above it (height: none) and at or below it (-1: none)
        self.above = np.tile(np.arange(self.height), (self.width, 1))
        self.below = self.above.copy()
        for x, y in set(chip.dead_cores):
            self._take(x, y, DEAD)

    def along(self, core: int) -> tuple[F64, F64]:
        """Cost of each column and of each row for a core, its placed neighbours where they are; without the host."""
        part = slice(self.start[core], self.start[core + 1])
        x, y = self.position[self.other[part]].T
        weight = np.where(x >= 0, self.weight[part], 0.0)
        return _distances(x, weight, self.width), _distances(y, weight, self.height)

    def at(self, core: int, *places: tuple[int, int]) -> list[float]:
        """Cost of some places for a core."""
        part = slice(self.start[core], self.start[core + 1])
        where = np.array(places)
        apart = np.abs(self.position[self.other[part]] - where[:, None]).sum(axis=2)
        port = np.abs(self.ports - where[:, None]).sum(axis=2).min(axis=1)
        return (apart @ self.weight[part] + self.host[core] * port).tolist()  # type: ignore[no-any-return]

    def greedy(self) -> None:
        """Place the core with the strongest connection to those already placed, where it costs least."""
        pull = self.host.copy()
        queue = [(-strength, core) for core, strength in enumerate(pull.tolist())]
        heapq.heapify(queue)
        placed = np.zeros(len(pull), bool)
        while queue:
            strength, core = heapq.heappop(queue)
            if placed[core] or -strength != pull[core]:
                continue  # it has a stronger entry
            self._put(core, *self._best_free(core))
            placed[core] = True
            part = slice(self.start[core], self.start[core + 1])
            near = self.other[part]
            np.add.at(pull, near, self.weight[part])
            for other in np.unique(near[~placed[near]]).tolist():
                heapq.heappush(queue, (-float(pull[other]), other))

    def _best_free(self, core: int) -> tuple[int, int]:
        """The free place of the least cost; of equal ones the one nearest to a port, then the first."""
        along_x, along_y = self.along(core)
        columns = np.arange(self.width)
        best = (np.inf, -1, -1)
        for away_x, away_y in self.away:
            cost_x = along_x + (self.host[core] + TIE) * away_x
            cost_y = np.append(along_y + (self.host[core] + TIE) * away_y, np.inf)  # the last: no place
            lowest = int(np.argmin(cost_y))
            up = self.above[:, lowest]
            down = self.below[:, lowest - 1] if lowest else np.full(self.width, -1)
            y = np.where(cost_y[down] <= cost_y[up], down, up)
            cost = cost_x + cost_y[y]
            x = int(columns[np.argmin(cost)])
            best = min(best, (float(cost[x]), x, int(y[x])))
        return best[1], best[2]

    def improve(self) -> bool:
        """Try for each core whose neighbourhood has moved the swap with its best positions; keep what lowers the cost."""
        moved = False
        for core in np.flatnonzero(self.restless).tolist():
            self.restless[core] = False
            here = int(self.position[core, 0]), int(self.position[core, 1])
            (now,) = self.at(core, here)
            for cost, there in self._best(core):
                if now - cost <= 0:
                    break
                resident = int(self.owner[there])
                if resident == DEAD:
                    continue
                if self._swap_gain(core, resident, here, there, now - cost) > 1e-6:
                    self._swap(core, resident, here, there)
                    moved = True
                    break
        return moved

    def _best(self, core: int) -> list[tuple[float, tuple[int, int]]]:
        """The places of the least cost, free or not, the best first."""
        along_x, along_y = self.along(core)
        costs, places = [], []
        for away_x, away_y in self.away:
            cost_x, cost_y = along_x + self.host[core] * away_x, along_y + self.host[core] * away_y
            few_x, few_y = (np.argsort(cost, kind="stable")[:TRIES] for cost in (cost_x, cost_y))
            costs.append((cost_x[few_x, None] + cost_y[few_y]).reshape(-1))
            places.append((few_x[:, None] * self.height + few_y).reshape(-1))
        cost, flat = np.concatenate(costs), np.concatenate(places)
        order = np.lexsort((flat, cost))[: TRIES * len(self.away)]
        found: dict[tuple[int, int], float] = {}  # a place is as good as its best port
        for number, value in zip(flat[order].tolist(), cost[order].tolist(), strict=True):
            found.setdefault(divmod(number, self.height), value)
        return [(value, there) for there, value in found.items()][:TRIES]

    def _swap_gain(self, core: int, resident: int, here: tuple[int, int], there: tuple[int, int], gain: float) -> float:
        if resident < 0:
            return gain
        part = slice(self.start[core], self.start[core + 1])
        mutual = float(self.weight[part][self.other[part] == resident].sum())
        # both fields count their mutual distance as falling to zero; it stays what it was
        apart = abs(here[0] - there[0]) + abs(here[1] - there[1])
        now, then = self.at(resident, there, here)
        return gain + now - then - 2 * mutual * apart

    def _swap(self, core: int, resident: int, here: tuple[int, int], there: tuple[int, int]) -> None:
        """Let a core and whoever stands at its new place change; neighbours of both may want to move now."""
        self.position[core], self.owner[there] = there, core
        self.owner[here] = resident
        if resident >= 0:
            self.position[resident] = here
        for one in (core, resident):
            if one >= 0:
                self.restless[self.other[self.start[one] : self.start[one + 1]]] = True
                self.restless[one] = True

    def _put(self, core: int, x: int, y: int) -> None:
        self.position[core] = x, y
        self._take(x, y, core)

    def _take(self, x: int, y: int, owner: int) -> None:
        self.owner[x, y] = owner
        above, below = self.above[x], self.below[x]
        above[above == y] = above[y + 1] if y + 1 < self.height else self.height
        below[below == y] = below[y - 1] if y else -1


def _distances(at: Int, weight: F64, size: int) -> F64:
    """Sum of weight * |place - at| for each place of an axis, by running sums."""
    mass = np.bincount(np.maximum(at, 0), weight, size)
    left = np.cumsum(mass)
    steps = 2 * left[:-1] - left[-1]  # from a place to the next: what lies behind goes away, the rest comes near
    first = float(mass @ np.arange(size))
    return np.concatenate([[first], first + np.cumsum(steps)])
