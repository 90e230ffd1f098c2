"""Running a data set through a mapping, and what comes of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.datasets import Dataset, load_dataset
from chipsim.engine.host import Host, load_host, lose
from chipsim.engine.machine import Machine, load
from chipsim.errors import InputError, UsageError
from chipsim.mapping import Mapping, read_mapping, validate_mapping
from chipsim.mapping.pixels import prepare

Int = npt.NDArray[np.int64]
DEFAULT_BATCH = 100
#: sources whose spikes are held as floats at a time
SHARE = 1 << 14


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
    """What a run gave: the JSON, every table and every file are drawn from it. Counts are totals over the run."""

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
    image_spikes: Int | None = None  # (images,), the encoder's included; where asked for
    image_paper_sops: Int | None = None

    @property
    def images_per_second(self) -> float:
        """Encoder through counters, without loading."""
        return self.images / self.run_seconds

    def to_json(self) -> dict[str, Any]:
        """Return the run's JSON: means an image, totals a core."""
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
            "layers": [asdict(layer) for layer in self.layers],
            "cores": [asdict(core) for core in self.cores],
        }


def run(
    mapping: Mapping | str | Path,
    dataset: Dataset | str | Path,
    *,
    split: str = "test",
    data_dir: str | Path | None = None,
    limit: int | None = None,
    threads: int | None = None,
    batch: int = DEFAULT_BATCH,
    noise: float = 0.0,
    seed: int = 0,
    per_image: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> RunResult:
    """Execute a mapping on a data set.

    Parameters
    ----------
    mapping : Mapping or path
    dataset : Dataset, name or path
    threads : int, optional
        All processors by default. Neither it nor ``batch`` changes any result.
    noise : float
        Probability with which each encoder spike is lost.
    per_image : bool
        Count spikes and the paper's SOPs of each image too.
    progress : callable, optional
        Called with (images done, images in all).

    Raises
    ------
    UsageError, InputError, MappingError
    """
    check_options(threads, batch, noise, seed)
    start = time.perf_counter()
    mapping = open_mapping(mapping)
    machine, host = load(mapping), load_host(mapping)
    load_seconds = time.perf_counter() - start
    dataset = open_dataset(dataset, split, data_dir, limit)
    workers = threads or os.cpu_count() or 1
    totals = np.zeros(machine.sources, np.int64)
    by_image: list[tuple[Int, Int]] = []
    potentials: list[Int] = []
    scores: list[npt.NDArray[Any]] = []
    start = time.perf_counter()
    done = 0
    for fired, each, read, out in _batches(machine, host, dataset, batch, workers, noise, seed, per_image):
        totals += fired
        by_image += [each] if each is not None else []
        potentials.append(read)
        scores.append(out)
        done += len(read)
        if progress is not None:
            progress(done, len(dataset))
    counted = _count(mapping, totals)
    seconds = time.perf_counter() - start
    result = _result(
        mapping, dataset, counted, np.concatenate(potentials), np.concatenate(scores), seconds, load_seconds, workers
    )
    if not per_image:
        return result
    spikes, paper_sops = (np.concatenate(part) for part in zip(*by_image, strict=True))
    return replace(result, image_spikes=spikes, image_paper_sops=paper_sops)


def open_mapping(mapping: Mapping | str | Path) -> Mapping:
    """Read a mapping, or check one that was made in memory: nothing runs that breaks a rule of the format."""
    if not isinstance(mapping, Mapping):
        return read_mapping(mapping)
    validate_mapping(mapping)
    return mapping


def open_dataset(dataset: Dataset | str | Path, split: str, data_dir: str | Path | None, limit: int | None) -> Dataset:
    """Load a data set, or the first images of one that is loaded; never an empty one."""
    if limit is not None and limit < 1:
        raise UsageError("--limit", f"{limit} is below 1", code="limit-invalid", found=limit, allowed=">= 1")
    if not isinstance(dataset, Dataset):
        dataset = load_dataset(dataset, split, data_dir)
    dataset = dataset.head(limit)
    if not len(dataset):
        raise InputError(dataset.name, "holds no images; at least one is needed", code="data-empty")
    if dataset.labels is not None and dataset.labels.shape != (len(dataset),):
        raise InputError(
            dataset.name, f"labels have shape {dataset.labels.shape}; needed: ({len(dataset)},)", code="data-labels"
        )
    return dataset


def check_options(threads: int | None, batch: int, noise: float, seed: int) -> None:
    """Refuse options that mean nothing."""
    limits = (
        ("--threads", threads is None or threads >= 1, threads, ">= 1"),
        ("--batch", batch >= 1, batch, ">= 1"),
        ("--noise", 0.0 <= noise <= 1.0, noise, "0 to 1"),
        ("--seed", 0 <= seed < 1 << 63, seed, "0 to 2**63 - 1"),
    )
    for option, good, found, allowed in limits:
        if not good:
            raise UsageError(option, f"is {found}; allowed: {allowed}", code="option-range", found=found, allowed=allowed)


#: spike totals a source; spikes and the paper's SOPs an image, if asked for; potentials; scores
_Batch = tuple[Int, tuple[Int, Int] | None, Int, npt.NDArray[Any]]


def _batches(
    machine: Machine, host: Host, dataset: Dataset, batch: int, workers: int, noise: float, seed: int, per_image: bool
) -> Iterator[_Batch]:
    """What each batch gives, in order; a few batches are under way at a time."""
    from threadpoolctl import threadpool_limits

    def one(first: int) -> _Batch:
        images = prepare(dataset.images[first : first + batch], machine.mapping.input, dataset.name)
        sent = host.spikes(images)
        if noise:
            sent = lose(sent, first, noise, seed)
        spikes, potentials = machine.step(sent)
        each = _per_image(machine.mapping, spikes) if per_image else None
        return spikes.sum(axis=1, dtype=np.int64), each, potentials, host.scores(potentials)

    starts = range(0, len(dataset), batch)
    with threadpool_limits(limits=1, user_api="blas"):
        if workers == 1 or len(starts) == 1:
            yield from map(one, starts)
            return
        pool = ThreadPoolExecutor(workers)
        try:
            waiting: list[Future[_Batch]] = []
            for first in starts:
                waiting.append(pool.submit(one, first))
                while len(waiting) > 2 * workers:
                    wait(waiting[:1], return_when=FIRST_COMPLETED)
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, slots=True, eq=False)
class _Counts:
    encoder_spikes: int
    paper_sops: int | None
    packets: int
    core_spikes: Int
    core_sops: Int
    core_events: Int


