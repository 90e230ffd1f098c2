"""Time a sample of a data set: frames alone on the chip, then a stream of frames."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Unpack

import numpy as np
import numpy.typing as npt

from chipsim.datasets import Dataset
from chipsim.engine.batches import processors
from chipsim.engine.host import Array, Host, load_host, lose
from chipsim.engine.machine import Machine, load
from chipsim.engine.setup import Setup, open_dataset, set_up
from chipsim.errors import UsageError
from chipsim.mapping import Mapping
from chipsim.mapping.pixels import prepare
from chipsim.options import RunKeywords, RunOptions, merged
from chipsim.timing.batch import FEW, Batch
from chipsim.timing.core import Fired
from chipsim.timing.network.checks import workspaces
from chipsim.timing.network.lanes_router import LANES
from chipsim.timing.network.mesh import Int, Mesh
from chipsim.timing.plan import Plan, plan
from chipsim.timing.record import Network, Work
from chipsim.timing.result import Profile
from chipsim.timing.steps import reads
from chipsim.timing.tick import Mode, check_mode

#: images whose spikes are found, and whose networks are simulated, at a time
BATCH = LANES
#: images of a sample, unless told otherwise
SAMPLE = 200


def profile(
    mapping: Mapping | str | Path,
    dataset: Dataset | str | Path,
    options: RunOptions | None = None,
    *,
    mode: Mode = "cycle",
    timing_limit: int = SAMPLE,
    mesh: Mesh | None = None,
    progress: Callable[[int, int], None] | None = None,
    **keywords: Unpack[RunKeywords],
) -> Profile:
    """Simulate the cycles and the energy of a sample of a data set.

    Parameters
    ----------
    mapping : Mapping or path
    dataset : Dataset, name or path
    options, **keywords
        One `RunOptions`, or its fields as keywords. Fewer threads run where their networks would take too much memory
        together; ``engine`` has no effect. The draws of noise and faults depend on the image's number in the data set.
    mode : {"cycle", "ideal"}
        ``cycle`` simulates routers, queues, back-pressure and arbitration; ``ideal`` times each packet as if it were the
        only one.
    timing_limit : int
        Time at most this many images, spaced evenly over the data set.
    mesh : Mesh, optional
        A network in place of the chip's own.
    progress : callable, optional
        Called with (steps done, steps in all).

    Raises
    ------
    UsageError, InputError, MappingError
    """
    options = merged(options or RunOptions(), keywords)
    check_timing(mode, timing_limit)
    setup = set_up(mapping, options)
    tables = planned(setup, mesh)
    data = open_dataset(dataset, options)
    return measure(setup, tables, data, options, mode=mode, limit=timing_limit, progress=progress)


def planned(setup: Setup, mesh: Mesh | None = None) -> Plan:
    """Return the tables for a mapping that is set up, on the chip's network or another.

    Raises
    ------
    UsageError
        Packets stop at dead links of the faults, and go around others: nobody can tell where they stop.
    InputError
        As `plan`.
    """
    known = setup.mapping.chip.dead_links or (mesh is not None and mesh.routes is not None)
    if known and "dead_links" in setup.damage.summary:
        raise UsageError(
            "--timing",
            "cannot simulate dead_links of the faults on a chip that has dead links of its own; "
            "omit dead_links, or --timing",
            code="options-conflict",
        )
    return plan(setup.damage, mesh)


def measure(
    setup: Setup,
    tables: Plan,
    dataset: Dataset,
    options: RunOptions,
    *,
    mode: Mode = "cycle",
    limit: int = SAMPLE,
    progress: Callable[[int, int], None] | None = None,
) -> Profile:
    """Like `profile`, for a mapping, tables and images that are loaded already."""
    machine, host, spec = load(setup.damage), setup.host, setup.mapping.input
    sample = evenly(limit, len(dataset))
    _warm(tables, mode)
    started = time.perf_counter()
    count = min(
        options.threads or processors(), len(sample), workspaces(tables.mesh, len(tables.target))
    )  # each has a network
    timer = _Timer(tables, mode, sample, count)
    step = min(options.batch or -(-len(sample) // count), BATCH)

    def frames(part: Array, first: int) -> int:
        """Time the images of the sample from ``first`` on."""
        numbers = sample[first : first + len(part)]
        images = prepare(part, spec, dataset.name, setup.mapping.steps, numbers)
        timer.frames(spikes(machine, host, images, numbers, setup.noise, setup.seed), first)
        return len(part)

    parts = ((lambda p=part, f=first: frames(p, f)) for part, first in _parts(dataset, sample, step))
    ticks = ((lambda f=first: timer.stream(range(f, min(f + step, len(sample))))) for first in range(0, len(sample), step))
    done = 0
    with ThreadPoolExecutor(count) as pool:
        for jobs in (parts, ticks):  # a tick of the stream needs the spikes of several frames
            for finished in _finished(pool, jobs, 2 * count):
                done += finished
                if progress is not None:
                    progress(done, 2 * len(sample))
    return timer.result(len(dataset), time.perf_counter() - started, count)


def recorded(mapping: Mapping, dataset: Dataset) -> npt.NDArray[np.uint8]:
    """Return what each source sends in all images of a data set, a bit a source and step: (images, bytes)."""
    machine, host = load(mapping), load_host(mapping)
    found = []
    for first in range(0, len(dataset), BATCH):
        part = dataset.images[first : first + BATCH]
        numbers = np.arange(first, first + len(part))
        images = prepare(part, mapping.input, dataset.name, mapping.steps, numbers)
        found.append(np.packbits(spikes(machine, host, images, numbers).fired, axis=1))
    return np.concatenate(found)


def replay(tables: Plan, bits: npt.NDArray[np.uint8], *, mode: Mode = "cycle") -> Profile:
    """Like `measure` on one thread, of all images of a data set, whose spikes were `recorded`.

    They are those of any mapping with the same cores, wherever these are, and whatever the chip's timing is.
    """
    started = time.perf_counter()
    images, sources = len(bits), tables.mapping.steps * len(tables.potential)
    timer = _Timer(tables, mode, evenly(images, images), 1)
    for first in range(0, images, BATCH):
        timer.frames(Seen(np.unpackbits(bits[first : first + BATCH], axis=1, count=sources), None), first)
    for first in range(0, images, BATCH):
        timer.stream(range(first, min(first + BATCH, images)))
    return timer.result(images, time.perf_counter() - started, 1)


def check_timing(mode: str, limit: int) -> None:
    """Refuse an unknown mode, and a sample without images."""
    check_mode(mode, "--timing", "none")
    if limit < 1:
        raise UsageError("--timing-limit", f"is {limit}; allowed: >= 1", code="option-value", found=limit, allowed=">= 1")


def evenly(limit: int, total: int) -> Int:
    """Return the numbers of at most ``limit`` evenly spaced images, the first included."""
    count = min(limit, total)
    return np.arange(count, dtype=np.int64) * total // count


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The spikes of some images on the machine, step after step."""

    fired: npt.NDArray[np.uint8]  # (images, steps * (E+N)): what each source sent
    bits: npt.NDArray[np.uint8] | None  # (images, steps * A): what each axon held; None: all that was sent to it


