"""Write files atomically, and read results."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Mapping
from typing import IO, Any, NoReturn

from chipsim import paths
from chipsim.errors import InputError

#: bytes of an array that are written at a time
PART = 1 << 22
#: bytes of a JSON file; some 300,000 cores
MOST_JSON = 64 << 20


def write_atomically(path: paths.Name, content: bytes) -> None:
    """Write to a temporary file beside the target, then rename.

    Raises
    ------
    InputError
        The target cannot be written; nothing is left behind and an older file stays as it was.
    """
    stream_atomically(path, lambda file: file.write(content))


def stream_atomically(path: paths.Name, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file atomically through a callback, for content that is not held in memory as a whole.

    A link stays one: what it points to is replaced. What is no file, such as /dev/null or a pipe, is written into.
    """
    try:
        if paths.look(path).kind == "stream":
            with paths.open_output(path) as file:
                write(file)
            return
        _replace(path, write)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise paths.unwritable(path, error) from None


#: temporary files of this process that are not renamed yet
_unfinished: set[str] = set()


def abandon() -> None:
    """Remove the temporary files of what is being written; for a process that leaves at once."""
    for name in list(_unfinished):
        with contextlib.suppress(OSError):
            os.unlink(name)


def _replace(path: paths.Name, write: Callable[[IO[bytes]], object]) -> None:
    paths.check_output(path)
    target = paths.target(path)
    temporary = paths.beside(target, f".new-{secrets.token_hex(6)}.tmp")
    _unfinished.add(temporary)
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            write(file)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        _unfinished.discard(temporary)


def write_npz(file: IO[bytes], arrays: Mapping[str, Any], compression: int, threads: int = 1) -> None:
    """Write an npz file array by array, in parts, so that memory-mapped arrays are not loaded as a whole.

    Parameters
    ----------
    arrays : mapping of str to ndarray, at least one axis each
    compression : int
        One of `zipfile`'s.
    threads : int
        That compress; the file is the same with any number.
    """
    import zipfile
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from chipsim.deflate import DeflatedParts

    with ThreadPoolExecutor(threads) as pool, zipfile.ZipFile(file, "w", compression) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:  # by name: dated 1980, whenever it is written
                if compression == zipfile.ZIP_DEFLATED:
                    member._compressor = DeflatedParts(pool, 2 * threads)  # type: ignore[attr-defined]
                header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
                np.lib.format.write_array_header_1_0(member, header)
                rows = max(1, PART // max(1, array[:1].nbytes))
                for first in range(0, len(array), rows):
                    member.write(array[first : first + rows].tobytes())
                    let_go(*getattr(array, "kept", [array]))


def let_go(*arrays: Any) -> None:
    """Let go of the pages of mapped files that were read: they would count as memory of the process."""
    import mmap

    for array in arrays:
        mapped = getattr(array, "_mmap", None)
        if mapped is not None and hasattr(mapped, "madvise"):
            mapped.madvise(mmap.MADV_DONTNEED)


def parse_json(path: str, content: bytes) -> Any:
    """Parse the content of a JSON file.

    Raises
    ------
    InputError
        It is no JSON.
    """
    import json

    try:
        return json.loads(content.decode("utf-8"), parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"is not JSON ({str(error)[:120]})", code="result-schema") from None


def _not_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
