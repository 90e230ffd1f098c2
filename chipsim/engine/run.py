"""Execute a mapping on a data set, and collect the result."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from chipsim.datasets import Dataset
from chipsim.engine.batches import batch_size, batches, processors
from chipsim.engine.count import IMAGE_COUNTS, Counts, ImageCounts
from chipsim.engine.engines import load_engine
from chipsim.engine.setup import Setup, open_dataset, set_up
from chipsim.engine.spool import Spool
from chipsim.mapping import Mapping
from chipsim.options import EngineOptions, RunKeywords, RunOptions, merged

Int = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LayerCount:
    """Counts of one layer over the run."""

    name: str
    neurons: int
    cores: int
    spikes: int
    sops: int


@dataclass(frozen=True, slots=True)
class CoreCount:
    """Counts of one core over the run."""

    id: int
    x: int
    y: int
    layer: str
    spikes: int
    sops: int
    axon_events: int


@dataclass(frozen=True, slots=True, eq=False)
class RunResult:
    """The result of a run, from which the JSON, the tables and the files are made; counts are totals."""

    model_sha256: str
    chip: str
    images: int
    accuracy: float | None
    ticks_per_image: int
    spikes: int
    encoder_spikes: int
    paper_sops: int | None
    sops: int
    axon_events: int
    column_operations: int
    packets: int
    relay_spikes: int
    relay_sops: int
    run_seconds: float
    load_seconds: float
    threads: int
    layers: tuple[LayerCount, ...]
    cores: tuple[CoreCount, ...]
    predictions: Int
    scores: npt.NDArray[np.float32]
    potentials: Int
    labels: Int | None
    engine: str = "reference"
    faults: dict[str, Any] | None = None  # what was broken; None: nobody asked
    floorplan: dict[str, Any] | None = None  # grid, ports, dead cores and links of the chip
    by_image: ImageCounts | None = None  # where asked for
    image_spikes: Int | None = None  # (images,), the encoder's included, relays' not; where asked for

    @property
    def image_paper_sops(self) -> Int | None:
        """Paper SOPs of each image, if requested."""
        return None if self.by_image is None else self.by_image.paper_sops

    @property
    def images_per_second(self) -> float:
        """Throughput from the encoder to the counters, without loading."""
        return self.images / self.run_seconds

    def to_json(self) -> dict[str, Any]:
        """Return the run's JSON: means per image, totals per core."""
        from dataclasses import asdict

        n = self.images
        return {
            "schema": "chipsim-run/1",
            "model_sha256": self.model_sha256,
            "chip": self.chip,
            "images": n,
            "accuracy": self.accuracy,
            "ticks_per_image": self.ticks_per_image,
            "spikes_per_image": self.spikes / n,
            "encoder_spikes_per_image": self.encoder_spikes / n,
            "paper_spikes_per_image": (self.spikes + self.encoder_spikes) / n,
            "sops_per_image": self.sops / n,
            "paper_sops_per_image": None if self.paper_sops is None else self.paper_sops / n,
            "axon_events_per_image": self.axon_events / n,
            "column_operations_per_image": self.column_operations / n,
            "packets_per_image": self.packets / n,
            "relay_spikes_per_image": self.relay_spikes / n,
            "relay_sops_per_image": self.relay_sops / n,
            "images_per_second": self.images_per_second,
            "load_seconds": self.load_seconds,
            "threads": self.threads,
            "engine": self.engine,
            "faults": self.faults,
            "timing": None,  # a run has no time: chipsim.timing.profile
            "energy": None,
            "floorplan": self.floorplan,
            "layers": [asdict(layer) for layer in self.layers],
            "cores": [asdict(core) for core in self.cores],
        }


def run(
    mapping: Mapping | str | Path,
    dataset: Dataset | str | Path,
    options: RunOptions | None = None,
    *,
    per_image: bool = False,
    warn: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **keywords: Unpack[RunKeywords],
) -> RunResult:
    """Execute a mapping on a data set.

    Parameters
    ----------
    mapping : Mapping or path
    dataset : Dataset, name or path
    options, **keywords
        One `RunOptions`, or its fields as keywords: ``run("lenet.map", "mnist", limit=100)``.
    per_image : bool
        Count spikes and operations of each image as well, core by core: `RunResult.by_image`.
    warn : callable, optional
        Called with one line if the fast engine is not available and the reference engine runs; by default the line is
        printed on standard error.
    progress : callable, optional
        Called with (images done, images in all).

    Raises
    ------
    UsageError, InputError, MappingError
    """
    options = merged(options or RunOptions(), keywords)
    setup, data = set_up(mapping, options), open_dataset(dataset, options)
    return execute(setup, data, options, per_image=per_image, warn=warn, progress=progress)


