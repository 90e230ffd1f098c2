"""Number what is alike: rows or columns of a matrix, or single marks."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Int = npt.NDArray[np.int64]
Small = npt.NDArray[np.int32]
#: entries that are worked on at a time, so that what is made of them stays near
SHARE = 1 << 17


def numbered(lines: npt.NDArray[np.int8], axis: int = 0) -> tuple[Int, Int]:
    """Number distinct lines in the order of their appearance: the number of each line, and the first line of each number.

    Parameters
    ----------
    axis : int
        0: lines are rows, 1: columns.
    """
    count, length = lines.shape[axis], lines.shape[1 - axis]
    if not lines.size:
        return np.zeros(count, np.int64), np.zeros(min(count, 1), np.int64)
    # sums of whole numbers below 2**53: a float64 holds them exactly, in whatever order they are added up
    weight = (mix(np.arange(length, dtype=np.uint64)) >> np.uint64(19 + length.bit_length())).astype(np.float64)
    whole = lines.astype(np.float64)
    of, first = number(whole @ weight if axis == 0 else weight @ whole)
    if len(first) == count:  # lines of different marks differ
        return of, first
    other = np.flatnonzero(first[of] != np.arange(count))
    if (lines.take(other, axis) != lines.take(first[of[other]], axis)).any():  # two lines with one mark
        return number(np.unique(lines, axis=axis, return_inverse=True)[1].reshape(-1))
    return of, first


def number(mark: npt.NDArray[Any]) -> tuple[Int, Int]:
    """Number distinct marks in the order of their appearance, and the first place of each number."""
    order = np.argsort(mark)
    new = np.ones(len(order), bool)
    new[1:] = mark[order[1:]] != mark[order[:-1]]
    first = np.minimum.reduceat(order, np.flatnonzero(new))
    by_place = np.argsort(first)
    rank = np.empty(len(first), np.int64)
    rank[by_place] = np.arange(len(first))
    of = np.empty(len(order), np.int64)
    of[order] = rank[np.cumsum(new) - 1]
    return of, first[by_place]


def spread(first: Int, many: Int) -> tuple[Int, Int]:
    """Numbers from each of ``first`` on, so ``many`` each, and which of them each is, from 0."""
    inside = np.arange(int(many.sum())) - np.repeat(np.cumsum(many) - many, many)
    return np.repeat(first, many) + inside, inside


def shares(size: Int, most: int = SHARE) -> list[tuple[int, int]]:
    """Ranges of owners that have ``size`` entries each, about ``most`` of them in a range."""
    number = (np.cumsum(size) - size) // most
    return list(pairwise([*np.flatnonzero(np.diff(number, prepend=-1)).tolist(), len(size)]))


def places_of(line: Small, rows: Small) -> Int:
    """Where the entries of ``line`` are in ``rows``, which are the same in another order."""
    found = np.empty(len(rows), np.int64)
    found[np.argsort(line, kind="stable")] = np.argsort(rows, kind="stable")
    return found


def places_among(line: Small, rows: Small) -> Int:
    """Where the entries of ``line`` are in ``rows``, which has them and more, each once."""
    order = np.argsort(rows)
    return np.asarray(order[np.searchsorted(rows, line, sorter=order)])


def mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finaliser: a bijection that spreads."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    more = np.empty_like(x)  # in place: the first touch of new memory takes longer than the arithmetic
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x ^= np.right_shift(x, np.uint64(shift), out=more)
        x *= np.uint64(factor)
    x ^= np.right_shift(x, np.uint64(31), out=more)
    return x
