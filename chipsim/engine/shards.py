"""Run a data set in shards: tasks that give what a run of all images in one process gives, integer for integer.

The shards depend on the images and the options alone, never on who computes them, so that a folder of results is good for
any cluster.
"""

from __future__ import annotations

import hashlib
import io
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from chipsim import paths
from chipsim.chip.avoid import load_broken
from chipsim.datasets import Dataset
from chipsim.datasets.slices import Slice, in_place, pack, unpack
from chipsim.engine.batches import batch_size
from chipsim.engine.count import IMAGE_COUNTS, Counts, ImageCounts
from chipsim.engine.part import Part, Prepared, Wanted, prepare_engine, run_part
from chipsim.engine.result import RunResult
from chipsim.engine.run import assemble
from chipsim.engine.setup import Setup, set_up
from chipsim.engine.spool import Spool
from chipsim.errors import InputError
from chipsim.faults import load_faults
from chipsim.options import RunOptions
from chipsim.tasks import Given, Input, Kept, Outcome, Recent, Task, file_input

#: images of a shard at least and at most, and into how many shards images are cut between the two
FEWEST, MOST, SHARDS = 4096, 1 << 17, 128
#: bytes that come back from a shard, or are sent to it, at most
BYTES = 16 << 20
#: images of a batch, where the options do not say: the fast engine's largest, which its smaller ones divide
BATCH = 512
TOTALS = tuple(entry.name for entry in fields(Counts))


