"""Express a form as lookups and products: dense sums of small numbers, by instructions that do many at a time.

*Lookups.* Rows are packed into indices of four bits: four rows of one bit, two of two bits, and so on; each such index is a
*group*. For each group a column has a table of sixteen bytes: its weights times whatever the index says, plus what makes
all of them non-negative. One instruction looks up sixteen to sixty-four lanes, so that a lookup and an addition stand for up
to four multiplications in each lane. Bytes are added up until one might overflow (a *window*), then widened.

*Products.* Rows that are too large for that are multiplied: see `chipsim.engine.fast.products`.

Weights of more bits take further *strands*: columns of digits, added in times a power of 16, 64, 128 or 256.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast import tiles
from chipsim.engine.fast.instructions import COLUMNS, TILES, TIMES
from chipsim.engine.fast.lines import Int, numbered
from chipsim.engine.fast.merge import Form
from chipsim.engine.fast.plan import narrow
from chipsim.engine.fast.products import largest_weight, products_of
from chipsim.engine.fast.segments import (
    NEAR,
    TABLE,
    Bytes,
    Store,
    Strands,
    pieces,
    segment_words,
    strands_of,
    windows_of,
)
from chipsim.engine.fast.tiles import ROWS

#: the largest sum of bytes
BYTE = 255
#: the largest sum of lookups where accumulators have 32 bits: it is widened from 16
SEGMENT = 65535
#: how much of an index a row takes, by its largest value; the last is that of all larger ones
SHARE = np.repeat([0.25, 0.5, 0.75, 1.0, np.inf], [2, 2, 4, 8, 1])
#: kinds of groups: how many rows, which bits of them, and how many numbers an index is made of
KINDS = (
    (4, "all", 4),  # of one bit
    (2, "all", 2),  # of two
    (1, "all", 1),  # of up to four
    (2, "v & 3", 2), (4, "v >> 2", 4),  # of three: eight rows take six indices
    (6, "sums", 2),  # of one bit, of which three and three have equal weights: two sums of two bits
)  # fmt: skip
#: words at the head of a program: groups of each kind, segments of lookups, where they begin; pairs or quads of rows that
#: are multiplied, where these rows begin, whether they have 16 bits, segments of products, where they begin
HEAD = (
    *(f"kind{number}" for number in range(len(KINDS))),
    "lookups",
    "lookups at",
    "multiplied",
    "rows at",
    "wide",
    "products",
    "products at",
)

Word = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class Lookups:
    """A form as a program for `lookup_kernel`, and its tables."""

    program: Word
    tables: Bytes
    packed: int  # rows of 64 bytes that indices and products take


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """Which rows make up each index, kind by kind in the order of `KINDS`."""

    count: tuple[int, ...]  # groups of each kind
    taken: Int  # rows, group by group
    rows: Int  # (groups, 4): a row with the weights of each number, filled up with the number of rows there are
    reach: Int  # (groups, 4): largest value of each there
    scale: Int  # (groups,): what one of those values stands for


def cost(form: Form, instruction: str) -> int:
    """Estimate the instructions for lookups and products, in vector additions of 64 bytes."""
    if instruction in TILES:
        return tiles.cost(form)
    rows = np.minimum(_looking_up(form, instruction), products_of(form, instruction).time)
    return int(TIMES[instruction].product * form.matrix.shape[1] * rows.sum())


def lookups(form: Form, instruction: str) -> Lookups:
    """Return the program and the tables of a form, for the kernels of a processor: see `chipsim.engine.fast.instructions`.

    The program: the words of `HEAD`; the rows of all groups; those that are multiplied; segments of lookups, each the
    number of its groups, the length of a window, the first table, for each column its accumulator, what is added to it and a
    factor, and for each group where its index lies, in bytes; segments of products, each the same without what is added.
    """
    products, columns = products_of(form, instruction), COLUMNS[instruction]
    looked_up = _looking_up(form, instruction) < products.time
    groups = _group(form, looked_up)
    rest = np.flatnonzero(~looked_up & (form.bound > 0))
    store = Store()
    first = list(_looked_up(form, groups, columns, store))
    wide = products.wide and len(rest) > 0
    multiplied = np.pad(rest, (0, -len(rest) % products.rows), mode="edge") if len(rest) else rest
    multiplied = multiplied.reshape(-1, products.rows)
    second = list(products.segments(form, multiplied, len(rest), columns, 64 * len(groups.rows), store))
    segments = [[words for _, words in part] for part in (first, second)]
    rows = [groups.taken], [multiplied.reshape(-1)]
    parts = [np.concatenate([np.zeros(0, np.int64), *part]) for part in (*rows, *segments)]
    places = len(HEAD) + np.cumsum([len(part) for part in parts])
    many = [sum(count for count, _ in part) for part in (first, second)]
    head = [*groups.count, many[0], places[1], len(multiplied), places[0], int(wide), many[1], places[2]]
    program = np.concatenate([np.array(head), *parts]) & 0xFFFFFFFF
    packed = len(groups.rows) + -(-products.size // 64 * len(multiplied) // ROWS) * ROWS  # whole tiles
    return Lookups(program.astype(np.uint32), store.content(), packed)


def _looking_up(form: Form, instruction: str) -> npt.NDArray[np.float64]:
    """Time of each row where it is looked up, for a column, in those of `Products`."""
    share = SHARE[np.minimum(form.bound, TABLE)]
    share[_sums(form, np.arange(len(share)))] = 1 / 6
    largest, digits = largest_weight(form), 1
    if largest > 7:
        share[(form.bound > 3) & (form.bound <= 7)] = 1  # see `_group`
    while largest > 8:
        largest, digits = (largest + 8) >> 4, digits + 1
    each = TIMES[instruction]
    reach = np.minimum(15, form.bound / share) * (8 if digits > 1 else largest)  # of an index
    return np.asarray(share * digits * (each.index + each.window * np.maximum(1, reach) / BYTE))


def _sums(form: Form, order: Int) -> Int:
    """Rows of one bit, (groups, 6), where the first three and the last three have equal weights; some ``order`` of rows.

    Levels that arrive on a row each, as pooling makes them, become one number again.
    """
    ones = order[form.bound[order] == 1]
    if form.matrix.dtype != np.int8 or len(ones) < 6:
        return np.zeros((0, 6), np.int64)
    number, _ = numbered(form.matrix[ones])
    ones, number = ones[np.argsort(number, kind="stable")], np.sort(number)
    first = np.searchsorted(number, number)
    rank = np.arange(len(number)) - first
    three = ones[rank < np.bincount(number)[number] // 3 * 3].reshape(-1, 3)
    return np.asarray(three[: len(three) // 2 * 2].reshape(-1, 6))


def _group(form: Form, which: npt.NDArray[np.bool_]) -> _Groups:
    """Pack some rows into indices, those together that the same columns take."""
    used = np.packbits(form.matrix != 0, axis=1)
    order = np.lexsort((*used.T[::-1], form.bound)) if used.size else np.arange(len(form.bound))
    order = order[which[order]]
    sums = _sums(form, order)
    order = order[~np.isin(order, sums)]
    bound = form.bound[order]
    ones, twos, threes, fours = (
        order[(bound > below) & (bound <= most)] for below, most in ((0, 1), (1, 3), (3, 7), (7, 15))
    )
    eight = len(threes) // 4 * 4 if largest_weight(form) <= 7 else 0  # two tables of eights would not fit a byte
    one, left = _cut(ones, 4)
    two, left = _cut(np.concatenate([left, twos]), 2)
    rest = np.concatenate([left, threes[eight:], fours])[:, None]
    three = threes[:eight]
    kinds = (one, two, rest, three.reshape(-1, 2), three.reshape(-1, 4), sums)
    numbers = (*kinds[:-1], sums[:, ::3])
    kind = np.repeat(np.arange(len(KINDS)), [len(k) for k in kinds])[:, None]
    rows = np.full((len(kind), 4), len(form.bound))
    for number, own in enumerate(numbers):
        rows[kind[:, 0] == number, : own.shape[1]] = own
    most = np.append(form.bound, 0)[rows]
    reach = np.select([kind == 3, kind == 4, kind == 5], [np.minimum(most, 3), most >> 2, 3 * most], most)
    taken = np.concatenate([k.reshape(-1) for k in kinds])
    return _Groups(tuple(len(k) for k in kinds), taken, rows, reach, np.where(kind[:, 0] == 4, 4, 1))


def _cut(rows: Int, size: int) -> tuple[Int, Int]:
    """As many groups of a size as there are, and what is left."""
    whole = len(rows) // size * size
    return rows[:whole].reshape(-1, size), rows[whole:]


def _looked_up(form: Form, groups: _Groups, columns: int, store: Store) -> Iterator[tuple[int, Int]]:
    """Segments of lookups, and how many; their tables are appended."""
    at_most = None if narrow(form) else SEGMENT
    for strands in strands_of(form, np.flatnonzero(np.bincount(groups.rows.reshape(-1))), 8, 16, columns):
        table, low, spread = _tables(groups, strands)
        for piece in pieces(spread, NEAR, at_most):
            least = piece.of(low).sum(axis=0)
            each = np.stack([strands.column[piece.sets], least, strands.factor[piece.sets]], axis=2)
            yield len(piece.sets), segment_words(piece, 0, 64, windows_of(piece, spread, BYTE), each, table, store)


def _tables(groups: _Groups, strands: Strands) -> tuple[Bytes, Int, Int]:
    """Tables (groups, sets, columns, 16), what was taken off each of them, and the largest entry that is reached."""
    weight = strands.digit[groups.rows].astype(np.int16)  # (groups, 4, sets, columns)
    weight *= groups.scale[:, None, None, None].astype(np.int16)
    reach = weight * groups.reach[:, :, None, None].astype(np.int16)
    low, high = np.minimum(reach, 0).sum(axis=1), np.maximum(reach, 0).sum(axis=1)
    table = np.empty((len(weight), *weight.shape[2:], TABLE), np.int16)
    index = np.arange(TABLE, dtype=np.int16)
    kinds = np.cumsum((0, *groups.count))
    for (*_, size), begin, end in zip(KINDS, kinds, kinds[1:], strict=False):
        table[begin:end] = -low[begin:end, ..., None]
        bits = 4 // size
        for position in range(size):
            part = (index >> (bits * position)) & ((1 << bits) - 1)
            table[begin:end] += weight[begin:end, position, ..., None] * part
    return table.astype(np.uint8), low.astype(np.int64), (high - low).astype(np.int32)
