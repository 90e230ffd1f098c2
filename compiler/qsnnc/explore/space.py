"""The file that describes a space of chips: keys with their values, rules between them, how many are sampled."""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from chipsim import ranges
from chipsim.chip import ChipSpec, load_chip
from chipsim.chip.load import SECTIONS
from chipsim.document import Document, read
from chipsim.errors import InputError, UsageError
from chipsim.wording import said
from qsnnc.explore import rules
from qsnnc.explore.sample import Method, draw

#: keys of a chip that do not describe it
UNSPACED = ("name", "description", "hypothetical", "provenance", "kind")
#: figures beside cores, bound, fits and violation; the timed ones need images
TIMED = ("cycles", "interval", "energy_pj", "busiest_link")
FIGURES = ("cores", "bound", *TIMED, "area_bits", "seconds")
Value = Any


def _sample(value: Any) -> int | str:
    if value != "all" and (type(value) is not int or not 1 <= value <= ranges.RUNS):
        raise ValueError(f"allowed: all, or a number of chips from 1 to {ranges.RUNS:,}")
    return value  # type: ignore[no-any-return]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SpaceFile(_Strict):
    """The content of the file."""

    base: str = "xbar1152"
    keys: Annotated[dict[str, Any], Field(min_length=1)]
    rules: Annotated[list[str], Field(max_length=100)] = []
    sample: Annotated[int | str, PlainValidator(_sample)] = "all"
    method: Method = "sobol"
    seed: Annotated[int, Field(ge=0, le=ranges.SEED)] = 0
    figures: Annotated[list[str], Field(max_length=20)] = []
    timing: Literal["ideal", "cycle"] = "cycle"
    images: Annotated[int, Field(ge=1, le=ranges.MANY)] = 5


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A chip of the space."""

    name: str
    values: dict[str, Value]  # of the varied keys
    spec: ChipSpec


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """The chips to compile for, in order."""

    file: SpaceFile
    base: dict[str, Any]  # content of the chip that the others are made of
    keys: tuple[str, ...]
    chips: tuple[Candidate, ...]
    figures: tuple[str, ...]


def read_space(path: str) -> Space:
    """Read a file of a space, and make all its chips.

    Raises
    ------
    InputError
        File, line, what was found and what is allowed.
    """
    document = read(path, SpaceFile, "a space of chips", "space-invalid")
    file = document.content
    try:
        base = load_chip(file.base).model_dump(mode="json") | {"provenance": {}}
    except UsageError as error:  # of a file that is there, it is a matter of that file
        raise _wrong(document, ("base",), f"base {file.base!r}: {error.message}") from None
    allowed = _flat(base)
    values = {key: _values(document, key, base, allowed) for key in file.keys}
    for number, name in enumerate(file.figures):
        if name not in FIGURES:
            raise _wrong(document, ("figures", number), f"unknown figure {name!r}; allowed: {', '.join(FIGURES)}")
    parsed = [_rule(document, number, text, allowed) for number, text in enumerate(file.rules)]
    chips: list[Candidate] = []
    points = _points(document, values)
    for point in points:
        flat = {**allowed, **point}
        if not all(_holds(document, number, rule, flat) for number, rule in enumerate(parsed)):
            continue
        name = f"{base['name']}-{len(chips) + 1:0{len(str(ranges.RUNS))}}"
        chips.append(Candidate(name, point, _chip(document, base, point, name)))
        if len(chips) == file.sample:
            break
    if not chips:
        raise _wrong(document, ("rules",), "the rules leave no chip of the space; relax one")
    return Space(file, base, tuple(values), tuple(chips), tuple(dict.fromkeys(file.figures)))


def merged(base: dict[str, Any], values: dict[str, Value]) -> dict[str, Any]:
    """Return a chip's content with other values at some keys, which may be of a section."""
    found = {key: dict(value) if isinstance(value, dict) else value for key, value in base.items()}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (found[section] if section else found)[name] = value
    return found


def _flat(chip: dict[str, Any]) -> dict[str, Any]:
    """Return the keys that a space may vary, those of sections with the section's name."""
    found = {}
    for key, value in chip.items():
        if key in SECTIONS and isinstance(value, dict):
            found.update({f"{key}.{part}": each for part, each in value.items()})
        elif key not in UNSPACED and key not in SECTIONS:
            found[key] = value
    return found


