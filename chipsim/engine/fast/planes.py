"""Express forms as sums of bits: 512 images in a register, one bit each.

A value of up to n spikes is as many *planes* as n has bits: plane p holds bit p of it for 512 images. A full adder makes of
three planes that count alike their sum and their carry, two instructions of AVX-512 for 512 images, so that a bit is added
for less than a fifth of an addition of bytes. Nothing is packed, and a sum is compared bit by bit.

*Latch.* The planes of a core's rows are brought side by side as *lines*. Rows with equal weights are added up at once: three
lines that count alike become two, until no three are left.

*Add.* A weight is written in signed digits (`plan`), and a column is the sum of lines, each times a power of two: at its
*position*, the digit's place and the line's. A *counter* adds up the lines of the lowest position; its lowest bit is then
done, and the others count on at the next position. Of a line that is subtracted the complement is added, which is one too
much: sums are never negative, and what a sum exceeds the potential by, the column's *excess*, is added to its thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.lines import Int, numbered
from chipsim.engine.fast.merge import Form
from chipsim.engine.fast.plan import digits_of_rows, maximum, signed_digits

#: images of a plane
IMAGES = 512
#: bytes of a plane
PLANE = IMAGES // 8
#: bits of a counter, for which there are kernels
WIDTHS = (4, 6, 8, 10, 12, 16)
#: lines that the kernels add up at a time, the most first; lists are filled up to a multiple of the last
AT_ONCE = (32, 16, 8, 4)
#: words before the lines of a position: how many times the most of them are added, and the rest in times the least; and the
#: same of those that are subtracted, which come last
HEAD = 4
#: time of a line that is added, for 64 images, where one of a list of bytes is 1, by the bytes of a register
LINE = {64: 0.15, 32: 0.2}
#: how much longer it takes where the lines of a form are more bytes than the nearest cache keeps
FAR, NEAREST = {64: 1, 32: 1.3}, 30 << 10
#: in lines, that of a counter at a position, of a line that is latched, and of a value of the encoder that
#: becomes planes
COUNTER, LATCH, ENTER = 10, 6, 75
#: the same of a line that is compared with the largest
COMPARED = 4
#: columns that equal rows must have before they are added up at once
SHARED = 3

Word = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """The planes of a form's rows, numbered from 1; at 0 there are zeros."""

    row: Int  # (lines,): row of each
    plane: Int  # (lines,): which bit of its value
    joins: Int  # (joins, 3): three lines that count alike; each join makes two lines more, their sum and their carry
    taken: Int  # lines that columns take
    weights: Int  # (taken,): the row by whose weights each counts
    shift: Int  # (taken,): the power of two that each counts besides
    time: int  # about, where a line that is added is 1

    @property
    def count(self) -> int:
        """Lines in all, with that of zeros."""
        return 1 + len(self.row) + 2 * len(self.joins)

    def taking(self, register: int) -> float:
        """About how long, for 64 images, where an addition of a list of bytes takes 1; with registers of so many bytes."""
        return self.time * LINE[register] * (FAR[register] if PLANE * self.count > NEAREST else 1)


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Sums as a program for the kernels ``add`` of `plane_kernel`, or maxima as one for `plane_kernel.maximum`.

    For each column, and each position, the words of `HEAD` and the lines, each as the bytes before it.
    """

    words: Word
    columns: int
    positions: int
    width: int  # bits of the counter, one of `WIDTHS`; 0 of maxima
    bits: int  # of a sum; all of them set: none is as large
    excess: Int  # (columns,): of the sum over what is added less what is subtracted

    @property
    def stride(self) -> int:
        """Planes of a sum, or of a maximum."""
        return self.positions - 1 + (self.width or self.bits)


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What a form becomes."""

    lines: Lines
    program: Program


def planes_of(bound: npt.NDArray[np.integer]) -> Int:
    """How many planes values of up to ``bound`` take."""
    return np.ceil(np.log2(np.asarray(bound, np.float64) + 1)).astype(np.int64)


