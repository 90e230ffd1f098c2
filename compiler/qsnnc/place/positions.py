"""Cores to grid positions, so that cores that talk lie close.

Cost: hops, the sum over pairs of connected cores of target entries times Manhattan distance, the host's ports included. For
one core it is separable in x and y, so that the cost of every position is two small sums and one outer addition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from qsnnc.ir.cores import CoreGraph

F64 = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
ROUNDS = 4
#: swaps are tried while cores x positions of a round stay below this; larger chips keep the greedy placement
SWAP_EFFORT = 20_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Position x, y of each core, int32 (cores, 2), its cost in entry-hops, and that of cores placed row by row."""

    position: npt.NDArray[np.int32]
    hops: int
    row_major_hops: int


def place(graph: CoreGraph, chip: ChipSpec) -> Placement:
    """Greedy from the strongest connections on, then swaps that lower the cost; deterministic."""
    field = _Field(graph, chip)
    field.greedy()
    if graph.cores * chip.cores * ROUNDS <= SWAP_EFFORT:
        for _ in range(ROUNDS):
            if not field.improve():
                break
    position = field.position.astype(np.int32)
    rows = np.stack(np.divmod(np.arange(graph.cores), chip.grid[0])[::-1], axis=1)
    return Placement(position, hops(graph, chip, position), hops(graph, chip, rows))


def verify_placement(graph: CoreGraph, placed: Placement, chip: ChipSpec) -> None:
    """Assert that every core has a place of its own on the grid."""
    x, y = placed.position.T
    assert ((x >= 0) & (x < chip.grid[0]) & (y >= 0) & (y < chip.grid[1])).all()
    assert len(np.unique(y.astype(np.int64) * chip.grid[0] + x)) == graph.cores


def hops(graph: CoreGraph, chip: ChipSpec, position: npt.NDArray[np.integer]) -> int:
    """Entry-hops of a placement; the host enters through the port nearest to the receiver."""
    sender, receiver, entries = graph.traffic()
    ports = np.array(chip.ports)
    host = np.abs(position[:, None, :] - ports[None]).sum(axis=2).min(axis=1)
    between = np.abs(position[sender] - position[receiver]).sum(axis=1)
    return int((entries * np.where(sender < 0, host[receiver], between)).sum())


class _Field:
    """Working state: neighbours of each core, positions, and who stands where."""

    def __init__(self, graph: CoreGraph, chip: ChipSpec) -> None:
        sender, receiver, entries = graph.traffic()
        cores = graph.cores
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
        self.distance_x = np.abs(np.arange(self.width)[:, None] - np.arange(self.width)[None]).astype(np.float64)
        self.distance_y = np.abs(np.arange(self.height)[:, None] - np.arange(self.height)[None]).astype(np.float64)
        ports = np.array(chip.ports)
        grid = np.stack(np.meshgrid(np.arange(self.width), np.arange(self.height), indexing="ij"), axis=-1)
        self.to_port = np.abs(grid[:, :, None, :] - ports).sum(axis=-1).min(axis=-1).astype(np.float64)
        self.position = np.full((cores, 2), -1, np.int64)
        self.owner = np.full((self.width, self.height), -1, np.int64)

    def cost(self, core: int) -> F64:
        """Cost of every position for a core, its placed neighbours where they are, (width, height)."""
        part = slice(self.start[core], self.start[core + 1])
        other, weight = self.other[part], self.weight[part]
        x, y = self.position[other].T
        there = x >= 0
        x, y, weight = x[there], y[there], weight[there]
        along_x = np.bincount(x, weight, self.width) @ self.distance_x
        along_y = np.bincount(y, weight, self.height) @ self.distance_y
        return np.asarray(along_x[:, None] + along_y[None, :] + self.host[core] * self.to_port)

    def greedy(self) -> None:
        """Place the core with the strongest connection to those already placed, where it costs least."""
        pull = self.host.copy()
        placed = np.zeros(len(pull), bool)
        # equal costs go to the free position nearest to a port
        tie = self.to_port * 1e-9
        for _ in range(len(pull)):
            core = int(np.argmax(np.where(placed, -1.0, pull)))
            cost = np.where(self.owner < 0, self.cost(core) + tie, np.inf)
            x, y = divmod(int(np.argmin(cost)), self.height)
            self._put(core, x, y)
            placed[core] = True
            part = slice(self.start[core], self.start[core + 1])
            np.add.at(pull, self.other[part], self.weight[part])

    def improve(self) -> bool:
        """Try for each core the swap with its best position; keep what lowers the cost."""
        better = False
        for core in range(len(self.position)):
            here = int(self.position[core, 0]), int(self.position[core, 1])
            cost = self.cost(core)
            gain = cost[here] - cost
            for flat in np.argsort(-gain, axis=None)[:4].tolist():
                there = divmod(flat, self.height)
                if gain[there] <= 0:
                    break
                resident = int(self.owner[there])
                if self._swap_gain(core, resident, here, there, float(gain[there])) > 1e-6:
                    self._put(core, *there)
                    self.owner[here] = -1
                    if resident >= 0:
                        self._put(resident, *here)
                    better = True
                    break
        return better

    def _swap_gain(self, core: int, resident: int, here: tuple[int, int], there: tuple[int, int], gain: float) -> float:  # type: ignore[type-arg]
        if resident < 0:
            return gain
        cost = self.cost(resident)
        part = slice(self.start[core], self.start[core + 1])
        mutual = float(self.weight[part][self.other[part] == resident].sum())
        # both fields count their mutual distance as falling to zero; it stays what it was
        apart = abs(int(here[0]) - int(there[0])) + abs(int(here[1]) - int(there[1]))
        return gain + float(cost[there] - cost[here]) - 2 * mutual * apart

    def _put(self, core: int, x: int, y: int) -> None:
        self.position[core] = x, y
        self.owner[x, y] = core