@dataclass(frozen=True, slots=True)
class Shards:
    """What the tasks of a run have in common."""

    setup: Setup
    mapping: Input
    data: Dataset
    file: Input | None  # the data set's, where slices of it can be read in place
    options: RunOptions
    wanted: Wanted
    threads: int  # of a task

    def tasks(self) -> Iterator[Task]:
        """Yield a task for each shard."""
        given, count = _canonical(self.options), self.count
        for first in range(0, len(self.data), count):
            size = min(count, len(self.data) - first)
            yield Task(
                f"images {first:,} to {first + size - 1:,}",
                "chipsim.engine.shards:run_shard",
                {"options": given, "first": first, "count": size, "name": self.data.name, **asdict(self.wanted)},
                (self.mapping, self._slice(first, size)),
                {"threads": self.threads},
            )

    @property
    def count(self) -> int:
        """Images of a shard: whole batches of the run in one process, so that no batch is another one here.

        Many images are cut into larger shards than few: a task costs a scheduler some milliseconds, whatever is in it.
        """
        m, spec = self.setup.mapping, self.setup.mapping.input
        batch = self.options.batch or batch_size(BATCH, spec)
        back = 16 * math.prod(m.output_shape) + 12 * m.cores * self.wanted.per_image
        back += (m.encoder_neurons + m.neurons) * m.steps * self.wanted.trains
        sent = 0 if self.file else math.prod(self.data.images.shape[1:]) * self.data.images.dtype.itemsize
        most = min(MOST, BYTES // max(back, sent, 1))
        return max(1, min(max(FEWEST, len(self.data) // SHARDS), most) // batch) * batch

    def _slice(self, first: int, count: int) -> Input:
        """Return the images of a shard; they are packed only if they have to be sent."""
        if self.file is not None:
            name = f"{self.file.sha256} images {first} {count}"
            return replace(self.file, name=name, content=lambda: pack(self.data, first, count), shared=False)
        content = pack(self.data, first, count)
        return Input(hashlib.sha256(content).hexdigest(), lambda: content, shared=False)


def shards_of(
    mapping: str, setup: Setup, data: Dataset, source: str | None, options: RunOptions, wanted: Wanted, threads: int
) -> Shards:
    """Prepare the tasks of a run.

    Parameters
    ----------
    mapping : str
        Path of the mapping that is set up.
    source : str, optional
        Path of the npz file that the images come from.
    threads : int
        Threads of a task.

    Raises
    ------
    InputError
        A file cannot be read.
    """
    file = file_input(source) if source is not None and in_place(source) else None
    return Shards(setup, file_input(mapping), data, file, options, wanted, threads)


def preparation(mapping: str, options: RunOptions, wanted: Wanted, threads: int) -> Task:
    """Return the task that loads the mapping and the engine, before it is known what the shards are."""
    return Task(
        f"loading {mapping}",
        "chipsim.engine.shards:prepare",
        {"options": _canonical(options), **asdict(wanted)},
        (file_input(mapping),),
        {"threads": threads},
    )


def run_in_shards(
    shards: Shards, kept: Kept, *, workers: int, progress: Callable[[int, int], None] | None = None
) -> tuple[RunResult, list[Outcome]]:
    """Run every shard and return the result, and the tasks that have none: their images are in no count.

    Raises
    ------
    InputError
        No shard has a result.
    """
    start = time.perf_counter()
    total = -(-len(shards.data) // shards.count)

    def images(done: int, _: int) -> None:
        if progress is not None:
            progress(min(done * shards.count, len(shards.data)), len(shards.data))

    failed: list[Outcome] = []
    part = _joined(_parts(kept.outcomes(shards.tasks(), total, images), failed))
    if part is None:
        raise InputError(
            "cluster", f"no task of {total:,} has a result; the first: {failed[0].failure}", code="cluster-unavailable"
        )
    missing = tuple((task["first"], task["first"] + task["count"] - 1) for task in (each.task.arguments for each in failed))
    part = replace(part, seconds=time.perf_counter() - start)
    data = _without(shards.data, missing)
    result = assemble(
        shards.setup, data, part, shards.wanted, load_seconds=shards.setup.seconds, threads=workers * shards.threads
    )
    return replace(result, missing_images=missing), failed


def _without(data: Dataset, missing: tuple[tuple[int, int], ...]) -> Dataset:
    """Return the labels and the number of the images that there are results for; the images themselves are not read."""
    if not missing:
        return data
    kept = np.ones(len(data), bool)
    for first, last in missing:
        kept[first : last + 1] = False
    labels = None if data.labels is None else data.labels[kept]
    return Dataset(data.name, data.split, np.zeros((int(kept.sum()), 0), np.uint8), labels)


def _parts(outcomes: Iterable[Outcome], failed: list[Outcome]) -> Iterator[Part]:
    """Decode each result; those without one are put apart."""
    for outcome in outcomes:
        if outcome.value is None:
            failed.append(outcome)
        else:
            yield _decoded(outcome.value)


def _joined(parts: Iterable[Part]) -> Part | None:
    """Add up totals, and put the arrays behind one another; large ones are kept in temporary files."""
    spools: dict[str, Spool] = defaultdict(Spool)
    totals: dict[str, Any] = {}
    last: Part | None = None
    for part in parts:
        last = part
        for name in TOTALS:
            value = getattr(part.counts, name)
            totals[name] = value if name not in totals or value is None else totals[name] + value
        for name, array in part.arrays.items():
            spools[name].add(array)
    if last is None:
        return None
    arrays = {name: spool.array() for name, spool in spools.items()}
    by_image = ImageCounts(**{name: arrays.pop(name) for name in IMAGE_COUNTS}) if IMAGE_COUNTS[0] in arrays else None
    return replace(last, counts=Counts(**totals), arrays=arrays, by_image=by_image)


def _canonical(options: RunOptions) -> dict[str, Any]:
    """Return the options that a result depends on, with the content of files in place of their names."""
    faults = (
        None if options.faults is None else load_faults(options.faults).content.model_dump(mode="json", exclude_none=True)
    )
    avoid = None if options.avoid is None else load_broken(options.avoid).content.model_dump(mode="json", exclude_none=True)
    return {
        "batch": options.batch, "engine": options.engine, "noise": options.noise, "seed": options.seed, "faults": faults,
        "avoid": avoid,
    }  # fmt: skip


def prepare(arguments: dict[str, Any], inputs: list[Given], tell: Callable[[str], None]) -> bytes:
    """Compute `preparation`: what it returns is what it leaves behind."""
    options, wanted = _what(arguments)
    _prepared(inputs[0], options, wanted, tell)
    return b""


def run_shard(arguments: dict[str, Any], inputs: list[Given], tell: Callable[[str], None]) -> bytes:
    """Compute a task of `Shards`."""
    mapping, data = inputs
    options, wanted = _what(arguments)
    first, count, name = arguments["first"], arguments["count"], arguments["name"]
    images: Any
    if data.path is not None:
        images = Slice(data.path, first, count, paths.stamp(data.path)[1])
    else:
        images = unpack(data.read(), name)
    prepared = _prepared(mapping, options, wanted, tell)
    return _encoded(run_part(prepared, Dataset(name, "all", images), options, first=first))


def _what(arguments: dict[str, Any]) -> tuple[RunOptions, Wanted]:
    """Return what the arguments of a task say of the run."""
    options = RunOptions(**arguments["options"], threads=arguments["threads"])
    return options, Wanted(arguments["per_image"], arguments["trains"])


#: the mapping and the engine of the last shard
_LAST: Recent[Prepared] = Recent(1)


def _prepared(mapping: Given, options: RunOptions, wanted: Wanted, tell: Callable[[str], None]) -> Prepared:
    """Load a mapping with its faults, and the engine, unless the last shard used the same."""

    def load() -> Prepared:
        with mapping.file() as path:
            setup = set_up(path, options)
        return prepare_engine(setup, options, wanted, tell)

    return _LAST.get((mapping.name, repr(_canonical(options)), wanted), load)


def _encoded(part: Part) -> bytes:
    """Return a part as bytes; its seconds, which differ from run to run, are left out."""
    found: dict[str, Any] = {f"count {name}": getattr(part.counts, name) for name in TOTALS}
    found = {name: value for name, value in found.items() if value is not None} | {
        "engine": part.engine,
        "watched": list(part.watched),
    }
    file = io.BytesIO()
    by_image = {} if part.by_image is None else part.by_image.whole().arrays()
    np.savez(file, allow_pickle=False, **found, **part.arrays, **by_image)
    return file.getvalue()


def _decoded(content: bytes) -> Part:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    engine, watched = str(arrays.pop("engine")), tuple(map(str, arrays.pop("watched").tolist()))
    totals: dict[str, Any] = dict.fromkeys(TOTALS)
    for name in TOTALS:
        if f"count {name}" in arrays:
            value = arrays.pop(f"count {name}")
            totals[name] = value if value.ndim else int(value)
    return Part(engine, Counts(**totals), arrays, 0.0, watched)
