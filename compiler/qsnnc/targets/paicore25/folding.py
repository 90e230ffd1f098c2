"""Neurons that share weights and parameters as few folded records: runs of equal steps within runs within runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from qsnnc.ir.layers import Int

#: positions that a range of a fold can count, an 11-bit field
MOST_RANGE = 2047
#: neurons from which on a fold takes no more rows than a record each
WORTH = 3


@dataclass(frozen=True, slots=True)
class Fold:
    """Neurons ``start`` to ``start + number - 1`` of a sequence as one record.

    Y counts fastest. ``skew`` and ``axon`` are the increments along Y, where Y begins anew, and where X does.
    """

    start: int
    number: int
    ranges: tuple[int, int, int] = (1, 1, 1)
    skew: tuple[int, int, int] = (0, 0, 0)
    axon: tuple[int, int, int] = (0, 0, 0)

    @property
    def potentials(self) -> int:
        """Rows of potentials besides the first neuron's."""
        return -(-(self.number - 1) // 4)

    @property
    def rows(self) -> int:
        """Rows without Part 2."""
        return 1 if self.number == 1 else 2 + self.potentials


ALONE = Fold(0, 1)


def fewest_rows(neurons: int) -> int:
    """Rows that neurons with one weight vector and one Part 2 take at least, Part 2 apart."""
    return min(neurons, 2 + -(-(neurons - 1) // 4))


def fold(offset: Int, address: Int, max_step: int) -> list[Fold]:
    """Cut a sequence of neurons into records.

    Parameters
    ----------
    offset, address : ndarray, int64, (n,)
        Where each neuron reads and sends to.
    max_step : int
        Largest increment; steps are unsigned.

    Returns
    -------
    list of Fold
        In the order of the sequence, every neuron once.
    """
    if len(offset) == 1:  # most neurons of dense layers
        return [ALONE]
    return list(_folded(np.diff(offset).tobytes(), np.diff(address).tobytes(), max_step))


@lru_cache(maxsize=4096)
def _folded(offset_steps: bytes, address_steps: bytes, max_step: int) -> tuple[Fold, ...]:
    """`fold` by the steps alone: neurons of other channels and levels are laid out alike."""
    steps = list(zip(*(np.frombuffer(each, np.int64).tolist() for each in (offset_steps, address_steps)), strict=True))
    count = len(steps) + 1
    found: list[Fold] = []
    at = 0
    while at < count:
        grown = _grown(steps, at, count, max_step)
        if grown.number >= WORTH:
            found.append(grown)
        else:
            found += [Fold(each, 1) for each in range(at, at + grown.number)]
        at += grown.number
    return tuple(found)


def _grown(steps: list[tuple[int, int]], start: int, count: int, most: int) -> Fold:
    """The record that begins at a neuron: Y as far as the step stays, then X and XY as far as the pattern does."""
    allowed = [0 <= a <= most and 0 <= b <= most for a, b in steps[start : start + 1]]
    if not allowed or not allowed[0]:
        return Fold(start, 1)
    pattern: list[tuple[int, int]] = []  # the step at each transition inside what is repeated
    ranges: list[int] = []
    increments: list[tuple[int, int]] = []
    size = 1
    for _ in range(3):
        at = start + size
        if at >= count:
            break
        step = steps[at - 1]
        if not (0 <= step[0] <= most and 0 <= step[1] <= most):
            break
        repeats = 1
        while repeats < MOST_RANGE and at < count and steps[at - 1] == step and steps[at : at + size - 1] == pattern:
            repeats += 1
            at += size
        rest = count - at  # of a last block that is cut short
        if 0 < rest < size and repeats < MOST_RANGE and steps[at - 1 :] == [step, *pattern[: rest - 1]]:
            ranges.append(repeats + 1)
            increments.append(step)
            return _record(start, size * repeats + rest, ranges, increments)
        if repeats == 1:
            break
        pattern = [*pattern, step] * (repeats - 1) + pattern
        size *= repeats
        ranges.append(repeats)
        increments.append(step)
    return _record(start, size, ranges, increments)


def _record(start: int, number: int, ranges: list[int], increments: list[tuple[int, int]]) -> Fold:
    missing = 3 - len(ranges)
    y, x, xy = ranges + [1] * missing
    steps = increments + [(0, 0)] * missing
    return Fold(start, number, (y, x, xy), (steps[0][0], steps[1][0], steps[2][0]), (steps[0][1], steps[1][1], steps[2][1]))
