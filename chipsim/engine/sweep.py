"""Measure accuracy against the rate of a fault, over several seeds."""

from __future__ import annotations

from collections import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from chipsim import ranges
from chipsim.datasets import Dataset
from chipsim.engine.batches import processors
from chipsim.engine.origin import origin
from chipsim.engine.run import execute
from chipsim.engine.setup import open_dataset, open_mapping, set_up
from chipsim.errors import InputError, UsageError
from chipsim.faults import KINDS, spiking
from chipsim.mapping import Mapping as ChipMapping
from chipsim.options import EngineKeywords, EngineOptions, RunOptions, check_seed, merged
from chipsim.tasks import Kept

#: kinds that say what a place is stuck at
STUCK = ("stuck_synapses", "stuck_axons")
#: what ``all`` means: noise of every layer, then every kind
ALL = (
    "noise=encoder", "noise", "dropped_packets", "dead_neurons", "stuck_synapses=0", "stuck_synapses=1", "stuck_axons=0",
    "stuck_axons=1", "flipped_thresholds", "dead_cores", "dead_links",
)  # fmt: skip

#: kind, rate and seed of a run
Run = tuple[str, float, int]
#: runs and the faults of each
Broken = dict[Run, dict[str, Any] | None]
#: the run with nothing broken
HEALTHY: Run = ("", 0.0, 0)


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
    failed: tuple[str, ...] = ()  # runs that ended every worker of a cluster: there is no point of them
    made: tuple[Callable[[], dict[str, Any]], ...] = field(default=(), compare=False)  # tell the provenance of its parts

    @property
    def provenance(self) -> list[dict[str, Any]]:
        """What made each sweep that this one was put together from: version, hashes, data set, options, time."""
        return [each() for each in self.made]

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
            **({"failed": list(self.failed)} if self.failed else {}),
            **({"provenance": self.provenance[0]} if len(self.made) == 1 else {}),
            "curves": [
                {"fault": fault, "points": [{**asdict(mean), "accuracies": list(mean.accuracies)} for mean in means]}
                for fault, means in self.curves().items()
            ],
        }


def _mean(rate: float, values: list[float]) -> Mean:
    found = np.array(values)
    spread = float(found.std(ddof=1)) if len(found) > 1 else 0.0
    return Mean(rate, float(found.mean()), spread, float(found.min()), float(found.max()), tuple(values))


def sweep(
    mapping: ChipMapping | str | Path,
    dataset: Dataset | str | Path,
    faults: Sequence[str],
    rates: Sequence[float] | Mapping[str, Sequence[float]],
    options: EngineOptions | None = None,
    *,
    seeds: int = 5,
    seed: int = 0,
    warn: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    kept: Kept | None = None,
    **keywords: Unpack[EngineKeywords],
) -> Sweep:
    """Run a data set at each rate of each fault with each seed.

    Parameters
    ----------
    faults : sequence of str
        Kinds of a faults file (`ALL` lists them): ``noise`` affects every layer and ``noise=NAME`` one of them;
        ``stuck_axons=1`` sets the value that bits are stuck at, and without it both are run; ``all`` means every kind.
    rates : sequence of float, or dict
        0 to 1: of every kind, or for each kind its own.
    options, **keywords
        One `EngineOptions`, or its fields as keywords.
    seeds, seed : int
        Number of seeds, and the first of them; at most `ranges.RUNS` runs in all.
    kept : Kept, optional
        Who computes the runs, each a task, and keeps their results (`chipsim.cluster.computing`); by default nothing is
        kept and the runs are made here.

    Raises
    ------
    UsageError, InputError, MappingError
    """
    options = merged(options or EngineOptions(), keywords)
    kinds = parse_faults(faults)
    each = rates if isinstance(rates, abc.Mapping) else dict.fromkeys(kinds, rates)
    points = [(kind, rate) for kind in kinds for rate in dict.fromkeys(each[kind])]
    _check_runs([rate for _, rate in points], seeds, seed)
    runs = len(points) * seeds
    if runs > ranges.RUNS:
        text = f"makes {runs:,} runs with {len(points):,} rates of {len(kinds)} faults; allowed: {ranges.RUNS:,}"
        raise UsageError("--seeds", text, code="option-value", found=runs, allowed=ranges.RUNS)
    program = open_mapping(mapping)
    _check_layers(kinds, program)
    data = open_dataset(dataset, options)
    if data.labels is None:
        raise InputError(data.name, "has no labels; a sweep measures accuracy and needs them", code="data-labels")
    planned = [(*point, number) for point in points for number in range(seed, seed + seeds)]
    broken = {run: faults_of(*run) for run in planned if run[1]} | {HEALTHY: None}
    found = _measured(mapping, program, dataset, data, broken, options, kept, warn, progress)
    healthy = found[HEALTHY]
    if healthy is None:
        raise InputError("cluster", "the run with nothing broken ended every worker", code="cluster-unavailable")
    values = {run: found.get(run, healthy) for run in planned}
    known = tuple(Point(*run, value) for run, value in values.items() if value is not None)
    failed = tuple(_label(run) for run, value in values.items() if value is None)
    made = origin(
        mapping, dataset, data, options, model_sha256=program.model_sha256, chip=program.chip.name,
        rates={kind: list(each[kind]) for kind in kinds}, seed=seed, seeds=seeds, threads=options.threads or processors(),
    )  # fmt: skip
    return Sweep(program.model_sha256, program.chip.name, data.name, len(data), healthy, known, failed, (made,))


