"""Chips from YAML: the presets, and a user's own file."""

from __future__ import annotations

import difflib
import warnings
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from chipsim import yaml
from chipsim.chip import inherited
from chipsim.chip.spec import ChipSpec, Energy, Provenance, Timing
from chipsim.errors import InputError, UsageError
from chipsim.wording import Key, Lines, refusal

#: keys of a chip that hold keys of their own, each of which can be overridden alone
SECTIONS: dict[str, type[BaseModel]] = {"energy": Energy, "timing": Timing}


def preset_names() -> tuple[str, ...]:
    """Names of the chips that come with the package."""
    folder = resources.files("chipsim.chip") / "presets"
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def load_chip(name: str | Path) -> ChipSpec:
    """Load a preset by name, or a chip YAML, which may say ``base: PRESET`` and override single keys.

    Warns
    -----
    ChipWarning
        A value is inherited although the file changes a width that it was chosen for (`chipsim.chip.inherited`).

    Raises
    ------
    UsageError
        No preset has that name.
    InputError
        The file cannot be read, or breaks a rule: file, line, key, what was found, what is allowed.
    """
    text = str(name)
    if not text.endswith((".yaml", ".yml")) and "/" not in text:
        return _preset(text)
    path = Path(text)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(text, f"cannot be read: {error.strerror}", code="chip-unreadable") from None
    return _build(content, text)


def _preset(name: str) -> ChipSpec:
    if name not in preset_names():
        near = difflib.get_close_matches(name, preset_names(), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(
            "--chip",
            f"unknown chip {name!r}; expected {', '.join(preset_names())} or a path to a YAML file{hint}",
            code="chip-unknown",
            found=name,
            allowed=list(preset_names()),
        )
    return _build((resources.files("chipsim.chip") / "presets" / f"{name}.yaml").read_bytes(), f"preset {name}", preset=True)


def _build(content: bytes, where: str, *, preset: bool = False) -> ChipSpec:
    try:
        value, lines = yaml.load(content)
    except yaml.YamlError as error:
        raise InputError(f"{where}:{error.line}", f"is not a chip: {error}", code="chip-yaml") from None
    if not isinstance(value, dict) or not value:
        raise InputError(f"{where}:1", "is not a chip: expected keys and values, such as base: xbar1152", code="chip-yaml")
    said: list[str] = []
    if "base" in value:
        base = _base(value["base"], where, lines)
        own, value = value, _override(value, base, where)
        said = [] if preset else inherited.mark(own, base, value, where, lines)
    try:
        chip = ChipSpec.model_validate(value)
    except ValidationError as error:
        raise refusal(error, where, lines, "chip-invalid", _keys, "add it, or base: xbar1152") from None
    for line in said:
        warnings.warn(line, inherited.ChipWarning, stacklevel=3)
    return chip


def _base(name: object, where: str, lines: Lines) -> dict[str, Any]:
    if not isinstance(name, str) or name not in preset_names():
        raise InputError(
            f"{where}:{lines[('base',)]}",
            f"base: unknown preset {name!r}; expected {', '.join(preset_names())}",
            code="chip-base",
            found=name,
            allowed=list(preset_names()),
        )
    return _preset(name).model_dump(mode="json")


def _override(own: dict[str, Any], base: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the base with the keys of a file in place of its own, and with where each of them comes from."""
    merged = dict(base)
    sources = dict(base["provenance"])
    for key, new in own.items():
        if key in ("base", "provenance"):
            continue
        if key in SECTIONS and isinstance(new, dict):
            merged[key] = {**(merged[key] or {}), **new}
            sources.update({f"{key}.{part}": {"origin": "assumed", "note": f"set in {where}"} for part in new})
        else:
            merged[key] = new
            if key in sources:
                sources[key] = {"origin": "assumed", "note": f"set in {where}"}
    given = own.get("provenance")
    merged["provenance"] = sources if given is None else {**sources, **given} if isinstance(given, dict) else given
    return merged


def _keys(location: tuple[Key, ...]) -> list[str]:
    """Keys that are allowed where one was not known."""
    model = ChipSpec if len(location) == 1 else SECTIONS.get(str(location[0]), Provenance)
    return list(model.model_fields)
