"""A task: a function by name, its arguments, and inputs that are named by their content."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import Any

from chipsim import paths
from chipsim.tasks.versions import versions

#: bytes of an input that is read as a whole
MOST = 1 << 40


@dataclass(frozen=True, eq=False)
class Input:
    """What a task reads, named by its content.

    Parameters
    ----------
    name : str
        Hash of the content, or of what it was made of; part of the key of every task that reads it.
    content : callable
        Returns the bytes. Called where the task is made, and only if they have to be sent.
    path : str, optional
        File that holds it: read in place by whoever finds a file with this hash there.
    sha256 : str
        Hash of the whole file at ``path``.
    identity : str
        Of the file that was hashed: a process that sees the very same one need not hash it again (`chipsim.paths.identity`).
    shared : bool
        Several tasks read it: a worker that got it once keeps it.
    """

    name: str
    content: Callable[[], bytes]
    path: str | None = None
    sha256: str = ""
    identity: str = ""
    shared: bool = True

    @classmethod
    def of(cls, content: bytes) -> Input:
        """Return bytes as an input."""
        return cls(hashlib.sha256(content).hexdigest(), lambda: content)


@dataclass(frozen=True, eq=False)
class Given:
    """An input as a task's function gets it: bytes that were sent, or a file that was found in place."""

    name: str
    content: bytes | None = None
    path: str | None = None
    sha256: str = ""

    def read(self) -> bytes:
        """Return the whole content."""
        if self.content is not None:
            return self.content
        assert self.path is not None
        return paths.read(self.path, MOST, "file-unreadable")

    @contextmanager
    def file(self, suffix: str = "") -> Iterator[str]:
        """Yield a file with the content, which may be a temporary one that ends in ``suffix``."""
        if self.path is not None:
            yield self.path
            return
        assert self.content is not None
        with tempfile.NamedTemporaryFile(prefix="chipsim-", suffix=suffix) as file:
            file.write(self.content)
            file.flush()
            yield file.name


#: of a task: arguments, inputs, and a function that is told what the user should know; returns the result
Function = Callable[[dict[str, Any], list[Given], Callable[[str], None]], bytes]


@dataclass(frozen=True, eq=False)
class Task:
    """A function, its arguments and its inputs. The result is a function of these and of nothing else.

    Parameters
    ----------
    label : str
        What messages call the task; not part of its key.
    function : str
        ``module:name`` of a `Function`.
    arguments : dict
        JSON values.
    inputs : tuple of Input
    """

    label: str
    function: str
    arguments: dict[str, Any]
    inputs: tuple[Input, ...] = ()
    unkeyed: dict[str, Any] = field(default_factory=dict)  # further arguments, which change no result

    @cached_property
    def key(self) -> str:
        """SHA-256 of all that determines the result: function, arguments, inputs, and the versions of the programs."""
        content = [self.function, self.arguments, [entry.name for entry in self.inputs], versions()]
        return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def resolve(name: str) -> Function:
    """Return a function by ``module:name``."""
    module, _, attribute = name.partition(":")
    found: Function = getattr(import_module(module), attribute)
    return found


def file_input(path: str) -> Input:
    """Return a file as an input that all tasks share.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        identity, digest = paths.identity(path), paths.sha256(path)
    except OSError as error:
        raise paths.unreadable(path, error, "file-unreadable") from None
    return Input(digest, lambda: paths.read(path, MOST, "file-unreadable"), paths.absolute(path), digest, identity)
