"""Execute a data set in batches on one thread or several, with results in order."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.datasets import Dataset
from chipsim.datasets.events import EventFrames
from chipsim.engine.count import ImageCounts, Int
from chipsim.engine.exceeded import Watch
from chipsim.engine.protocol import Runner, ScoringHost
from chipsim.engine.shared_counts import SharedCounts
from chipsim.errors import InputError
from chipsim.mapping import InputSpec
from chipsim.mapping.pixels import prepare

#: bytes of images that are worked on at a time, unless they are fewer than so many images
BATCH_BYTES, FEWEST = 1 << 25, 64


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The result of a batch of images."""

    potentials: Int
    scores: npt.NDArray[Any]
    predictions: Int
    counts: ImageCounts | SharedCounts | None  # where asked for
    trains: npt.NDArray[np.uint8] | None  # (steps, sources, images), where asked for
    exceeded: npt.NDArray[np.bool_] | None  # (images, watched populations), where some are


def batches(
    crew: Sequence[Runner],
    host: ScoringHost,
    dataset: Dataset,
    batch: int,
    watch: Watch | None = None,
    number: int = 0,
) -> Iterator[Batch]:
    """Yield the result of each batch in order; a few batches are in progress at a time.

    ``number`` is that of the first image of the data set, where this is a part of a larger one.
    """
    stop = Event()
    idle: SimpleQueue[Runner] = SimpleQueue()
    for worker in crew:
        idle.put(worker)

    def one(images: npt.NDArray[Any] | EventFrames, first: int) -> Batch:
        spec = host.mapping.input
        steps = getattr(host.mapping, "steps", 1)
        as_bytes = watch is None and crew[0].takes_bytes
        given = prepare(images, spec, dataset.name, steps, range(first, first + len(images)), as_bytes=as_bytes)
        pixels = images.dtype == np.uint8 and spec.pixels == "raw"
        worker = idle.get()
        try:
            potentials, each = worker.batch(given, first, stop.is_set, pixels)
            trains = worker.trains
        except InputError as error:
            if error.subject != "images":
                raise
            where = f"{dataset.name}, images {first} to {first + len(images) - 1}"
            raise InputError(where, error.message, code=error.code) from None
        finally:
            idle.put(worker)
        exceeded = None if watch is None else watch.exceeded(given, None if trains is None else trains[0])
        scores = host.scores(potentials)
        return Batch(potentials, scores, predictions(scores), each, trains, exceeded)

    starts = range(0, len(dataset), batch)
    if len(crew) == 1 or len(starts) == 1:
        for first in starts:
            yield one(dataset.images[first : first + batch], number + first)
        return
    pool = ThreadPoolExecutor(len(crew))
    waiting: deque[Future[Batch]] = deque()
    try:
        for first in starts:  # images are read here, in order: they may come from a stream
            waiting.append(pool.submit(one, dataset.images[first : first + batch], number + first))
            if len(waiting) > 4 * len(crew):  # so many that a slow processor does not keep the others waiting
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        stop.set()
        pool.shutdown(wait=not waiting, cancel_futures=True)  # who was interrupted does not wait for what is under way


def predictions(scores: npt.NDArray[Any]) -> Int:
    """An output that is already a class number is its own prediction; else the largest score, ties to the lowest index."""
    flat = scores.reshape(len(scores), -1)
    found = flat[:, 0] if flat.shape[1] == 1 and flat.dtype.kind == "i" else flat.argmax(axis=1)
    return found.astype(np.int64)


def batch_size(most: int, spec: InputSpec) -> int:
    """Return the engine's preferred batch size, or less for large images."""
    size, each = most, math.prod(spec.shape) * np.dtype(spec.dtype).itemsize
    while size > FEWEST and size * each > BATCH_BYTES:
        size //= 2
    return size


def processors() -> int:
    """Count the processors that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(allowed(0)) if allowed else os.cpu_count() or 1
