"""Improve a placement by simulated annealing: fewer hops, and no link much busier than it has to be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from chipsim.chip import ChipSpec
from qsnnc.ir.layers import Int
from qsnnc.place.loads import Prices, Routes, by_line, by_link, cost_of, link_loads, port_of
from qsnnc.place.traffic import F64, HOST, Traffic, in_order

#: of the first temperature to the mean cost of a core, and of the last to the first
HEAT, COLD = 0.3, 1e-4
#: temperatures
STEPS = 64
#: with several ports the host's choice among them is looked at anew so many times
ROUNDS = 8
#: quantiles of the exponential distribution, rounded so that they are the same on every machine
WAIT = np.round(-np.log((np.arange(1024) + 0.5) / 1024), 6)


def anneal(
    traffic: Traffic, chip: ChipSpec, position: Int, prices: Prices, work: int, seed: int, routes: Routes | None = None
) -> Int:
    """Improve a placement with a given amount of work; the result never costs more than the start.

    Parameters
    ----------
    position : ndarray, int64, (cores, 2)
        x, y of each core.
    work : int
        Links to look at, the unit of `qsnnc.place.kernel.moved`.
    seed : int
        The same seed and work give the same placement, on any machine.

    Returns
    -------
    ndarray, int64, (cores, 2)
    """
    walk = Walk(traffic, chip, position, prices, routes)
    first = best = walk.cost
    heat = HEAT * first / max(1, traffic.cores) * COLD ** (np.arange(STEPS) / (STEPS - 1))
    reach = np.maximum(1, np.round(max(chip.grid) / 2 ** (3 + 4 * np.arange(STEPS) / (STEPS - 1)))).astype(np.int64)
    state = np.random.default_rng(seed).integers(1, 1 << 63, 1, np.uint64)
    found = position
    rounds = ROUNDS if len(chip.ports) > 1 else 1
    for part in range(rounds):
        share = slice(part * STEPS // rounds, (part + 1) * STEPS // rounds)
        walk.run(heat[share], reach[share], state, work * (part + 1) // rounds - work * part // rounds)
        walk.reassign()
        if walk.cost < best:
            found, best = walk.position, walk.cost
    return found


class Walk:
    """Working state of the annealer: the position of each core, the core at each position, and the load of each link."""

    def __init__(
        self, traffic: Traffic, chip: ChipSpec, position: Int, prices: Prices, routes: Routes | None = None
    ) -> None:
        self.traffic, self.chip, self.prices, self.routes = traffic, chip, prices, routes
        cores, width = traffic.cores, chip.grid[0]
        self.cell = position[:, 1].astype(np.int64) * width + position[:, 0]
        self.owner = np.full(chip.grid[0] * chip.grid[1], -1, np.int64)
        for x, y in chip.dead_cores:
            self.owner[y * width + x] = -2
        self.owner[self.cell] = np.arange(cores)
        core = np.concatenate([traffic.sender, traffic.receiver])
        order, start = in_order(core, cores)
        order, self.start = order[start[0] :], start - start[0]  # the host's own rows are not moved
        self.order, self.pair = order, order % len(traffic.packets)
        self.sends = (order < len(traffic.packets)).astype(np.uint8)
        self.rows, self.packets = traffic.row.astype(np.int32)[self.pair], traffic.packets[self.pair]
        self.reassign()

    @property
    def position(self) -> Int:
        """x, y of each core."""
        y, x = np.divmod(self.cell, self.chip.grid[0])
        return np.stack([x, y], axis=1)

    def reassign(self) -> None:
        """Reassign the host's ports for the current positions, and recompute the loads."""
        self.port = port_of(self.traffic, self.chip, self.position)
        self.load = link_loads(self.traffic, self.chip, self.position, self.routes, self.port)
        self.cost = cost_of(self.load, self.prices)

    def run(self, heat: F64, reach: Int, state: np.ndarray[tuple[int], np.dtype[np.uint64]], work: int) -> None:
        """Try moves for a given amount of work."""
        from qsnnc.place.kernel import moved

        traffic, cores, width = self.traffic, self.traffic.cores, self.chip.grid[0]
        sender = np.where(traffic.sender == HOST, cores + self.port[traffic.receiver], traffic.sender)
        receiver = np.where(traffic.receiver == HOST, cores + self.port[traffic.sender], traffic.receiver)
        others = np.concatenate([receiver, sender])[self.order].astype(np.int32)
        ports = np.array(self.chip.ports, np.int64)
        at_x = np.concatenate([self.cell % width, ports[:, 0]]).astype(np.int32)
        at_y = np.concatenate([self.cell // width, ports[:, 1]]).astype(np.int32)
        table = np.zeros(0, np.uint8) if self.routes is None else np.ascontiguousarray(self.routes).reshape(-1)
        sides = max(self.chip.grid)
        load = by_line(self.load, self.chip)
        count = len(load) // (sides + 1)
        lines = np.tile(np.array([sides + 1, -1, 0], np.int32), (count + 1, 1))
        lines[count] = 0, 0, count
        scratch = np.zeros(len(load) + sides + 1), lines, np.empty(count + 1, np.int32), np.empty_like(load)
        pool = ThreadPoolExecutor(1)  # machine code hears no Ctrl-C; whoever waits for it does
        done = pool.submit(
            moved, load, self.prices.price, self.prices.free, self.start, others, self.sends, self.rows, self.packets,
            table, sides, width, at_x, at_y, self.owner, heat, reach, WAIT, state, work,
            *scratch,
        )  # fmt: skip
        try:
            self.cost += done.result()
        finally:
            pool.shutdown(wait=False)
        self.cell = at_y[:cores].astype(np.int64) * width + at_x[:cores]
        self.load = by_link(load, self.chip)
