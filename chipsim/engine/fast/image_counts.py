"""Counts of each image, core by core, as one worker makes them: 64 images after 64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.counting import Counting, Whole, reach_of
from chipsim.engine.fast.layout import LANES, SQUARE
from chipsim.engine.fast.lines import Int
from chipsim.engine.fast.loaded import Loaded
from chipsim.engine.fast.memory import address, aligned
from chipsim.engine.shared_counts import KEPT, SharedCounts, Sharing, smallest
from chipsim.engine.spool import IN_MEMORY


class CountsByImage:
    """What workers have in common that may count by image."""

    each: Each | None

    def room(self, images: int) -> SharedCounts | None:
        """Room for counts of images, where memory can hold it: see `chipsim.engine.protocol.Worker`."""
        if self.each is None:
            return None
        own = self.each.sharing
        most = max(many * of.itemsize for many, of in zip(own.columns, own.dtypes, strict=True))
        return SharedCounts.empty(own, images) if images * most <= IN_MEMORY else None

    def count_into(self, whole: SharedCounts, first: int) -> None:
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
    sharing : Sharing
        What is kept of them.
    """

    def __init__(self, engine: Loaded, places: int, counting: Counting | None = None) -> None:
        self.function, m = engine.function, engine.mapping
        self.filled = -(-m.cores // SQUARE) * SQUARE
        events = self.filled if counting is None else counting.events
        self.counts = aligned((places, 2 * self.filled + events, LANES), np.int32)
        self.places = [address(each) for each in self.counts]
        every, none = np.arange(m.cores), np.zeros(m.cores, np.int64)
        given: tuple[tuple[Whole, Whole, Whole], Int] = (every, none, every), reach_of(engine.lines.sops, engine.lines)
        if counting is not None:
            given = (counting.events_of, counting.factor, counting.rest_of), counting.reach
        (events_of, factor, rest_of), reach = given
        most = int(np.diff(m.neuron_offset).max()), *(reach_of(engine.lines.events, engine.lines)[1:]).tolist()
        dtypes = (smallest(0, m.steps * most[0]), smallest(*(m.steps * reach).tolist()), smallest(0, m.steps * most[1]))
        always = engine.reduced.core_sops, engine.reduced.core_events
        self.sharing = Sharing(events_of, factor, rest_of, *always, none.astype(bool), dtypes)
        first = every, self.filled + rest_of, 2 * self.filled + np.arange(self.sharing.columns[2])
        self.rows = [np.pad(rows, (0, -len(rows) % SQUARE)).astype(np.uint32) for rows in first]
        self.whole: tuple[SharedCounts, int] | None = None

    def of_kinds(self, place: int) -> tuple[npt.NDArray[np.int32], ...]:
        """Counts at a place: spikes, SOPs without those of the factor, and events."""
        return tuple(np.split(self.counts[place], [self.filled, 2 * self.filled]))

    def empty(self, first: int, images: int) -> SharedCounts:
        """Counts of so many images, which `put` fills: rows of those of all, where there are such."""
        if self.whole is not None:
            of_all, begin = self.whole
            return of_all.rows(first - begin, images)
        return SharedCounts.empty(self.sharing, images)

    def put(self, counted: SharedCounts, which: slice, place: int, sent: npt.NDArray[np.int64]) -> None:
        """Put the counts of up to 64 images, which lie at a place, where they belong.

        ``sent``, (2, images and more): spikes of the encoder, and half of the paper's SOPs.
        """
        images = which.stop - which.start
        counted.encoder_spikes[which], counted.paper_sops[which] = sent[0, :images], 2 * sent[1, :images]
        for name, rows in zip(KEPT, self.rows, strict=True):
            made = getattr(counted, name)[which]
            by_image = self.function[f"by_image{8 * made.itemsize}"]
            by_image(made.shape[1], images, address(rows), self.places[place], address(made))
