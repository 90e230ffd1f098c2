"""Write files atomically, and read results."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from chipsim.errors import InputError

#: bytes of an array that are written at a time
PART = 1 << 22


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write to a temporary file beside the target, then rename.

    Raises
    ------
    InputError
        The target cannot be written; nothing is left behind and an older file stays as it was.
    """
    stream_atomically(path, lambda file: file.write(content))


def stream_atomically(path: str | Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file atomically through a callback, for content that is not held in memory as a whole.

    A link stays one: what it points to is replaced. What is no file, such as /dev/null or a pipe, is written into.
    """
    name, path = Path(path), Path(os.path.realpath(path))
    temporary = None
    try:
        if name.exists() and not name.is_file():
            with name.open("wb") as file:
                write(file)
            return
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise _unwritable(name, error.strerror) from None
    except BaseException:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise


def write_npz(file: IO[bytes], arrays: Mapping[str, Any], compression: int) -> None:
    """Write an npz file array by array, in parts, so that memory-mapped arrays are not loaded as a whole.

    Parameters
    ----------
    arrays : mapping of str to ndarray, at least one axis each
    compression : int
        One of `zipfile`'s.
    """
    import zipfile

    import numpy as np

    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = compression
            with archive.open(entry, "w", force_zip64=True) as member:
                header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
                np.lib.format.write_array_header_1_0(member, header)
                rows = max(1, PART // max(1, array[:1].nbytes))
                for first in range(0, len(array), rows):
                    member.write(array[first : first + rows].tobytes())
                    _let_go(array)


def _let_go(array: Any) -> None:
    """Pages of a mapped file that were read need not stay in memory."""
    import mmap

    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mapped, "madvise"):
        mapped.madvise(mmap.MADV_DONTNEED)


def read_json(path: str) -> Any:
    """Read a JSON file.

    Raises
    ------
    InputError
        It cannot be read, or is no JSON.
    """
    import json

    try:
        return json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}", code="result-unreadable") from None
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"is not JSON ({error})", code="result-unreadable") from None


#: what comes of looking for a result in JSON that holds something else
UNLIKE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def unlike(path: str, error: Exception) -> InputError:
    """Return the error for JSON that has the schema of a result but not its content."""
    said = f"it lacks the key {error}" if isinstance(error, KeyError) else f"{error}"[:100]
    return InputError(path, f"is not a valid result: {said}; write it again with --json", code="result-schema")


def check_writable(path: str | Path | None) -> None:
    """Refuse an output path that cannot be written; None and '-' are accepted."""
    if path is None or str(path) == "-":
        return
    name, path = Path(path), Path(os.path.realpath(path))
    if name.is_dir():
        raise _unwritable(name, "it is a directory")
    if name.exists() and not os.access(name, os.W_OK):
        raise _unwritable(name, "permission denied")
    if name.exists() and not name.is_file():  # a device or a pipe
        return
    if not path.parent.is_dir():
        raise _unwritable(name, f"there is no directory {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise _unwritable(name, "permission denied")


def _unwritable(path: Path, reason: str | None) -> InputError:
    return InputError(str(path), f"cannot be written: {reason}; choose another path", code="output-unwritable")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
