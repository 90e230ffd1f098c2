"""Read a NIR file (HDF5) without trusting it: what it declares is checked before anything of that size is allocated."""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from chipsim import paths
from chipsim.errors import InputError
from qsnnc.errors import ModelError
from qsnnc.nir.network import PREFIX, Network, Node

#: bytes of all arrays together
MOST_BYTES = 1 << 30
#: bytes of the file
MOST_FILE_BYTES = 1 << 30
#: nodes and edges of a file, over all nested graphs
MOST_NODES = 100_000
MOST_EDGES = 1_000_000
#: graphs within graphs
DEEPEST = 32
#: characters of a name, or of a text in the metadata
LONGEST_TEXT = 1000
#: the key of an exported network's description, which holds the host's ONNX models, and its most characters
DESCRIPTION, LONGEST_DESCRIPTION = PREFIX + "network", 1 << 28
#: deflate shrinks nothing further than this
MOST_RATIO = 1100
#: the first bytes of an HDF5 file
SIGNATURE = b"\x89HDF\r\n\x1a\n"

#: what h5py raises on damaged files
_UNREADABLE = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    RuntimeError,
    IndexError,
    OverflowError,
    MemoryError,
    AttributeError,
)


def is_nir(path: str | Path) -> bool:
    """Return whether a file is HDF5 by its first bytes, or NIR by its name where it cannot be read."""
    return paths.beginning(path, len(SIGNATURE)) == SIGNATURE or str(path).endswith(".nir")


def read_nir(path: str | Path) -> Network:
    """Read a file.

    Raises
    ------
    ModelError
        The file is missing, damaged, too large, or no NIR; or h5py is not installed.
    """
    h5py = import_h5py(str(path))
    found = paths.look(path)
    if found.size > MOST_FILE_BYTES:
        raise _corrupt(path, f"it has more than {MOST_FILE_BYTES:,} bytes")
    try:
        content = paths.read(path, MOST_FILE_BYTES, "file-unreadable")
    except InputError as error:
        raise ModelError(str(path), error.message, code=error.code) from None
    if not content.startswith(SIGNATURE):
        raise _corrupt(path, "it does not begin as an HDF5 file does")
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            network = _Reader(h5py, str(path)).network(file["node"], 0)
    except ModelError:
        raise
    except _UNREADABLE as error:
        raise _corrupt(path, str(error).split("\n")[0][:120] or type(error).__name__) from None
    return Network(network.nodes, network.edges, network.metadata, hashlib.sha256(content).hexdigest(), str(path))


