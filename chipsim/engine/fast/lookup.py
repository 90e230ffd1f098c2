"""Express a form as lookups and products: dense sums of small numbers, by instructions that do many at a time.

*Lookups.* Rows are packed into indices of four bits: four rows of one bit, two of two bits, and so on; each such index is a
*group*. For each group a column has a table of sixteen bytes: its weights times whatever the index says, plus what makes
all of them non-negative. One instruction looks up sixteen to sixty-four lanes, so that a lookup and an addition stand for up
to four multiplications in each lane. Bytes are added up until one might overflow (a *window*), then widened.

*Products.* Rows that are too large for that lie in pairs, and a pair is multiplied by a column's two weights and added up
in 16 bits by one instruction. Where such sums would not fit 16 bits for long, the pair is one of 16-bit numbers, and what is
added up has 32 bits: half as many at a time, but weights of any size and nothing to widen (*wide products*).

Weights of more bits take further *strands*: columns of digits, added in times a power of 16 or 128.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.merge import Form, Int, numbered
from chipsim.engine.fast.plan import narrow

#: the largest sum of bytes, and of halves with a sign
BYTE, HALF = 255, 32767
#: the largest sum of lookups where accumulators have 32 bits: it is widened from 16
SEGMENT = 65535
#: groups of a segment: their indices stay in the nearest cache while all columns take them
NEAR = 320
#: pairs of 16 bits of a segment
NEAR_WIDE = 80
#: time of bringing products from 16 bits to 32, in pairs
WIDENING = 5
#: bytes of a table
TABLE = 16
#: groups that the kernel takes at a time
TOGETHER = 2
#: time of an index or a row of a pair for a column, where an addition of a list is 1
ENTRY = 0.7
#: kinds of groups: how many rows, which bits of them, and how many numbers an index is made of
KINDS = (
    (4, "all", 4),  # of one bit
    (2, "all", 2),  # of two
    (1, "all", 1),  # of up to four
    (2, "v & 3", 2), (4, "v >> 2", 4),  # of three: eight rows take six indices
    (6, "sums", 2),  # of one bit, of which three and three have equal weights: two sums of two bits
)  # fmt: skip
#: words at the head of a program: groups of each kind, segments of lookups, where they begin; pairs, where their rows begin,
#: whether they have 16 bits, segments of products, where they begin
HEAD = (
    *(f"kind{number}" for number in range(len(KINDS))),
    "lookups",
    "lookups at",
    "pairs",
    "rows at",
    "wide",
    "products",
    "products at",
)

Word = npt.NDArray[np.uint32]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Lookups:
    """A form as a program for `lookup_kernel`, and its tables."""

    program: Word
    tables: Bytes
    packed: int  # rows of 64 bytes that indices and pairs take


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """Which rows make up each index, kind by kind in the order of `KINDS`."""

    count: tuple[int, ...]  # groups of each kind
    taken: Int  # rows, group by group
    rows: Int  # (groups, 4): a row with the weights of each number, filled up with the number of rows there are
    reach: Int  # (groups, 4): largest value of each there
    scale: Int  # (groups,): what one of those values stands for


@dataclass(frozen=True, slots=True, eq=False)
class _Strands:
    """Sets of columns of digits."""

    digit: npt.NDArray[np.int8]  # (rows + 1, sets, columns): the last row is zeros
    column: Int  # (sets, columns): accumulator
    factor: Int  # (sets, columns): 0 where a set is filled up


def cost(form: Form) -> int:
    """Estimate the instructions for lookups and products, in vector additions of 64 bytes."""
    return int(ENTRY * form.matrix.shape[1] * np.minimum(_shares(form), _product(form)).sum())


def lookups(form: Form, columns: int) -> Lookups:
    """Return the program and the tables of a form, for a kernel that takes so many columns at a time.

    The program: the words of `HEAD`; the rows of all groups; those of pairs; segments of lookups, each the number of its
    groups, the length of a window, the first table, for each column its accumulator, what is added to it and a factor, and
    for each group where its index lies, in bytes; segments of products, each the same without what is added.
    """
    looked_up = _shares(form) < _product(form)
    groups = _group(form, looked_up)
    rest = np.flatnonzero(~looked_up & (form.bound > 0))
    pairs = np.concatenate([rest, rest[-1:]] if len(rest) % 2 else [rest]).reshape(-1, 2)
    store = _Store()
    first = list(_looked_up(form, groups, columns, store))
    wide = _wide(form) and len(rest) > 0
    multiplied = _multiplied_wide if wide else _multiplied
    second = list(multiplied(form, pairs, len(rest), columns, 64 * len(groups.rows), store))
    segments = [[words for _, words in part] for part in (first, second)]
    parts = [np.concatenate([np.zeros(0, np.int64), *part]) for part in ([groups.taken], [pairs.reshape(-1)], *segments)]
    places = len(HEAD) + np.cumsum([len(part) for part in parts])
    many = [sum(count for count, _ in part) for part in (first, second)]
    head = [*groups.count, many[0], places[1], len(pairs), places[0], int(wide), many[1], places[2]]
    program = np.concatenate([np.array(head), *parts]) & 0xFFFFFFFF
    return Lookups(program.astype(np.uint32), store.content(), len(groups.rows) + (4 if wide else 2) * len(pairs))


def _shares(form: Form) -> npt.NDArray[np.float64]:
    """Indices that each row takes, times the digits of its weights."""
    bound = form.bound
    share = np.select([bound <= 1, bound <= 3, bound <= 7, bound <= 15], [0.25, 0.5, 0.75, 1.0], np.inf)
    share[_sums(form, np.arange(len(bound)))] = 1 / 6
    largest, digits = _largest(form), 1
    while largest > 8:
        largest, digits = (largest + 8) >> 4, digits + 1
    return np.asarray(share * digits)


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


def _planes(form: Form) -> int:
    """Digits of the weights where they are multiplied."""
    largest, digits = _largest(form), 1
    while largest > _digit(form):
        largest, digits = (largest + _base(form) // 2) // _base(form), digits + 1
    return digits


def _product(form: Form) -> float:
    """Time of a row that is multiplied, where it is 1 if its products have one digit and stay in 16 bits."""
    return 2 if _wide(form) else _narrow_product(form)


def _narrow_product(form: Form) -> float:
    """The same, in 16 bits as long as they fit."""
    if narrow(form):
        return _planes(form)
    window = HALF // max(1, 2 * int(form.bound.max(initial=1)) * min(_digit(form), _largest(form)))
    return _planes(form) * (1 + WIDENING / window)


def _wide(form: Form) -> bool:
    """Whether products have 32 bits from the start: two are taken in the time of four in 16 bits."""
    return not narrow(form) and _largest(form) <= HALF and _narrow_product(form) > 2


def _digit(form: Form) -> int:
    """The largest digit whose products with four of the largest rows are within 16 bits."""
    return min(127, HALF // (2 * TOGETHER * int(form.bound.max(initial=1))))


def _base(form: Form) -> int:
    return 128 if _digit(form) >= 64 else 64


def _largest(form: Form) -> int:
    return 0 if not form.matrix.size else max(int(form.matrix.max()), -int(form.matrix.min()))


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
    eight = len(threes) // 4 * 4 if _largest(form) <= 7 else 0  # two tables of eights would not fit a byte
    one, left = _cut(ones, 4)
    two, left = _cut(np.concatenate([left, twos]), 2)
    rest = np.concatenate([left, threes[eight:], fours])[:, None]
    three = threes[:eight]
    kinds = (one, two, rest, three.reshape(-1, 2), three.reshape(-1, 4), sums)
    numbers = (*kinds[:-1], sums[:, ::3])
    rows = np.concatenate([np.pad(k, ((0, 0), (0, 4 - k.shape[1])), constant_values=len(form.bound)) for k in numbers])
    kind = np.repeat(np.arange(len(KINDS)), [len(k) for k in kinds])[:, None]
    most = np.append(form.bound, 0)[rows]
    reach = np.select([kind == 3, kind == 4, kind == 5], [np.minimum(most, 3), most >> 2, 3 * most], most)
    taken = np.concatenate([k.reshape(-1) for k in kinds])
    return _Groups(tuple(len(k) for k in kinds), taken, rows, reach, np.where(kind[:, 0] == 4, 4, 1))


def _cut(rows: Int, size: int) -> tuple[Int, Int]:
    """As many groups of a size as there are, and what is left."""
    whole = len(rows) // size * size
    return rows[:whole].reshape(-1, size), rows[whole:]


def _digits(matrix: npt.NDArray[np.signedinteger], largest: int, base: int) -> Iterator[npt.NDArray[np.int8]]:
    """Write weights in digits of at most ``largest``, the lowest first: the sum of digit[i] * base**i."""
    rest = matrix.astype(np.int32)
    while rest.any():
        digit = np.where(np.abs(rest) <= largest, rest, (rest + base // 2) % base - base // 2)
        yield digit.astype(np.int8)
        rest = (rest - digit) // base


def _strands(form: Form, taken: Int, largest: int, base: int, columns: int) -> Iterator[_Strands]:
    """Columns of digits that some rows have, in sets."""
    for plane, digit in enumerate(_digits(form.matrix, largest, base)):
        padded = np.concatenate([digit, np.zeros((1, digit.shape[1]), np.int8)])
        mine = np.flatnonzero(padded[taken].any(axis=0))
        if not len(mine):
            continue
        mine = mine[np.lexsort(np.packbits(padded[:, mine] != 0, axis=0)[::-1])]  # side by side: the same rows
        more = -len(mine) % columns
        filled = np.concatenate([padded[:, mine], np.zeros((len(padded), more), np.int8)], axis=1)
        factor = np.repeat([base**plane, 0], [len(mine), more]).reshape(-1, columns)
        column = np.pad(mine, (0, more)).reshape(-1, columns)
        yield _Strands(filled.reshape(len(padded), *column.shape), column, factor)


def _looked_up(form: Form, groups: _Groups, columns: int, store: _Store) -> Iterator[tuple[int, Int]]:
    """Segments of lookups, and how many; their tables are appended."""
    at_most = None if narrow(form) else SEGMENT
    for strands in _strands(form, np.unique(groups.rows), 8, 16, columns):
        table, low, spread = _tables(groups, strands)
        for piece in _pieces(spread, NEAR, at_most):
            least = piece.of(low).sum(axis=0)
            each = np.stack([strands.column[piece.sets], least, strands.factor[piece.sets]], axis=2)
            yield len(piece.sets), _segments(piece, 0, 64, _windows(piece, spread, BYTE), each, table, store)


def _multiplied(form: Form, pairs: Int, rows: int, columns: int, start: int, store: _Store) -> Iterator[tuple[int, Int]]:
    """Segments of products of pairs, and how many, the first of which lies at ``start``; their weights are appended."""
    for strands in _strands(form, pairs.reshape(-1), _digit(form), _base(form), columns):
        weight = strands.digit[pairs]  # (pairs, 2, sets, columns)
        if rows % 2:
            weight[-1, 1] = 0  # the same row once more
        weight = np.moveaxis(weight, 1, -1)
        spread = (np.abs(weight.astype(np.int32)) * form.bound[pairs].astype(np.int32)[:, None, None]).sum(axis=3)
        for piece in _pieces(spread, NEAR // 2, None):
            each = np.stack([strands.column[piece.sets], strands.factor[piece.sets]], axis=2)
            # sums of 16 bits may wrap
            windows = _whole(piece.count) if narrow(form) else _windows(piece, spread, HALF)
            yield len(piece.sets), _segments(piece, start, 128, windows, each, weight, store)


def _multiplied_wide(
    form: Form, pairs: Int, rows: int, columns: int, start: int, store: _Store
) -> Iterator[tuple[int, Int]]:
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


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """Sets of columns with a segment each, of the groups that one of their columns takes."""

    sets: Int  # (sets,)
    count: Int  # (sets,): groups
    taken: Int  # (groups, sets): filled up with the number of groups there are

    def of(self, content: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What is there for each group and set, (groups, sets, ...), of the groups that are taken; zeros of none."""
        return np.concatenate([content, np.zeros((1, *content.shape[1:]), content.dtype)])[self.taken, self.sets]


