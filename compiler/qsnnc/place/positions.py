"""Place cores on the grid: few hops, and no link much busier than it has to be (docs/placement.md).

Cost: the hops of all packets, and for every tick and for all ticks of the chip together a price on links that carry much
more than the bound of the busiest one. The start is greedy, or as the feature maps lie, whichever costs less; then cores are
moved and swapped at a falling temperature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from chipsim.errors import UsageError
from qsnnc.ir.cores import CoreGraph
from qsnnc.ir.layers import Int
from qsnnc.place.anneal import anneal
from qsnnc.place.bounds import bounds
from qsnnc.place.feature_maps import by_feature_map
from qsnnc.place.loads import TARIFF, Routes, Tariff, cost_of, link_loads, prices_of
from qsnnc.place.orders import at_random, hilbert, row_major
from qsnnc.place.traffic import F64, Traffic, traffic_of

Strategy = Literal["annealed", "greedy", "row-major", "random", "hilbert"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
#: links that the annealer looks at for each of the first so many cores at effort 1, and for each further one: counted, not
#: timed, so that any machine finds the same
WORK, FIRST, MORE_WORK = 100_000, 500, 20_000


@dataclass(frozen=True, slots=True)
class Figures:
    """Costs of a placement in packets per image, at the firing rates that it was made for."""

    host_hops: float  # packet-hops between host and cores
    chip_hops: float  # between cores
    busiest_link: float  # most packets between cores on a link

    @property
    def hops(self) -> float:
        """Packet-hops of both kinds."""
        return self.host_hops + self.chip_hops


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """The position of each core, what the placement costs, and lower bounds of every placement."""

    position: npt.NDArray[np.int32]  # x, y of each core, (cores, 2)
    strategy: Strategy
    figures: Figures
    row_major: Figures  # of the same cores placed row by row
    packets: float  # per image, the host's included
    hops_bound: float
    busiest_link_bound: float
    calibrated: bool  # whether packets are counted at measured firing rates; else every source fires once

    @property
    def hops(self) -> float:
        """Packet-hops per image."""
        return self.figures.hops

    @property
    def row_major_hops(self) -> float:
        """Packet-hops per image of the same cores placed row by row."""
        return self.row_major.hops


def place(
    graph: CoreGraph,
    chip: ChipSpec,
    *,
    rates: F64 | None = None,
    strategy: Strategy = "annealed",
    effort: float = 1.0,
    seed: int = 0,
    routes: Routes | None = None,
    tariff: Tariff = TARIFF,
) -> Placement:
    """Give every core a position; deterministic, whatever the machine's speed.

    Parameters
    ----------
    rates : ndarray, float64, (sources,), optional
        How often each source fires per image; without them every source counts once.
    strategy : str
        One of `STRATEGIES`; all but the first are for comparison.
    effort : float
        Work of the annealer, relative to the default; 0 keeps the greedy start.
    seed : int
        Seed of the annealer and of random placements.
    routes : ndarray, uint8, (cells, cells), optional
        Output side of each router for each destination, every way of which ends; else first along x, then along y.
    tariff : Tariff
        Prices that the annealer minimises.

    Raises
    ------
    UsageError
        An unknown strategy.
    """
    traffic = traffic_of(graph, rates)
    found = _positions(graph, traffic, chip, strategy, effort, seed, routes, tariff)
    least = bounds(traffic, chip)
    return Placement(
        found.astype(np.int32),
        strategy,
        figures(traffic, chip, found, routes),
        figures(traffic, chip, row_major(graph.cores, chip), routes),
        float(traffic.packets.sum()),
        least.hops,
        least.link,
        rates is not None,
    )


def _positions(
    graph: CoreGraph,
    traffic: Traffic,
    chip: ChipSpec,
    strategy: Strategy,
    effort: float,
    seed: int,
    routes: Routes | None,
    tariff: Tariff,
) -> Int:
    """Find positions by a strategy: x, y of each core, (cores, 2)."""
    from qsnnc.place.greedy import greedy  # numba, which a chip of another kind does not wait for

    cores, hurried = graph.cores, traffic.hurried(tariff.readout)
    if strategy == "annealed":
        start, work = greedy(hurried, chip), round(effort * (WORK * min(cores, FIRST) + MORE_WORK * max(0, cores - FIRST)))
        if not work:
            return start
        prices = prices_of(traffic, chip, tariff)
        starts = start, by_feature_map(graph, chip)
        start = min(starts, key=lambda one: cost_of(link_loads(hurried, chip, one, routes), prices))
        return anneal(hurried, chip, start, prices, work, seed, routes)
    if strategy == "greedy":
        return greedy(hurried, chip)
    if strategy == "row-major":
        return row_major(cores, chip)
    if strategy == "random":
        return at_random(cores, chip, seed)
    if strategy == "hilbert":
        return hilbert(cores, chip)
    raise UsageError(
        "strategy", f"unknown placement strategy {strategy!r}; expected {', '.join(STRATEGIES)}", code="option-value"
    )


def verify_placement(graph: CoreGraph, placed: Placement, chip: ChipSpec) -> None:
    """Assert that every core has a position of its own on the grid, at a working core."""
    x, y = placed.position.T
    assert ((x >= 0) & (x < chip.grid[0]) & (y >= 0) & (y < chip.grid[1])).all()
    cells = y.astype(np.int64) * chip.grid[0] + x
    assert len(np.unique(cells)) == graph.cores
    assert not np.isin(cells, [y * chip.grid[0] + x for x, y in chip.dead_cores]).any()
    # sums of many multiples of 1/256: exact, but for halves and means in the bounds
    assert placed.hops >= placed.hops_bound * (1 - 1e-9)
    assert placed.figures.busiest_link >= placed.busiest_link_bound * (1 - 1e-9)


def figures(traffic: Traffic, chip: ChipSpec, position: Int, routes: Routes | None = None) -> Figures:
    """Compute hops and the busiest link of a placement."""
    load = link_loads(traffic, chip, position, routes)
    return Figures(float(load[0].sum()), float(load[-1].sum()), float(load[-1].max(initial=0.0)))


def cost(traffic: Traffic, chip: ChipSpec, position: Int, routes: Routes | None = None) -> float:
    """Compute the cost that the annealer minimises."""
    return cost_of(link_loads(traffic, chip, position, routes), prices_of(traffic, chip))