def execute(
    setup: Setup,
    dataset: Dataset,
    options: EngineOptions,
    *,
    per_image: bool = False,
    warn: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RunResult:
    """Like `run`, for a mapping and images that are loaded already."""
    start = time.perf_counter()
    mapping, host = setup.mapping, setup.host
    chosen = load_engine(options.engine, setup.damage, host, warn or _warn)
    load_seconds = setup.seconds + time.perf_counter() - start
    workers = options.threads or processors()
    size = options.batch or batch_size(chosen.batch, mapping.input)
    crew = [chosen.worker(setup.noise, setup.seed, per_image) for _ in range(min(workers, -(-len(dataset) // size)))]
    spools: dict[str, Spool] = defaultdict(Spool)
    relays = np.flatnonzero(mapping.relay_cores)
    start = time.perf_counter()
    done = 0
    for potentials, scores, predictions, each in batches(crew, host, dataset, size):
        spools["potentials"].add(potentials)
        spools["scores"].add(scores.astype(np.float32))
        spools["predictions"].add(predictions)
        for name in IMAGE_COUNTS if each is not None else ():
            spools[name].add(getattr(each, name))
        if each is not None:
            relayed = each.spikes[:, relays].sum(axis=1, dtype=np.int64)
            spools["image"].add(each.encoder_spikes + each.spikes.sum(axis=1, dtype=np.int64) - relayed)
        done += len(potentials)
        if progress is not None:
            progress(done, len(dataset))
    counted = chosen.counts(crew)
    seconds = time.perf_counter() - start
    found = {name: spool.array() for name, spool in spools.items()}
    result = _result(
        mapping, dataset, counted, found["potentials"], found["scores"], found["predictions"], chosen.name, seconds,
        load_seconds, workers,
    )  # fmt: skip
    if setup.faulty:
        result = replace(result, faults=dict(setup.damage.summary))
    if not per_image:
        return result
    by_image = ImageCounts(**{name: found[name] for name in IMAGE_COUNTS})
    return replace(result, by_image=by_image, image_spikes=found["image"])


def _warn(text: str) -> None:
    import sys

    print(text, file=sys.stderr)  # noqa: T201


def _result(
    m: Mapping,
    dataset: Dataset,
    c: Counts,
    potentials: Int,
    scores: npt.NDArray[Any],
    predictions: Int,
    engine: str,
    seconds: float,
    load_seconds: float,
    workers: int,
) -> RunResult:
    accuracy = None
    if dataset.labels is not None:
        accuracy = float((predictions == dataset.labels).mean())
    names = [layer.name for layer in m.layers]
    # a relay's spikes and SOPs are the mapping's, not the network's: in no other count
    spikes, sops = (np.where(m.relay_cores, 0, counts) for counts in (c.core_spikes, c.core_sops))
    cores = tuple(
        CoreCount(i, int(x), int(y), names[layer], int(s), int(o), int(e))
        for i, ((x, y), layer, s, o, e) in enumerate(
            zip(m.core_position, m.core_layer.tolist(), spikes, sops, c.core_events, strict=True)
        )
    )
    mine = [m.core_layer == number for number in range(len(m.layers))]
    layers = tuple(
        LayerCount(layer.name, layer.neurons, layer.cores, int(spikes[own].sum()), int(sops[own].sum()))
        for layer, own in zip(m.layers, mine, strict=True)
    )
    return RunResult(
        model_sha256=m.model_sha256,
        chip=m.chip.name,
        images=len(dataset),
        accuracy=accuracy,
        ticks_per_image=m.ticks,
        spikes=int(spikes.sum()),
        encoder_spikes=c.encoder_spikes,
        paper_sops=c.paper_sops,
        sops=int(sops.sum()),
        axon_events=int(c.core_events.sum()),
        column_operations=int((c.core_sops * m.core_weight_bits).sum()),
        packets=c.packets,
        relay_spikes=int((c.core_spikes - spikes).sum()),
        relay_sops=int((c.core_sops - sops).sum()),
        run_seconds=seconds,
        load_seconds=load_seconds,
        threads=workers,
        layers=layers,
        cores=cores,
        engine=engine,
        floorplan=m.chip.model_dump(mode="json", include={"grid", "ports", "dead_cores", "dead_links"}),
        predictions=predictions,
        scores=scores,
        potentials=potentials,
        labels=dataset.labels,
    )
