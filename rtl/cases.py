"""What is run on both: traffics of the mesh, random and hand-made mappings, chips with other constants."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS))

from support.hand_mappings import HandCore, HandMap, relayed, two_cores  # noqa: E402

from chipsim.chip import ChipSpec, load_chip  # noqa: E402
from chipsim.timing.network import patterns  # noqa: E402
from chipsim.timing.network.mesh import Mesh, Traffic  # noqa: E402

__all__ = ["CHIPS", "HandMap", "chip", "frames", "random_map", "relayed", "traffics", "two_cores"]

#: buffer flits, router, link and credit cycles
CONSTANTS = ((4, 2, 1, 1), (2, 1, 0, 1), (3, 3, 2, 2), (1, 2, 1, 3))
#: changes to `mini` and to its timing
CHIPS: dict[str, tuple[dict[str, object], dict[str, int]]] = {
    "mini": ({}, {}),
    "tight": (
        {"grid": (5, 3), "ports": ((0, 2),)},
        {"buffer_flits": 1, "credit_cycles": 2, "router_cycles": 1, "link_cycles": 0, "word_bits": 16,
         "columns_per_cycle": 3, "start_cycles": 2, "sync_cycles_per_hop": 1},
    ),
    "slow": (
        {"grid": (3, 5), "ports": ((0, 1),)},
        {"buffer_flits": 2, "credit_cycles": 3, "router_cycles": 3, "link_cycles": 2, "word_bits": 3,
         "columns_per_cycle": 1, "start_cycles": 7, "sync_cycles_per_hop": 3},
    ),
    "odd": (
        {"grid": (4, 3), "axons": 48, "columns": 96, "max_fold": 8, "max_delay": 5, "potential_bits": 16,
         "threshold_bits": 14, "targets": 100},
        {"word_bits": 20, "columns_per_cycle": 5, "buffer_flits": 3},
    ),
    "small": ({"grid": (3, 2), "ports": ((0, 1),)}, {"buffer_flits": 2}),
}  # fmt: skip


def chip(name: str) -> ChipSpec:
    """Return a chip of `CHIPS`."""
    limits, timing = CHIPS[name]
    base = load_chip("mini")
    assert base.timing is not None
    return base.model_copy(update={**limits, "name": name, "timing": base.timing.model_copy(update=timing)})


def traffics() -> Iterator[tuple[str, Mesh, Traffic]]:
    """Yield 24 traffics: three on each of two meshes with each of four sets of constants, the host at one side."""
    for side in (4, 8):
        for number, (buffer, router, link, credit) in enumerate(CONSTANTS):
            mesh = Mesh(side, side, ((0, number % side),), buffer, router, link, credit)
            name = f"{side}x{side}, {buffer} flits, cycles {router} {link} {credit}"
            yield f"{name}: uniform", mesh, patterns.uniform(mesh, 1.0, 300, number)
            yield f"{name}: all pairs", mesh, patterns.all_pairs(mesh, 1.0)
            yield f"{name}: with the host", mesh, with_host(mesh, np.random.default_rng(number))


def with_host(mesh: Mesh, rng: np.random.Generator) -> Traffic:
    """Every terminal sends to every other at random times, many to few of them."""
    terminals = mesh.terminals
    sizes = rng.integers(0, 60, terminals)
    sizes[-1] = 200
    ready = np.concatenate([np.sort(rng.integers(0, 150, size)) for size in sizes])
    crowded = rng.choice(terminals, 3, replace=False)
    target = np.where(
        rng.random(sizes.sum()) < 0.5, rng.choice(crowded, sizes.sum()), rng.integers(0, terminals, sizes.sum())
    )
    offset = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Traffic(offset, ready.astype(np.int64), target.astype(np.int32))


def random_map(rng: np.random.Generator, spec: ChipSpec) -> HandMap:
    """Cores all over a chip, with folds, delays, every width of weights, thresholds of zero and below, crowded tables."""
    features, levels = int(rng.integers(4, 12)), int(rng.integers(1, 4))
    ticks = [0] * (features * levels)  # of each source; -1: none
    table_of = [0] * len(ticks)
    tables = [1 << 20]
    layers: list[tuple[str, int, int, int]] = []
    cores: list[HandCore] = []
    depth = int(rng.integers(2, 5))
    share = spec.cores // depth
    for number in range(depth):
        out, tick = number == depth - 1, number + 1
        bits = int(rng.choice([1, 2, 4, 8]))
        low, high = (0, 2) if bits == 1 else (-(1 << (bits - 1)), 1 << (bits - 1))
        taken = 0
        parts = []
        for _ in range(int(rng.integers(1, share + 1))):
            fold = int(rng.choice([f for f in spec.folds if f * bits <= spec.columns]))
            most = min(spec.columns // (fold * bits), 24)
            size = int(rng.integers(1, most + 1))
            parts.append((fold, np.arange(taken, taken + size)))
            taken += size
        code = 0 if out else 1
        layers.append((f"layer{number}", taken, code, tick))
        for fold, elements in parts:
            heard: list[int] = []
            for source in rng.permutation(len(ticks)).tolist() * 2:
                near = ticks[source] >= 0 and tick - spec.max_delay <= ticks[source] < tick
                if near and tables[table_of[source]] and len(heard) < min(fold * spec.axons, 90) and rng.random() < 0.8:
                    tables[table_of[source]] -= 1
                    heard.append(source)
            if not heard:  # the tables are full: the encoder's never is
                heard = [0] if tick <= spec.max_delay else []
            weights = rng.integers(low, high, (len(heard), len(elements)))
            limit = 1 << (spec.potential_bits - 2)
            if len(heard) * (1 << (bits - 1)) > limit:
                weights = np.clip(weights, -(limit // len(heard)), limit // len(heard))
            reach = max(1, int(np.abs(weights).sum(axis=0).max(initial=1)) // 8)
            thresholds = [0] * len(elements) if out else rng.integers(-reach // 2, reach, len(elements)).tolist()
            cores.append(HandCore(number, weights, heard, thresholds, elements.tolist(), bits, fold))
            tables.append(spec.targets)
            ticks += [-1 if out else tick] * len(elements)
            table_of += [len(tables) - 1] * len(elements)
    return HandMap(features, levels, layers, cores, spec)


def frames(hand: HandMap, rng: np.random.Generator, count: int) -> np.ndarray:
    """Encoder spikes, uint8 (frames, E); thermometer-coded, a frame of nothing among them."""
    levels = rng.integers(0, hand.levels + 1, (count, hand.features))
    levels[rng.integers(count)] = 0
    return (levels[:, :, None] > np.arange(hand.levels)).reshape(count, -1).astype(np.uint8)
