"""Which engine runs a program: both give the same potentials and counts, one of them many times sooner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from chipsim.engine.count import ImageCounts
from chipsim.engine.engines import machine_code
from chipsim.engine.host import Array, lose
from chipsim.engine.host import Host as CrossbarHost
from chipsim.engine.paicore.cores import Core
from chipsim.engine.paicore.counters import find_links
from chipsim.engine.paicore.crossbars import Crossbars, NoCrossbars, find_crossbars, outputs_of
from chipsim.engine.paicore.host import Host
from chipsim.engine.paicore.machine import Fired, Machine, Values
from chipsim.options import check_engine
from chipsim.paicore.fields import Int
from chipsim.paicore.program import THERMOMETER, Program

#: images that the reference engine is given at a time
BATCH = 32


class Worker(Protocol):
    """One thread's share of an engine."""

    trains: npt.NDArray[np.uint8] | None  # none: its spikes are not kept
    takes_bytes: bool

    @property
    def fired(self) -> Int:
        """How often each source sent a spike so far, int64 (E + N,); those that go the same ways may be counted at one."""

    def batch(
        self, images: Array, first: int, stop: Callable[[], bool], pixels: bool = False
    ) -> tuple[Int, ImageCounts | None]:
        """Potentials (images, outputs) of images, as `chipsim.engine.protocol.Worker` says."""


class Engine(Protocol):
    """A chip with a program loaded."""

    @property
    def name(self) -> str:
        """As the command line calls it."""

    @property
    def batch(self) -> int:
        """Images that it likes to get at a time."""

    def worker(self, noise: float, seed: int) -> Worker:
        """Return a share for one thread."""


class ReferenceEngine:
    """`machine`, which reads like a data sheet; the other engine is held against it."""

    name = "reference"
    batch = BATCH

    def __init__(self, program: Program, cores: tuple[Core, ...], host: Host) -> None:
        self.program, self.cores, self.host = program, cores, host

    def worker(self, noise: float, seed: int) -> Worker:
        """Return a share for one thread."""
        return ReferenceWorker(self, noise, seed)


class ReferenceWorker:
    """Runs a batch as so many copies of the chip."""

    trains: npt.NDArray[np.uint8] | None = None
    takes_bytes = False

    def __init__(self, engine: ReferenceEngine, noise: float, seed: int) -> None:
        self.engine, self.noise, self.seed = engine, noise, seed
        neurons = sum(core.neurons for core in engine.cores)
        self.fired = np.zeros(engine.program.encoder_inputs + neurons, np.int64)

    def batch(
        self, images: Array, first: int, stop: Callable[[], bool], pixels: bool = False
    ) -> tuple[Int, ImageCounts | None]:
        """Run images."""
        values = self.engine.host.values(images)
        if self.noise:
            values = lose(values, range(first, first + len(images)), self.noise, self.seed)
        sent, potentials = run_frame(self.engine.program, self.engine.cores, self.engine.host, values)
        self.fired += np.count_nonzero(np.concatenate([values, sent]), axis=1)
        return potentials, None


def run_frame(program: Program, cores: tuple[Core, ...], host: Host, values: Values) -> tuple[Values, Int]:
    """Run one frame of each image.

    Parameters
    ----------
    values : ndarray, uint8, (E, images)

    Returns
    -------
    sent : ndarray, uint8, (N, images)
        What each neuron sent; 0 for those that are read out.
    potentials : ndarray, int64, (images, outputs)
    """
    sent = [np.zeros((core.neurons, values.shape[1]), np.uint8) for core in cores]
    outputs = sum(len(core.host) for core in cores)
    potentials = np.zeros((values.shape[1], outputs), np.int64)
    for fired in frame(program, cores, host, values):
        core = cores[fired.core]
        sent[fired.core] = fired.values.copy()
        sent[fired.core][core.host] = 0
        potentials[:, outputs_of(program, core)] = fired.potentials[core.host].T
    return np.concatenate(sent), potentials


def frame(program: Program, cores: tuple[Core, ...], host: Host, values: Values) -> Iterator[Fired]:
    """Run one frame of each image, INIT, the encoder's frames and SYNC, and yield what each core did."""
    machine = Machine(cores, values.shape[1])
    write_frames(machine, host, values)
    for step in machine.sync(program.steps):
        yield from step


