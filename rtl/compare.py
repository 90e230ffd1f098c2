"""Run the chip in SystemVerilog and chipsim side by side and compare every packet, neuron and tick.

    python rtl/compare.py traffics                              24 traffics on mesh.sv
    python rtl/compare.py map FILE.map --dataset NAME --limit N  a mapping on chip.sv, frames alone and a stream
    python rtl/compare.py random --maps 50                      seeded random mappings on five chips
    python rtl/compare.py hand                                   two mappings whose cycles the tests work out by hand
    python rtl/compare.py all                                    lint, and all of these: make rtl

Exits 1 on a difference, 3 where the SystemVerilog does not cover the chip.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import build
import cases
import expected
import memory
import numpy as np
from bench import Run, run_chip, run_mesh
from expected import Fired, Ticks

from chipsim.engine.host import load_host
from chipsim.engine.machine import load
from chipsim.engine.setup import open_dataset, open_mapping
from chipsim.mapping import Mapping, write_mapping
from chipsim.mapping.pixels import prepare
from chipsim.options import DataOptions
from chipsim.timing.network.mesh import Int
from chipsim.timing.network.simulate import simulate

#: cores up to which chip.sv is compiled as a whole; of a larger chip a tile is, and wired in C++
MOST_CORES = 20
#: images from which on it pays to let the C++ compiler optimise
MANY = 200
#: what is compared: columns of rows of `Ticks`, and what they say
ASPECTS = {
    "potentials": ("updates", (0, 1, 3), "neuron {1}: potential {2}"),
    "spikes": ("updates", (0, 1, 4), "neuron {1}: spike {2}"),
    "updates": ("updates", (0, 1, 2), "neuron {1}: updated in cycle {2}"),
    "sent": ("sent", (0, 1, 2, 3, 4, 5), "terminal {1}: cycle {2}: sent {what} {4} ({5})"),
    "ejected": ("ejected", (0, 1, 2, 3, 4, 5), "terminal {1}: cycle {2}: took {what} {4} ({5})"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """What was compared, and the first difference of each aspect that differs."""

    ticks: int
    values: int  # spikes and potentials
    packets: int
    cycles: int
    seconds: float
    differences: dict[str, str]  # where each aspect first differs
    differing: dict[str, int]  # rows that only one of the two has, by aspect

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def __str__(self) -> str:
        if not self.equal:
            counts = ", ".join(f"{count:,} {name}" for name, count in self.differing.items())
            first = "; ".join(f"{name}: {text}" for name, text in self.differences.items())
            return f"DIFFERS: {counts} of {self.packets:,} packets and {self.ticks:,} ticks; first: {first}"
        return (
            f"equal: {self.ticks:,} ticks, {self.values:,} potentials and spikes, {self.packets:,} packets; "
            f"{self.cycles:,} cycles in {self.seconds:.1f} s"
        )

    def __add__(self, other: Compared) -> Compared:
        aspects = {**self.differing, **other.differing}
        return Compared(
            ticks=self.ticks + other.ticks,
            values=self.values + other.values,
            packets=self.packets + other.packets,
            cycles=self.cycles + other.cycles,
            seconds=self.seconds + other.seconds,
            differences={**other.differences, **self.differences},
            differing={name: self.differing.get(name, 0) + other.differing.get(name, 0) for name in aspects},
        )


def compare(run: Run, wanted: Ticks) -> Compared:
    """Compare what the hardware did with what chipsim says."""
    found, differences, differing = run.ticks, {}, {}
    lengths = [np.stack([np.arange(len(of)), of], axis=1) for of in (found.lengths, wanted.lengths)]
    aspects = {
        name: (getattr(found, rows)[:, columns], getattr(wanted, rows)[:, columns], text)
        for name, (rows, columns, text) in ASPECTS.items()
    }
    for name, (mine, chipsim, text) in {**aspects, "ticks": (*lengths, "takes {1} cycles")}.items():
        said = _first(mine, chipsim, text)
        if said:
            differences[name] = said
            sides = [set(map(tuple, side.tolist())) for side in (mine, chipsim)]
            differing[name] = max(len(sides[0] - sides[1]), len(sides[1] - sides[0]))
    updates = len(wanted.updates)
    return Compared(
        len(wanted.lengths), 2 * updates, len(wanted.sent), int(found.lengths.sum()), run.seconds, differences, differing
    )


def _first(found: Int, wanted: Int, text: str) -> str:
    """Where two lists of rows first differ; empty if nowhere."""
    common = min(len(found), len(wanted))
    bad = np.flatnonzero((found[:common] != wanted[:common]).any(axis=1))
    if len(found) == len(wanted) and not len(bad):
        return ""
    at = int(bad[0]) if len(bad) else common
    sides = []
    for name, rows in (("hardware", found), ("chipsim", wanted)):
        row = rows[at].tolist() if at < len(rows) else None
        what = "" if row is None or len(row) < 4 else ("axon", "neuron")[row[3]]
        sides.append(f"{name}: " + ("nothing more" if row is None else f"tick {row[0]}: " + text.format(*row, what=what)))
    return ", ".join(sides)


def compare_mapping(
    mapping: Mapping,
    path: str | Path,
    encoder: Fired,
    *,
    tiles: bool = False,
    sources: Path = build.ROOT,
    optimise: str = "-O0",
) -> tuple[Compared, Compared]:
    """Run frames through a mapping, each alone and as a stream; ``path`` is its file."""
    fired, _ = load(mapping).step(np.ascontiguousarray(encoder.T))
    alone = run_chip(path, encoder, tiles=tiles, sources=sources, optimise=optimise)
    flow = run_chip(path, encoder, stream=True, tiles=tiles, sources=sources, optimise=optimise)
    return (
        compare(alone, expected.alone(mapping, np.ascontiguousarray(fired.T))),
        compare(flow, expected.stream(mapping, encoder)),
    )


def compare_made(
    hand: cases.HandMap, rng: np.random.Generator, count: int, *, tiles: bool = False, sources: Path = build.ROOT
) -> Compared:
    """Run frames through a mapping that was made by hand or at random, its cores at random places."""
    mapping = hand.build()
    width, height = mapping.chip.grid
    places = rng.permutation(width * height)[: mapping.cores]
    mapping.arrays["core_position"] = np.stack([places % width, places // width], axis=1).astype(np.int32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.map"
        write_mapping(mapping, path)
        alone, stream = compare_mapping(mapping, path, cases.frames(hand, rng, count), tiles=tiles, sources=sources)
    return alone + stream


def random_maps(
    count: int,
    seed: int,
    chips: tuple[str, ...] = tuple(cases.CHIPS),
    *,
    tiles: bool = False,
    sources: Path = build.ROOT,
    quiet: bool = False,
) -> Compared:
    """Compare so many random mappings, their chips in turn."""
    total = Compared(0, 0, 0, 0, 0.0, {}, {})
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        name = chips[number % len(chips)]
        found = compare_made(cases.random_map(rng, cases.chip(name)), rng, 8, tiles=tiles, sources=sources)
        if not (found.equal or quiet):
            print(f"random map {number} on chip {name}: {found}")  # noqa: T201
        total += found
    return total


def hand_maps() -> Compared:
    """Compare the mappings that the tests work out by hand."""
    rng = np.random.default_rng(0)
    found = compare_made(cases.two_cores(), rng, 6) + compare_made(cases.relayed(), rng, 6)
    print(f"hand-made mappings: {found}", flush=True)  # noqa: T201
    return found


def everything() -> bool:
    """Lint, build, run and compare; whether nothing differs."""
    warnings = build.lint("chip", {})
    print(warnings or "verilator --lint-only -Wall: no warning", flush=True)  # noqa: T201
    example = str(build.ROOT.parent / "mappings" / "tiny-mini.map")
    mapping = open_mapping(example)
    good = not warnings and not all_traffics() and hand_maps().equal
    for what, found in zip(
        ("frames alone", "a stream"),
        compare_mapping(mapping, example, encoder_spikes(mapping, "digits", DataOptions(limit=20))),
        strict=True,
    ):
        print(f"tiny-mini, 20 images of digits, {what}: {found}", flush=True)  # noqa: T201
        good &= found.equal
    for maps, chips, tiles in ((10, ("mini", "small"), False), (50, tuple(cases.CHIPS), True)):
        found = random_maps(maps, 0, chips, tiles=tiles)
        print(f"{maps} random mappings on {', '.join(chips)}{' (tiles)' * tiles}: {found}", flush=True)  # noqa: T201
        good &= found.equal
    return good


def all_traffics(sources: Path = build.ROOT, chosen: slice = slice(None)) -> list[str]:
    """Compare the traffics of the mesh; return what differs."""
    wrong = []
    for name, mesh, traffic in list(cases.traffics())[chosen]:
        wanted = simulate(mesh, traffic)
        sent, ejected = run_mesh(mesh, traffic, sources)
        bad = int(((sent != wanted.sent) | (ejected != wanted.ejected)).sum())
        said = (
            f"equal: {len(sent):,} packets in {wanted.end:,} cycles"
            if not bad
            else f"DIFFERS in {bad} of {len(sent)} packets"
        )
        print(f"{name}: {said}", flush=True)  # noqa: T201
        wrong += [name] * bool(bad)
    return wrong


def encoder_spikes(mapping: Mapping, dataset: str, options: DataOptions) -> Fired:
    """Return the encoder's spikes of a data set, (images, E)."""
    data = open_dataset(dataset, options)
    images = prepare(np.asarray(data.images[:]), mapping.input, data.name)
    return np.ascontiguousarray(load_host(mapping).spikes(images).T)