def spikes(machine: Machine, host: Host, images: Array, numbers: Int, noise: float = 0.0, seed: int = 0) -> Seen:
    """Run images and return their spikes; ``numbers`` in the data set determine the random draws."""
    from threadpoolctl import ThreadpoolController

    sent = host.frames(images)
    if noise:
        sent = lose(sent, numbers.tolist(), noise, seed)
    with ThreadpoolController().limit(limits=1, user_api="blas"):  # the threads are ours
        luck = machine.damage.luck(numbers.tolist())
        fired, _ = machine.run(sent, luck)
    seen = np.ascontiguousarray(fired.reshape(-1, len(numbers)).T)
    if machine.latches.held is None and luck.arrive is None:
        return Seen(seen, None)
    bits = [machine.latches.bits(slice(None), spikes, luck, step) for step, spikes in enumerate(fired)]
    return Seen(seen, np.ascontiguousarray(np.concatenate(bits).T))


def _warm(tables: Plan, mode: Mode) -> None:
    """Have the machine code compiled, which takes seconds the first time on a machine, before anything is timed."""
    steps, sources = tables.mapping.steps, len(tables.potential)
    batch, fired = Batch(tables, mode), np.zeros(steps * sources, np.uint8)
    fired[: tables.mapping.encoder_neurons][np.diff(tables.offset[: tables.mapping.encoder_neurons + 1]).argmax()] = 1
    for rows in ([fired], FEW * [fired]):
        frames, _ = batch.frames(rows, [None] * len(rows))
        batch.stream([row[:sources] for row in rows], [frame.inputs.cycles for frame in frames], [True] * len(rows))


def _parts(dataset: Dataset, sample: Int, step: int) -> Iterator[tuple[Array, int]]:
    """Images of the sample, some at a time, and where in the sample they begin; read in order: it may be a stream."""
    for first in range(0, len(sample), step):
        numbers = sample[first : first + step].tolist()
        yield np.concatenate([np.asarray(dataset.images[n : n + 1]) for n in numbers]), first


def _finished(pool: ThreadPoolExecutor, jobs: Iterator[Callable[[], int]], most: int) -> Iterator[int]:
    """What each job gives, in order; a few are under way at a time."""
    waiting: deque[Future[int]] = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(job))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


