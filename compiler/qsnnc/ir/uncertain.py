"""Thresholds at which float rounding can change a decision; as arrays, because a network of 8 bits has millions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Int = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


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
        return (Uncertain(**row) for row in self.to_json())

    @property
    def total(self) -> int:
        """Number of thresholds."""
        return int(self.count.sum())

    def bounds(self, shape: tuple[int, ...]) -> F64:
        """Return the bound at each threshold of an array (border classes, channels, levels), nan where it is certain."""
        found = np.full(shape, np.nan)
        first = np.cumsum(self.count) - self.count
        level = np.repeat(self.level - first, self.count) + np.arange(self.total)
        at = (np.repeat(self.border_class, self.count), np.repeat(self.channel, self.count), level)
        found[at] = np.repeat(self.bound, self.count)
        return found

    def to_json(self) -> list[dict[str, Any]]:
        """Return the result as JSON."""
        names = [entry.name for entry in fields(self)]
        rows = zip(*(getattr(self, name).tolist() for name in names), strict=True)
        return [dict(zip(names, row, strict=True)) for row in rows]