def write_frames(machine: Machine, host: Host, values: Values, step: int = 0) -> None:
    """Write the encoder's frames, uint8 (E, columns), into the input rows that the cores read in a step."""
    for entry in host.deliveries:
        for number in entry.cores:
            inputs = entry.addresses // machine.cores[number].input_width
            machine.write(number, inputs, values[entry.sources], step << entry.lcn)


class FastEngine:
    """The machine code of `chipsim.engine.fast`, on the crossbars that the words come to."""

    name = "fast"

    def __init__(self, program: Program, found: Crossbars, engine: object) -> None:
        from chipsim.engine.fast.engine import FastEngine as Compiled

        assert isinstance(engine, Compiled)
        self.program, self.found, self.engine = program, found, engine
        self.batch = engine.batch
        self.lead = engine.tables.merged.values.lead  # one source speaks for those that nobody tells apart

    def worker(self, noise: float, seed: int) -> Worker:
        """Return a share for one thread."""
        return FastWorker(self, noise, seed)


class FastWorker:
    """Runs a batch 64 images at a time."""

    trains: npt.NDArray[np.uint8] | None = None
    takes_bytes = True

    def __init__(self, engine: FastEngine, noise: float, seed: int) -> None:
        from chipsim.engine.fast.worker import FastWorker as Compiled

        self.engine, self.inner = engine, Compiled(engine.engine, noise, seed, False)
        self.slot = engine.engine.tables.slot
        found, lead = engine.found, engine.lead
        # of a value that is several sources, those that fire for it are as many as it is large: counted apart
        self.valued = np.flatnonzero(found.several[lead] & found.lowest[lead])
        self.nonzero = np.zeros(len(self.valued), np.int64)

    def batch(
        self, images: Array, first: int, stop: Callable[[], bool], pixels: bool = False
    ) -> tuple[Int, ImageCounts | None]:
        """Run images."""
        from chipsim.engine.fast.layout import LANES

        if not len(self.valued):
            potentials, _ = self.inner.batch(images, first, stop, pixels)
            return potentials + self.engine.found.offset, None
        parts = []
        for start in range(0, len(images), LANES):
            part = images[start : start + LANES]
            parts.append(self.inner.batch(part, first + start, stop, pixels)[0])
            self.nonzero += np.count_nonzero(self.inner.values[0, self.slot[self.valued], : len(part)], axis=1)
        return np.concatenate(parts) + self.engine.found.offset, None

    @property
    def fired(self) -> Int:
        """How often each source sent a spike."""
        found, lead = self.engine.found, self.engine.lead
        counted = self.inner.totals[self.slot]
        counted[found.several[lead]] = 0
        counted[self.valued] = self.nonzero
        out = np.zeros(len(self.engine.program.dense_fanout), np.int64)
        np.add.at(out, found.origin[lead], counted)
        return out


def load_engine(
    name: str, program: Program, cores: tuple[Core, ...], host: Host, noise: float, warn: Callable[[str], None]
) -> Engine:
    """Load an engine; where the fast one cannot be had, say so and load the other.

    Raises
    ------
    UsageError
        There is no engine of that name.
    """
    check_engine(name)
    if name == "fast":
        found = _fast(program, cores, host, noise)
        if not isinstance(found, str):
            return found
        warn(f"engine fast: {found}; the reference engine runs instead: the same results, many times slower")
    return ReferenceEngine(program, cores, host)


def _fast(program: Program, cores: tuple[Core, ...], host: Host, noise: float) -> Engine | str:
    """The fast engine, or why there is none."""
    if noise and program.encoder.code != THERMOMETER:
        return "it adds up the levels of a value, which noise loses as one"
    code = machine_code()
    if isinstance(code, str):
        return code
    try:
        found = find_crossbars(program, cores, host, find_links(cores, host))
    except NoCrossbars as error:
        return str(error)
    from chipsim.engine.fast.engine import load_fast

    crossbars = CrossbarHost(found.mapping, host.encoder, host.readout)
    engine = load_fast(found.mapping, crossbars, code, bits=False, bundled=False)
    if engine is None:
        return "this program has potentials wider than 32 bits, or too many neurons"
    return FastEngine(program, found, engine)


def fired(workers: Sequence[Worker]) -> Int:
    """Add up what all workers counted."""
    return np.asarray(np.sum([worker.fired for worker in workers], axis=0), np.int64)
