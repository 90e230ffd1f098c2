"""Collect arrays with one row per image; large ones are kept in a temporary file."""

from __future__ import annotations

import tempfile
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from chipsim.errors import InputError

#: bytes of one array that are kept in memory
IN_MEMORY = 32 << 20


class Spool:
    """An array that grows by rows.

    Parameters
    ----------
    rows : int, optional
        How many there will be: if memory can hold them, each is put into its place at once, and what it came in is free.
    whole : ndarray, optional
        Their places; rows may lie there already.
    """

    def __init__(self, rows: int = 0, whole: npt.NDArray[Any] | None = None) -> None:
        self._most = rows
        self._whole = whole
        self._parts: list[npt.NDArray[Any]] = []
        self._held = 0
        self._rows = 0
        self._file: IO[bytes] | None = None
        self._shape: tuple[int, ...] = ()
        self._dtype: np.dtype[Any] = np.dtype(np.int64)

    def add(self, rows: npt.NDArray[Any]) -> None:
        """Append rows; all have one shape and dtype."""
        self._shape, self._dtype = rows.shape[1:], rows.dtype
        large = self._most and len(rows) and rows.nbytes // len(rows) * self._most > IN_MEMORY
        if self._whole is None and self._most and not self._rows and len(rows) and not large:
            self._whole = np.empty((self._most, *self._shape), self._dtype)
        self._rows += len(rows)
        if self._whole is not None:
            place = self._whole[self._rows - len(rows) : self._rows]
            if place.ctypes.data != rows.ctypes.data:
                place[:] = rows
            return
        self._held += rows.nbytes
        self._parts.append(rows)
        if large or self._held > IN_MEMORY:
            self._spill()

    def array(self) -> npt.NDArray[Any]:
        """Return all rows; those in a file are memory-mapped."""
        if self._whole is not None:
            return self._whole[: self._rows]
        if self._file is None:
            return np.concatenate(self._parts)
        self._spill()
        shape = (self._rows, *self._shape)
        return np.memmap(self._file, self._dtype, "r", 0, shape)  # type: ignore[call-overload,no-any-return]

    def _spill(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="chipsim-")  # noqa: SIM115  # it lives as long as its rows
            for part in self._parts:
                self._file.write(np.ascontiguousarray(part).data)
            self._file.flush()
        except OSError as error:
            raise InputError(
                "temporary files",
                f"have no room for the results: {error.strerror}; free some space, or set TMPDIR",
                code="output-unwritable",
            ) from None
        self._parts, self._held = [], 0
