"""Ask about paths: the only module that looks at what stands at one; every answer or error is one of ours.

`os.path` and `pathlib` raise where a name is longer than a file system takes, holds a NUL, lies in a folder that may not be
searched, or where the working directory was deleted; a FIFO that nobody writes into blocks whoever opens it. `look` never
raises, and reads have a limit in bytes and, where nothing is stored, in seconds.
"""

from __future__ import annotations

import hashlib
import os
import select
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Literal

from chipsim.codes import Code
from chipsim.errors import InputError

Name = str | os.PathLike[str]
Kind = Literal["nothing", "file", "folder", "stream"]
#: bytes that are read from a pipe or a device at most, whatever a file may have
MOST_STREAMED = 256 << 20
#: seconds that a pipe may be silent
PATIENCE = 15.0
_PIECE = 1 << 20
#: characters of a temporary file's name (`chipsim.files`), at most
_TEMPORARY = 24


@dataclass(frozen=True, slots=True)
class Place:
    """What stands at a path."""

    path: str  # as it was given
    kind: Kind  # stream: a pipe, a device or a socket
    identity: tuple[object, ...]  # equal where two paths are one file, whether it exists or not
    size: int = 0  # bytes of a file
    reason: str = ""  # why nobody can look there; empty where somebody can


def look(path: Name) -> Place:
    """Look at a path, through links. A path that cannot be looked at has kind ``nothing`` and a reason."""
    text = os.fspath(path)
    try:
        found = os.stat(text)
    except FileNotFoundError:
        return Place(text, "nothing", _future(text))
    except (OSError, ValueError) as error:
        return Place(text, "nothing", ("unknown", text), reason=reason(error))
    kind: Kind = "folder" if stat.S_ISDIR(found.st_mode) else "file" if stat.S_ISREG(found.st_mode) else "stream"
    return Place(text, kind, (found.st_dev, found.st_ino), found.st_size)


def standard_output() -> Place:
    """Where standard output goes."""
    try:
        found = os.fstat(1)
    except OSError:
        return Place("-", "nothing", ("closed",))
    return Place("-", "stream", (found.st_dev, found.st_ino))


def same(first: Place, second: Place) -> bool:
    """Whether two paths are one file, or would be."""
    return first.identity == second.identity


def reason(error: Exception) -> str:
    """What an error of the system says, without the path."""
    return " ".join((getattr(error, "strerror", None) or str(error)).split())


def unreadable(path: Name, error: Exception | str, code: Code) -> InputError:
    """Return the error of an input that cannot be read; the one wording for all of them."""
    text = error if isinstance(error, str) else reason(error)
    return InputError(os.fspath(path), f"cannot be read: {text}; check the path", code=code)


def unwritable(path: Name, error: Exception | str) -> InputError:
    """Return the error of an output that cannot be written; the one wording for all of them."""
    text = error if isinstance(error, str) else reason(error)
    return InputError(os.fspath(path), f"cannot be written: {text}; choose another path", code="output-unwritable")


def check_readable(path: Name, code: Code, *, stored: bool = False) -> Place:
    """Refuse an input that is missing or cannot be opened, before anything is made of it.

    Parameters
    ----------
    code : str
        Code of the error.
    stored : bool
        Only a file will do: the content is not read from its beginning to its end.

    Raises
    ------
    InputError
    """
    place = look(path)
    if place.reason:
        raise unreadable(path, place.reason, code)
    if place.kind == "nothing":
        raise unreadable(path, os.strerror(2), code)
    if place.kind == "folder":
        raise unreadable(path, "is a directory", code)
    if stored and place.kind == "stream":
        raise unreadable(path, "it is a pipe or a device, and a file is needed", code)
    if place.kind == "file":
        try:
            os.close(os.open(place.path, os.O_RDONLY))
        except OSError as error:
            raise unreadable(path, error, code) from None
    return place


def read(path: Name, most: int, code: Code) -> bytes:
    """Read a whole input, up to a limit.

    Parameters
    ----------
    most : int
        Bytes that a file may have; a pipe or a device at most `MOST_STREAMED`, and it may be silent for `PATIENCE` seconds.

    Raises
    ------
    InputError
        It is missing, cannot be read, or has no end within the limit.
    """
    place = check_readable(path, code)
    if place.kind == "file" and place.size > most:
        raise _too_large(path, most, code)
    limit = most if place.kind == "file" else min(most, MOST_STREAMED)
    try:
        handle = os.open(place.path, os.O_RDONLY | (os.O_NONBLOCK if place.kind == "stream" else 0))
        try:
            return _read(handle, limit, place, code)
        finally:
            os.close(handle)
    except OSError as error:
        raise unreadable(path, error, code) from None


def stem(path: Name) -> str:
    """Return the name of a file without its folder and its suffix."""
    return os.path.splitext(os.path.basename(path))[0]


def absolute(path: Name) -> str:
    """Return a path as other processes would have to call it."""
    return os.path.abspath(path)


def stamp(path: Name) -> tuple[int, int]:
    """Return the size of a file and when it was last written to, in nanoseconds.

    Raises
    ------
    OSError
    """
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


def identity(path: Name) -> str:
    """Return what two processes have in common only if they see the same file on one machine, not written to in between.

    Empty where the system does not tell which machine, since when, it is.

    Raises
    ------
    OSError
    """
    found = os.stat(path)
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            machine = file.read().strip()
    except (OSError, ValueError):
        return ""
    return f"{machine} {found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns}"


