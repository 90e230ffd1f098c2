"""Execute a mapping on a data set, and collect the result."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from chipsim.datasets import Dataset
from chipsim.engine.batches import batch_size, batches, processors
from chipsim.engine.count import IMAGE_COUNTS, Counts, ImageCounts
from chipsim.engine.engines import load_engine
from chipsim.engine.exceeded import watch
from chipsim.engine.paicore.run import refuse_crossbar_options, run_program
from chipsim.engine.result import CoreCount, Exceeded, LayerCount, RunResult
from chipsim.engine.setup import Setup, check_labels, open_dataset, set_up
from chipsim.engine.spool import Spool
from chipsim.mapping import Mapping
from chipsim.mapping.program import RELAY
from chipsim.options import EngineOptions, RunKeywords, RunOptions, merged
from chipsim.paicore import Program
from chipsim.paicore.kind import is_program

Int = npt.NDArray[np.int64]


def run(
    mapping: Mapping | Program | str | Path,
    dataset: Dataset | str | Path,
    options: RunOptions | None = None,
    *,
    per_image: bool = False,
    trains: bool = False,
    warn: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **keywords: Unpack[RunKeywords],
) -> RunResult:
    """Execute a mapping, or a program of PAICORE 2.5, on a data set.

    Parameters
    ----------
    mapping : Mapping, Program, or path of a ``.map`` or ``.paicore``
    dataset : Dataset, name or path
    options, **keywords
        One `RunOptions`, or its fields as keywords: ``run("lenet.map", "mnist", limit=100)``.
    per_image : bool
        Count spikes and operations of each image as well, core by core: `RunResult.by_image`.
    trains : bool
        Keep what each neuron sent in each step of each image: `RunResult.trains`; of a mapping only.
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
    if isinstance(mapping, Program) or (not isinstance(mapping, Mapping) and is_program(mapping)):
        refuse_crossbar_options({"--trains": trains or None})
        return run_program(mapping, dataset, options, per_image=per_image, warn=warn, progress=progress)
    setup, data = set_up(mapping, options), open_dataset(dataset, options)
    return execute(setup, data, options, per_image=per_image, trains=trains, warn=warn, progress=progress)


def execute(
    setup: Setup,
    dataset: Dataset,
    options: EngineOptions,
    *,
    per_image: bool = False,
    trains: bool = False,
    warn: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RunResult:
    """Like `run`, for a mapping and images that are loaded already."""
    start = time.perf_counter()
    mapping, host = setup.mapping, setup.host
    check_labels(dataset, math.prod(mapping.output_shape))
    watched = None if setup.faulty else watch(host)  # a chip with faults computes something else
    keeps = trains or (watched is not None and watched.needs_spikes)
    chosen = load_engine(options.engine, setup.damage, host, warn or _warn, trains=keeps)
    load_seconds = setup.seconds + time.perf_counter() - start
    workers = options.threads or processors()
    size = options.batch or batch_size(chosen.batch, mapping.input)
    crew = [chosen.worker(setup.noise, setup.seed, per_image, keeps) for _ in range(min(workers, -(-len(dataset) // size)))]
    spools: dict[str, Spool] = defaultdict(Spool)
    passing = np.flatnonzero(mapping.passing_cores)
    start = time.perf_counter()
    done = 0
    for batch in batches(crew, host, dataset, size, watched):
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
        if trains and batch.trains is not None:
            for name, part in layer_trains(mapping, batch.trains).items():
                spools[f"spikes_{name}"].add(part)
        done += len(batch.potentials)
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
    if watched is not None:
        result = replace(result, exceeded=Exceeded.of(watched.names, found["exceeded"]))
    if trains:
        result = replace(result, trains={name[7:]: found[name] for name in found if name.startswith("spikes_")})
    if not per_image:
        return result
    by_image = ImageCounts(**{name: found[name] for name in IMAGE_COUNTS})
    return replace(result, by_image=by_image, image_spikes=found["image"])


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
    # what only passes spikes on is the mapping's work, not the network's: in no other count
    spikes, sops = (np.where(m.passing_cores, 0, counts) for counts in (c.core_spikes, c.core_sops))
    cores = tuple(
        CoreCount(i, int(x), int(y), names[layer], int(s), int(o), int(e))
        for i, ((x, y), layer, s, o, e) in enumerate(
            zip(m.core_position, m.core_layer.tolist(), spikes, sops, c.core_events, strict=True)
        )
    )
    mine = [m.core_layer == number for number in range(len(m.layers))]
    layers = tuple(
        LayerCount(
            layer.name,
            layer.neurons,
            layer.cores,
            int(spikes[own].sum()),
            int(sops[own].sum()),
            rate=float(spikes[own].sum() / max(1, layer.neurons * m.steps * len(dataset))),
        )
        for layer, own in zip(m.layers, mine, strict=True)
    )
    return RunResult(
        model_sha256=m.model_sha256,
        chip=m.chip.name,
        images=len(dataset),
        accuracy=accuracy,
        ticks_per_image=m.frame_ticks,
        steps=m.steps,
        readout_of=m.readout_of,
        spikes=int(spikes.sum()),
        encoder_spikes=c.encoder_spikes,
        paper_sops=c.paper_sops,
        sops=int(sops.sum()),
        axon_events=int(c.core_events.sum()),
        column_operations=int((c.core_sops * m.core_weight_bits).sum()),
        packets=c.packets,
        relay_spikes=int((c.core_spikes - spikes).sum()),
        relay_sops=int(c.core_sops[m.relay_cores].sum()),
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
        readout=m.readout_place,
        output_packets=int(c.core_sops[m.output_cores].sum()),
    )
