"""The container of a mapping: a zip with fixed dates, a hashed directory, and arrays as npy.

The same content gives the same bytes (with the same zlib); nothing is read whose size was not checked against the file's.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError

from chipsim import paths, yaml
from chipsim.codes import Code
from chipsim.errors import InputError, MappingError
from chipsim.wording import path as key_path
from chipsim.wording import place, said

Schema = TypeVar("Schema", bound=BaseModel)

DATE = (1980, 1, 1, 0, 0, 0)
#: a file with deflated members may hold so many bytes, and so many for each of its own
FLOOR, RATIO = 1 << 24, 200
#: of zlib, from 1 to 9: the usual 6 takes 2.5 times as long for arrays of mappings and makes them 1 % smaller
LEVEL = 4
#: members of so many bytes are unpacked one after the other; those of a larger file in so many threads
SMALL, THREADS = 1 << 20, 2

#: what `zipfile` raises of archives that somebody damaged or made up
_UNREADABLE = (
    zipfile.BadZipFile,
    OSError,  # a place before the beginning of the file, or the disk's own
    EOFError,  # a member that ends too early
    zlib.error,
    RuntimeError,  # encrypted; NotImplementedError: a later version of the format, or patches
    ValueError,  # a name in no encoding, or a path with a null in it
    OverflowError,
    struct.error,  # extra fields cut short
)


def damaged(path: str | Path, text: str) -> MappingError:
    """The error of a file that is not as it was written."""
    return MappingError(str(path), f"{text}; compile it again", code="map-damaged")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A member as it stands in an archive."""

    entry: zipfile.ZipInfo  # of the directory
    content: bytes  # its header and data
    digest: dict[str, Any]  # see `digest`

    def unpacked(self) -> bytes:
        """What was put in."""
        data = self.content[len(self.entry.FileHeader()) :]
        return zlib.decompress(data, -zlib.MAX_WBITS) if self.entry.compress_type == zipfile.ZIP_DEFLATED else data


def pack(members: Mapping[str, bytes], *, deflate: bool = False, ahead: Mapping[str, Part] | None = None) -> bytes:
    """The archive of some members, deflated where asked for; not where so much would be saved that no reader took it.

    Large members are deflated side by side: zlib works without the interpreter's lock. The bytes do not depend on it, nor
    on which members were deflated ``ahead``.
    """
    method, parts = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED, dict(ahead or {})
    by_size = sorted(sorted(members), key=lambda name: -len(members[name]))
    with ThreadPoolExecutor(THREADS) as pool:
        parts |= zip(by_size, pool.map(lambda name: part(name, members[name], method), by_size), strict=True)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(parts):
            entry = copy(parts[name].entry)
            entry.header_offset = buffer.tell()
            buffer.write(parts[name].content)
            archive.filelist.append(entry)
        archive.start_dir = buffer.tell()
    whole = buffer.getvalue()
    if sum(one.digest["bytes"] for one in parts.values()) > most_bytes(len(whole), deflated=deflate):
        return pack({name: one.unpacked() for name, one in parts.items()})
    return whole


