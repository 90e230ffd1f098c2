"""Counts of each image, core by core, as one worker makes them: 64 images after 64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chipsim.engine.count import ImageCounts
from chipsim.engine.fast.counting import Counting
from chipsim.engine.fast.layout import LANES, SQUARE
from chipsim.engine.fast.loaded import Loaded
from chipsim.engine.fast.memory import address, aligned


class CountsByImage:
    """What workers have in common that may count by image."""

    each: Each | None

    def count_into(self, whole: ImageCounts, first: int) -> None:
        """Put counts of images where they belong: see `chipsim.engine.protocol.Worker`."""
        if self.each is not None:
            self.each.whole = whole, first


class Each:
    """Memory for some times 64 images.

    Attributes
    ----------
    counts : ndarray, int32, (places, rows, 64)
        Of each core, filled up to a multiple of `SQUARE`: its spikes; then its SOPs but for a factor times its events; then
        events, of which a row may be that of several cores.
    """

    def __init__(self, engine: Loaded, places: int, counting: Counting | None = None) -> None:
        self.function, self.cores = engine.function, engine.mapping.cores
        self.filled = -(-self.cores // SQUARE) * SQUARE
        self.events = self.filled if counting is None else counting.events
        self.counts = aligned((places, 2 * self.filled + self.events, LANES), np.int32)
        always = aligned((3, self.filled), np.int32)  # what each core counts in every image
        always[1:, : self.cores] = engine.reduced.core_sops, engine.reduced.core_events
        factor, events_of = np.zeros((2, self.filled), np.int32)
        events_of[: self.cores] = np.arange(self.cores) if counting is None else counting.events_of
        if counting is not None:
            factor[: self.cores] = counting.factor
        self.held = always, factor, events_of
        self.given = [address(each) for each in self.held]
        self.places = [address(each) for each in self.counts]
        self.whole: tuple[ImageCounts, int] | None = None

    def of_kinds(self, place: int) -> tuple[npt.NDArray[np.int32], ...]:
        """Counts at a place: spikes, SOPs without those of the factor, and events."""
        return tuple(np.split(self.counts[place], [self.filled, 2 * self.filled]))

    def empty(self, first: int, images: int) -> ImageCounts:
        """Counts of so many images, which `put` fills: rows of those of all, where there are such."""
        if self.whole is not None:
            of_all, begin = self.whole
            return of_all.rows(first - begin, images)
        return ImageCounts.empty(images, self.cores)

    def put(self, counted: ImageCounts, which: slice, place: int, sent: npt.NDArray[np.int64]) -> None:
        """Put the counts of up to 64 images, which lie at a place, where they belong.

        ``sent``, (2, images and more): spikes of the encoder, and half of the paper's SOPs.
        """
        images = which.stop - which.start
        counted.encoder_spikes[which], counted.paper_sops[which] = sent[0, :images], 2 * sent[1, :images]
        made = (counted.spikes[which], counted.sops[which], counted.events[which])
        given = self.cores, self.filled, images, self.places[place], *self.given, *map(address, made)
        self.function["by_image"](*given)
