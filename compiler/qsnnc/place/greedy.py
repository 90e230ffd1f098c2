"""Make a first placement: each core where it costs least, strongest connections first.

The cost of a place for one core and one port is the sum of a convex function of x and one of y. So the best free place of a
column is the first free one above or below the minimum in y, and of the whole grid the best of its columns: no search over
the grid.
"""

from __future__ import annotations

import heapq

import numpy as np

from chipsim.chip import ChipSpec
from qsnnc.ir.layers import Int
from qsnnc.place.traffic import F64, HOST, Traffic

#: equal costs go to the place nearest to a port
TIE = 1e-9


def greedy(traffic: Traffic, chip: ChipSpec) -> Int:
    """Place each core in turn where it adds the fewest hops; returns x, y of each core, (cores, 2)."""
    field = Field(traffic, chip)
    field.fill()
    return field.position


class Field:
    """Working state: neighbours of each core, positions, and the next free place up and down."""

    def __init__(self, traffic: Traffic, chip: ChipSpec) -> None:
        sender, receiver, packets = traffic.sender, traffic.receiver, traffic.packets
        cores = traffic.cores
        inner = (sender != HOST) & (receiver != HOST)
        ends = np.concatenate([sender[inner], receiver[inner]])
        other = np.concatenate([receiver[inner], sender[inner]])
        order = np.argsort(ends, kind="stable")
        self.start = np.searchsorted(ends[order], np.arange(cores + 1))
        self.other, self.weight = other[order], np.concatenate([packets[inner], packets[inner]])[order]
        self.host = np.bincount(np.maximum(sender, receiver)[~inner], packets[~inner], cores)
        self.width, self.height = chip.grid
        self.away = [(np.abs(np.arange(self.width) - x), np.abs(np.arange(self.height) - y)) for x, y in chip.ports]
        self.position = np.full((cores, 2), -1, np.int64)
        # for each place the free one nearest at or above it (height: none) and at or below it (-1: none)
        self.above = np.tile(np.arange(self.height), (self.width, 1))
        self.below = self.above.copy()
        for x, y in sorted(set(chip.dead_cores)):
            self._take(x, y)

    def along(self, core: int) -> tuple[F64, F64]:
        """Compute the cost of each column and each row for a core, from its placed neighbours; without the host."""
        part = slice(self.start[core], self.start[core + 1])
        x, y = self.position[self.other[part]].T
        weight = np.where(x >= 0, self.weight[part], 0.0)
        return _distances(x, weight, self.width), _distances(y, weight, self.height)

    def fill(self) -> None:
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
        """Find the free place of least cost; among equal ones the nearest to a port, then the first."""
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

    def _put(self, core: int, x: int, y: int) -> None:
        self.position[core] = x, y
        self._take(x, y)

    def _take(self, x: int, y: int) -> None:
        """Mark a place as taken."""
        above, below = self.above[x], self.below[x]
        above[above == y] = above[y + 1] if y + 1 < self.height else self.height
        below[below == y] = below[y - 1] if y else -1


def _distances(at: Int, weight: F64, size: int) -> F64:
    """Compute the sum of weight * |place - at| for each place of an axis, by running sums."""
    mass = np.bincount(np.maximum(at, 0), weight, size)
    left = np.cumsum(mass)
    steps = 2 * left[:-1] - left[-1]  # from a place to the next: what lies behind goes away, the rest comes near
    first = float(mass @ np.arange(size))
    return np.concatenate([[first], first + np.cumsum(steps)])