class _Timer:
    """What the threads share: a batch for each, and what they add up, in whole numbers, so that no order matters."""

    def __init__(self, tables: Plan, mode: Mode, sample: Int, threads: int) -> None:
        m = tables.mapping
        self.plan, self.mode, self.sample = tables, mode, sample
        self.batches: SimpleQueue[Batch] = SimpleQueue()
        for _ in range(threads):
            self.batches.put(Batch(tables, mode))
        self.lock = threading.Lock()
        self.work = Work.empty(tables, len(sample))
        self.networks = tuple(Network.empty(tables.mesh) for _ in range(m.frame_ticks))
        self.models = np.zeros((len(sample), m.frame_ticks, 6), np.int64)
        self.stream_models = np.zeros((len(sample), 6), np.int64)
        self.sources = len(tables.potential)
        self.fired = np.zeros((len(sample), -(-m.steps * self.sources // 8)), np.uint8)  # a bit a source and step
        self.input_cycles = np.zeros((len(sample), m.steps, m.cores), np.int32)
        self.ends = _runs(tables.source_tick)

    def frames(self, seen: Seen, first: int) -> None:
        """Time frames alone on the chip, the sample's from ``first`` on."""
        batch = self.batches.get()
        try:
            bits = [None] * len(seen.fired) if seen.bits is None else list(seen.bits)
            frames, networks = batch.frames(list(seen.fired), bits)
        finally:
            self.batches.put(batch)
        for image, frame in enumerate(frames, first):
            self.fired[image] = np.packbits(frame.steps.sent)
            self.input_cycles[image] = [each.cycles for each in frame.steps.inputs]
            self.models[image] = [tick.models for tick in frame.ticks]
        with self.lock:
            for image, frame in enumerate(frames, first):
                self.work.add(self.plan, image, frame)
            for network, found in zip(self.networks, networks, strict=True):
                network.add(found)

    def stream(self, numbers: Sequence[int]) -> int:
        """Time the ticks of a stream from one frame to the next: in the first of them the host begins with a number.

        The frames of the sample follow one another in a circle, so that every tick is a full one.
        """
        for tick in range(self.plan.mapping.steps):
            for number, models in zip(numbers, self._stream_ticks(numbers, tick), strict=True):
                self.stream_models[number] += models
        return len(numbers)

    def _stream_ticks(self, numbers: Sequence[int], tick: int) -> list[Int]:
        """Models of ticks in which everyone is at work: tick + k * steps of the frame k before (`chipsim.timing.steps`).

        Up to the packets' flight nobody is in anybody's way: each model is the slowest of those of the layers at work.
        """
        m = self.plan.mapping
        before = np.arange(-(-(m.frame_ticks - tick) // m.steps))
        found = [
            np.asarray(self.models[(number - before) % len(self.sample), tick + before * m.steps].max(axis=0))
            for number in numbers
        ]
        if self.mode == "cycle":
            fired, cycles, leave = zip(*(self._at_work(number, tick) for number in numbers), strict=True)
            batch = self.batches.get()
            try:
                ends = batch.stream(fired, cycles, leave)
            finally:
                self.batches.put(batch)
            for models, end in zip(found, ends, strict=True):
                models[4] = max(int(models[1]), end)
        for models in found:
            models[5] = models[4] + self.plan.sync_cycles
        return found

    def _at_work(self, number: int, tick: int) -> tuple[Fired, Int, bool]:
        """What each source sends in a tick of the stream, how long each core reads, and whether potentials leave."""
        m = self.plan.mapping

        def at(first: int) -> tuple[int, int]:
            """Frame, and step of it, that a core does whose first step is in tick ``first`` of a frame."""
            past = max(0, -(-(first - tick) // m.steps))
            step = min(tick + past * m.steps - first, m.steps - 1)  # a dead core is at none
            return (number - past) % len(self.sample), step

        where = {first: at(first) for first in {first for first, _ in self.ends} | set(self.plan.tick.tolist())}
        count = m.steps * self.sources
        rows = {frame: np.unpackbits(self.fired[frame], count=count).reshape(m.steps, -1) for frame, _ in where.values()}
        fired = np.concatenate([rows[where[first][0]][where[first][1]][part] for first, part in self.ends])
        frame, step = np.array([where[first] for first in self.plan.tick.tolist()], np.int64).T
        cycles = self.input_cycles[frame, step, np.arange(m.cores)].astype(np.int64)
        out = m.layers[m.readout].tick
        return fired, cycles, reads(self.plan, out + at(out)[1])

    def result(self, images: int, seconds: float, threads: int) -> Profile:
        """Return the profile."""
        return Profile(
            plan=self.plan,
            mode=self.mode,
            sample=self.sample,
            images_in_all=images,
            models=self.models,
            stream_models=self.stream_models,
            networks=self.networks,
            work=self.work,
            seconds=seconds,
            threads=threads,
        )


def _runs(values: npt.NDArray[np.int32]) -> list[tuple[int, slice]]:
    """Each run of equal values, and where it lies."""
    at = np.flatnonzero(np.diff(values, prepend=values[:1] - 1)).tolist()
    return [(int(values[start]), slice(start, stop)) for start, stop in zip(at, [*at[1:], len(values)], strict=True)]