def _pieces(spread: Int, near: int, at_most: int | None) -> Iterator[_Piece]:
    """Segments for all sets, ``near`` groups at a time, and no sum in one beyond ``at_most``."""
    used = np.asarray(spread.any(axis=2))
    for first in range(0, len(used), near):
        part = used[first : first + near]
        count = part.sum(axis=0)
        sets = np.flatnonzero(count)
        if not len(sets):
            continue
        taken = first + np.argsort(~part[:, sets], axis=0, kind="stable")
        if at_most is None:
            taken = taken[: count.max()]
            taken[np.arange(len(taken))[:, None] >= count[sets]] = len(used)
            yield _Piece(sets, count[sets], taken)
            continue
        for place, number in enumerate(sets.tolist()):
            mine = taken[: count[number], place]
            step = max(1, at_most // max(1, int(spread[mine, number].max(initial=1))))
            for start in range(0, len(mine), step):
                few = mine[start : start + step]
                yield _Piece(np.array([number]), np.array([len(few)]), few[:, None])


class _Store:
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


def _segments(
    piece: _Piece, start: int, size: int, windows: Int, each: Int, content: npt.NDArray[Any], store: _Store
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
    sets, count, words = len(piece.sets), _whole(piece.count), each[0].size
    found = piece.of(content)
    tables = store.add(found.reshape(*found.shape[:2], -1).view(np.uint8), count)
    places = np.zeros((sets, int(count.max())), np.int64)
    inside = np.arange(len(piece.taken)) < piece.count[:, None]
    places[:, : len(piece.taken)] = np.where(inside, start + size * piece.taken.T, 0)
    rows = np.concatenate([np.stack([count, windows, tables], axis=1), each.reshape(sets, -1), places], axis=1)
    return np.asarray(rows[np.arange(rows.shape[1]) < 3 + words + count[:, None]])


def _tables(groups: _Groups, strands: _Strands) -> tuple[Bytes, Int, Int]:
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


def _whole(groups: Int) -> Int:
    """Filled up to whole steps of the kernel."""
    return np.asarray(-(-groups // TOGETHER) * TOGETHER)


def _windows(piece: _Piece, spreads: Int, most: int) -> Int:
    """How many groups of each set can be added up within ``most``, from each multiple of that number on.

    ``spreads`` (groups, sets, columns) says how much each adds at most.
    """
    spread = piece.of(spreads)
    before = np.zeros((len(spread) + 1, *spread.shape[1:]), spread.dtype)
    np.cumsum(spread, axis=0, out=before[1:])
    found = _whole(piece.count)
    beyond = before[-1].max(axis=1) > most
    least = most // np.maximum(1, spread.max(axis=(0, 2))) // TOGETHER * TOGETHER
    for window in np.unique(least[beyond]).tolist():
        mine = np.flatnonzero(beyond & (least == window))
        found[mine] = window
        for longer in range(2 * window, window, -max(TOGETHER, window // 4 // TOGETHER * TOGETHER)):
            at, end = before[::longer][:, mine], before[-1][mine]
            good = np.maximum((at[1:] - at[:-1]).max(axis=(0, 2), initial=0), (end - at[-1]).max(axis=1)) <= most
            found[mine[good]] = longer
            mine = mine[~good]
    return found
