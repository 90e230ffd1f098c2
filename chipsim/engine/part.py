"""Execute consecutive images of a data set with an engine that is loaded: a whole run, or a shard of one."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.datasets import Dataset
from chipsim.engine.batches import batch_size, batches, processors
from chipsim.engine.count import Counts, ImageCounts
from chipsim.engine.engines import load_engine
from chipsim.engine.exceeded import Watch, watch
from chipsim.engine.protocol import Engine
from chipsim.engine.setup import Setup
from chipsim.engine.shared_counts import SharedCounts
from chipsim.engine.spool import Spool
from chipsim.mapping import Mapping
from chipsim.mapping.program import RELAY
from chipsim.options import EngineOptions


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run keeps beside predictions, scores, potentials and totals."""

    per_image: bool = False  # counts of each image, core by core
    trains: bool = False  # the spikes of each neuron in each step


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What was counted on some images: totals, and arrays with a row for each image."""

    engine: str  # that ran
    counts: Counts
    arrays: dict[str, npt.NDArray[Any]]
    seconds: float
    watched: tuple[str, ...] = ()  # populations that the columns of ``exceeded`` stand for
    by_image: ImageCounts | SharedCounts | None = None  # where asked for


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A mapping with an engine that is loaded, for any number of parts."""

    setup: Setup
    engine: Engine
    watched: Watch | None  # None: no activation is limited, or a chip with faults computes something else
    wanted: Wanted

    @property
    def keeps(self) -> bool:
        """Whether the engine keeps what each source sends."""
        return self.wanted.trains or (self.watched is not None and self.watched.needs_spikes)


def prepare_engine(
    setup: Setup, options: EngineOptions, wanted: Wanted, warn: Callable[[str], None], *, images: int | None = None
) -> Prepared:
    """Load the engine that the options name; ``images`` is how many it will get in all, where that is known."""
    watched = None if setup.faulty else watch(setup.host)
    keeps = wanted.trains or (watched is not None and watched.needs_spikes)
    batch = min((number for number in (options.batch, images) if number), default=None)
    engine = load_engine(options.engine, setup.damage, setup.host, warn, trains=keeps, noisy=bool(setup.noise), batch=batch)
    return Prepared(setup, engine, watched, wanted)


def run_part(
    prepared: Prepared,
    dataset: Dataset,
    options: EngineOptions,
    *,
    first: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Part:
    """Execute a data set whose first image is number ``first``, which determines the random draws of noise and faults."""
    setup, engine, wanted = prepared.setup, prepared.engine, prepared.wanted
    mapping = setup.mapping
    size = options.batch or batch_size(engine.batch, mapping.input)
    workers = min(options.threads or processors(), -(-len(dataset) // size))
    crew = [engine.worker(setup.noise, setup.seed, wanted.per_image, prepared.keeps) for _ in range(workers)]
    spools: dict[str, Spool] = defaultdict(lambda: Spool(len(dataset)))
    counted: dict[str, Spool] = defaultdict(lambda: Spool(len(dataset)))
    if wanted.per_image and (whole := crew[0].room(len(dataset))) is not None:
        counted |= {name: Spool(whole=array) for name, array in whole.arrays().items()}
        for worker in crew:
            worker.count_into(whole, first)
    each: ImageCounts | SharedCounts | None = None
    start = time.perf_counter()
    done = 0
    for batch in batches(crew, setup.host, dataset, size, prepared.watched, first):
        spools["potentials"].add(batch.potentials)
        spools["scores"].add(batch.scores.astype(np.float32))
        spools["predictions"].add(batch.predictions)
        if batch.counts is not None:
            each = batch.counts.silenced(mapping.passing_cores)
            for name, rows in each.arrays().items():
                counted[name].add(rows)
            spools["image"].add(each.sent())
        if batch.exceeded is not None:
            spools["exceeded"].add(batch.exceeded)
        if wanted.trains and batch.trains is not None:
            for name, part in layer_trains(mapping, batch.trains).items():
                spools[f"spikes_{name}"].add(part)
        done += len(batch.potentials)
        if progress is not None:
            progress(done, len(dataset))
    counts = engine.counts(crew)
    seconds = time.perf_counter() - start
    watched = () if prepared.watched is None else tuple(prepared.watched.names)
    arrays = {name: spool.array() for name, spool in spools.items()}
    if each is not None:
        arrays_of: dict[str, Any] = {name: spool.array() for name, spool in counted.items()}
        each = replace(each, **arrays_of)
    return Part(engine.name, counts, arrays, seconds, watched, each)


def layer_trains(m: Mapping, spikes: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.uint8]]:
    """Return what the neurons of each population sent, uint8 (images, steps, *shape), or with levels (..., *shape, levels).

    Neurons that were removed send nothing. Relays are no population of the network.
    """
    steps, _, images = spikes.shape
    found = {}
    owner = np.repeat(m.core_layer, np.diff(m.neuron_offset))
    for number, entry in enumerate((m.encoder, *m.layers), -1):
        if entry.levels == 0 or getattr(entry, "kind", "") == RELAY:
            continue
        if number < 0:
            own, element = np.arange(m.encoder_neurons), np.arange(m.encoder_neurons)
        else:
            mine = np.flatnonzero(owner == number)
            own, element = m.encoder_neurons + mine, m.neuron_element[mine]
        shape = entry.shape if entry.levels == 1 else (*entry.shape, entry.levels)
        train = np.zeros((images, steps, int(np.prod(shape))), np.uint8)
        train[:, :, element] = spikes[:, own].transpose(2, 0, 1)
        found[entry.name] = train.reshape(images, steps, *shape)
    return found
