"""What a worker does with a task. Replies are plain values: an exception of ours would not survive the way back."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

from chipsim import paths
from chipsim.errors import ReportedError
from chipsim.tasks.task import Given, resolve
from chipsim.tasks.versions import versions


@dataclass(frozen=True, slots=True)
class Wanted:
    """An input of a task: a file to read in place, or content, which comes as an argument of its own."""

    name: str
    path: str | None
    sha256: str
    identity: str  # of the file, where the client sees it: `chipsim.paths.identity`


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a task on a worker."""

    kind: str  # done, absent, refused, reported, crashed
    value: bytes = b""
    details: Any = None
    notes: tuple[str, ...] = ()  # lines for the user


def compute(
    function: str, arguments: dict[str, Any], wanted: list[Wanted], here: dict[str, str], *contents: bytes | None
) -> Reply:
    """Compute a task; ``here`` are the versions of whoever made it."""
    if versions() != here:
        return Reply("refused", details=(_address(), versions()))
    notes: dict[str, None] = {}
    try:
        inputs = [_given(entry, content) for entry, content in zip(wanted, contents, strict=True)]
        missing = next((entry for entry, found in zip(wanted, inputs, strict=True) if found is None), None)
        if missing is not None:
            return Reply("absent", details=missing.path)
        value = resolve(function)(arguments, [found for found in inputs if found], lambda line: notes.setdefault(line))
    except ReportedError as error:
        details = (type(error).__module__, type(error).__name__, error.subject, error.message, error.code, error.fields)
        return Reply("reported", details=details)
    except Exception as error:  # noqa: BLE001  # reported as an internal error there
        return Reply("crashed", details=(f"{type(error).__name__}: {error}", traceback.format_exc()))
    return Reply("done", value, notes=tuple(notes))


def hold(content: bytes) -> bytes:
    """Keep an input in the memory of a worker, from where others get it."""
    return content


def _address() -> str:
    from distributed import get_worker

    return str(get_worker().address)


def _given(wanted: Wanted, content: bytes | None) -> Given | None:
    """Return the input; None where it was not sent and is not there."""
    if content is not None:
        return Given(wanted.name, bytes(content))
    assert wanted.path is not None
    try:
        seen = wanted.identity and paths.identity(wanted.path) == wanted.identity  # the very file that the client hashed
        same = seen or paths.sha256(wanted.path) == wanted.sha256
    except OSError:
        same = False
    return Given(wanted.name, None, wanted.path, wanted.sha256) if same else None