def import_h5py(subject: str) -> ModuleType:
    """Import h5py.

    Raises
    ------
    ModelError
        It is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise ModelError(
            subject, "NIR files need h5py, which is not installed: pip install 'qsnnc[nir]'", code="library-missing"
        ) from None
    return h5py  # type: ignore[no-any-return]


def _corrupt(path: str | Path, reason: str) -> ModelError:
    return ModelError(str(path), f"is not a readable NIR file ({reason}); export it again", code="nir-corrupt")


@dataclass(slots=True, eq=False)
class _Reader:
    """Counts what has been read so far."""

    h5py: ModuleType
    path: str
    bytes: int = 0
    nodes: int = 0
    edges: int = 0

    def network(self, group: Any, depth: int) -> Network:
        """Read a group of type NIRGraph."""
        if depth > DEEPEST:
            raise self._refuse(f"it nests more than {DEEPEST} graphs")
        kind = self._text(group, "type") if "type" in group else "nothing"
        if kind != "NIRGraph":
            raise self._refuse(f"its root is {kind!r}; a NIRGraph is required")
        nodes = {}
        for name in self._names(self._member(group, "nodes", self.h5py.Group)):
            self.nodes += 1
            if self.nodes > MOST_NODES:
                raise self._refuse(f"it has more than {MOST_NODES:,} nodes")
            nodes[name] = self._node(name, self._member(group["nodes"], name, self.h5py.Group), depth)
        return Network(nodes, self._edges(group), self._metadata(group))

    def _node(self, name: str, group: Any, depth: int) -> Node:
        if "type" not in group:
            raise self._refuse(f"node '{name}' has no type")
        kind = self._text(group, "type")
        if kind == "NIRGraph":
            return Node(name, kind, {}, self._metadata(group), self.network(group, depth + 1))
        values = {
            key: self._value(self._member(group, key, self.h5py.Dataset), f"{name}.{key}")
            for key in self._names(group)
            if key not in ("type", "metadata")
        }
        return Node(name, kind, values, self._metadata(group))

    def _edges(self, group: Any) -> tuple[tuple[str, str], ...]:
        found = self._member(group, "edges", self.h5py.Dataset)
        if found.size == 0:
            return ()
        if found.ndim != 2 or found.shape[1] != 2 or self.h5py.check_string_dtype(found.dtype) is None:
            raise self._refuse(f"its edges have shape {found.shape} and dtype {found.dtype}; text (N, 2) is required")
        self.edges += len(found)
        if self.edges > MOST_EDGES:
            raise self._refuse(f"it has more than {MOST_EDGES:,} edges")
        self._count(found, "edges")
        return tuple((self._decoded(a), self._decoded(b)) for a, b in found[()].tolist())

    def _metadata(self, group: Any) -> dict[str, str]:
        if "metadata" not in group:
            return {}
        inside = self._member(group, "metadata", self.h5py.Group)
        found = {}
        for key in self._names(inside):
            if inside.get(key, getclass=True) is not self.h5py.Dataset or inside[key].size != 1:
                continue  # the keys of this project are scalars; others may hold what they like
            value = self._value(inside[key], f"metadata.{key}", LONGEST_DESCRIPTION if key == DESCRIPTION else LONGEST_TEXT)
            found[key] = value if isinstance(value, str) else str(np.asarray(value).reshape(-1)[0].item())
        return found

    def _names(self, group: Any) -> list[str]:
        if len(group) > MOST_NODES:
            raise self._refuse(f"a group has more than {MOST_NODES:,} members")
        return [self._decoded(name) for name in group]

    def _member(self, group: Any, name: str, kind: type) -> Any:
        """Return a member that lies in this file."""
        if name not in group:
            raise self._refuse(f"it has no '{name}'")
        if not isinstance(group.get(name, getlink=True), self.h5py.HardLink):
            raise self._refuse(f"'{name}' is a link to elsewhere")
        if group.get(name, getclass=True) is not kind:
            raise self._refuse(f"'{name}' is no {kind.__name__.lower()}")
        return group[name]

    def _text(self, group: Any, name: str) -> str:
        found = self._value(self._member(group, name, self.h5py.Dataset), name)
        if not isinstance(found, str):
            raise self._refuse(f"'{name}' is no text")
        return found

    def _value(self, data: Any, what: str, longest: int = LONGEST_TEXT) -> Any:
        """Read a dataset: numbers as an array, one text as str."""
        self._count(data, what)
        if self.h5py.check_string_dtype(data.dtype) is not None:
            if data.size != 1:
                raise self._refuse(f"'{what}' holds {data.size} texts; one is allowed")
            found = data[()]
            return self._decoded(found if data.shape == () else found.reshape(-1)[0], longest)
        if data.dtype.kind not in "biuf":
            raise self._refuse(f"'{what}' has dtype {data.dtype}; numbers are required")
        return np.asarray(data[()])

    def _count(self, data: Any, what: str) -> None:
        """Refuse a dataset whose declared shape has more bytes than are allowed, or than the file can hold."""
        if data.shape is None:
            raise self._refuse(f"'{what}' is empty")
        if data.is_virtual or data.external:
            raise self._refuse(f"'{what}' lies in another file")
        size = math.prod(data.shape) * data.dtype.itemsize
        self.bytes += size
        if self.bytes > MOST_BYTES:
            raise self._refuse(
                f"'{what}' declares shape {data.shape}, which with the rest is more than {MOST_BYTES:,} bytes"
            )
        if size > MOST_RATIO * data.id.get_storage_size():
            raise self._refuse(
                f"'{what}' declares shape {data.shape}, {size:,} bytes, and holds {data.id.get_storage_size():,} of them"
            )

    def _decoded(self, text: Any, longest: int = LONGEST_TEXT) -> str:
        found = text.decode("utf8", "backslashreplace") if isinstance(text, bytes) else str(text)
        if len(found) > longest:
            raise self._refuse(f"a text has more than {longest:,} characters")
        return found

    def _refuse(self, reason: str) -> ModelError:
        return _corrupt(self.path, reason)
