"""Counts of each image as the fast engine finds them; what is asked for is made of them where it is read.

Cores that take the same values have the same events, and the SOPs of a core are a factor times its events, and a rest that
mostly is none. Kept like this, in as few bytes as hold the largest count, they take a half to an eighth of the memory, whose
first touch takes longer than counting.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from chipsim.engine.count import Counts32, ImageCounts, Int
from chipsim.engine.spool import Spool
from chipsim.files import let_go

#: bytes of whole counts that are made at a time
PART = 1 << 22
#: what is kept of each core, and what is made of that
KEPT = ("spikes", "rest", "events")
KINDS = ("spikes", "sops", "events")

Small = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True, eq=False)
class Sharing:
    """Which counts are kept, and what the others are made of.

    Attributes
    ----------
    events_of : ndarray, (cores,)
        Which of the events that are kept are each core's.
    factor : ndarray, (cores,)
        SOPs of one of these.
    rest_of : ndarray, (rests,)
        Cores that have other SOPs besides.
    sops, events : ndarray, (cores,)
        Of each image, whatever is in it.
    silent : ndarray, bool, (cores,)
        Cores whose spikes and SOPs are in no count of the network.
    dtypes : tuple
        Of the spikes, rests and events that are kept.
    """

    events_of: Small
    factor: Small
    rest_of: Small
    sops: Small
    events: Small
    silent: npt.NDArray[np.bool_]
    dtypes: tuple[np.dtype[np.integer], np.dtype[np.integer], np.dtype[np.integer]]

    @property
    def columns(self) -> tuple[int, int, int]:
        """How many spikes, rests and events are kept of an image."""
        return len(self.events_of), len(self.rest_of), int(self.events_of.max(initial=-1)) + 1


@dataclass(frozen=True, eq=False)
class SharedCounts:
    """Counts of each image of a batch, or of a run."""

    sharing: Sharing
    encoder_spikes: Int  # (images,)
    paper_sops: Int  # (images,)
    spikes: Small  # (images, cores)
    rest: Small  # (images, rests)
    events: Small  # (images, events)

    @classmethod
    def empty(cls, sharing: Sharing, images: int) -> SharedCounts:
        """Room for some images."""
        kept = (np.empty((images, many), of) for many, of in zip(sharing.columns, sharing.dtypes, strict=True))
        return cls(sharing, np.empty(images, np.int64), np.empty(images, np.int64), *kept)

    def rows(self, first: int, images: int) -> SharedCounts:
        """Those of some images."""
        mine = slice(first, first + images)
        kept = (getattr(self, name)[mine] for name in KEPT)
        return SharedCounts(self.sharing, self.encoder_spikes[mine], self.paper_sops[mine], *kept)

    def silenced(self, silent: npt.NDArray[np.bool_]) -> SharedCounts:
        """The same, but for cores, (cores,), whose spikes and SOPs are in no count of the network."""
        return replace(self, sharing=replace(self.sharing, silent=silent))

    def arrays(self) -> dict[str, npt.NDArray[np.integer]]:
        """What is kept, a row for each image."""
        return {name: getattr(self, name) for name in ("encoder_spikes", "paper_sops", *KEPT)}

    def sent(self) -> Int:
        """Spikes of each image, (images,), with those of the encoder, without those in no count of the network."""
        silent = self.spikes[:, self.sharing.silent].sum(axis=1, dtype=np.int64)
        return np.asarray(self.encoder_spikes + self.spikes.sum(axis=1, dtype=np.int64) - silent)

    def of(self, kind: str, images: slice) -> Counts32:
        """One of `KINDS` of some images, (images, cores)."""
        own = self.sharing
        if kind == "spikes":
            found = self.spikes[images].astype(np.int32)
        else:
            found = self.events[images].astype(np.int32)[:, own.events_of]
        if kind == "events":
            found += own.events.astype(np.int32)
        if kind == "sops":
            found *= own.factor.astype(np.int32)
            found[:, own.rest_of] += self.rest[images]
            found += own.sops.astype(np.int32)
        if kind != "events":
            found[:, own.silent] = 0
        return found

    def whole(self) -> ImageCounts:
        """All that is asked for; large arrays are kept in temporary files."""
        return self._whole

    @cached_property
    def _whole(self) -> ImageCounts:
        images = len(self.spikes)
        at_once = max(1, PART // max(1, 4 * self.spikes.shape[1]))
        spools = {kind: Spool(images) for kind in KINDS}
        for first in range(0, max(1, images), at_once):
            for kind, spool in spools.items():
                spool.add(self.of(kind, slice(first, first + at_once)))
            let_go(*self.arrays().values())
        return ImageCounts(self.encoder_spikes, self.paper_sops, *(spool.array() for spool in spools.values()))


class Rows:
    """One of `KINDS` as an array whose rows are made when they are read, int32 (images, cores)."""

    dtype = np.dtype(np.int32)

    def __init__(self, counts: ImageCounts | SharedCounts, kind: str) -> None:
        self._counts, self._kind = counts, kind
        self.shape = counts.spikes.shape
        self.kept = list(counts.arrays().values())

    def __len__(self) -> int:
        """Images."""
        return len(self._counts.encoder_spikes)

    def __getitem__(self, images: slice) -> Counts32:
        """Those of some images."""
        return self._counts.of(self._kind, images)


def smallest(least: int, most: int) -> np.dtype[np.integer]:
    """The dtype of the fewest bytes, at most four, that holds what is from ``least`` to ``most``."""
    for kind in (np.uint8, np.uint16, np.int16):
        if np.iinfo(kind).min <= least and most <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.int32)
