"""Counts of each image, core by core, as one worker makes them: 64 images after 64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chipsim.engine.count import ImageCounts
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
    counts : ndarray, int32, (places, 3, cores, 64)
        Spikes, SOPs and events of each core, filled up to a multiple of `SQUARE` cores.
    """

    def __init__(self, engine: Loaded, places: int) -> None:
        self.function, self.cores = engine.function, engine.mapping.cores
        filled = -(-self.cores // SQUARE) * SQUARE
        self.counts = aligned((places, 3, filled, LANES), np.int32)
        self.always = aligned((3, filled), np.int32)  # what each core counts in every image
        self.always[1:, : self.cores] = engine.reduced.core_sops, engine.reduced.core_events
        self.counts_at, self.always_at = address(self.counts), address(self.always)
        self.whole: tuple[ImageCounts, int] | None = None

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
        by_image, size = self.function["by_image"], 4 * self.always.shape[1]
        rows = self.counts_at + 3 * LANES * size * place
        for number, out in enumerate(made):
            by_image(rows + LANES * size * number, self.cores, images, self.always_at + size * number, address(out))