def _measured(
    mapping: ChipMapping | str | Path, program: ChipMapping, dataset: Dataset | str | Path, data: Dataset, broken: Broken,
    options: EngineOptions, kept: Kept | None, warn: Callable[[str], None] | None,
    progress: Callable[[int, int], None] | None,
) -> dict[Run, float | None]:  # fmt: skip
    """Return the accuracy of each run; None of one that ended every worker."""
    if kept is None:
        given, tell, found = RunOptions(**vars(options)), _once(warn), dict[Run, float | None]()
        for each, faults in broken.items():
            broken_chip = replace(given, faults=faults)
            found[each] = execute(set_up(program, broken_chip), data, broken_chip, warn=tell).accuracy
            if progress is not None:
                progress(len(found), len(broken))
        return found
    from chipsim.engine.accuracies import accuracies

    source = program if isinstance(mapping, ChipMapping) else str(mapping)
    images = str(dataset) if not isinstance(dataset, Dataset) and str(dataset).endswith(".npz") else data
    labelled = {_label(each): faults for each, faults in broken.items()}
    values = accuracies(source, images, labelled, options, kept, progress)
    return dict(zip(broken, values, strict=True))


def _label(run: Run) -> str:
    """Name a run."""
    return "nothing broken" if run == HEALTHY else f"{run[0]} at rate {run[1]:g}, seed {run[2]}"


def _check_runs(rates: Sequence[float], seeds: int, seed: int) -> None:
    """Refuse rates that are no probability, and an empty sweep."""
    check_seed(seed)
    check_seed(seed + max(seeds, 1) - 1)
    for rate in rates:
        if not 0 <= rate <= 1:
            raise UsageError("--rates", f"is {rate}; allowed: 0 to 1", code="option-value", found=rate, allowed=[0, 1])
    if seeds < 1 or not rates:
        raise UsageError("--seeds" if seeds < 1 else "--rates", "at least one is required", code="option-value")


def _once(warn: Callable[[str], None] | None) -> Callable[[str], None]:
    """Pass each warning on once; by default to standard error."""
    told: set[str] = set()

    def tell(text: str) -> None:
        if text not in told:
            told.add(text)
            (warn or _print)(text)

    return tell


def _print(text: str) -> None:
    import sys

    print(text, file=sys.stderr)  # noqa: T201


def _check_layers(kinds: Sequence[str], m: ChipMapping) -> None:
    """Refuse noise of a layer that sends no spikes, before anything runs."""
    names = ["encoder", *(name for name in spiking(m) if name != "encoder")]
    for kind in kinds:
        name, _, layer = kind.partition("=")
        if name == "noise" and layer and layer not in names:
            raise UsageError(
                "--fault",
                f"{kind}: the mapping has no layer {layer!r} that sends spikes; allowed: {', '.join(names)}",
                code="layer-unknown",
                found=layer,
                allowed=names,
            )


def faults_of(kind: str, rate: float, seed: int) -> dict[str, Any]:
    """Return the content of a faults file for one run of a sweep."""
    name, _, value = kind.partition("=")
    if name == "noise" and value:
        return {"noise": {value: rate}, "seed": seed}
    entry: dict[str, Any] = {"rate": rate, "seed": seed}
    return {name: {**entry, "at": int(value)} if value else entry}


def parse_faults(names: Sequence[str]) -> tuple[str, ...]:
    """Parse kinds of faults, each once; names may be joined by commas and written with dashes.

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
                f"unknown fault {text!r}; expected all, {', '.join(KINDS)}, noise=LAYER, "
                f"{' and '.join(f'{kind}=0 or =1' for kind in STUCK)}",
                code="option-value",
                found=text,
                allowed=["all", *KINDS],
            )
    if not found:
        raise UsageError("--fault", "at least one is required", code="option-value")
    return tuple(dict.fromkeys(found))


def parse_rates_of(texts: Sequence[str], kinds: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Parse R,R,... for every kind of fault, and KIND=R,R,... for one; ``stuck_axons=R,R`` is for both values.

    Raises
    ------
    UsageError
        A rate is no number, or a kind has no rates or is not among those that are swept.
    """
    found: dict[str, tuple[float, ...]] = {}
    for text in texts:
        name, _, numbers = text.rpartition("=")
        for kind in parse_faults([name]) if name else [""]:
            if kind and kind not in kinds:
                said = f"names {kind}, which is not swept; allowed: {', '.join(kinds)}"
                raise UsageError("--rates", said, code="option-value", found=kind, allowed=list(kinds))
            if kind in found:
                said = f"has two lists for {kind or 'every kind'}; give it one"
                raise UsageError("--rates", said, code="options-conflict", found=text)
            found[kind] = parse_rates(numbers)
    lacking = next((kind for kind in kinds if kind not in found and "" not in found), None)
    if lacking is not None:
        said = f"has none for {lacking}; add --rates {lacking}=R,R,... or a list for every kind"
        raise UsageError("--rates", said, code="option-value", found=lacking)
    return {kind: found[kind] if kind in found else found[""] for kind in kinds}


def parse_rates(text: str) -> tuple[float, ...]:
    """Parse a comma-separated list of rates.

    Raises
    ------
    UsageError
        One is no number.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            "--rates", f"is {text!r}; allowed: numbers from 0 to 1, such as 0,0.01,0.1", code="option-value"
        ) from None