def lines_of(form: Form) -> Lines:
    """Number the lines of a form and join those that count alike."""
    matrix, bound = form.matrix, form.bound
    many = planes_of(bound)
    row = np.repeat(np.arange(len(bound)), many)
    plane = np.arange(len(row)) - np.repeat(np.cumsum(many) - many, many)
    if form.maximum:
        none = np.zeros((0, 3), np.int64)
        time = LATCH * len(row) + COMPARED * int(np.count_nonzero(matrix, axis=1)[row].sum())
        return Lines(row, plane, none, np.arange(1, len(row) + 1), row, plane, time)
    alike, first = numbered(matrix) if len(matrix) else (np.zeros(0, np.int64),) * 2
    joining = np.count_nonzero(matrix[first], axis=1) >= SHARED
    taken, weights, shift = np.arange(1, len(row) + 1), row, plane
    joins, following = [np.zeros((0, 3), np.int64)], len(row) + 1
    while True:
        key = alike[weights] * 32 + shift
        order = np.argsort(key, kind="stable")
        first_of = np.searchsorted(key[order], key[order])
        size = np.bincount(first_of, minlength=len(key))[first_of]
        three = (np.arange(len(key)) - first_of < size // 3 * 3) & joining[alike[weights[order]]]
        if not three.any():
            added = int(digits_of_rows(form)[weights].sum())
            positions = int(bound.max(initial=1)).bit_length() + int(np.abs(matrix).max(initial=1)).bit_length() - 1
            time = added + COUNTER * matrix.shape[1] * positions + LATCH * len(row)
            return Lines(row, plane, np.concatenate(joins), taken, weights, shift, time)
        joined, left = order[three].reshape(-1, 3), order[~three]
        joins.append(taken[joined])
        made = following + np.arange(2 * len(joined))
        following += len(made)
        lead = np.repeat(joined[:, 0], 2)
        more = np.arange(len(made)) % 2  # a carry counts twice
        taken = np.concatenate([taken[left], made])
        weights, shift = np.append(weights[left], weights[lead]), np.append(shift[left], shift[lead] + more)


def sums_of(form: Form, lines: Lines) -> Sums | None:
    """Return what a form of some lines becomes; None where no counter is wide enough."""
    columns = form.matrix.shape[1]
    if form.maximum:
        first = np.searchsorted(lines.row, np.arange(len(form.bound)))
        words = maximum(form.matrix, PLANE * (1 + first), planes_of(form.levels))
        return Sums(lines, Program(words, columns, 1, 0, int(form.bound.max()).bit_length(), np.zeros(columns, np.int64)))
    parts: list[Sequence[Int]] = [(np.zeros(0, np.int64),) * 4]
    for place, digit in enumerate(signed_digits(form.matrix)):
        own = digit[lines.weights]
        which, column = np.divmod(found := np.flatnonzero(own != 0), own.shape[1])
        parts.append((lines.taken[which], column, lines.shift[which] + place, own.reshape(-1)[found].astype(np.int64)))
    number, column, position, sign = (np.concatenate(each) for each in zip(*parts, strict=True))
    program = program_of(number, column, position, sign, columns)
    return None if program is None else Sums(lines, program)


def program_of(number: Int, column: Int, position: Int, sign: Int, columns: int) -> Program | None:
    """Lay out what is added up, a line, its column, its position and its sign each.

    None where no counter is wide enough, or a line lies too far from the first for 32 bits.
    """
    positions = int(position.max(initial=0)) + 1
    list_of = (column * positions + position) * 2 + (sign < 0)
    lists = 2 * columns * positions
    order = np.argsort(list_of.astype(np.uint16 if lists <= 1 << 16 else np.int64), kind="stable")  # 16 bits: much sooner
    number, list_of = number[order], list_of[order]
    count = np.bincount(list_of, minlength=lists)
    least = AT_ONCE[-1]
    filled = -(-count // least) * least
    added, subtracted = count.reshape(columns, positions, 2)[..., 0], filled.reshape(columns, positions, 2)[..., 1]
    width, most = _most(added + subtracted)  # complements of zeros count too
    bits = (most + 1).bit_length()
    width = max(width, bits - positions + 1)
    if width > WIDTHS[-1] or PLANE * int(number.max(initial=0)) >= 1 << 32:
        return None
    length = HEAD + filled.reshape(-1, 2).sum(axis=1)
    begin = np.cumsum(length) - length
    words = np.zeros(int(length.sum()), np.int64)
    for which in range(2):
        own = filled[which::2]
        words[begin + 2 * which], words[begin + 2 * which + 1] = own // AT_ONCE[0], own % AT_ONCE[0] // least
    start = np.stack([begin + HEAD, begin + HEAD + filled[::2]], axis=1).reshape(-1)
    words[(start - np.cumsum(count) + count)[list_of] + np.arange(len(list_of))] = PLANE * number
    kernel = min(each for each in WIDTHS if each >= width)
    excess = (subtracted << np.arange(positions)).sum(axis=1)
    return Program(words.astype(np.uint32), columns, positions, kernel, bits, excess)


def _most(count: Int) -> tuple[int, int]:
    """Bits of a counter, for so many lines (columns, positions), and the largest sum."""
    counter, bits = np.zeros(len(count), np.int64), 1
    for at_position in count.T:
        counter = counter // 2 + at_position
        bits = max(bits, int(counter.max(initial=0)).bit_length())
    return bits, int((count << np.arange(count.shape[1])).sum(axis=1).max(initial=0))
