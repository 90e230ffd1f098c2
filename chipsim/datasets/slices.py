"""Consecutive images of a data set, read from its file in place or packed to be sent."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.datasets.dataset import Dataset
from chipsim.datasets.events import EventFrames, read_events
from chipsim.datasets.npz import EVENT_ARRAYS, UNREADABLE
from chipsim.datasets.stream import ImageStream, corrupt, member_of, open_member

Images = npt.NDArray[Any] | EventFrames


def in_place(path: str) -> bool:
    """Whether slices of a file can be read in place: it has images in C order."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = member_of(archive)
        if member is None:
            return False
        file, shape, _ = open_member(Path(path), member)
        file.close()
    except UNREADABLE:
        return False
    return shape is not None


def pack(dataset: Dataset, first: int, count: int) -> bytes:
    """Return images ``first`` to ``first + count - 1`` as bytes for `unpack`."""
    images = dataset.images[first : first + count]
    file = io.BytesIO()
    if isinstance(images, EventFrames):
        arrays = {name: getattr(images, name) for name in EVENT_ARRAYS if getattr(images, name) is not None}
        np.savez(file, **arrays)
    else:
        np.save(file, images, allow_pickle=False)
    return file.getvalue()


def unpack(content: bytes, name: str) -> Images:
    """Return the images of `pack`."""
    found = np.load(io.BytesIO(content), allow_pickle=False)
    if isinstance(found, np.ndarray):
        return found
    return read_events({key: found[key] for key in found.files}, name)


def whole(dataset: Dataset) -> tuple[str, bytes]:
    """Return a data set as the bytes of an npz file, and a hash of its arrays."""
    images = dataset.images
    if isinstance(images, EventFrames):
        arrays = {name: np.asarray(getattr(images, name)) for name in EVENT_ARRAYS if getattr(images, name) is not None}
    else:
        arrays = {"images": np.asarray(images)}
    if dataset.labels is not None:
        arrays["labels"] = dataset.labels
    found = hashlib.sha256()
    for name, array in arrays.items():
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).data)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return found.hexdigest(), file.getvalue()


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive images of an npz file, read in place as they are asked for.

    A stored array is read where it lies. A compressed one is read on from the place where the last slice ended, so slices
    of one process are best asked for in order.

    Parameters
    ----------
    path : str
    first, count : int
    changed : int
        When the file was last written to, in nanoseconds.
    """

    path: str
    first: int
    count: int
    changed: int

    def __len__(self) -> int:
        """Count the images."""
        return self.count

    def __getitem__(self, part: slice) -> npt.NDArray[Any]:
        """Read some of them.

        Raises
        ------
        InputError
            The file is damaged.
        """
        start, stop, _ = part.indices(self.count)
        return _source(self.path, self.changed)[self.first + start : self.first + stop]


@lru_cache(2)
def _source(path: str, changed: int) -> _Stored | ImageStream:
    """Open the images."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = member_of(archive)
            assert member is not None, "`in_place` has seen to it"
            entry = archive.getinfo(member)
        file, shape, dtype = open_member(Path(path), member)
        with file:
            header = file.tell()
        assert shape is not None, "`in_place` has seen to it"
        if entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits & 1:
            return _Stored(path, _start(path, entry) + header, shape, dtype)
        return ImageStream(Path(path), shape, dtype, member)
    except UNREADABLE as error:
        raise corrupt(Path(path), error) from None


@dataclass(frozen=True, slots=True)
class _Stored:
    """An array that lies in a file as it is."""

    path: str
    start: int  # bytes before it
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, part: slice) -> npt.NDArray[Any]:
        """Read consecutive images; not mapped into memory, whose pages would count as the worker's."""
        first, stop, _ = part.indices(self.shape[0])
        size = math.prod(self.shape[1:])
        offset = self.start + first * size * self.dtype.itemsize
        found = np.fromfile(self.path, self.dtype, (stop - first) * size, offset=offset)
        if found.size != (stop - first) * size:
            raise corrupt(Path(self.path), EOFError("it ends too early"))
        return found.reshape(stop - first, *self.shape[1:])


def _start(path: str, entry: zipfile.ZipInfo) -> int:
    """Return where the content of a member begins: behind a header of its own with two lengths."""
    head = np.fromfile(path, np.uint8, 30, offset=entry.header_offset)
    name, extra = (int.from_bytes(head[at : at + 2].tobytes(), "little") for at in (26, 28))
    return entry.header_offset + 30 + name + extra
