"""Read and check a ``.map`` from an untrusted source."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from chipsim import yaml
from chipsim.errors import MappingError
from chipsim.mapping.program import ARRAYS, InputSpec, Layer, Mapping, Population
from chipsim.mapping.schema import ArrayEntry, FileEntry, Manifest
from chipsim.mapping.totals import totals
from chipsim.mapping.validate import validate_mapping
from chipsim.wording import path as key_path
from chipsim.wording import place, said

ONNX_MEMBERS = ("encoder.onnx", "readout.onnx")
MEMBERS = {"mapping.yaml", *ONNX_MEMBERS, *(f"arrays/{name}.npy" for name in ARRAYS)}

#: what `zipfile` raises of archives that somebody damaged or made up
_UNREADABLE = (
    zipfile.BadZipFile,
    OSError,  # a place before the beginning of the file, or the disk's own
    EOFError,  # a member that ends too early
    RuntimeError,  # encrypted; NotImplementedError: a later version of the format, or patches
    ValueError,  # a name in no encoding, or a path with a null in it
    OverflowError,
    struct.error,  # extra fields cut short
)


def read_mapping(path: str | Path) -> Mapping:
    """Read and validate a ``.map``.

    Raises
    ------
    MappingError
        The file cannot be read, is no ``.map``, is damaged, or breaks a rule of FORMAT.md; one line that names the place.
    """
    members = _members(Path(path))
    try:
        value, lines = yaml.load(members["mapping.yaml"])
        manifest = Manifest.model_validate(value)
    except yaml.YamlError as error:
        raise _damaged(path, f"mapping.yaml, line {error.line}: {error}") from None
    except ValidationError as error:
        found = error.errors()[0]
        line = place("", lines, found["loc"]).removeprefix(":") or "1"
        raise _damaged(path, f"mapping.yaml, line {line}: {_said(found)}") from None
    _check_directory(path, manifest, members)
    arrays = {name: _array(path, name, manifest, members[f"arrays/{name}.npy"]) for name in ARRAYS}
    mapping = Mapping(
        model_sha256=manifest.model_sha256,
        exactness=manifest.exactness,
        generator=manifest.generator,
        chip=manifest.chip,
        input=InputSpec(**manifest.input.model_dump()),
        encoder=Population(**manifest.encoder.model_dump(exclude={"order"})),
        layers=tuple(Layer(**entry.model_dump(exclude={"order"})) for entry in manifest.layers),
        output_tensor=manifest.output.tensor,
        output_shape=manifest.output.shape,
        ticks=manifest.ticks,
        arrays=arrays,
        encoder_onnx=members.get("encoder.onnx"),
        readout_onnx=members["readout.onnx"],
    )
    validate_mapping(mapping)
    if totals(mapping) != manifest.totals.model_dump():
        raise _damaged(path, f"totals are {manifest.totals.model_dump()}; the arrays give {totals(mapping)}")
    return mapping


def _said(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return f"unknown key {key_path(error['loc'])!r}"
    return said(error, error["loc"])


def _damaged(path: str | Path, text: str) -> MappingError:
    return MappingError(str(path), f"{text}; compile it again", code="map-damaged")


def _members(path: Path) -> dict[str, bytes]:
    """Every member, after its size was checked against the file's."""
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            unknown = sorted(set(names) - MEMBERS)
            if unknown or len(set(names)) != len(names):
                raise _damaged(path, f"contains unexpected members: {', '.join(unknown)[:100] or 'a duplicate'}")
            missing = sorted(MEMBERS - {"encoder.onnx"} - set(names))
            if missing:
                raise _damaged(path, f"has no {missing[0]}")
            for entry in entries:
                if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                    raise _damaged(
                        path, f"{entry.filename} is compressed or encrypted; members of a .map are stored as they are"
                    )
                if entry.file_size != entry.compress_size:
                    raise _damaged(path, f"{entry.filename} declares two sizes")
            if sum(entry.file_size for entry in entries) > size:
                raise _damaged(path, "declares more bytes than the file has")
            return {name: archive.read(name) for name in names}
    except FileNotFoundError:
        raise MappingError(str(path), "there is no such file", code="map-missing") from None
    except IsADirectoryError:
        raise MappingError(str(path), "is a directory", code="map-missing") from None
    except _UNREADABLE as error:
        raise MappingError(
            str(path),
            f"is not a .map, or is damaged ({' '.join(str(error).split())[:100]}); compile it again",
            code="map-damaged",
        ) from None


def _check_directory(path: str | Path, manifest: Manifest, members: dict[str, bytes]) -> None:
    if set(manifest.arrays) != set(ARRAYS):
        raise _damaged(path, "its list of arrays does not match the format")
    if {name for name in ONNX_MEMBERS if name in members} != set(manifest.files):
        raise _damaged(path, "its list of files does not match its members")
    listed: dict[str, ArrayEntry | FileEntry] = {f"arrays/{name}.npy": entry for name, entry in manifest.arrays.items()}
    listed.update(manifest.files.items())
    for name, entry in listed.items():
        content = members[name]
        if len(content) != entry.bytes or hashlib.sha256(content).hexdigest() != entry.sha256:
            raise _damaged(path, f"{name} does not match the size and SHA-256 in mapping.yaml")


def _array(path: str | Path, name: str, manifest: Manifest, content: bytes) -> npt.NDArray[Any]:
    """Parse an npy member by hand: the header says what mapping.yaml says, or the member is refused."""
    entry = manifest.arrays[name]
    stream = io.BytesIO(content)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("not NumPy format 1.0")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except (ValueError, EOFError, SyntaxError, TypeError) as error:
        raise _damaged(path, f"arrays/{name}.npy has no readable header ({str(error)[:80]})") from None
    if fortran or tuple(shape) != entry.shape or dtype != np.dtype(ARRAYS[name]) or entry.dtype != ARRAYS[name]:
        raise _damaged(path, f"arrays/{name}.npy is {dtype} {shape}; expected {ARRAYS[name]} {entry.shape}")
    count = 1
    for length in entry.shape:
        count *= length
    data = content[stream.tell() :]
    if len(data) != count * dtype.itemsize:
        raise _damaged(path, f"arrays/{name}.npy does not have the size that its shape implies")
    return np.frombuffer(data, dtype).reshape(entry.shape)