def sha256(path: Name) -> str:
    """Return the SHA-256 of a file, which is not held in memory; it is read once, as long as nobody writes to it.

    Raises
    ------
    OSError
    """
    return _sha256(absolute(path), *stamp(path))


@lru_cache(64)
def _sha256(path: str, size: int, changed: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def beginning(path: Name, count: int) -> bytes:
    """Return the first bytes of a file; none of what is no file, or cannot be read."""
    if not is_stored(path):
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(count)
    except OSError:
        return b""


def is_stored(path: Name) -> bool:
    """Whether a path is a file, not a directory, a pipe or a device."""
    return look(path).kind == "file"


def is_folder(path: Name) -> bool:
    """Whether a path is a directory."""
    return look(path).kind == "folder"


def check_output(path: Name | None) -> Place | None:
    """Refuse an output that cannot be written; None and ``-`` are accepted and have no place.

    Raises
    ------
    InputError
    """
    if path is None or os.fspath(path) == "-":
        return None
    text, place = os.fspath(path), look(path)
    if place.reason:
        raise unwritable(path, place.reason)
    if place.kind == "folder":
        raise unwritable(path, "it is a directory")
    if text.endswith(os.sep) or os.path.basename(text) in ("", ".", ".."):
        raise unwritable(path, f"there is no directory {text or 'without a name'}")
    if place.kind != "nothing" and not os.access(text, os.W_OK):
        raise unwritable(path, "permission denied")
    if place.kind == "stream":
        return place
    folder = os.path.dirname(target(path)) or "."
    _check_folder(path, folder)
    if look(os.path.join(folder, "x" * _TEMPORARY)).reason:
        raise unwritable(path, "the path is too long for a temporary file beside it")
    return place


def check_folder(path: Name, *, parents: bool = False) -> Place:
    """Refuse a directory in which nothing can be written; one that does not exist will be made.

    Parameters
    ----------
    parents : bool
        The directories above it will be made too.

    Raises
    ------
    InputError
    """
    place = look(path)
    if place.reason:
        raise unwritable(path, place.reason)
    if place.kind in ("file", "stream"):
        raise unwritable(path, "it is not a directory")
    above = os.fspath(path).rstrip(os.sep) or os.sep
    while look(above).kind == "nothing":
        above = os.path.dirname(above) or "."
        if not parents or above == ".":
            break
    _check_folder(path, above)
    return place


def target(path: Name) -> str:
    """Where an output is written: the path, or what a link points to.

    Raises
    ------
    InputError
        The link points in a circle, or nobody can tell where.
    """
    text = os.fspath(path)
    try:
        return os.path.realpath(text) if os.path.islink(text) else text
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from None


def join(folder: Name, name: str) -> str:
    """Path of a file in a directory."""
    return os.path.join(folder, name)


def beside(path: str, name: str) -> str:
    """Path of a file in the same directory as another."""
    return os.path.join(os.path.dirname(path), name)


def make_folder(path: Name, *, parents: bool = False) -> None:
    """Make a directory if it does not exist.

    Raises
    ------
    InputError
    """
    try:
        Path(path).mkdir(exist_ok=True, parents=parents)
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from None


def open_output(path: Name) -> IO[bytes]:
    """Open a device or a pipe to write into it."""
    return open(path, "wb")  # the caller's


def _future(text: str) -> tuple[object, ...]:
    """Identity of a file that does not exist yet: its directory and its name there."""
    try:
        where = os.path.realpath(text) if os.path.islink(text) else text
        above = os.stat(os.path.dirname(where.rstrip(os.sep)) or ".")
    except (OSError, ValueError):
        return ("unknown", text)
    return above.st_dev, above.st_ino, os.path.basename(where.rstrip(os.sep))


def _check_folder(path: Name, folder: str) -> None:
    """Refuse a directory in which no file can be made."""
    place = look(folder)
    if place.kind != "folder":
        raise unwritable(path, place.reason or f"there is no directory {folder}")
    if not os.path.isabs(folder):
        try:
            os.getcwd()
        except OSError:
            raise unwritable(path, "the working directory does not exist any more") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise unwritable(path, "permission denied")


def _read(handle: int, limit: int, place: Place, code: Code) -> bytes:
    """Read to the end, which has to come within the limit."""
    wait: Callable[[], bool] = (lambda: True) if place.kind == "file" else _patience(handle)
    pieces: list[bytes] = []
    size = 0
    while True:
        if not wait():
            text = f"it is a pipe or a device that sends nothing for {PATIENCE:g} s"
            raise unreadable(place.path, text, code)
        try:
            piece = os.read(handle, min(_PIECE, limit + 1 - size))
        except BlockingIOError:  # the writer has not opened it yet
            continue
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise _too_large(place.path, limit, code)


def _patience(handle: int) -> Callable[[], bool]:
    """Return a function that waits until there is something to read, and says whether there is."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)

    def wait() -> bool:
        end = time.monotonic() + PATIENCE
        while (left := end - time.monotonic()) > 0:
            if poll.poll(int(1000 * left) + 1):
                return True
        return False

    return wait


def _too_large(path: Name, most: int, code: Code) -> InputError:
    text = f"has more than {most:,} bytes, or no end; allowed: at most {most:,} bytes"
    return InputError(os.fspath(path), text, code=code, limit="bytes", allowed=most)
