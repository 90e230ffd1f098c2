"""Rows that are multiplied: pairs of them, by a column's two weights, in 16 bits or in 32.

In 16 bits weights are digits as small as it takes for sums of products to fit, and sums are brought to 32 bits before they
might not, if the accumulators have 32. In 32 bits half as many pairs are multiplied at a time, by whole weights.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chipsim.engine.fast.merge import Form, Int
from chipsim.engine.fast.plan import narrow
from chipsim.engine.fast.segments import NEAR, TOGETHER, Store, filled_up, pieces, segment_words, strands_of, windows_of

#: the largest number of 16 bits with a sign
HALF = 32767
#: pairs of 16 bits of a segment
NEAR_WIDE = 80
#: time of bringing products from 16 bits to 32, in pairs
WIDENING = 5


def _planes(form: Form) -> int:
    """Digits of the weights where they are multiplied."""
    largest, digits = largest_weight(form), 1
    while largest > _digit(form):
        largest, digits = (largest + _base(form) // 2) // _base(form), digits + 1
    return digits


def product_time(form: Form) -> float:
    """Time of a row that is multiplied, where it is 1 if its products have one digit and stay in 16 bits."""
    return 2 if is_wide(form) else _narrow_product(form)


def _narrow_product(form: Form) -> float:
    """The same, in 16 bits as long as they fit."""
    if narrow(form):
        return _planes(form)
    window = HALF // max(1, 2 * int(form.bound.max(initial=1)) * min(_digit(form), largest_weight(form)))
    return _planes(form) * (1 + WIDENING / window)


def is_wide(form: Form) -> bool:
    """Whether products have 32 bits from the start: two are taken in the time of four in 16 bits."""
    return not narrow(form) and largest_weight(form) <= HALF and _narrow_product(form) > 2


def _digit(form: Form) -> int:
    """The largest digit whose products with four of the largest rows are within 16 bits."""
    return min(127, HALF // (2 * TOGETHER * int(form.bound.max(initial=1))))


def _base(form: Form) -> int:
    return 128 if _digit(form) >= 64 else 64


def largest_weight(form: Form) -> int:
    """The largest weight, in magnitude."""
    return 0 if not form.matrix.size else max(int(form.matrix.max()), -int(form.matrix.min()))


def multiplied(form: Form, pairs: Int, rows: int, columns: int, start: int, store: Store) -> Iterator[tuple[int, Int]]:
    """Segments of products of pairs, and how many, the first of which lies at ``start``; their weights are appended."""
    for strands in strands_of(form, pairs.reshape(-1), _digit(form), _base(form), columns):
        weight = strands.digit[pairs]  # (pairs, 2, sets, columns)
        if rows % 2:
            weight[-1, 1] = 0  # the same row once more
        weight = np.moveaxis(weight, 1, -1)
        spread = (np.abs(weight.astype(np.int32)) * form.bound[pairs].astype(np.int32)[:, None, None]).sum(axis=3)
        for piece in pieces(spread, NEAR // 2, None):
            each = np.stack([strands.column[piece.sets], strands.factor[piece.sets]], axis=2)
            # sums of 16 bits may wrap
            windows = filled_up(piece.count) if narrow(form) else windows_of(piece, spread, HALF)
            yield len(piece.sets), segment_words(piece, start, 128, windows, each, weight, store)


def multiplied_wide(form: Form, pairs: Int, rows: int, columns: int, start: int, store: Store) -> Iterator[tuple[int, Int]]:
    """The same in 32 bits, for all columns: the first segment of each says what its accumulator is, the others add to it.

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
