"""A user's own arrays."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from chipsim.datasets import Dataset
from chipsim.errors import InputError


def read_npz(path: Path) -> Dataset:
    """Read ``images`` and optional ``labels``; nothing is unpickled.

    Raises
    ------
    InputError
        The file is missing or no npz, an array is missing, of objects, not finite, or labels do not match the images.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array")
            names = list(file.files)
            images = file["images"] if "images" in names else None
            labels = file["labels"] if "labels" in names else None
    except FileNotFoundError:
        raise InputError(str(path), "there is no such file", code="data-missing") from None
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, MemoryError) as error:
        reason = "its arrays hold Python objects" if "allow_pickle" in str(error) else str(error).split("\n")[0][:120]
        raise InputError(str(path), f"is not a readable npz file ({reason})", code="data-corrupt") from None
    if images is None:
        raise InputError(
            str(path), f"holds {', '.join(names) or 'nothing'}; an array 'images' is needed", code="data-no-images"
        )
    if images.ndim < 2 or not len(images):
        raise InputError(
            str(path), f"images has shape {images.shape}; at least one image (N, ...) is needed", code="data-shape"
        )
    if images.dtype.kind not in "uifb":
        raise InputError(str(path), f"images has dtype {images.dtype}; numbers are needed", code="data-dtype")
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise InputError(str(path), "images holds NaN or infinity", code="data-not-finite")
    if labels is not None:
        if labels.shape != (len(images),) or labels.dtype.kind not in "ui":
            raise InputError(
                str(path),
                f"labels has shape {labels.shape} and dtype {labels.dtype}; int64 ({len(images)},) is needed",
                code="data-labels",
                found=list(labels.shape),
                allowed=[len(images)],
            )
        labels = labels.astype(np.int64)
    return Dataset(path.name, "all", images, labels)
