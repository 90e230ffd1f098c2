"""Read a user's YAML file as a validated value; each error names the file and the line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from chipsim import paths, yaml
from chipsim.codes import Code
from chipsim.errors import InputError
from chipsim.wording import Key, Lines, place, refusal

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Document(Generic[Model]):
    """The content of a file, with the line of each key."""

    content: Model
    where: str
    lines: Lines = field(default_factory=dict)

    def at(self, *path: Key) -> str:
        """Return ``FILE:LINE`` of a key or an element; without a file there is no line."""
        return place(self.where, self.lines, path)


def read(source: str | Path | Mapping[str, Any], model: type[Model], what: str, rule: Code) -> Document[Model]:
    """Read a YAML file, or a dictionary with the same content.

    Parameters
    ----------
    what : str
        What the file is to be, such as ``"a list of faults"``.
    rule : Code
        The code of a key or a value that is not allowed.

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
        value, lines = _parse(where, what)
    if not isinstance(value, dict):
        allowed = ", ".join(model.model_fields)
        raise InputError(place(where, lines, ()), f"is not {what}; allowed: the keys {allowed}", code="yaml-syntax")
    try:
        return Document(model.model_validate(value), where, lines)
    except ValidationError as error:
        raise refusal(error, where, lines, rule, lambda at: _fields(model, at), "add it") from None


def _parse(where: str, what: str) -> tuple[Any, dict[tuple[Key, ...], int]]:
    content = paths.read(where, yaml.MOST_WRITTEN, "file-unreadable")
    try:
        value, lines = yaml.load(content)
    except yaml.YamlError as error:
        raise InputError(f"{where}:{error.line}", f"is not {what}: {error}", code="yaml-syntax") from None
    return value, {(): 1, **lines}


def _fields(model: type[BaseModel], location: tuple[Key, ...]) -> list[str]:
    """Keys that a schema allows where one of them was not known; a section says which ones in ``KEYS``."""
    if len(location) == 1:
        return list(model.model_fields)
    keys: dict[str, list[str]] = getattr(model, "KEYS", {})
    return keys.get(f"{location[0]}[]" if isinstance(location[1], int) else str(location[0]), [])
