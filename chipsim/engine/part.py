"""Execute consecutive images of a data set with an engine that is loaded: a whole run, or a shard of one."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.datasets import Dataset
from chipsim.engine.batches import batch_size, batches, processors
from chipsim.engine.count import IMAGE_COUNTS, Counts, ImageCounts
from chipsim.engine.engines import load_engine
from chipsim.engine.exceeded import Watch, watch
from chipsim.engine.protocol import Engine
from chipsim.engine.setup import Setup
from chipsim.engine.spool import IN_MEMORY, Spool
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
    if wanted.per_image and 4 * len(dataset) * mapping.cores <= IN_MEMORY:
        whole = ImageCounts.empty(len(dataset), mapping.cores)
        spools |= {name: Spool(whole=getattr(whole, name)) for name in IMAGE_COUNTS}
        for worker in crew:
            worker.count_into(whole, first)
    passing = np.flatnonzero(mapping.passing_cores)
    start = time.perf_counter()
    done = 0
    for batch in batches(crew, setup.host, dataset, size, prepared.watched, first):
        spools["potentials"].add(batch.potentials)
        spools["scores"].add(batch.scores.astype(np.float32))
        spools["predictions"].add(batch.predictions)
        if batch.counts is not None:
            each = batch.counts
            each.spikes[:, passing], each.sops[:, passing] = 0, 0  # in no count of the network
            for name in IMAGE_COUNTS:
                spools[name].add(getattr(each, name))
            spools["image"].add(each.encoder_spikes + each.spikes.sum(axis=1, dtype=np.int64))
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
    return Part(engine.name, counts, {name: spool.array() for name, spool in spools.items()}, seconds, watched)


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
