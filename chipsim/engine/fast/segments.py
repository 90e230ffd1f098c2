"""Lay out what columns of a form are added up from: segments of groups of rows, and their tables one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.lines import Int
from chipsim.engine.fast.merge import Form

#: groups of a segment: their indices stay in the nearest cache while all columns take them
NEAR = 320
#: bytes of a table
TABLE = 16
#: groups that the kernel takes at a time
TOGETHER = 2

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Strands:
    """Sets of columns of digits."""

    digit: npt.NDArray[np.int8]  # (rows + 1, sets, columns): the last row is zeros
    column: Int  # (sets, columns): accumulator
    factor: Int  # (sets, columns): 0 where a set is filled up


def digits_of(matrix: npt.NDArray[np.signedinteger], largest: int, base: int) -> Iterator[npt.NDArray[np.int8]]:
    """Write weights in digits of at most ``largest``, the lowest first: the sum of digit[i] * base**i."""
    rest = matrix.astype(np.int32)
    while rest.any():
        beyond = np.abs(rest) > largest
        if not beyond.any():
            yield rest.astype(np.int8)
            return
        digit = np.where(beyond, (rest + base // 2) % base - base // 2, rest)
        yield digit.astype(np.int8)
        rest = (rest - digit) // base


def strands_of(form: Form, taken: Int, largest: int, base: int, columns: int) -> Iterator[Strands]:
    """Columns of digits that some rows have, in sets."""
    for plane, digit in enumerate(digits_of(form.matrix, largest, base)):
        padded = np.concatenate([digit, np.zeros((1, digit.shape[1]), np.int8)])
        mine = np.flatnonzero(padded[taken].any(axis=0))
        if not len(mine):
            continue
        mine = mine[np.lexsort(np.packbits(padded[:, mine] != 0, axis=0)[::-1])]  # side by side: the same rows
        more = -len(mine) % columns
        filled = np.concatenate([padded[:, mine], np.zeros((len(padded), more), np.int8)], axis=1)
        factor = np.repeat([base**plane, 0], [len(mine), more]).reshape(-1, columns)
        column = np.append(mine, np.zeros(more, np.int64)).reshape(-1, columns)
        yield Strands(filled.reshape(len(padded), *column.shape), column, factor)


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Sets of columns with a segment each, of the groups that one of their columns takes."""

    sets: Int  # (sets,)
    count: Int  # (sets,): groups
    taken: Int  # (groups, sets): filled up with the number of groups there are

    def of(self, content: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What is there for each group and set, (groups, sets, ...), of the groups that are taken; zeros of none."""
        return np.concatenate([content, np.zeros((1, *content.shape[1:]), content.dtype)])[self.taken, self.sets]


def pieces(spread: Int, near: int, at_most: int | None = None) -> Iterator[Piece]:
    """Segments for all sets, ``near`` groups at a time, or less so that no sum in one is beyond ``at_most``.

    ``spread`` (groups, sets, columns) says how much each adds at most.
    """
    used = np.asarray(spread.any(axis=2))
    if at_most is not None:
        near = min(near, max(1, at_most // max(1, int(spread.max(initial=1)))))
    for first in range(0, len(used), near):
        part = used[first : first + near]
        count = part.sum(axis=0)
        sets = np.flatnonzero(count)
        if not len(sets):
            continue
        taken = first + np.argsort(~part[:, sets], axis=0, kind="stable")[: count.max()]
        taken[np.arange(len(taken))[:, None] >= count[sets]] = len(used)
        yield Piece(sets, count[sets], taken)


class Store:
    """Tables, one after the other."""

    def __init__(self) -> None:
        self.parts: list[Bytes] = []
        self.size = 0

    def add(self, content: Bytes, count: Int) -> Int:
        """Append tables (groups, sets, bytes), set by set, each cut or filled up by zeros to a count of groups.

        Returns
        -------
        ndarray, int64, (sets,)
            Where those of each begin, in units of `TABLE`.
        """
        groups, sets, each = content.shape
        whole = -(-count * each // TABLE) * TABLE // each
        filled = np.zeros((sets, max(groups, int(whole.max())), each), np.uint8)
        filled[:, :groups] = content.swapaxes(0, 1)
        self.parts.append(filled[np.arange(filled.shape[1]) < whole[:, None]].reshape(-1))
        size = whole * each
        first = np.asarray((self.size + np.cumsum(size) - size) // TABLE)
        self.size += int(size.sum())
        return first

    def content(self) -> Bytes:
        """All of it."""
        return np.concatenate([np.zeros(0, np.uint8), *self.parts])


def segment_words(
    piece: Piece, start: int, size: int, windows: Int, each: Int, content: npt.NDArray[Any], store: Store
) -> Int:
    """The words of segments, filled up to whole steps of the kernel.

    Parameters
    ----------
    start, size : int
        Where the first group's rows lie, and their bytes.
    windows : ndarray, (sets,)
    each : ndarray, (sets, columns, words)
    content : ndarray, (groups, sets, ...)
    """
    sets, count, words = len(piece.sets), filled_up(piece.count), each[0].size
    found = piece.of(content)
    tables = store.add(found.reshape(*found.shape[:2], -1).view(np.uint8), count)
    places = np.zeros((sets, int(count.max())), np.int64)
    inside = np.arange(len(piece.taken)) < piece.count[:, None]
    places[:, : len(piece.taken)] = np.where(inside, start + size * piece.taken.T, 0)
    rows = np.concatenate([np.stack([count, windows, tables], axis=1), each.reshape(sets, -1), places], axis=1)
    return np.asarray(rows[np.arange(rows.shape[1]) < 3 + words + count[:, None]])


def filled_up(groups: Int) -> Int:
    """Filled up to whole steps of the kernel."""
    return np.asarray(-(-groups // TOGETHER) * TOGETHER)


def windows_of(piece: Piece, spreads: Int, most: int) -> Int:
    """How many groups of each set can be added up within ``most``, from each multiple of that number on.

    ``spreads`` (groups, sets, columns) says how much each adds at most.
    """
    spread = piece.of(spreads)
    before = np.zeros((len(spread) + 1, *spread.shape[1:]), spread.dtype)
    np.cumsum(spread, axis=0, out=before[1:])
    found = filled_up(piece.count)
    beyond = before[-1].max(axis=1) > most
    least = most // np.maximum(1, spread.max(axis=(0, 2))) // TOGETHER * TOGETHER
    for window in sorted(set(least[beyond].tolist())):
        mine = np.flatnonzero(beyond & (least == window))
        found[mine] = window
        for longer in range(2 * window, window, -max(TOGETHER, window // 4 // TOGETHER * TOGETHER)):
            at, end = before[::longer][:, mine], before[-1][mine]
            good = np.maximum((at[1:] - at[:-1]).max(axis=(0, 2), initial=0), (end - at[-1]).max(axis=1)) <= most
            found[mine[good]] = longer
            mine = mine[~good]
    return found
