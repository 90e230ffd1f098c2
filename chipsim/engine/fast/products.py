"""Rows that are multiplied: some of them at a time, by a column's weights, in one instruction.

- *Quads* (`vpdpbusd`): four rows, whose products are added to a sum of 32 bits. Weights are digits of eight bits.
- *Pairs* (`pmaddubsw`): two rows, whose products are added up in 16 bits. Digits are as small as it takes for sums of four
  of them to fit, and sums are brought to 32 bits before they might not, if the accumulators have 32.
- *Wide pairs* (`pmaddwd`): two rows of 16-bit numbers, whose products are added up in 32 bits: half as many at a time, but
  weights of any size and nothing to widen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from chipsim.engine.fast import tiles
from chipsim.engine.fast.instructions import DOTS, TILES
from chipsim.engine.fast.lines import Int
from chipsim.engine.fast.merge import Form
from chipsim.engine.fast.plan import narrow
from chipsim.engine.fast.segments import NEAR, TOGETHER, Store, filled_up, pieces, segment_words, strands_of, windows_of

#: the largest number of 16 bits with a sign
HALF = 32767
#: wide pairs, and quads, of a segment
NEAR_WIDE = 80
#: time of bringing products from 16 bits to 32, in pairs
WIDENING = 5
#: time of a row of a quad, where one of a pair takes 1
QUAD = 0.75

#: segments, and how many, of rows (groups, rows of each), of which so many are there, for so many columns at a time; the
#: first of them lies at a place, and their weights are appended
Multiply = Callable[[Form, Int, int, int, int, Store], Iterator[tuple[int, Int]]]


@dataclass(frozen=True, slots=True)
class Products:
    """How rows of a form are multiplied."""

    rows: int  # at a time
    size: int  # bytes that these take
    wide: bool  # as numbers of 16 bits
    time: float  # of a row, where it is 1 for one of a pair whose products have one digit and stay in 16 bits
    segments: Multiply


def products_of(form: Form, instruction: str) -> Products:
    """Choose by counting instructions."""
    if instruction in TILES:
        return Products(4, 256, False, 0, _tiles)
    if instruction in DOTS:
        return Products(4, 256, False, QUAD * _digits(form, 127, 256), _quads)
    time: float = _digits(form, _digit(form), _base(form))
    if not narrow(form):
        window = HALF // max(1, 2 * int(form.bound.max(initial=1)) * min(_digit(form), largest_weight(form)))
        time *= 1 + WIDENING / window
        if time > 2 and largest_weight(form) <= HALF:
            return Products(2, 256, True, 2, _wide_pairs)
    return Products(2, 128, False, time, _pairs)


def _digits(form: Form, most: int, base: int) -> int:
    """Digits of the weights, of at most so much."""
    largest, digits = largest_weight(form), 1
    while largest > most:
        largest, digits = (largest + base // 2) // base, digits + 1
    return digits


def _digit(form: Form) -> int:
    """The largest digit whose products with four of the largest rows are within 16 bits."""
    return min(127, HALF // (2 * TOGETHER * int(form.bound.max(initial=1))))


def _base(form: Form) -> int:
    return 128 if _digit(form) >= 64 else 64


def largest_weight(form: Form) -> int:
    """The largest weight, in magnitude."""
    return 0 if not form.matrix.size else max(int(form.matrix.max()), -int(form.matrix.min()))


def _tiles(form: Form, quads: Int, rows: int, columns: int, start: int, store: Store) -> Iterator[tuple[int, Int]]:
    return tiles.segments(form, quads.reshape(-1)[:rows], start, store)


def _quads(form: Form, quads: Int, rows: int, columns: int, start: int, store: Store) -> Iterator[tuple[int, Int]]:
    for strands in strands_of(form, quads.reshape(-1), 127, 256, columns):
        weight = strands.digit[quads]  # (quads, 4, sets, columns)
        if rows % 4:
            weight[-1, rows % 4 :] = 0  # the same row once more
        weight = np.moveaxis(weight, 1, -1)
        for piece in pieces(np.asarray(weight.any(axis=3), np.int64), NEAR_WIDE):
            each = np.stack([strands.column[piece.sets], strands.factor[piece.sets]], axis=2)
            none = np.zeros(len(piece.sets), np.int64)  # nothing to widen
            yield len(piece.sets), segment_words(piece, start, 256, none, each, weight, store)


def _pairs(form: Form, pairs: Int, rows: int, columns: int, start: int, store: Store) -> Iterator[tuple[int, Int]]:
    for strands in strands_of(form, pairs.reshape(-1), _digit(form), _base(form), columns):
        weight = strands.digit[pairs]  # (pairs, 2, sets, columns)
        if rows % 2:
            weight[-1, 1] = 0  # the same row once more
        weight = np.moveaxis(weight, 1, -1)
        spread = (np.abs(weight.astype(np.int32)) * form.bound[pairs].astype(np.int32)[:, None, None]).sum(axis=3)
        for piece in pieces(spread, NEAR // 2):
            each = np.stack([strands.column[piece.sets], strands.factor[piece.sets]], axis=2)
            # sums of 16 bits may wrap
            windows = filled_up(piece.count) if narrow(form) else windows_of(piece, spread, HALF)
            yield len(piece.sets), segment_words(piece, start, 128, windows, each, weight, store)


def _wide_pairs(form: Form, pairs: Int, rows: int, columns: int, start: int, store: Store) -> Iterator[tuple[int, Int]]:
    """For all columns: the first segment of each says what its accumulator is, the others add to it.

    A segment: the number of its pairs, whether it adds, its weights, an accumulator for each column, and the places.
    """
    weight = form.matrix[pairs].astype(np.int16)  # (pairs, 2, columns)
    if rows % 2:
        weight[-1, 1] = 0  # the same row once more
    every = np.arange(form.matrix.shape[1])
    column = np.pad(every, (0, -len(every) % columns), mode="edge").reshape(-1, columns)  # the last again: no harm
    weight = np.moveaxis(weight, 1, -1)[:, column]
    for first in range(0, len(pairs), NEAR_WIDE):
        part = weight[first : first + NEAR_WIDE]
        count = np.full(len(column), len(part))
        tables = store.add(np.ascontiguousarray(part).reshape(*part.shape[:2], -1).view(np.uint8), count)
        places = np.broadcast_to(start + 256 * (first + np.arange(len(part))), (len(column), len(part)))
        heads = np.stack([count, np.full(len(column), min(first, 1)), tables], axis=1)
        yield len(column), np.concatenate([heads, column, places], axis=1).reshape(-1)
