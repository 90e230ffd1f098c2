"""Express a form as additions and subtractions of rows.

A weight of several bits is written in signed binary digits, as few as there can be (canonical signed digit: 7 = 8 - 1), so
that any matrix becomes ternary *strands*: one for each accumulator and digit, to be added up in signed bytes, widened
before a byte can overflow, and shifted into the accumulator. A ternary matrix is its own single strand a column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.lines import Int, spread
from chipsim.engine.fast.merge import Form, Matrix

#: a partial sum in a byte stays in -BYTE .. BYTE
BYTE = 127
#: rows are taken this many at a time from a list; lists are filled up with the row of zeros
STRIDE = 4
#: accumulators that stay below this, in magnitude, are held in 16 bits
NARROW = (1 << 15) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Strand:
    """Strands of a form, one a column."""

    digits: npt.NDArray[np.int8]  # (rows, strands): -1, 0, +1
    accumulator: Int  # (strands,): rising
    shift: Int  # (strands,)


def strands(form: Form) -> Strand:
    """Write a form's weights in signed digits; strands without a digit are left out."""
    planes = list(signed_digits(form.matrix))
    if not planes:
        return Strand(np.zeros((len(form.matrix), 0), np.int8), np.zeros(0, np.int64), np.zeros(0, np.int64))
    digits = np.stack(planes, axis=2).reshape(len(form.matrix), -1)
    used = np.flatnonzero(digits.any(axis=0))
    return Strand(np.ascontiguousarray(digits[:, used]), used // len(planes), used % len(planes))


def signed_digits(weights: npt.NDArray[np.signedinteger]) -> Iterator[npt.NDArray[np.int8]]:
    """Write weights in signed digits, the lowest first: the sum of digit[i] << i."""
    rest: npt.NDArray[np.signedinteger] = weights.astype(np.int16 if weights.dtype == np.int8 else np.int64)
    while rest.any():
        digit = (rest & 1) * (2 - (rest & 3))  # +1 where the rest is 1 modulo 4, -1 where it is 3
        yield digit.astype(np.int8)
        rest = (rest - digit) >> 1


def _digits(weight: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """How many signed digits numbers take: as many as there are bits in which they differ from their triples."""
    different = np.abs(weight) ^ (3 * np.abs(weight))
    return np.asarray(np.unpackbits(different.reshape(-1, 1).view(np.uint8), axis=1).sum(axis=1), np.uint8)


_OF_BYTE = _digits(np.arange(256).astype(np.uint8).view(np.int8).astype(np.int64)).tobytes()


def additions(form: Form) -> int:
    """Estimate how many rows the lists add up: the digits of all weights."""
    return int(digits_of_rows(form).sum())


def digits_of_rows(form: Form) -> Int:
    """How many digits the weights of each row have, (rows,)."""
    if form.matrix.dtype == np.int8:
        digits = np.frombuffer(form.matrix.tobytes().translate(_OF_BYTE), np.uint8)
    else:
        digits = _digits(form.matrix.astype(np.int64))
    return np.asarray(digits.reshape(form.matrix.shape).sum(axis=1, dtype=np.int64))


def narrow(form: Form) -> bool:
    """Whether 16 bits hold the accumulators; thresholds beyond the bound are cut to it."""
    return form.largest < NARROW


def lists(form: Form) -> npt.NDArray[np.uint32]:
    """Return the program that the list kernel walks.

    First the number of segments; then for each: how many times STRIDE rows to add, how many to subtract, the accumulator,
    the factor, and the rows, as byte offsets into the latched rows (row r lies at 64 * (r + 1); at 0 there are zeros).
    """
    parts = strands(form)
    digits = np.ascontiguousarray(parts.digits.T)
    column, row = np.nonzero(digits)
    signs = digits[column, row].astype(np.int64)
    return _program(column, row, signs, parts.accumulator, parts.shift, max(1, BYTE // int(form.bound.max(initial=1))))


def sparse(row: Int, accumulator: Int, weight: Int) -> npt.NDArray[np.uint32]:
    """Return the same for a few weights of rows of one bit, (weights,) each."""
    found = [(np.zeros(0, np.int64),) * 4]
    for shift, digit in enumerate(signed_digits(weight)):
        used = np.flatnonzero(digit)
        found.append((row[used], accumulator[used], np.full(len(used), shift), digit[used].astype(np.int64)))
    rows, owner, shifts, signs = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((shifts, owner))
    rows, owner, shifts, signs = rows[order], owner[order], shifts[order], signs[order]
    new = np.ones(len(order), bool)
    new[1:] = (owner[1:] != owner[:-1]) | (shifts[1:] != shifts[:-1])
    return _program(np.cumsum(new) - 1, rows, signs, owner[new], shifts[new], BYTE)


def _program(column: Int, row: Int, signs: Int, accumulator: Int, shift: Int, at_once: int) -> npt.NDArray[np.uint32]:
    """The program of digits, strand by strand: which ``column`` each is in, its row and its sign; ``at_once`` in a byte."""
    minus = (signs < 0).astype(np.int64)
    count = np.stack([np.bincount(column[minus == sign], minlength=len(accumulator)) for sign in (0, 1)], axis=1)
    before = np.concatenate([np.zeros((1, 2), np.int64), np.cumsum(count, axis=0)])
    rank = np.where(minus, np.cumsum(minus), np.cumsum(1 - minus)) - 1 - before[column, minus]
    many = -(-count.max(axis=1, initial=0) // at_once)  # a segment adds and subtracts at most `at_once` rows
    first = np.concatenate([[0], np.cumsum(many)]).astype(np.int64)
    number = first[column] + rank // at_once
    owner = np.repeat(np.arange(len(many)), many)
    nth = np.arange(len(owner)) - first[owner]
    steps = -(-np.clip(count[owner] - at_once * nth[:, None], 0, at_once) // STRIDE)
    length = 4 + STRIDE * steps.sum(axis=1)
    start = 1 + np.concatenate([[0], np.cumsum(length)])
    program = np.zeros(start[-1], np.int64)
    program[0] = len(owner)
    at = start[:-1]
    program[at], program[at + 1] = steps[:, 0], steps[:, 1]
    program[at + 2] = accumulator[owner]
    program[at + 3] = 1 << shift[owner]
    place = at[number] + 4 + np.where(minus == 1, STRIDE * steps[number, 0], 0) + rank % at_once
    program[place] = 64 * (row + 1)
    return program.astype(np.uint32)


def maximum(matrix: Matrix, place: Int, size: Int) -> npt.NDArray[np.uint32]:
    """Return the program of maxima: where each column begins; its size, how many rows it compares, and where these lie.

    Parameters
    ----------
    matrix : ndarray, (rows, columns)
        Not zero where a column takes a row.
    place : ndarray, (rows,)
    size : ndarray, (columns,)
    """
    columns = matrix.shape[1]
    column, row = np.nonzero(matrix.T)
    many = np.bincount(column, minlength=columns)
    begin = columns + np.cumsum(2 + many) - (2 + many)
    program = np.empty(3 * columns + len(row), np.int64)
    program[:columns], program[begin], program[begin + 1] = begin, size, many
    program[spread(begin + 2, many)[0]] = place[row]
    return program.astype(np.uint32)
