"""Forms that are multiplied tile by tile: 64 rows by 16 columns of them, for 16 images, in one instruction (AMX).

A *step* is a tile of weights times the rows it takes. It is done whatever is zero in it, so columns that take the same rows
are brought side by side, in *blocks* of 16, and rows that the same blocks take; a step of zeros is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.lines import Int, numbered, places_of
from chipsim.engine.fast.merge import Form, Matrix, Merged, MergedCore, ticks_of
from chipsim.engine.fast.segments import TABLE, Store, digits_of
from chipsim.mapping import Mapping

#: rows and columns of a tile of weights
ROWS, COLUMNS = 64, 16
#: time of a step for 64 images, and of bringing one row into tiles, where an addition of a list is 1
STEP, ROW = 150, 5
#: bytes of 64 rows of 64 images
PACKED = 4096
#: steps whose rows the nearest cache holds, with what else is there
NEAR = 6
#: forms of so few steps, or so many weights that are not zero, stay as they are
FEW, DENSE = 8, 2 / 3

Taken = npt.NDArray[np.bool_]


def cost(form: Form) -> int:
    """Estimate the time of a form, in vector additions of 64 bytes."""
    every = sum(steps(digit) for digit in digits_of(form.matrix, 127, 256))
    return int(STEP * every + ROW * len(form.bound))


def segments(form: Form, rows: Int, start: int, store: Store) -> Iterator[tuple[int, Int]]:
    """Segments for all blocks of columns, `NEAR` steps at a time: their rows stay in the nearest cache for all blocks.

    A segment says how many steps it has, whether it goes on from the sums that there are, where its tiles begin, its first
    accumulator, what its sums are multiplied by, and the place of the rows of each step. Those of the lowest digits of the
    weights come first, and are of all blocks; the others add to them.

    Parameters
    ----------
    rows : ndarray, int64
        Those that are packed, which lie from ``start`` on.
    """
    digits = list(digits_of(form.matrix[rows], 127, 256)) or [np.zeros((len(rows), form.matrix.shape[1]), np.int8)]
    for plane, digit in enumerate(digits):
        cut = _cut(digit)
        taken = np.asarray(cut.any(axis=(2, 3)))
        content = cut[taken].reshape(-1, 1, ROWS * COLUMNS).view(np.uint8)
        tiles = int(store.add(content, np.array([len(content)]))[0])
        number: Int = np.cumsum(taken).reshape(taken.shape) - taken  # of each tile, block by block
        begun = np.zeros(len(taken), bool)
        for begin in range(0, max(1, taken.shape[1]), NEAR):  # without rows too, all sums are zeros
            last = begin + NEAR >= taken.shape[1]
            for block, mine in enumerate(taken[:, begin : begin + NEAR]):
                if not mine.any() and (not last or begun[block] or plane):
                    continue
                those = begin + np.flatnonzero(mine)
                at = tiles + ROWS * COLUMNS // TABLE * int(number[block, begin : begin + 1].sum())
                head = [len(those), int(begun[block] and not plane), at, COLUMNS * block, 256**plane]
                yield 1, np.concatenate([np.array(head), start + PACKED * those])
                begun[block] = True


def _cut(digit: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Weights in tiles filled up with zeros, (columns / 16, rows / 64, 16, 64)."""
    rows, columns = (-(-length // size) for length, size in zip(digit.shape, (ROWS, COLUMNS), strict=True))
    filled = np.zeros((columns * COLUMNS, rows * ROWS), np.int8)
    filled[: digit.shape[1], : digit.shape[0]] = digit.T
    return filled.reshape(columns, COLUMNS, rows, ROWS).swapaxes(1, 2)


def steps(weights: npt.NDArray[np.int8]) -> int:
    """How many tiles of weights are not all zeros."""
    return int(_cut(weights).any(axis=(2, 3)).sum())


def in_blocks(merged: Merged, m: Mapping) -> Merged:
    """Put rows and columns of forms in an order that takes fewer steps, and what several cores read in one order in all."""
    orders: dict[int, tuple[Int, Int]] = {}
    for cores in _reading_alike(merged, m):
        lead = cores[0]
        line = lead.rows[orders[lead.form][0]] if lead.form in orders else lead.rows
        new = {core.form: core for core in cores if core.form not in orders}
        rows = [places_of(line, core.rows) for core in new.values()]
        columns = [_columns(merged.forms[form]) for form in new]
        if lead.form in new:
            blocks = [
                _blocks(merged.forms[form].matrix[own][:, order])
                for form, own, order in zip(new, rows, columns, strict=True)
            ]
            if any(_sparse(merged.forms[form]) for form in new):
                along = _rows_in_line(np.concatenate(blocks, axis=1))
                rows = [own[along] for own in rows]
        orders |= dict(zip(new, zip(rows, columns, strict=True), strict=True))
    return _ordered(merged, m, orders)


def _reading_alike(merged: Merged, m: Mapping) -> list[list[MergedCore]]:
    """Cores of one tick that take the same values; those to which not all arrives that is sent are alone."""
    ticks = ticks_of(m).tolist()
    alike: dict[tuple[int, bytes], list[MergedCore]] = defaultdict(list)
    for core in merged.cores:
        taken = np.sort(core.rows).tobytes() if core.arrives is None else repr(core.core).encode()
        alike[ticks[core.core], taken].append(core)
    return list(alike.values())


def _ordered(merged: Merged, m: Mapping, orders: dict[int, tuple[Int, Int]]) -> Merged:
    """Put rows and columns in new orders, form by form."""
    forms, cores, accumulator = list(merged.forms), [], merged.accumulator.copy()
    orders = {number: order for number, order in orders.items() if any((np.diff(each) != 1).any() for each in order)}
    for number, (rows, columns) in orders.items():
        form = forms[number]
        matrix = np.ascontiguousarray(form.matrix[rows][:, columns])
        forms[number] = replace(form, matrix=matrix, bound=form.bound[rows])
    for core in merged.cores:
        if core.form not in orders:
            cores.append(core)
            continue
        rows, columns = orders[core.form]
        own = slice(*m.neuron_offset[core.core : core.core + 2].tolist())
        accumulator[own] = np.argsort(columns)[accumulator[own]]
        arrives = None if core.arrives is None else np.argsort(rows)[core.arrives]
        events, sops = core.events[rows], core.sops[rows]
        cores.append(replace(core, rows=core.rows[rows], events=events, sops=sops, arrives=arrives))
    return replace(merged, forms=tuple(forms), cores=tuple(cores), accumulator=accumulator)


def _sparse(form: Form) -> bool:
    """Whether an order of its own is worth while for a form."""
    taken = form.matrix != 0
    return taken.size > FEW * ROWS * COLUMNS and bool(taken.mean() <= DENSE)


def _columns(form: Form) -> Int:
    return _columns_in_blocks(form.matrix != 0) if _sparse(form) else np.arange(form.matrix.shape[1])


def _blocks(matrix: Matrix) -> Taken:
    """Which blocks of columns take a row, (rows, blocks)."""
    return np.asarray(np.add.reduceat(matrix != 0, np.arange(0, matrix.shape[1], COLUMNS), axis=1) > 0)


def _columns_in_blocks(taken: Taken) -> Int:
    """Block after block: a column that shares most rows with the last block, and those that share most with it."""
    columns = taken.shape[1]
    numbers = taken.astype(np.float32)
    shared = numbers.T @ numbers
    left, found = np.ones(columns, bool), list[Int]()
    seed = int(shared.diagonal().argmin())
    while left.any():
        near = np.where(left, shared[seed], -1)
        near[seed] = np.inf
        block = np.argsort(-near, kind="stable")[: min(COLUMNS, int(left.sum()))]
        left[block] = False
        found.append(block)
        seed = int(np.where(left, shared[block].sum(axis=0), -1).argmax())
    return np.concatenate(found)


def _rows_in_line(blocks: Taken) -> Int:
    """Rows that the same ``blocks``, (rows, blocks), take stand together, beside those that differ in fewest."""
    marks, pattern = numbered(np.packbits(blocks, axis=1).view(np.int8))
    those = blocks[pattern].astype(np.float32)
    shared, size = those @ those.T, those.sum(axis=1)
    left, rank = np.ones(len(those), bool), np.empty(len(those), np.int64)
    here = int(np.where(size > 0, size, np.inf).argmin())
    for place in range(len(those)):
        rank[here], left[here] = place, False
        differ = np.where(left, size + size[here] - 2 * shared[here], np.inf)
        here = int(differ.argmin())
    rank[size == 0] = len(those)  # between others they would only shift these across the edges of tiles
    return np.argsort(rank[marks], kind="stable")
