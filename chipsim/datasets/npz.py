"""Read a data set from a user's npz file."""

from __future__ import annotations

import lzma
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim import paths
from chipsim.datasets.dataset import Dataset
from chipsim.datasets.events import EventFrames, read_events
from chipsim.datasets.stream import LARGE, MEMBERS, WHOLE, ImageStream, open_stream
from chipsim.errors import InputError

EVENT_ARRAYS = ("x", "y", "t", "p", "offsets", "duration")
#: what NumPy and zipfile raise on damaged, encrypted or hostile files
UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    SyntaxError,
    KeyError,
    IndexError,
    EOFError,
    MemoryError,
    OverflowError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    tokenize.TokenError,
)


def _check_sizes(path: Path) -> None:
    """Refuse members that would fill the memory: a small file can declare any size.

    Images and spikes in C order are read part by part, whatever their size; labels are 8 bytes an image.
    """
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            most = WHOLE if entry.filename.removesuffix(".npy") in EVENT_ARRAYS else LARGE
            if entry.filename not in MEMBERS and entry.file_size > most:
                raise ValueError(f"its member {entry.filename} has {entry.file_size:,} bytes; allowed: {most:,}")


def read_npz(path: Path) -> Dataset:
    """Read ``images``, ``spikes`` or events, and optional ``labels``, without unpickling anything.

    Raises
    ------
    InputError
        The file is missing or no npz; an array is missing, of objects or not finite; labels do not match.
    """
    paths.check_readable(path, "data-missing", stored=True)
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is not a zip archive as written by numpy.savez")
        _check_sizes(path)
        stream = open_stream(path)
        with np.load(path, allow_pickle=False) as file:
            names = list(file.files)
            if len(set(names)) < len(names):
                raise ValueError("it holds an array twice")
            images = stream or _frames(file, names, path.name)
            labels = file["labels"] if "labels" in names else None
            for name, found in (("images", images), ("labels", labels)):
                if not isinstance(
                    found, np.ndarray | ImageStream | EventFrames | None
                ):  # NumPy returns the bytes of such a member
                    raise ValueError(f"its member {name} is no array")
    except UNREADABLE as error:
        objects = "allow_pickle" in str(error)
        said = str(error).split("\n")[0] or "damaged"
        reason = "its arrays hold Python objects" if objects else said[:120]
        raise InputError(str(path), f"is not a readable npz file ({reason})", code="data-corrupt") from None
    if images is None:
        raise InputError(
            str(path),
            f"holds {', '.join(names)[:120] or 'nothing'}; an array 'images' or 'spikes', or events 'x', 't' and 'offsets', "
            "are required",
            code="data-no-images",
        )
    if isinstance(images, EventFrames):
        return Dataset(path.name, "all", images, _labels(labels, len(images), path))
    if images.ndim < 2 or not len(images):
        raise InputError(
            str(path),
            f"images has shape {images.shape}; at least one image (N, ...) is required",
            code="data-shape",
            found=list(images.shape),
        )
    if images.dtype.kind not in "uifb":
        raise InputError(str(path), f"images has dtype {images.dtype}; numbers are required", code="data-dtype")
    # a stream is looked at as it is read
    if isinstance(images, np.ndarray) and images.dtype.kind == "f" and not np.isfinite(images).all():
        raise InputError(str(path), "images contain NaN or infinity", code="data-not-finite")
    return Dataset(path.name, "all", images, _labels(labels, len(images), path))


def _frames(file: Any, names: list[str], name: str) -> npt.NDArray[Any] | EventFrames | None:
    """Return the images, the spikes or the events of a file, whichever it has."""
    for key in ("images", "spikes"):
        if key in names:
            return file[key]  # type: ignore[no-any-return]
    if {"x", "t", "offsets"} <= set(names):
        return read_events({key: file[key] for key in EVENT_ARRAYS if key in names}, name)
    return None


def _labels(labels: npt.NDArray[Any] | None, count: int, path: Path) -> npt.NDArray[np.int64] | None:
    """Check the labels of so many images."""
    if labels is None:
        return None
    if labels.shape != (count,) or labels.dtype.kind not in "ui":
        raise InputError(
            str(path),
            f"labels has shape {labels.shape} and dtype {labels.dtype}; int64 ({count},) is required",
            code="data-labels",
            found=list(labels.shape),
            allowed=[count],
        )
    if labels.dtype == np.uint64 and (labels > np.iinfo(np.int64).max).any():
        raise InputError(str(path), "labels exceed int64", code="data-labels")
    labels = labels.astype(np.int64)
    if (labels < 0).any():
        at = int(np.argmax(labels < 0))
        text = f"labels has {labels[at]} at image {at}; allowed: 0 to the number of classes - 1"
        raise InputError(str(path), text, code="data-labels", found=int(labels[at]), allowed=">= 0")
    return labels
