"""Read the images or spikes of a large npz file in order, a part at a time."""

from __future__ import annotations

import math
import threading
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from chipsim.errors import InputError

#: arrays of images above this many bytes are streamed
LARGE = 96 << 20
#: and read as a whole up to this many where that is not possible
WHOLE = 512 << 20
#: the members that are streamed; a file with both is read by its images
MEMBERS = ("images.npy", "spikes.npy")


@dataclass(slots=True, eq=False)
class ImageStream:
    """The array ``images`` or ``spikes`` of an npz file, read in consecutive slices.

    A slice that lies before the place that was read last starts again at the beginning of the file.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    member: str = MEMBERS[0]
    _file: IO[bytes] | None = None
    _next: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        """Count the images."""
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of axes, the images' own included."""
        return len(self.shape)

    def head(self, limit: int) -> npt.NDArray[Any] | ImageStream:
        """Return the first ``limit`` images, as a stream if they are large."""
        count = min(limit, len(self))
        if count * self._size <= LARGE:
            return self[:count]
        return ImageStream(self.path, (count, *self.shape[1:]), self.dtype, self.member)

    def __getitem__(self, part: slice) -> npt.NDArray[Any]:
        """Read the images of a slice."""
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise IndexError("a stream is read one image after the other")
        with self._lock:
            return self._read(start, max(0, stop - start))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Read everything."""
        with self._lock:
            return self._read(0, len(self)).astype(dtype or self.dtype, copy=False)

    @property
    def _size(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def _read(self, start: int, count: int) -> npt.NDArray[Any]:
        try:
            if self._file is None or start < self._next:
                self._file, _, _ = open_member(self.path, self.member)
                self._next = 0
            while self._next < start:
                step = min(start - self._next, max(1, (1 << 22) // max(1, self._size)))
                self._take(step)
            return np.frombuffer(self._take(count), self.dtype).reshape(count, *self.shape[1:])
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise corrupt(self.path, error) from None
        except Exception as error:  # zlib.error and its kin, one for each method of compression
            if type(error).__module__ in ("zlib", "_lzma", "lzma", "_bz2"):
                raise corrupt(self.path, error) from None
            raise

    def _take(self, count: int) -> bytes:
        assert self._file is not None
        content = self._file.read(count * self._size)
        if len(content) != count * self._size:
            raise EOFError("it ends too early")
        self._next += count
        return content


def open_stream(path: Path) -> ImageStream | None:
    """Return the images or spikes of an npz file as a stream if they are large and in C order."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        member = member_of(archive)
        if member is None:
            return None
        size = archive.getinfo(member).file_size
    if size <= LARGE:
        return None
    file, shape, dtype = open_member(path, member)
    header = file.tell()
    file.close()
    if shape is None:
        if size <= WHOLE:
            return None
        raise ValueError(
            f"{member[:-4]} has {size:,} bytes and is no array in C order; save it with numpy.ascontiguousarray"
        )
    if size != header + math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{member[:-4]} has shape {shape} and dtype {dtype}, and {size - header:,} bytes")
    return ImageStream(path, shape, dtype, member)


def member_of(archive: zipfile.ZipFile) -> str | None:
    """Return the name of the array of images, or of spikes, if there is one."""
    return next((name for name in MEMBERS if name in archive.namelist()), None)


def open_member(path: Path, member: str) -> tuple[IO[bytes], tuple[int, ...] | None, np.dtype[Any]]:
    """Open the member behind its header; no shape where it cannot be streamed."""
    file = zipfile.ZipFile(path).open(member)  # noqa: SIM115  # it stays open for the next part
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(file)
    good = not fortran and not dtype.hasobject and len(shape) > 0
    return file, (tuple(shape) if good else None), dtype


def corrupt(path: Path, error: BaseException) -> InputError:
    """Return the error of a file that was damaged."""
    said = str(error).split("\n")[0][:120] or "damaged"
    return InputError(str(path), f"is not a readable npz file ({said})", code="data-corrupt")
