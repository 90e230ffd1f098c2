"""Words of 64 bits as named fields, in both directions, for one row or many.

A layout says where each field lies; `Layout.pack` and `Layout.unpack` are all that the rest of this package knows of bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

Int = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
#: two's complement, or a sign bit above a magnitude, or no sign
Sign = Literal["unsigned", "signed", "magnitude"]


@dataclass(frozen=True, slots=True)
class Field:
    """A number in a row of words: its bits, lowest first, as pieces (word, lowest bit, bits)."""

    name: str
    pieces: tuple[tuple[int, int, int], ...]
    sign: Sign = "unsigned"

    @property
    def bits(self) -> int:
        """Width of the number."""
        return sum(width for _, _, width in self.pieces)

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest value."""
        if self.sign == "unsigned":
            return 0, (1 << self.bits) - 1
        half = 1 << (self.bits - 1)
        return (1 - half if self.sign == "magnitude" else -half), half - 1


@dataclass(frozen=True)
class Layout:
    """Named fields of a row of ``words`` 64-bit words; bits that belong to none are zero."""

    name: str
    words: int
    fields: tuple[Field, ...]

    def __getitem__(self, name: str) -> Field:
        return self._known[name]

    @cached_property
    def _known(self) -> dict[str, Field]:
        return {field.name: field for field in self.fields}

    def pack(self, values: Mapping[str, npt.ArrayLike]) -> Words:
        """Rows from their fields; a field that is not given is 0.

        Parameters
        ----------
        values : mapping of str to integers
            Scalars, or arrays that broadcast to one shape.

        Returns
        -------
        ndarray, uint64, (*shape, words)

        Raises
        ------
        ValueError
            A field does not hold its value, or there is no such field.
        """
        arrays = {name: np.asarray(value, np.int64) for name, value in values.items()}
        shape = np.broadcast_shapes(*(array.shape for array in arrays.values())) if arrays else ()
        out = np.zeros((*shape, self.words), np.uint64)
        known = self._known
        for name, array in arrays.items():
            if name not in known:
                raise ValueError(f"{self.name} has no field {name!r}")
            field = known[name]
            low, high = field.range
            if array.size and (array.min() < low or array.max() > high):
                raise ValueError(f"{self.name}.{name} is {array.min()} to {array.max()}; allowed: {low} to {high}")
            raw = _raw(array, field).astype(np.uint64)
            for word, lowest, width in field.pieces:
                part = raw & np.uint64((1 << width) - 1)
                out[..., word] |= part << np.uint64(lowest)
                raw = raw >> np.uint64(width)
        return out

    def unpack(self, rows: Words) -> dict[str, Int]:
        """Fields of rows.

        Parameters
        ----------
        rows : ndarray, uint64, (*shape, words)

        Returns
        -------
        dict of str to ndarray, int64, shape
        """
        assert rows.shape[-1] == self.words
        return {field.name: _value(rows, field) for field in self.fields}

    def one(self, row: Words) -> dict[str, int]:
        """Fields of a single row, uint64 (words,)."""
        whole = row.tolist()
        found = {}
        for field in self.fields:
            raw = at = 0
            for word, lowest, width in field.pieces:
                raw |= (whole[word] >> lowest & (1 << width) - 1) << at
                at += width
            if field.sign != "unsigned" and raw >> (at - 1):
                raw = (1 << (at - 1)) - raw if field.sign == "magnitude" else raw - (1 << at)
            found[field.name] = raw
        return found

    def unused(self, rows: Words) -> Words:
        """Bits of rows that belong to no field, uint64 (*shape, words); a well-formed row has none set."""
        masks = np.zeros(self.words, np.uint64)
        for field in self.fields:
            for word, lowest, width in field.pieces:
                masks[word] |= np.uint64(((1 << width) - 1) << lowest)
        return np.asarray(rows & ~masks)


def _raw(array: Int, field: Field) -> Int:
    """The bits of a number as an unsigned one."""
    if field.sign == "magnitude":
        return np.asarray(np.abs(array) | np.where(array < 0, 1 << (field.bits - 1), 0), np.int64)
    return np.asarray(array & ((1 << field.bits) - 1))


def _value(rows: Words, field: Field) -> Int:
    raw = np.zeros(rows.shape[:-1], np.int64)
    at = 0
    for word, lowest, width in field.pieces:
        part = (rows[..., word] >> np.uint64(lowest)) & np.uint64((1 << width) - 1)
        raw |= part.astype(np.int64) << at
        at += width
    if field.sign == "unsigned":
        return raw
    half = 1 << (field.bits - 1)
    if field.sign == "magnitude":
        return np.where(raw & half != 0, -(raw & (half - 1)), raw)
    return np.asarray((raw ^ half) - half)
