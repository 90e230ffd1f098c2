"""Accuracy against the rate of a fault, over several seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chipsim.datasets import Dataset
from chipsim.engine.run import run
from chipsim.engine.setup import check_options, open_dataset, open_mapping
from chipsim.errors import InputError, UsageError
from chipsim.faults import KINDS, spiking
from chipsim.mapping import Mapping

#: kinds that say what a place is stuck at
STUCK = ("stuck_synapses", "stuck_axons")
#: what ``all`` means: noise of every layer, then every kind
ALL = (
    "noise=encoder", "noise", "dropped_packets", "dead_neurons", "stuck_synapses=0", "stuck_synapses=1", "stuck_axons=0",
    "stuck_axons=1", "flipped_thresholds", "dead_cores", "dead_links",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Point:
    """One run."""

    fault: str
    rate: float
    seed: int
    accuracy: float


@dataclass(frozen=True, slots=True)
class Mean:
    """A rate of a fault over its seeds; ``spread`` is the standard deviation of a sample, 0 of a single seed."""

    rate: float
    mean: float
    spread: float
    least: float
    most: float
    accuracies: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Sweep:
    """All runs, in the order of faults, rates, seeds."""

    model_sha256: str
    chip: str
    dataset: str
    images: int
    healthy: float  # accuracy with nothing broken
    points: tuple[Point, ...]

    def curves(self) -> dict[str, tuple[Mean, ...]]:
        """Means by fault, in the order of the rates."""
        found: dict[str, dict[float, list[float]]] = {}
        for point in self.points:
            found.setdefault(point.fault, {}).setdefault(point.rate, []).append(point.accuracy)
        return {fault: tuple(_mean(rate, values) for rate, values in rates.items()) for fault, rates in found.items()}

    def to_json(self) -> dict[str, Any]:
        """Return the sweep's JSON; accuracies are fractions."""
        from dataclasses import asdict

        return {
            "schema": "chipsim-sweep/1",
            "model_sha256": self.model_sha256,
            "chip": self.chip,
            "dataset": self.dataset,
            "images": self.images,
            "healthy": self.healthy,
            "curves": [
                {"fault": fault, "points": [{**asdict(mean), "accuracies": list(mean.accuracies)} for mean in means]}
                for fault, means in self.curves().items()
            ],
        }


def of_json(content: dict[str, Any]) -> Sweep:
    """Undo `Sweep.to_json`; the seeds are numbered from 0."""
    points = [
        Point(curve["fault"], float(mean["rate"]), seed, float(accuracy))
        for curve in content["curves"]
        for mean in curve["points"]
        for seed, accuracy in enumerate(mean["accuracies"])
    ]
    names = ("model_sha256", "chip", "dataset", "images", "healthy")
    return Sweep(**{name: content[name] for name in names}, points=tuple(points))


def _mean(rate: float, values: list[float]) -> Mean:
    found = np.array(values)
    spread = float(found.std(ddof=1)) if len(found) > 1 else 0.0
    return Mean(rate, float(found.mean()), spread, float(found.min()), float(found.max()), tuple(values))


