"""Make a first placement: each core where it costs least, strongest connections first.

The cost of a place for one core and one port is the sum of a convex function of x and one of y. So the best free place of a
column is the first free one above or below the minimum in y, and of the whole grid the best of its columns: no search over
the grid.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chipsim.chip import ChipSpec
from qsnnc.ir.layers import Int
from qsnnc.place import greedy_kernel as kernel
from qsnnc.place.traffic import F64, HOST, Traffic, in_order

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
        order, self.start = in_order(ends, cores)
        self.other, self.weight = other[order], np.concatenate([packets[inner], packets[inner]])[order]
        self.host = np.bincount(np.maximum(sender, receiver)[~inner], packets[~inner], cores)
        self.width, self.height = chip.grid
        ports = np.array(chip.ports, np.int64)
        self.away = tuple(np.abs(np.arange(side) - ports[:, axis, None]) for axis, side in enumerate(chip.grid))
        self.at = np.full(cores, -1, np.int64), np.full(cores, -1, np.int64)
        # for each place the free one nearest at or above it (height: none) and at or below it (-1: none)
        self.above = np.tile(np.arange(self.height), (self.width, 1))
        self.below = self.above.copy()
        self._scratch = np.empty(self.width), np.empty(self.height)
        for x, y in sorted(set(chip.dead_cores)):
            kernel.take(self.above, self.below, x, y)

    @property
    def position(self) -> Int:
        """x, y of each core, -1 before it is placed: (cores, 2)."""
        return np.stack(self.at, axis=1)

    def along(self, core: int) -> tuple[F64, F64]:
        """Compute the cost of each column and each row for a core, from its placed neighbours; without the host."""
        first, last = self.start[core], self.start[core + 1]
        for at, found in zip(self.at, self._scratch, strict=True):
            kernel.distances(at, self.other, self.weight, first, last, found)
        x, y = self._scratch
        return x.copy(), y.copy()

    def fill(self) -> None:
        """Place the core with the strongest connection to those already placed, where it costs least."""
        leaves = 1 << max(1, len(self.host) - 1).bit_length()
        tree = np.full(2 * leaves, -np.inf)
        tree[leaves : leaves + len(self.host)] = self.host
        level = leaves
        while level > 1:
            tree[level // 2 : level] = tree[level : 2 * level].reshape(-1, 2).max(axis=1)
            level //= 2
        kernel.fill(tree, *self._state)

    def best_free(self, core: int) -> tuple[int, int]:
        """Find the free place of least cost; among equal ones the nearest to a port, then the first."""
        x, y = divmod(int(kernel.best_free(core, *self._state)), self.height)
        return x, y

    def put(self, core: int, x: int, y: int) -> None:
        """Give a core a place."""
        self.at[0][core], self.at[1][core] = x, y
        kernel.take(self.above, self.below, x, y)

    @property
    def _state(self) -> tuple[Any, ...]:
        return (
            self.start, self.other, self.weight, self.host, TIE, *self.at, *self.away, self.above, self.below,
            *self._scratch,
        )  # fmt: skip
