"""Lower bounds of every placement: hops, and packets on the busiest link."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from qsnnc.ir.layers import Int
from qsnnc.place.traffic import F64, GRAIN, HOST, Traffic

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Lower bounds of every placement."""

    hops: float  # packet-hops, the host's included
    link: float  # packets on the busiest link between cores


def bounds(traffic: Traffic, chip: ChipSpec) -> Bounds:
    """Bound what any placement costs, whatever its routes.

    The host's part: a packet between the host and a core takes at least the hops from the core's cell to the nearest port.
    Cores have different cells, so the sum is a pairing of the cores' packets with the distances of as many cells; by the
    rearrangement inequality none is smaller than the one that gives the most packets the nearest cell. The chip's part is
    `chip_hops_bound`. Either bounds its part in every placement, so their sum bounds the whole.
    """
    inner = traffic.row > 0
    hops = chip_hops_bound(traffic, chip, inner)
    return Bounds(_host_hops(traffic, chip) + hops, _link_bound(traffic, chip, inner, hops))


def chip_hops_bound(traffic: Traffic, chip: ChipSpec, chosen: Bool) -> float:
    """Bound the packet-hops of some of the pairs of cores from below.

    Take a core alone. The cores that it talks to have cells of their own, none of them its own, and of those at most as many
    lie within d hops as lie within d hops of the grid's middle: seen from any cell, an axis has as many places within a
    distance at most as from its middle, and the cells within d are pairs of such places. So the sorted distances of its
    partners are one by one at least the sorted distances from the middle, and by the rearrangement inequality its packets
    times hops are at least the largest number of packets times the smallest distance, and so on. Over all cores that counts
    every pair twice.
    """
    between = _between(traffic, chosen)
    sender, receiver, packets = traffic.sender[between], traffic.receiver[between], traffic.packets[between]
    pair = np.minimum(sender, receiver) * traffic.cores + np.maximum(sender, receiver)
    ordered = np.sort(pair)
    if (ordered[1:] == ordered[:-1]).any():  # those that send to each other
        pair, row = np.unique(pair, return_inverse=True)
        sender, receiver = np.divmod(pair, traffic.cores)
        packets = np.asarray(np.bincount(row, packets, len(pair)), np.float64)
    grains = (packets * GRAIN).astype(np.int64)
    size = int(grains.max(initial=0)) + 1
    less = size - 1 - grains  # one number for a core and its packets, most first: sorted much sooner than two
    key = np.sort(np.concatenate([sender * size + less, receiver * size + less]))
    count = np.bincount(sender, minlength=traffic.cores) + np.bincount(receiver, minlength=traffic.cores)
    rank = np.arange(len(key)) - np.repeat(np.cumsum(count) - count, count)
    near = _distances_from_the_middle(chip)
    return float(((size - 1 - key % size) * near[rank]).sum()) / GRAIN / 2


def link_bound(traffic: Traffic, chip: ChipSpec, chosen: Bool) -> float:
    """Bound the packets on the busiest link from below, for some of the pairs, whatever the placement and the routes.

    A core's packets to other cores leave its router through as many links as it has neighbours, and those that come from
    other cores come in through as many: one of them carries at least the mean. And all links together carry the hops, of
    which there are at least `chip_hops_bound`: the busiest carries at least the mean.
    """
    return _link_bound(traffic, chip, chosen, chip_hops_bound(traffic, chip, chosen))


def _link_bound(traffic: Traffic, chip: ChipSpec, chosen: Bool, hops: float) -> float:
    between = _between(traffic, chosen)
    if not between.any():
        return 0.0
    packets = traffic.packets[between]
    ends = max(np.bincount(end[between], packets).max() for end in (traffic.sender, traffic.receiver))
    width, height = chip.grid
    links = 2 * (2 * width * height - width - height)
    return max(float(ends) / degree(chip), hops / links)


def degree(chip: ChipSpec) -> int:
    """Return the most neighbours that a router of the grid has."""
    return sum(min(2, side - 1) for side in chip.grid)


def _between(traffic: Traffic, chosen: Bool) -> Bool:
    """Which of the pairs are two cores."""
    inner = (traffic.sender != HOST) & (traffic.receiver != HOST) & (traffic.sender != traffic.receiver)
    return np.asarray(chosen & inner)


def _host_hops(traffic: Traffic, chip: ChipSpec) -> float:
    """Bound the packet-hops between the host and the cores from below."""
    away = np.array([min(abs(x - a) + abs(y - b) for a, b in chip.ports) for x, y in usable_cells(chip).tolist()])
    packets = np.zeros(traffic.cores)
    for end, other in ((traffic.sender, traffic.receiver), (traffic.receiver, traffic.sender)):
        host = other == HOST
        packets += np.bincount(end[host], traffic.packets[host], traffic.cores)
    return float((np.sort(packets)[::-1] * np.sort(away)[: traffic.cores]).sum())


def usable_cells(chip: ChipSpec) -> Int:
    """Return x, y of the cells whose cores work, row by row: (cells, 2)."""
    width, height = chip.grid
    works = np.ones((height, width), bool)
    for x, y in chip.dead_cores:
        works[y, x] = False
    return np.argwhere(works)[:, ::-1]


def _distances_from_the_middle(chip: ChipSpec) -> F64:
    """Return the distances of all other cells from the middle one, nearest first."""
    width, height = chip.grid
    x, y = np.abs(np.arange(width) - width // 2), np.abs(np.arange(height) - height // 2)
    return np.sort((x[:, None] + y).reshape(-1))[1:].astype(np.float64)