def _per_image(m: Mapping, spikes: npt.NDArray[np.uint8]) -> tuple[Int, Int]:
    """Spikes of all sources but relays, and the paper's SOPs of each image, a share of the sources at a time."""
    paper = np.zeros(spikes.shape[1])
    for start in range(0, len(spikes), SHARE):
        part = slice(start, start + SHARE)
        paper += m.dense_fanout[part].astype(np.float64) @ spikes[part].astype(np.float64)
    counted = spikes.sum(axis=0, dtype=np.int64)
    relays = m.encoder_neurons + np.flatnonzero(np.repeat(m.relay_cores, np.diff(m.neuron_offset)))
    return counted - spikes[relays].sum(axis=0, dtype=np.int64), 2 * paper.astype(np.int64)


def _per_core(values: Int, offset: Int) -> Int:
    """Sums of the values between the offsets; a core without axons has 0."""
    return np.asarray(np.diff(np.concatenate([[0], np.cumsum(values)])[offset]), np.int64)


def _count(m: Mapping, totals: Int) -> _Counts:
    """Every counter is linear in how often each source fired, so totals give them exactly."""
    arrivals = totals[m.axon_source]
    fanout = np.concatenate([np.count_nonzero(m.crossbar(k), axis=1) for k in range(len(m.crossbar_shape))])
    first = np.concatenate([[0], np.cumsum(m.crossbar_shape[:, 0])])[m.core_crossbar]
    core = np.repeat(np.arange(m.cores), np.diff(m.axon_offset))
    row = np.arange(len(arrivals)) - m.axon_offset[core] + first[core]
    paper = m.dense_fanout.astype(np.int64)
    return _Counts(
        encoder_spikes=int(totals[: m.encoder_neurons].sum()),
        paper_sops=2 * int(totals @ paper) if paper.any() else None,
        packets=int(totals @ np.diff(m.target_offset)),
        core_spikes=_per_core(totals[m.encoder_neurons :], m.neuron_offset),
        core_sops=_per_core(arrivals * fanout[row], m.axon_offset),
        core_events=_per_core(arrivals, m.axon_offset),
    )


def _result(
    m: Mapping,
    dataset: Dataset,
    c: _Counts,
    potentials: Int,
    scores: npt.NDArray[Any],
    seconds: float,
    load_seconds: float,
    workers: int,
) -> RunResult:
    flat = scores.reshape(len(scores), -1)
    # an output that is already a class number is its own prediction; otherwise the largest score, ties to the lowest index
    predictions = flat[:, 0] if flat.shape[1] == 1 and flat.dtype.kind == "i" else flat.argmax(axis=1)
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
        predictions=predictions.astype(np.int64),
        scores=scores.astype(np.float32),
        potentials=potentials,
        labels=dataset.labels,
    )