def main() -> int:
    """Entry point."""
    words = _parser().parse_args()
    if build.version() is None:
        print("verilator is not installed, so nothing is compared; Debian: apt-get install verilator")  # noqa: T201
        return 0 if words.what == "all" else 3
    if words.what == "all":
        return int(not everything())
    if words.what == "hand":
        return int(not hand_maps().equal)
    if words.what == "traffics":
        return int(bool(all_traffics()))
    if words.what == "random":
        found = random_maps(words.maps, words.seed, tuple(words.chips), tiles=words.tiles)
        print(f"{words.maps} random maps: {found}")  # noqa: T201
        return int(not found.equal)
    mapping = open_mapping(words.map)
    encoder = encoder_spikes(
        mapping, words.dataset, DataOptions(split=words.split, data_dir=words.data_dir, limit=words.limit)
    )
    try:
        start = time.perf_counter()
        tiles = words.tiles or mapping.chip.grid[0] * mapping.chip.grid[1] > MOST_CORES
        optimise = words.optimise or ("-O1" if tiles or len(encoder) > MANY else "-O0")
        alone, stream = compare_mapping(mapping, words.map, encoder, tiles=tiles, optimise=optimise)
        seconds = time.perf_counter() - start
    except memory.NotCovered as error:
        if words.json:
            print(json.dumps({"not_covered": str(error)}))  # noqa: T201
        else:
            print(f"{words.map}: {error}", file=sys.stderr)  # noqa: T201
        return 3
    if words.json:
        print(json.dumps(_json(len(encoder), alone, stream, seconds) | {"tiles": tiles}))  # noqa: T201
    else:
        print(f"{words.map}: frames alone: {alone}")  # noqa: T201
        print(f"{words.map}: a stream: {stream}")  # noqa: T201
    return int(not (alone.equal and stream.equal))


