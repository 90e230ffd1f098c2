"""Word what both command lines print: validation errors as one line, and names short enough for a table."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chipsim.codes import Code
from chipsim.errors import InputError

if TYPE_CHECKING:
    from pydantic import ValidationError

Key = str | int
Lines = Mapping[tuple[Key, ...], int]

#: what is allowed, by the type of pydantic's error; names in braces are of its context
_ALLOWED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "text of the form {pattern}",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "too_short": "{min_length} or more",
    "too_long": "{max_length} or fewer",
}
#: how a validator of ours begins to say the same
_SAYS = "allowed: "


def refusal(
    error: ValidationError, where: str, lines: Lines, code: Code, keys: Callable[[tuple[Key, ...]], Sequence[str]], hint: str
) -> InputError:
    """The first thing that is wrong with a file, as an error that begins with ``FILE:LINE``.

    Parameters
    ----------
    keys : callable
        The keys that are allowed at a location where one is not known.
    hint : str
        What to do where a key is missing.
    """
    found = error.errors()[0]
    location = _location(found, keys)
    key = path(location)
    if found["type"] == "extra_forbidden":
        allowed = list(keys(location))
        near = difflib.get_close_matches(str(location[-1]), allowed, 1)
        text = f"unknown key {key!r}" + (f"; did you mean {near[0]}?" if near else "")
        text += f"; allowed: {', '.join(allowed)}" if allowed else ""
    elif found["type"] == "missing" and isinstance(location[-1], str):
        text = f"the key {key!r} is missing; {hint}"
    else:
        text = said(found, location)
    return InputError(place(where, lines, location), text, code=code, limit=key or None, found=repr(found["input"])[:80])


def said(error: Any, location: tuple[Key, ...]) -> str:
    """What one of pydantic's errors says: the place, what was found there and what is allowed."""
    kind, message = error["type"], str(error["msg"]).removeprefix("Value error, ")
    if kind == "invalid_key":
        return f"the key {error['input']!r} is not text; {_SAYS}keys that are text"
    if kind == "missing":
        if isinstance(location[-1], str):
            return f"the key {path(location)!r} is missing"
        return f"{path(location[:-1])} has length {len(error['input'])}; {_SAYS}{location[-1] + 1} or more"
    limits = {name: f"{of:g}" if isinstance(of, float) else of for name, of in error.get("ctx", {}).items()}
    found = f"has length {limits['actual_length']}" if kind in ("too_short", "too_long") else _found(error["input"])
    if kind in _ALLOWED:
        allowed = _ALLOWED[kind].format(**limits)
    elif message.startswith(_SAYS):
        allowed = message.removeprefix(_SAYS)
    else:  # a rule of ours that several values break together
        return message if not location or message.startswith(f"{location[0]}: ") else f"{path(location)}: {message}"
    return f"{path(location)} {found}; {_SAYS}{allowed}"


def _found(value: Any) -> str:
    """A value as YAML has it."""
    if value is None:
        return "is empty"
    return f"is {str(value).lower() if isinstance(value, bool) else repr(value):.80}"


def path(location: tuple[Key, ...]) -> str:
    """A location as one reads it: ``dead_neurons[2].core``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def place(where: str, lines: Lines, location: tuple[Key, ...]) -> str:
    """``FILE:LINE`` of a location, or of the nearest above it that has a line; without lines it was no file."""
    if not lines:
        return where
    nearest = (location[:n] for n in range(len(location), -1, -1))
    return f"{where}:{next((lines[above] for above in nearest if above in lines), 1)}"


def _location(error: Any, keys: Callable[[tuple[Key, ...]], Sequence[str]]) -> tuple[Key, ...]:
    """Where an error lies; parts in angle brackets are choices of the schema, not keys.

    A rule for several keys belongs to none of them: its text begins with the one to change.
    """
    location = tuple(part for part in error["loc"] if not str(part).startswith("<"))
    if error["type"] == "invalid_key":  # as the lines have it
        location = tuple(map(str, location))
    if not location:
        first = str(error["msg"]).removeprefix("Value error, ").partition(":")[0]
        return (first,) if first in keys(("",)) else ()
    return location


def agreement(changed: int, images: int, model: float | None, own: float | None) -> str:
    """Say how many predictions change, and whether the accuracy (a fraction; None without labels) is the model's."""
    said = f"{changed:,} of {images:,} predictions change" if changed else "no prediction changes"
    if model is None or own is None:
        return said
    if model == own:
        return f"{said}, accuracy is the same ({100 * model:.2f} %)"
    return f"{said}, accuracy is {100 * own:.2f} % instead of {100 * model:.2f} %"


#: most characters of a layer's name in a table
LONGEST_NAME = 40


def shortened(names: Iterable[str], most: int = LONGEST_NAME) -> dict[str, str]:
    """Return each name, shortened in the middle if it is long, so that no two become alike."""
    names = list(names)
    found: dict[str, str] = {}
    taken = {name for name in names if len(name) <= most}
    for name in names:
        if len(name) > most and name not in found:
            number, short = 1, _middle_out(name, most)
            while short in taken:
                number += 1
                short = f"{_middle_out(name, most - len(str(number)) - 1)}~{number}"
            taken.add(short)
            found[name] = short
        else:
            found.setdefault(name, name)
    return found


def _middle_out(name: str, most: int) -> str:
    """Return a name with its middle left out."""
    kept = most - 3
    return f"{name[: kept - kept // 2]}...{name[len(name) - kept // 2 :]}"