def sweep(
    mapping: Mapping | str | Path,
    dataset: Dataset | str | Path,
    faults: Sequence[str],
    rates: Sequence[float],
    *,
    seeds: int = 5,
    seed: int = 0,
    split: str = "test",
    data_dir: str | Path | None = None,
    limit: int | None = None,
    threads: int | None = None,
    engine: str = "fast",
    warn: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:
    """Run a data set at each rate of each fault with each seed.

    Parameters
    ----------
    faults : sequence of str
        Kinds of a faults file (`ALL` are the single ones): ``noise`` is that of every layer, ``noise=NAME`` of one,
        ``stuck_axons=1`` says what they are stuck at, and without it both are done; ``all`` is everything.
    rates : sequence of float
        0 to 1.
    seeds : int
        How many; ``seed`` is the first.

    Raises
    ------
    UsageError, InputError, MappingError
    """
    kinds = parse_faults(faults)
    check_options(threads, None, 0.0, seed)
    check_options(threads, None, 0.0, seed + max(seeds, 1) - 1)
    for rate in rates:
        if not 0 <= rate <= 1:
            raise UsageError("--rates", f"{rate} is no rate; allowed: 0 to 1", code="rate-range", found=rate, allowed=[0, 1])
    if seeds < 1 or not rates:
        raise UsageError("--seeds" if seeds < 1 else "--rates", "at least one is needed", code="sweep-empty")
    program = open_mapping(mapping)
    _check_layers(kinds, program)
    data = open_dataset(dataset, split, data_dir, limit)
    if data.labels is None:
        raise InputError(data.name, "has no labels, and a sweep measures accuracy", code="data-labels")
    told: set[str] = set()

    def once(text: str) -> None:
        if text not in told:
            told.add(text)
            _say(warn, text)

    def accuracy(broken: dict[str, Any] | None) -> float:
        found = run(program, data, threads=threads, engine=engine, faults=broken, warn=once).accuracy
        assert found is not None
        return found

    healthy = accuracy(None)
    todo = list(_runs(kinds, list(dict.fromkeys(rates)), range(seed, seed + seeds)))
    points = []
    for done, (kind, rate, number) in enumerate(todo):
        points.append(Point(kind, rate, number, accuracy(faults_of(kind, rate, number)) if rate else healthy))
        if progress is not None:
            progress(done + 1, len(todo))
    return Sweep(program.model_sha256, program.chip.name, data.name, len(data), healthy, tuple(points))


def _check_layers(kinds: Sequence[str], m: Mapping) -> None:
    """Refuse noise of a layer that sends no spikes, before anything runs."""
    names = ["encoder", *(name for name in spiking(m) if name != "encoder")]
    for kind in kinds:
        name, _, layer = kind.partition("=")
        if name == "noise" and layer and layer not in names:
            raise UsageError(
                "--fault",
                f"{kind}: the mapping has no layer {layer!r} that sends spikes; allowed: {', '.join(names)}",
                code="faults-layer",
                found=layer,
                allowed=names,
            )


def _say(warn: Callable[[str], None] | None, text: str) -> None:
    import sys

    if warn is None:
        print(text, file=sys.stderr)  # noqa: T201
    else:
        warn(text)


def _runs(kinds: Sequence[str], rates: Sequence[float], seeds: range) -> Iterator[tuple[str, float, int]]:
    for kind in kinds:
        for rate in rates:
            for number in seeds:
                yield kind, rate, number


def faults_of(kind: str, rate: float, seed: int) -> dict[str, Any]:
    """What a faults file says for one run of a sweep."""
    name, _, value = kind.partition("=")
    if name == "noise" and value:
        return {"noise": {value: rate}, "seed": seed}
    entry: dict[str, Any] = {"rate": rate, "seed": seed}
    return {name: {**entry, "at": int(value)} if value else entry}


def parse_faults(names: Sequence[str]) -> tuple[str, ...]:
    """Kinds to sweep, each once, as the CSV calls them; names may be joined by commas and written with a dash.

    Raises
    ------
    UsageError
        There is no such kind.
    """
    found: list[str] = []
    for text in (part.strip() for name in names for part in name.split(",")):
        name, equals, value = text.partition("=")
        name = name.replace("-", "_")
        if text == "all":
            found += ALL
        elif name in STUCK and not equals:
            found += [f"{name}=0", f"{name}=1"]
        elif (name in KINDS and not equals) or (name in STUCK and value in ("0", "1")) or (name == "noise" and value):
            found.append(f"{name}{equals}{value}")
        else:
            raise UsageError(
                "--fault",
                f"{text!r} is no kind of fault; allowed: all, {', '.join(KINDS)}, noise=LAYER, "
                f"{' and '.join(f'{kind}=0 or =1' for kind in STUCK)}",
                code="fault-unknown",
                found=text,
                allowed=["all", *KINDS],
            )
    if not found:
        raise UsageError("--fault", "at least one is needed", code="sweep-empty")
    return tuple(dict.fromkeys(found))


def parse_rates(text: str) -> tuple[float, ...]:
    """Rates that stand in a row, with commas between them.

    Raises
    ------
    UsageError
        One is no number.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            "--rates", f"{text!r} is no list of rates; allowed: numbers from 0 to 1, as in 0,0.01,0.1", code="rate-range"
        ) from None
