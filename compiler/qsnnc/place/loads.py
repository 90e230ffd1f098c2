"""Compute how many packets each link carries, and what that costs.

Cells are numbered y * width + x, y growing to the south; link 4 * cell + side leaves a cell's router on that side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from chipsim.chip.ports import assign_ports
from chipsim.chip.routes import EAST, WEST
from qsnnc.ir.layers import Int
from qsnnc.place.bounds import link_bound
from qsnnc.place.traffic import F64, HOST, Traffic

#: output side for each router and router of destination, (cells, cells); without it first along x, then along y
Routes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Tariff:
    """Prices relative to the lower bounds; chosen with ``benchmarks/tune_placement.py``."""

    #: what a link carries in a tick, and in all of them, for nothing: times the bound of the busiest link
    free_tick: float = 1.6
    free_all: float = 1.3
    #: or times what the fullest core sends in a tick, if that is more: it sends a packet a cycle and ends no sooner
    free_core: float = 0.7
    #: hops that a packet is worth on a link that carries as many as the bound more than for nothing
    price_tick: float = 15.0
    price_all: float = 300.0
    #: packets that a potential on its way to the host is worth: few as they are, their way to the port ends the frame
    readout: float = 50.0


TARIFF = Tariff()


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """Prices of links: one with load l adds price * max(0, l - free)^2 to the hops, for each row of `Traffic.row`."""

    free: F64
    price: F64


def prices_of(traffic: Traffic, chip: ChipSpec, tariff: Tariff = TARIFF) -> Prices:
    """Compute prices relative to the lower bounds, so that they suit any network.

    What the host sends passes through its ports one a cycle, and with one port in single file: nothing can be in its way.
    With several, a link that carries more than a port's share holds up the host.
    """
    rows, row = traffic.rows, traffic.row
    bound = np.array([link_bound(traffic, chip, row == number) for number in range(1, rows - 1)])
    whole = link_bound(traffic, chip, row > 0)
    share = float(traffic.packets[row == 0].sum()) / len(chip.ports)
    sent = [tariff.free_core * most_sent(traffic, number) for number in range(1, rows - 1)]
    free = [share, *np.maximum(tariff.free_tick * bound, sent), max(tariff.free_all * whole, *sent, 0.0)]
    price = [tariff.price_tick / 2 / share if share and len(chip.ports) > 1 else 0.0]
    dear = [*((tariff.price_tick, b) for b in bound), (tariff.price_all, whole)]
    price += [factor / 2 / b if b else 0.0 for factor, b in dear]
    # a row without a bound has next to no packets: any load is free, and counted
    none = np.array([False, *(bound == 0), whole == 0])
    return Prices(np.where(none, np.inf, free), np.where(none, 1.0, price))


def most_sent(traffic: Traffic, row: int) -> float:
    """Count the packets of the core that sends most in a row of `Traffic.row`."""
    mine = traffic.row == row
    return float(np.bincount(traffic.sender[mine], traffic.packets[mine]).max(initial=0.0))


def port_of(traffic: Traffic, chip: ChipSpec, position: npt.NDArray[np.integer]) -> Int:
    """Return the port through which the host reaches each core."""
    return assign_ports(chip, position, traffic.host_entries).astype(np.int64)


def cells_of(traffic: Traffic, chip: ChipSpec, position: npt.NDArray[np.integer], port: Int) -> tuple[Int, Int]:
    """Return the cells at which the packets of each pair start and end."""
    width = chip.grid[0]
    core = position[:, 1].astype(np.int64) * width + position[:, 0]
    ports = np.array(chip.ports, np.int64)
    host = (ports[:, 1] * width + ports[:, 0])[port]
    here = np.where(traffic.sender == HOST, host[traffic.receiver], core[traffic.sender])
    there = np.where(traffic.receiver == HOST, host[traffic.sender], core[traffic.receiver])
    return here, there


def link_loads(
    traffic: Traffic,
    chip: ChipSpec,
    position: npt.NDArray[np.integer],
    routes: Routes | None = None,
    port: Int | None = None,
) -> F64:
    """Count the packets that each link carries.

    Returns
    -------
    ndarray, float64, (rows, 4 * cells)
        By `Traffic.row`; the last row is the sum of all but the host's. The sum of a row is its hops.
    """
    at, to = cells_of(traffic, chip, position, port_of(traffic, chip, position) if port is None else port)
    load = _straight(traffic, chip, at, to) if routes is None else _routed(traffic, chip, at, to, routes)
    load[-1] = load[1:-1].sum(axis=0)
    return load


def _straight(traffic: Traffic, chip: ChipSpec, at: Int, to: Int) -> F64:
    """Loads of ways along x first, then along y: two lines each, counted by where they begin and end."""
    from qsnnc.place.way_kernel import straight_ways  # numba, which a chip of another kind does not wait for

    sides = max(chip.grid)
    change = np.zeros((traffic.rows, 4, sides, sides + 1))
    straight_ways(at, to, traffic.row, traffic.packets, chip.grid[0], sides, change.reshape(-1))
    return by_link(np.cumsum(change, axis=3), chip)


def _routed(traffic: Traffic, chip: ChipSpec, at: Int, to: Int, routes: Routes) -> F64:
    """Loads of ways by a table, followed link by link."""
    width, height = chip.grid
    step = np.array([1, -1, -width, width])
    load = np.zeros((traffic.rows, 4 * width * height))
    row, packets = traffic.row, traffic.packets
    while len(at):
        flying = at != to
        at, to, row, packets = at[flying], to[flying], row[flying], packets[flying]
        side = routes[at, to].astype(np.int64)
        np.add.at(load, (row, 4 * at + side), packets)
        at = at + step[side]
    return load


def by_line(load: F64, chip: ChipSpec) -> F64:
    """Return loads of links in the order of `qsnnc.place.kernel.moved`: by row, side, line, and place along it."""
    (width, height), sides = chip.grid, max(chip.grid)
    cells = load.reshape(len(load), height, width, 4)
    found = np.zeros((len(load), 4, sides, sides + 1))
    for side in range(4):
        if side in (EAST, WEST):
            found[:, side, :height, :width] = cells[..., side]
        else:
            found[:, side, :width, :height] = cells[..., side].transpose(0, 2, 1)
    return found.reshape(-1)


def by_link(load: F64, chip: ChipSpec) -> F64:
    """Return loads in the order of `link_loads`: what `by_line` is given."""
    (width, height), sides = chip.grid, max(chip.grid)
    lines = load.reshape(-1, 4, sides, sides + 1)
    found = np.zeros((len(lines), height, width, 4))
    for side in range(4):
        if side in (EAST, WEST):
            found[..., side] = lines[:, side, :height, :width]
        else:
            found[..., side] = lines[:, side, :width, :height].transpose(0, 2, 1)
    return found.reshape(len(lines), -1)


def cost_of(load: F64, prices: Prices) -> float:
    """Compute the cost: hops, and the price of busy links."""
    over = np.maximum(load - prices.free[:, None], 0.0)
    return float(load[:-1].sum() + (prices.price * (over * over).sum(axis=1)).sum())
