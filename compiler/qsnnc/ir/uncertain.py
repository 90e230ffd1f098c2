"""Thresholds at which float rounding can change a decision; as arrays, because a network of 8 bits has millions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Int = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

#: thresholds per span from which on spans are written one by one
LONG = 64


@dataclass(frozen=True, slots=True)
class Uncertain:
    """An uncertain threshold: rounding of the model's float sums can change its decision."""

    channel: int
    border_class: int
    level: int
    bound: float  # of the float error of the sum, in accumulator units
    count: int = 1  # how many thresholds: this one and those of the levels after it


@dataclass(frozen=True, slots=True, eq=False)
class UncertainThresholds:
    """The uncertain thresholds of a layer: entry n of every array is one `Uncertain`, as which they are iterated."""

    channel: Int
    border_class: Int
    level: Int
    bound: F64
    count: Int

    def __post_init__(self) -> None:
        for entry in fields(self):
            getattr(self, entry.name).setflags(write=False)

    @staticmethod
    def of(spans: Iterable[Uncertain] = ()) -> UncertainThresholds:
        """Collect single ones; by default none."""
        rows = [(span.channel, span.border_class, span.level, span.bound, span.count) for span in spans]
        channel, border_class, level, bound, count = zip(*rows, strict=True) if rows else ((),) * 5
        whole = (np.array(column, np.int64) for column in (channel, border_class, level, count))
        channels, classes, levels, counts = whole
        return UncertainThresholds(channels, classes, levels, np.array(bound, np.float64), counts)

    def __len__(self) -> int:
        return len(self.channel)

    def __iter__(self) -> Iterator[Uncertain]:
        rows = zip(*(getattr(self, entry.name).tolist() for entry in fields(self)), strict=True)
        return (Uncertain(*row) for row in rows)

    @property
    def total(self) -> int:
        """Number of thresholds."""
        return int(self.count.sum())

    def bounds(self, shape: tuple[int, ...]) -> F64:
        """Return the bound at each threshold of an array (border classes, channels, levels), nan where it is certain."""
        found = np.full(shape, np.nan)
        self._place(found, self.bound)
        return found

    def margins(self, shape: tuple[int, ...], most: float) -> Int:
        """Return from which distance on a potential is on a certain side of each threshold, 0 where any is."""
        found = np.zeros(shape, np.int64)
        known = ~np.isnan(self.bound)
        self._place(found, np.where(known, np.minimum(self.bound, most), -1).astype(np.int64) + 1)
        return found

    def _place(self, found: npt.NDArray[Any], values: npt.NDArray[Any]) -> None:
        """Write a value for each span into an array (border classes, channels, levels)."""
        if self.total >= LONG * len(self):
            for span, value in zip(self, values, strict=True):
                found[span.border_class, span.channel, span.level : span.level + span.count] = value
            return
        first = np.cumsum(self.count) - self.count
        level = np.repeat(self.level - first, self.count) + np.arange(self.total)
        at = (np.repeat(self.border_class, self.count), np.repeat(self.channel, self.count), level)
        found[at] = np.repeat(values, self.count)

    def to_json(self, most: int | None = None) -> list[dict[str, Any]]:
        """Return the spans as JSON, at most so many; a bound that is not known is null."""
        names = [entry.name for entry in fields(self)]
        rows = zip(*(getattr(self, name)[:most].tolist() for name in names), strict=True)
        return [dict(zip(names, row, strict=True)) | _finite("bound", row[names.index("bound")]) for row in rows]

    def total_json(self) -> dict[str, Any]:
        """Return the numbers of thresholds, of spans and of channels, and the largest bound."""
        counts = {"thresholds": self.total, "spans": len(self), "channels": len(np.unique(self.channel))}
        return counts | _finite("largest_bound", float(self.bound.max(initial=0.0)))


def _finite(name: str, bound: float) -> dict[str, float | None]:
    return {name: bound if np.isfinite(bound) else None}
