"""Execute a mapping on a data set, and collect the result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import numpy.typing as npt

from chipsim.datasets import Dataset
from chipsim.engine.batches import processors
from chipsim.engine.count import Counts
from chipsim.engine.origin import origin
from chipsim.engine.part import Part, Wanted, prepare_engine, run_part
from chipsim.engine.result import CoreCount, Exceeded, LayerCount, RunResult
from chipsim.engine.setup import Setup, check_labels, open_dataset, set_up
from chipsim.mapping import Mapping
from chipsim.options import EngineOptions, RunKeywords, RunOptions, merged

if TYPE_CHECKING:
    from chipsim.paicore import Program

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
    if not isinstance(mapping, Mapping):
        from chipsim.paicore.kind import is_program  # importing PAICORE takes a while, and a crossbar needs nothing of it

        if not isinstance(mapping, str | Path) or is_program(mapping):
            from chipsim.engine.paicore.run import refuse_crossbar_options, run_program

            refuse_crossbar_options({"--trains": trains or None})
            data = open_dataset(dataset, options)
            program = run_program(mapping, data, options, per_image=per_image, warn=warn, progress=progress)
            return with_origin(program, mapping, dataset, data, options)
    setup, data = set_up(mapping, options), open_dataset(dataset, options)
    found = execute(setup, data, options, per_image=per_image, trains=trains, warn=warn, progress=progress)
    return with_origin(found, mapping, dataset, data, options)


def with_origin(
    result: RunResult,
    mapping: Mapping | Program | str | Path,
    dataset: Dataset | str | Path,
    images: Dataset,
    options: EngineOptions,
) -> RunResult:
    """Return a result that says what made it."""
    made = origin(
        mapping, dataset, images, options, model_sha256=result.model_sha256, chip=result.chip, engine=result.engine,
        threads=result.threads,
    )  # fmt: skip
    return replace(result, made=made)


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
    check_labels(dataset, math.prod(setup.mapping.output_shape))
    wanted = Wanted(per_image, trains)
    prepared = prepare_engine(setup, options, wanted, warn or _warn, images=len(dataset))
    load_seconds = setup.seconds + time.perf_counter() - start
    part = run_part(prepared, dataset, options, progress=progress)
    return assemble(setup, dataset, part, wanted, load_seconds=load_seconds, threads=options.threads or processors())


def assemble(setup: Setup, dataset: Dataset, part: Part, wanted: Wanted, *, load_seconds: float, threads: int) -> RunResult:
    """Return the result of a run from what was counted; ``dataset`` gives the labels and the number of images."""
    found = part.arrays
    result = _result(
        setup.mapping, dataset, part.counts, found["potentials"], found["scores"], found["predictions"], part.engine,
        part.seconds, load_seconds, threads,
    )  # fmt: skip
    if setup.faulty:
        result = replace(result, faults=dict(setup.damage.summary))
    if "exceeded" in found:
        result = replace(result, exceeded=Exceeded.of(part.watched, found["exceeded"]))
    if wanted.trains:
        result = replace(result, trains={name[7:]: found[name] for name in found if name.startswith("spikes_")})
    if not wanted.per_image:
        return result
    return replace(result, counted_by_image=part.by_image, image_spikes=found["image"])


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
        unwatched=m.unwatched,
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