def _values(document: Document[SpaceFile], key: str, base: dict[str, Any], allowed: dict[str, Any]) -> list[Value]:
    """Return the values of a key, each of which the chip's schema accepts alone."""
    if key not in allowed:
        raise _wrong(document, ("keys", key), f"unknown key {key!r}; allowed: {', '.join(allowed)}")
    given = document.content.keys[key]
    if isinstance(given, dict):
        return _checked(document, key, base, _range(document, key, given))
    if not isinstance(given, list) or not given:
        found = "is an empty list" if given == [] else f"is {given!r:.60}"
        text = f"keys.{key} {found}; allowed: a list of one or more values, or {{from: A, to: B, step: S}}"
        raise _wrong(document, ("keys", key), text)
    return _checked(document, key, base, given)


def _range(document: Document[SpaceFile], key: str, given: dict[str, Any]) -> list[Value]:
    """Return the values of ``{from: A, to: B, step: S}``, or with ``times: F`` those of A, A F, A F F ..."""
    where, text = ("keys", key), "allowed: {from: A, to: B, step: S} or {from: A, to: B, times: F}, A <= B, S > 0, F > 1"
    numbers = list(given.values())
    by = next((name for name in ("step", "times") if name in given), "")
    good = set(given) == {"from", "to", by} and all(type(number) in (int, float) for number in numbers)
    if not good or given["from"] > given["to"] or given[by] <= (by == "times") or (by == "times" and given["from"] <= 0):
        raise _wrong(document, where, f"keys.{key} is not a range; {text}")
    found = [given["from"]]
    while len(found) <= ranges.RUNS:
        following = found[-1] * given["times"] if by == "times" else given["from"] + len(found) * given["step"]
        if following > given["to"]:
            return found
        found.append(following)
    raise _wrong(document, where, f"keys.{key} has more than {ranges.RUNS:,} values; use a larger step")


def _checked(document: Document[SpaceFile], key: str, base: dict[str, Any], values: list[Value]) -> list[Value]:
    """Refuse a value that the chip's schema refuses at this key, whatever the other keys are."""
    path = tuple(key.split("."))
    for number, value in enumerate(values):
        if values.index(value) < number:
            raise _wrong(document, ("keys", key, number), f"keys.{key} has {value!r} twice; list each value once")
        try:
            ChipSpec.model_validate(merged(base, {key: value}))
        except ValidationError as error:
            for each in error.errors():
                if each["loc"][: len(path)] == path:
                    location = tuple(each["loc"])
                    raise _wrong(document, ("keys", key, number), said(each, location)) from None
    return values


def _rule(document: Document[SpaceFile], number: int, text: str, allowed: dict[str, Any]) -> ast.expr:
    try:
        return rules.parse(text, allowed)
    except rules.RuleError as error:
        raise _wrong(document, ("rules", number), f"the rule {text!r:.80} {error}") from None


def _holds(document: Document[SpaceFile], number: int, rule: ast.expr, flat: dict[str, Any]) -> bool:
    try:
        return rules.holds(rule, flat)
    except rules.RuleError as error:
        text = document.content.rules[number]
        raise _wrong(document, ("rules", number), f"the rule {text!r:.80} {error}") from None


def _chip(document: Document[SpaceFile], base: dict[str, Any], point: dict[str, Value], name: str) -> ChipSpec:
    """Make a chip; values that are good alone may contradict each other."""
    content = merged(base, point) | {"name": name, "provenance": {}}
    try:
        return ChipSpec.model_validate(content)
    except ValidationError as error:
        shown = ", ".join(f"{key} {value}" for key, value in point.items())
        text = f"{said(error.errors()[0], tuple(error.errors()[0]['loc']))} (with {shown}); exclude it by a rule"
        raise _wrong(document, ("keys",), text) from None


def _points(document: Document[SpaceFile], values: dict[str, list[Value]]) -> Iterator[dict[str, Value]]:
    """Yield points of the space: all in the order of the file, or as many of a sample as are asked for."""
    file, total = document.content, math.prod(len(each) for each in values.values())
    if isinstance(file.sample, str) or total <= file.sample:
        if total > ranges.RUNS:
            text = f"the keys make {total:,} chips; allowed: {ranges.RUNS:,}. Use sample: N"
            raise _wrong(document, ("keys",), text)
        every: Iterator[tuple[Value, ...]] = itertools.product(*values.values())
    else:
        every = draw(list(values.values()), file.sample, file.method, file.seed)
    return (dict(zip(values, point, strict=True)) for point in every)


def _wrong(document: Document[SpaceFile], path: tuple[str | int, ...], text: str) -> InputError:
    return InputError(document.at(*path), text, code="space-invalid")
