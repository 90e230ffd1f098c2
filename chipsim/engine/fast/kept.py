"""Keep what was found of a mapping beside the code that was compiled: merging takes most of the time of loading.

It is kept under the hash of all that the mapping holds, and of the sources that found it. Whoever could put something else
there could as well put machine code there: `chipsim.code_cache` reads a directory that only its owner can write to.
"""

from __future__ import annotations

import hashlib
import pickle
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache, cached_property
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel

from chipsim import mapping
from chipsim.code_cache import CodeCache
from chipsim.engine import fast
from chipsim.mapping import Mapping

#: seconds that something takes to find at least, if it is kept; None: nothing is kept
WORTH: float | None = 0.02
#: axons of a mapping of which something is kept, at most: each takes up to 10 bytes of memory meanwhile
LARGEST = 1 << 26
#: of zlib, 1 to 9
LEVEL = 1

Found = TypeVar("Found")


class Kept:
    """What is kept of one mapping.

    Parameters
    ----------
    cached : CodeCache, optional
        Where it is; None: nothing is kept, as of each of many draws of a sweep.
    given : tuple
        All that it depends on besides the mapping and the sources.
    """

    def __init__(self, cached: CodeCache | None, m: Mapping, given: tuple[Any, ...]) -> None:
        small = cached is not None and cached.directory is not None and len(m.axon_source) <= LARGEST
        self._cached = cached if small and WORTH is not None else None
        self._mapping, self._given = m, given

    def of(self, what: str, find: Callable[[], Found]) -> Found:
        """What ``find`` returns, of that name; if another process has found it already, that is read."""
        cached = self._cached
        if cached is None:
            return find()
        key = hashlib.sha256(f"{what} {self._key}".encode()).hexdigest()
        content = cached.get(key)
        if content is not None:
            known: Found = _unpacked(content)
            return known
        start = time.perf_counter()
        found = find()
        if time.perf_counter() - start >= (WORTH or 0):
            Thread(target=lambda: cached.put(key, _packed(found)), name=key).start()  # the process waits for it
        return found

    @cached_property
    def _key(self) -> str:
        found = hashlib.sha256(_sources())
        for part in _content((self._mapping, self._given)):
            found.update(part)
        return found.hexdigest()


def _content(value: Any) -> Iterator[bytes | memoryview]:
    """All that a value holds, such that no two values hold the same."""
    if isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape} ".encode()
        yield np.ascontiguousarray(value).data
    elif isinstance(value, bytes):
        yield f"{len(value)} ".encode()
        yield value
    elif isinstance(value, BaseModel):
        yield from _content(value.model_dump(mode="json"))
    elif is_dataclass(value):
        yield from _content({entry.name: getattr(value, entry.name) for entry in fields(value) if entry.init})
    elif isinstance(value, dict):
        yield from _content(tuple(sorted(value.items())))
    elif isinstance(value, tuple | list):
        yield f"{len(value)}: ".encode()
        for each in value:
            yield from _content(each)
    else:
        assert value is None or isinstance(value, str | int | float), "its text is all of it"
        yield f"{value!r} ".encode()


def _packed(found: Any) -> bytes:
    return zlib.compress(pickle.dumps(found, pickle.HIGHEST_PROTOCOL), LEVEL)


def _unpacked(content: bytes) -> Any:
    return pickle.loads(zlib.decompress(content))  # the directory is the user's own, and holds machine code


@cache
def _sources() -> bytes:
    """Of what finds it: all sources of this folder and of the mapping's, and NumPy, whose arrays are kept."""
    sources = [path for folder in (*fast.__path__, *mapping.__path__) for path in sorted(Path(folder).glob("*.py"))]
    return hashlib.sha256(b"".join([np.__version__.encode(), *(path.read_bytes() for path in sources)])).digest()
