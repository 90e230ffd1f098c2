"""What an engine is: the interface that the reference engine and the fast engine implement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from chipsim.engine.count import Counts, ImageCounts, Int
from chipsim.engine.host import Array


class Worker(Protocol):
    """The part of an engine that one thread uses."""

    def batch(
        self, images: Array, first: int, stop: Callable[[], bool], pixels: bool = False
    ) -> tuple[Int, ImageCounts | None]:
        """Return the potentials (images, outputs) of images, numbered from ``first``, and counts per image if requested.

        ``stop`` is asked now and then; if it says yes the batch may be left unfinished. ``pixels``: the images hold nothing
        but whole numbers from 0 to 255.
        """


class Engine(Protocol):
    """An engine with a mapping loaded."""

    @property
    def name(self) -> str:
        """Name on the command line."""

    @property
    def batch(self) -> int:
        """Preferred number of images at a time."""

    def worker(self, noise: float, seed: int, per_image: bool) -> Worker:
        """Return a worker for one thread."""

    def counts(self, workers: Sequence[Worker]) -> Counts:
        """Return the counts of all workers together."""
