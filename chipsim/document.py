"""A user's YAML file as a validated value; every error is one line with file and line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from chipsim import yaml
from chipsim.errors import InputError

Model = TypeVar("Model", bound=BaseModel)
Key = str | int


@dataclass(frozen=True, slots=True)
class Document(Generic[Model]):
    """What a file says, and where it says it."""

    content: Model
    where: str
    lines: Mapping[tuple[Key, ...], int] = field(default_factory=dict)

    def at(self, *path: Key) -> str:
        """``FILE:LINE`` of a key or an element; what was not read from a file has no line."""
        return place(self.where, self.lines, path)


def place(where: str, lines: Mapping[tuple[Key, ...], int], path: tuple[Key, ...]) -> str:
    """``FILE:LINE`` of a path, or of the nearest above it that has a line."""
    if not lines:
        return where
    found = next((lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in lines), 1)
    return f"{where}:{found}"


def read(source: str | Path | Mapping[str, Any], model: type[Model], what: str, code: str) -> Document[Model]:
    """Read a YAML file, or take a dictionary that says the same.

    Parameters
    ----------
    what : str
        What the file is to be, such as ``"a list of faults"``.
    code : str
        Beginning of the errors' codes.

    Raises
    ------
    InputError
        The file cannot be read, or breaks a rule: file, line, key, what was found, what is allowed.
    """
    lines: dict[tuple[Key, ...], int] = {}
    if isinstance(source, Mapping):
        where, value = what, dict(source)
    else:
        where = str(source)
        value, lines = _parse(where, what, code)
    if not isinstance(value, dict):
        allowed = ", ".join(model.model_fields)
        raise InputError(place(where, lines, ()), f"is not {what}; allowed: the keys {allowed}", code=f"{code}-yaml")
    try:
        return Document(model.model_validate(value), where, lines)
    except ValidationError as error:
        raise _first(error, model, where, lines, code) from None


def _parse(where: str, what: str, code: str) -> tuple[Any, dict[tuple[Key, ...], int]]:
    try:
        content = Path(where).read_bytes()
    except (OSError, ValueError) as error:  # a name may hold what no file's name holds
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(where, f"cannot be read: {reason}", code=f"{code}-unreadable") from None
    try:
        value, lines = yaml.load(content)
    except yaml.YamlError as error:
        raise InputError(f"{where}:{error.line}", f"is not {what}: {error}", code=f"{code}-yaml") from None
    return value, {(): 1, **lines}


def _first(
    error: ValidationError, model: type[BaseModel], where: str, lines: Mapping[tuple[Key, ...], int], code: str
) -> InputError:
    """The first thing that is wrong; parts of a location in angle brackets are choices of the schema, not keys."""
    found = error.errors()[0]
    location = tuple(part for part in found["loc"] if not str(part).startswith("<"))
    key = ".".join(str(part) for part in location)
    if found["type"] == "extra_forbidden":
        allowed = _fields(model, location)
        near = difflib.get_close_matches(str(location[-1]), allowed, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        text = f"unknown key {key!r}{hint}" + (f"; allowed: {', '.join(allowed)}" if allowed else "")
    elif found["type"] == "missing":
        text = f"the key {key!r} is missing"
    else:
        text = f"{key + ': ' if key else ''}{found['msg'].removeprefix('Value error, ')}"
        text += "" if isinstance(found["input"], dict) else f"; found {found['input']!r:.80}"
    return InputError(place(where, lines, location), text, code=f"{code}-invalid", limit=key or None)


def _fields(model: type[BaseModel], location: tuple[Key, ...]) -> list[str]:
    """Keys that a schema allows where one of them was not known; a section says which ones in ``KEYS``."""
    if len(location) == 1:
        return list(model.model_fields)
    keys: dict[str, list[str]] = getattr(model, "KEYS", {})
    return keys.get(f"{location[0]}[]" if isinstance(location[1], int) else str(location[0]), [])