def _json(images: int, alone: Compared, stream: Compared, seconds: float) -> dict[str, object]:
    both = alone + stream
    return {
        "version": build.version(), "images": images, "seconds": seconds, "ticks": both.ticks, "values": both.values,
        "packets": both.packets, "cycles": both.cycles, "simulation_seconds": both.seconds, "differences": both.differences,
    }  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="what", required=True)
    verbs.add_parser("all", help="lint, build, run and compare")
    verbs.add_parser("traffics", help="24 traffics on the mesh alone")
    verbs.add_parser("hand", help="mappings that are worked out by hand")
    maps = verbs.add_parser("random", help="random mappings")
    maps.add_argument("--maps", type=int, default=50)
    maps.add_argument("--seed", type=int, default=0)
    maps.add_argument("--chips", nargs="+", default=list(cases.CHIPS), choices=list(cases.CHIPS))
    one = verbs.add_parser("map", help="a mapping and a data set")
    one.add_argument("map")
    one.add_argument("--dataset", default="digits")
    one.add_argument("--split", default="test")
    one.add_argument("--data-dir")
    one.add_argument("--limit", type=int)
    one.add_argument("--optimise", help="option of the C++ compiler; by default what is faster in all")
    for verb in (maps, one):
        verb.add_argument("--tiles", action="store_true", help="compile one tile and wire the others in C++")
    one.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
