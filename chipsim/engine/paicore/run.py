"""Running a data set through a program, and what comes of it."""

from __future__ import annotations

import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from chipsim.datasets import Dataset
from chipsim.engine.batches import batch_size, batches, processors
from chipsim.engine.paicore.cores import load_cores
from chipsim.engine.paicore.counters import Counts, count, find_links
from chipsim.engine.paicore.engines import fired, load_engine
from chipsim.engine.paicore.host import load_host
from chipsim.engine.result import CoreCount, LayerCount, RunResult
from chipsim.engine.setup import check_labels, open_dataset
from chipsim.engine.spool import Spool
from chipsim.errors import UsageError
from chipsim.mapping.program import FEATURES, HANDED_OVER
from chipsim.options import RunKeywords, RunOptions, merged
from chipsim.paicore import Program, read_program, validate_program
from chipsim.paicore.fields import Int


@dataclass(frozen=True, slots=True, eq=False)
class ProgramResult(RunResult):
    """What a run of a ``.paicore`` gave: as of a ``.map``, with frames and the rows of each core's memory."""

    work_frames: int = 0  # over the run
    config_words: int = 0
    rows: tuple[dict[str, int], ...] = ()  # of each core

    def figures(self) -> dict[str, Any]:
        """Return the run's JSON without its provenance: means an image, totals a core."""
        found = RunResult.figures(self)
        found["work_frames_per_image"] = self.work_frames / self.images
        found["config_words"] = self.config_words
        found["steps"] = 1
        for core, rows in zip(found["cores"], self.rows, strict=True):
            core["rows"] = rows
        return found


def run_program(
    program: Program | str | Path,
    dataset: Dataset | str | Path,
    options: RunOptions | None = None,
    *,
    per_image: bool = False,
    warn: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **keywords: Unpack[RunKeywords],
) -> ProgramResult:
    """Execute the words of a ``.paicore`` on a data set.

    Parameters are those of `chipsim.run`; faults, dead cores to avoid and counts per image are refused, as they are
    modelled for crossbar chips only.

    Raises
    ------
    UsageError, InputError, MappingError
    """
    options = merged(options or RunOptions(), keywords)
    refuse_crossbar_options({"--faults": options.faults, "--avoid": options.avoid, "--per-image": per_image or None})
    start = time.perf_counter()
    program = open_program(program)
    data = open_dataset(dataset, options)
    check_labels(data, math.prod(program.output.shape))
    cores = load_cores(program.words)
    host = load_host(program, cores)
    chosen = load_engine(options.engine, program, cores, host, options.noise, warn or _warn)
    links = find_links(cores, host)
    load_seconds = time.perf_counter() - start
    workers = options.threads or processors()
    size = options.batch or batch_size(chosen.batch, program.input)
    crew = [chosen.worker(options.noise, options.seed) for _ in range(min(workers, -(-len(data) // size)))]
    spools: dict[str, Spool] = defaultdict(Spool)
    start = time.perf_counter()
    done = 0
    for batch in batches(crew, host, data, size):
        potentials, scores, predictions = batch.potentials, batch.scores, batch.predictions
        spools["potentials"].add(potentials)
        spools["scores"].add(scores.astype(np.float32))
        spools["predictions"].add(predictions)
        done += len(potentials)
        if progress is not None:
            progress(done, len(data))
    counts = count(program, links, fired(crew), len(data))
    seconds = time.perf_counter() - start
    found = {name: spool.array() for name, spool in spools.items()}
    times = {"run_seconds": seconds, "load_seconds": load_seconds, "threads": workers, "engine": chosen.name}
    return _result(program, data, counts, found, times)


def refuse_crossbar_options(given: Mapping[str, object]) -> None:
    """Refuse options, by name, that apply to crossbar chips only; ``None``: not given.

    Raises
    ------
    UsageError
    """
    for option, value in given.items():
        if value is not None:
            raise UsageError(option, "applies to a .map only; leave it out for a .paicore", code="option-unused")


def _warn(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201


def open_program(program: Program | str | Path) -> Program:
    """Read a program, or check one that was made in memory: nothing runs that breaks a rule of the format.

    Raises
    ------
    MappingError
    """
    if not isinstance(program, Program):
        return read_program(program)
    validate_program(program)
    return program


def _result(
    p: Program, data: Dataset, c: Counts, found: dict[str, npt.NDArray[Any]], times: dict[str, Any]
) -> ProgramResult:
    predictions: Int = found["predictions"]
    names = [layer.name for layer in p.layers]
    owner = np.array([core.layer for core in p.cores])
    output = np.array([p.layers[layer].kind in HANDED_OVER for layer in owner])
    spikes, sops, events = c.core_spikes, np.where(output, 0, c.core_sops), c.core_events
    bits = np.array([layer.weight_bits for layer in p.layers])[owner]
    return ProgramResult(
        model_sha256=p.model_sha256,
        chip=p.chip.name,
        images=len(data),
        accuracy=None if data.labels is None else float((predictions == data.labels).mean()),
        ticks_per_image=p.steps,
        spikes=int(spikes.sum()),
        encoder_spikes=c.encoder_spikes,
        paper_sops=c.paper_sops,
        sops=int(sops.sum()),
        axon_events=int(events.sum()),
        column_operations=int((c.core_sops * bits).sum()),
        packets=c.packets,
        relay_spikes=0,
        relay_sops=0,
        readout="host" if p.layers[-1].kind == FEATURES else "chip",
        output_packets=int(c.core_sops[output].sum()),
        layers=tuple(
            LayerCount(
                layer.name,
                layer.neurons,
                layer.cores,
                int(spikes[owner == k].sum()),
                int(sops[owner == k].sum()),
                rate=float(spikes[owner == k].sum() / max(1, layer.neurons * len(data))),
            )
            for k, layer in enumerate(p.layers)
        ),
        cores=tuple(
            CoreCount(k, core.x, core.y, names[core.layer], int(spikes[k]), int(sops[k]), int(events[k]))
            for k, core in enumerate(p.cores)
        ),
        floorplan=p.chip.model_dump(mode="json", include={"grid", "dead_cores"}),
        labels=data.labels,
        predictions=predictions,
        scores=found["scores"],
        potentials=found["potentials"],
        work_frames=c.work_frames,
        config_words=len(p.words),
        rows=tuple(
            {
                "records": core.records + core.parameters,
                "potentials": core.potentials,
                "weights": core.weights,
                "limit": p.chip.memory_rows,
            }
            for core in p.cores
        ),
        **times,
    )
