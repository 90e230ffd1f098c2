"""Mappings with chips whose timing is drawn at random, and spikes for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from chipsim.datasets import Dataset
from chipsim.engine.host import load_host
from chipsim.engine.machine import load
from chipsim.faults import KINDS
from chipsim.mapping import Mapping
from chipsim.timing.network.mesh import Traffic
from chipsim.timing.profile import spikes
from chipsim.timing.tick import Tick
from support.hand_mappings import random_map


def timed_map(rng: np.random.Generator, multicast: bool = False) -> tuple[Mapping, Dataset]:
    """A random mapping at random positions of a chip with random constants, and images for it."""
    hand = random_map(rng)
    width, height = int(rng.integers(1, 5)), int(rng.integers(4, 6))
    timing = hand.chip.timing.model_copy(
        update={
            "input": str(rng.choice(["row_parallel", "synapse_serial"])),
            "word_bits": int(rng.choice([1, 3, 16, 64])),
            "synapses_per_cycle": int(rng.integers(1, 9)),
            "start_cycles": int(rng.integers(0, 6)),
            "columns_per_cycle": int(rng.integers(1, 6)),
            "lookup_cycles": int(rng.integers(1, 4)),
            "router_cycles": int(rng.integers(1, 4)),
            "link_cycles": int(rng.integers(0, 3)),
            "credit_cycles": int(rng.integers(1, 3)),
            "buffer_flits": int(rng.integers(1, 6)),
            "sync_cycles_per_hop": int(rng.integers(0, 3)),
            "multicast": multicast,
        }
    )
    rows = rng.permutation(height)[: rng.integers(1, height + 1)].tolist()
    ports = tuple((0, int(y)) for y in rows)
    hand.chip = hand.chip.model_copy(update={"grid": (width, height), "ports": ports, "timing": timing})
    while len(hand.cores) > width * height:
        width += 1
        hand.chip = hand.chip.model_copy(update={"grid": (width, height)})
    mapping = hand.build()
    places = rng.permutation(width * height)[: mapping.cores]
    mapping.arrays["core_position"] = np.stack([places % width, places // width], axis=1).astype(np.int32)
    images = rng.integers(0, hand.levels + 1, (int(rng.integers(1, 7)), hand.features)).astype(np.float32)
    return mapping, Dataset("random", "test", images, None)


def broken_at_random(rng: np.random.Generator, but: tuple[str, ...] = ()) -> dict[str, Any]:
    """Some kinds of faults, each at a rate that hits a few places of a small mapping."""
    kinds = [kind for kind in KINDS if kind not in but]
    found: dict[str, Any] = {"seed": int(rng.integers(1 << 40))}
    for kind in rng.choice(kinds, rng.integers(1, len(kinds) + 1), replace=False).tolist():
        found[kind] = {"rate": float(rng.choice([0.05, 0.2, 0.6]))}
        if kind.startswith("stuck"):
            found[kind]["at"] = int(rng.integers(2))
    return found


def fired(mapping: Mapping, data: Dataset) -> np.ndarray:
    """What each source sends, (images, E+N)."""
    return spikes(load(mapping), load_host(mapping), data.images, np.arange(len(data))).fired


def merged(parts: list[Tick], terminals: int) -> Traffic:
    """Packets of several ticks in one network; a terminal sends in one tick of a frame."""
    ready, target, offset = [], [], [0]
    for terminal in range(terminals):
        for part in parts:
            mine = slice(*part.traffic.offset[terminal : terminal + 2].tolist())
            ready += part.traffic.ready[mine].tolist()
            target += part.traffic.target[mine].tolist()
        offset.append(len(ready))
    return Traffic(np.array(offset), np.array(ready, np.int64), np.array(target, np.int32), parts[0].traffic.trees)