def part(name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> Part:
    """Make a member on its own."""
    entry, buffer = zipfile.ZipInfo(name, DATE), io.BytesIO()
    entry.create_system = 3
    entry.external_attr = 0o644 << 16
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(entry, content, method, LEVEL)
        end = archive.start_dir
    return Part(entry, buffer.getvalue()[:end], digest(content))


def stored(path: str | Path, code: Code) -> paths.Place:
    """Refuse what is no file that can be opened.

    Raises
    ------
    MappingError
    """
    try:
        return paths.check_readable(path, code, stored=True)
    except InputError as error:
        raise MappingError(error.subject, error.message, code=error.code) from None


def most_bytes(size: int, *, deflated: bool) -> int:
    """Return how many bytes the members of a file of that size may have together."""
    return max(FLOOR, RATIO * size) if deflated else size


def unpack(path: Path, needed: set[str], optional: set[str], kind: str, *, deflated: bool = False) -> dict[str, bytes]:
    """Every member of an archive, after its size was checked against the file's.

    Parameters
    ----------
    needed, optional : set of str
        Members that it must have, and those that it may have besides.
    kind : str
        What the file is to be, such as ``.map``.
    deflated : bool
        Whether members may be deflated; else they are stored.

    Raises
    ------
    MappingError
        There is no such file, or it is no archive of that kind.
    """
    size = stored(path, "file-unreadable").size
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            unknown = sorted(set(names) - needed - optional)
            if unknown or len(set(names)) != len(names):
                raise damaged(path, f"contains unexpected members: {', '.join(unknown)[:100] or 'a duplicate'}")
            missing = sorted(needed - set(names))
            if missing:
                raise damaged(path, f"has no {missing[0]}")
            methods = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} if deflated else {zipfile.ZIP_STORED}
            for entry in entries:
                if entry.compress_type not in methods or entry.flag_bits & 1:
                    allowed = "stored or deflated" if deflated else "stored as they are"
                    raise damaged(path, f"{entry.filename} is compressed or encrypted; members of a {kind} are {allowed}")
                if entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
                    raise damaged(path, f"{entry.filename} declares two sizes")
            if sum(entry.compress_size for entry in entries) > size:
                raise damaged(path, "declares more bytes than the file has")
            most = most_bytes(size, deflated=deflated)
            if sum(entry.file_size for entry in entries) > most:
                raise damaged(path, f"declares more bytes than a file of its size may hold ({most:,})")
            if sum(entry.file_size for entry in entries) < SMALL:
                return {name: archive.read(name) for name in names}
            by_size = sorted(entries, key=lambda entry: -entry.file_size)  # zlib works without the interpreter's lock
            with ThreadPoolExecutor(THREADS) as pool:
                return dict(zip((e.filename for e in by_size), pool.map(archive.read, by_size), strict=True))
    except _UNREADABLE as error:
        raise MappingError(
            str(path),
            f"is not a {kind}, or is damaged ({' '.join(str(error).split())[:100]}); compile it again",
            code="map-damaged",
        ) from None


def manifest(path: str | Path, content: bytes, schema: type[Schema]) -> Schema:
    """Content of mapping.yaml, by its schema.

    Raises
    ------
    MappingError
        It is no YAML, or breaks the schema: line, key, what was found, what is allowed.
    """
    try:
        value, lines = yaml.load(content)
        return schema.model_validate(value)
    except yaml.YamlError as error:
        raise damaged(path, f"mapping.yaml, line {error.line}: {error}") from None
    except ValidationError as error:
        found = error.errors()[0]
        at = found["loc"]
        line = place("", lines, at).removeprefix(":") or "1"
        text = f"unknown key {key_path(at)!r}" if found["type"] == "extra_forbidden" else said(found, at)
        raise damaged(path, f"mapping.yaml, line {line}: {text}") from None


def npy(array: Any, dtype: str) -> bytes:
    """An array as NumPy format 1.0."""
    assert str(array.dtype) == dtype, f"{array.dtype} is not {dtype}"
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def array(path: str | Path, name: str, content: bytes, dtype: str, said: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Parse an npy member by hand: its header says what the format and mapping.yaml say, or the member is refused.

    Parameters
    ----------
    dtype : str
        What the format says.
    said, shape : str, tuple of int
        What mapping.yaml says.
    """
    stream = io.BytesIO(content)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("not NumPy format 1.0")
        found, fortran, own = np.lib.format.read_array_header_1_0(stream)
    except (ValueError, EOFError, SyntaxError, TypeError) as error:
        raise damaged(path, f"arrays/{name}.npy has no readable header ({str(error)[:80]})") from None
    if fortran or tuple(found) != shape or own != np.dtype(dtype) or said != dtype:
        raise damaged(path, f"arrays/{name}.npy is {own} {found}; expected {dtype} {shape}")
    count = 1
    for length in shape:
        count *= length
    data = content[stream.tell() :]
    if len(data) != count * own.itemsize:
        raise damaged(path, f"arrays/{name}.npy does not have the size that its shape implies")
    return np.frombuffer(data, own).reshape(shape)


def digest(content: bytes) -> dict[str, Any]:
    """Size and hash of a member, as the directory lists them."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def check_digest(path: str | Path, name: str, content: bytes, size: int, sha256: str) -> None:
    """Refuse a member that is not the one that the directory lists."""
    if len(content) != size or hashlib.sha256(content).hexdigest() != sha256:
        raise damaged(path, f"{name} does not match the size and SHA-256 in mapping.yaml")
