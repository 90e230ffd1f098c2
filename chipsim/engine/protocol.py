"""The interfaces of an engine and of the host beside it, which do not depend on the kind of chip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from chipsim.engine.count import Counts, ImageCounts, Int
from chipsim.engine.host import Array
from chipsim.engine.shared_counts import SharedCounts
from chipsim.mapping import InputSpec


class Compiled(Protocol):
    """What a model was compiled to: a mapping, or a program of another kind of chip."""

    @property
    def model_sha256(self) -> str:
        """SHA-256 of the model's file."""

    @property
    def exactness(self) -> str:
        """``certified`` or ``tested``."""

    @property
    def input(self) -> InputSpec:
        """The model's input."""

    @property
    def output_tensor(self) -> str:
        """Name of the model's output."""


class ScoringHost(Protocol):
    """A host that turns what a chip returns into scores."""

    @property
    def mapping(self) -> Compiled:
        """What the chip executes."""

    def scores(self, potentials: Int) -> npt.NDArray[Any]:
        """Map potentials (images, outputs) to the model's output."""


class Runner(Protocol):
    """What runs images, for one thread."""

    #: what each source sent in the last batch, uint8 (steps, sources, images), where asked for
    trains: npt.NDArray[np.uint8] | None
    #: raw pixels may stay bytes
    takes_bytes: bool

    def batch(
        self, images: Array, first: int, stop: Callable[[], bool], pixels: bool = False
    ) -> tuple[Int, ImageCounts | SharedCounts | None]:
        """Return the potentials (images, outputs) of images, numbered from ``first``, and counts per image if requested.

        ``stop`` is asked now and then; if it says yes the batch may be left unfinished. ``pixels``: the images hold nothing
        but whole numbers from 0 to 255.
        """


class Worker(Runner, Protocol):
    """The part of an engine that one thread uses."""

    def room(self, images: int) -> SharedCounts | None:
        """Return room for the counts of so many images, for `count_into`; None: they are always counted anew."""

    def count_into(self, whole: SharedCounts, first: int) -> None:
        """Put counts of images, numbered from ``first``, into rows of those of all of them."""


class Engine(Protocol):
    """An engine with a mapping loaded."""

    @property
    def name(self) -> str:
        """Name on the command line."""

    @property
    def batch(self) -> int:
        """Preferred number of images at a time."""

    def worker(self, noise: float, seed: int, per_image: bool, trains: bool = False) -> Worker:
        """Return a worker for one thread; with ``trains`` it keeps what each source sent."""

    def counts(self, workers: Sequence[Worker]) -> Counts:
        """Return the counts of all workers together."""
