"""Chips and traffic to place on them."""

from __future__ import annotations

import numpy as np

from chipsim.chip import ChipSpec, load_chip
from qsnnc.place.traffic import GRAIN, Traffic


def chip_of(grid, ports=((0, 0),), dead=()) -> ChipSpec:
    """xbar1152 with another grid."""
    return load_chip("xbar1152").model_copy(update={"grid": grid, "ports": tuple(ports), "dead_cores": tuple(dead)})


def from_pairs(pairs, ticks=None) -> Traffic:
    """Traffic from (sender, receiver, packets); -1 is the host, and what cores send flies in tick 1."""
    sender, receiver, packets = (np.array(column) for column in zip(*pairs, strict=True))
    cores = int(max(sender.max(), receiver.max())) + 1
    ingress = sender < 0
    tick = np.where(ingress, 0, 1 if ticks is None else ticks)
    entries = np.bincount(receiver[ingress], np.ceil(packets[ingress]), cores).astype(np.int64)
    return Traffic(cores, sender, receiver, tick, np.round(packets * float(GRAIN)) / GRAIN, entries)


def random_traffic(rng: np.random.Generator, most: int = 64, pairs: int = 40) -> tuple[ChipSpec, Traffic]:
    """A small chip with some ports and dead cores, and any traffic on it."""
    side = 8 if most > 6 else 3
    width, height = (int(n) for n in rng.integers(1, side + 1, 2))
    while not 2 <= width * height <= most:
        width, height = (int(n) for n in rng.integers(1, side + 1, 2))
    cells = [(x, y) for x in range(width) for y in range(height)]
    dead = [cells[i] for i in rng.permutation(len(cells))[: rng.integers(0, len(cells) - 1)]] if rng.random() < 0.5 else []
    ports = {cells[i] for i in rng.integers(0, len(cells), rng.integers(1, 4))}
    cores = int(rng.integers(2, len(cells) - len(dead) + 1))
    sender, receiver = rng.integers(-1, cores, pairs), rng.integers(-1, cores, pairs)
    apart = sender != receiver
    rows = [(-1, core, 1.0) for core in range(cores)]  # so that every core is there
    rows += list(zip(sender[apart].tolist(), receiver[apart].tolist(), (rng.random(apart.sum()) * 50).tolist(), strict=True))
    ticks = rng.integers(1, 4, len(rows))
    return chip_of((width, height), sorted(ports), dead), from_pairs(rows, ticks)
