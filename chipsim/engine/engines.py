"""Select the engine that executes a mapping; both give the same potentials and counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from chipsim.engine.count import SHARE, Counts, ImageCounts, Int, count, count_images
from chipsim.engine.host import Array, Host, lose
from chipsim.engine.protocol import Engine, Worker
from chipsim.engine.shared_counts import SharedCounts
from chipsim.faults import Damage, unharmed
from chipsim.mapping import Mapping
from chipsim.options import check_engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chipsim.engine.fast.native import Code
    from chipsim.engine.machine import Machine, Spikes


class ReferenceEngine:
    """The cycle-by-cycle specification, `chipsim.engine.machine`; the fast engine is tested against it."""

    name = "reference"
    batch = 100

    def __init__(self, mapping: Mapping | Damage, host: Host) -> None:
        from chipsim.engine.machine import load

        self.machine, self.host = load(mapping), host

    def worker(self, noise: float, seed: int, per_image: bool, trains: bool = False) -> Worker:
        """Return a worker for one thread; with ``trains`` it keeps what each source sent."""
        return _ReferenceWorker(self.machine, self.host, noise, seed, per_image, trains)

    def counts(self, workers: Sequence[Worker]) -> Counts:
        """Return the counts of all workers together."""
        mine = [worker for worker in workers if isinstance(worker, _ReferenceWorker)]
        return count(
            self.machine.mapping,
            np.sum([worker.totals for worker in mine], axis=0),
            None if mine[0].arrivals is None else np.sum([w.arrivals for w in mine if w.arrivals is not None], axis=0),
        )


class _ReferenceWorker:
    takes_bytes = False

    def __init__(self, machine: Machine, host: Host, noise: float, seed: int, per_image: bool, trains: bool) -> None:
        from threadpoolctl import ThreadpoolController

        self.machine, self.host, self.noise, self.seed, self.per_image = machine, host, noise, seed, per_image
        self.keeps = trains
        self.trains: Spikes | None = None
        self.totals = np.zeros(machine.sources, np.int64)
        harmed = machine.latches.held is not None or machine.damage.dropped is not None
        self.arrivals = np.zeros(len(machine.latches.source), np.int64) if harmed else None
        self.limits = ThreadpoolController()

    def room(self, images: int) -> None:
        """None: each batch has counts of its own."""

    def count_into(self, whole: SharedCounts, first: int) -> None:
        """Nothing."""

    def batch(
        self, images: Array, first: int, stop: Callable[[], bool], pixels: bool = False
    ) -> tuple[Int, ImageCounts | None]:
        sent = self.host.frames(images)
        if self.noise:
            sent = lose(sent, range(first, first + len(images)), self.noise, self.seed)
        with self.limits.limit(limits=1, user_api="blas"):  # the threads are ours
            luck = self.machine.damage.luck(range(first, first + len(images)))
            spikes, potentials = self.machine.run(sent, luck)
        self.trains = spikes if self.keeps else None
        fired = over_steps(spikes)
        self.totals += fired.sum(axis=1, dtype=np.int64)

        def latch(axons: slice) -> npt.NDArray[np.integer]:
            bits = [self.machine.latches.bits(axons, each, luck, step) for step, each in enumerate(spikes)]
            return over_steps(np.stack(bits))

        if self.arrivals is not None:
            for start in range(0, len(self.arrivals), SHARE):
                part = slice(start, start + SHARE)
                self.arrivals[part] += latch(part).sum(axis=1, dtype=np.int64)
        return potentials, count_images(self.machine.mapping, fired, latch) if self.per_image else None


def over_steps(spikes: Spikes) -> npt.NDArray[np.integer]:
    """Count how often in a frame, (steps, sources, images) to (sources, images)."""
    return np.asarray(spikes[0] if len(spikes) == 1 else spikes.sum(axis=0, dtype=np.int64))


def load_engine(
    name: str,
    mapping: Mapping | Damage,
    host: Host,
    warn: Callable[[str], None],
    *,
    trains: bool = False,
    noisy: bool = False,
    batch: int | None = None,
) -> Engine:
    """Load an engine; if the fast one is not available, warn and load the reference engine.

    Parameters
    ----------
    trains : bool
        Whether what each source sends will be asked for.
    noisy : bool
        Whether its workers will lose spikes of the encoder.
    batch : int, optional
        How many images it will get at a time; by default as many as it likes.

    Raises
    ------
    UsageError
        There is no engine of that name.
    """
    check_engine(name)
    if name == "fast":
        found = _fast(mapping if isinstance(mapping, Damage) else unharmed(mapping), host, trains, noisy, batch)
        if not isinstance(found, str):
            return found
        warn(f"fast engine not available: {found}; using the reference engine (same results, much slower)")
    return ReferenceEngine(mapping, host)


def _fast(damage: Damage, host: Host, trains: bool, noisy: bool, batch: int | None) -> Engine | str:
    """The fast engine, or why there is none."""
    wraps = damage.wraps
    if wraps.any():
        return f"a faulty weight may overflow a potential of core {int(wraps.argmax())}"
    code = machine_code()
    if isinstance(code, str):
        return code
    from chipsim.engine.fast.engine import load_fast

    return (
        load_fast(damage, host, code, apart=trains, noisy=noisy, batch=batch)
        or "this mapping has potentials wider than 32 bits, or too many neurons"
    )


def machine_code() -> Code | str:
    """Return a place for machine code, or why there can be none."""
    try:
        import llvmlite.binding as llvm
    except (ImportError, OSError) as error:
        return f"llvmlite cannot be imported ({' '.join(str(error).split())[:80]}); pip install 'llvmlite>=0.45'"
    if llvm.llvm_version_info < (20,):
        return "llvmlite is older than 0.45; pip install 'llvmlite>=0.45'"
    from chipsim.engine.fast.native import Code

    try:
        return Code()
    except (RuntimeError, OSError) as error:
        return f"LLVM has no code generator here ({' '.join(str(error).split())[:80]})"
