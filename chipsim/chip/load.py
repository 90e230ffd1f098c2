"""Chips from YAML: the presets, and a user's own file."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from chipsim import yaml
from chipsim.chip.paicore import PaicoreSpec
from chipsim.chip.spec import ChipSpec, Energy, Provenance, Timing
from chipsim.errors import InputError, UsageError
from chipsim.wording import Key, Lines, refusal

#: keys of a chip that hold keys of their own, each of which can be overridden alone
SECTIONS: dict[str, type[BaseModel]] = {"energy": Energy, "timing": Timing}
#: what a chip's ``kind`` may be; a file that does not say it describes a crossbar chip
KINDS: dict[str, type[ChipSpec] | type[PaicoreSpec]] = {"crossbar": ChipSpec, "paicore": PaicoreSpec}
AnyChip = ChipSpec | PaicoreSpec


def preset_names() -> tuple[str, ...]:
    """Names of the chips that come with the package."""
    folder = resources.files("chipsim.chip") / "presets"
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def load_chip(name: str | Path) -> ChipSpec:
    """Load a crossbar chip, as `load_any_chip` does.

    Raises
    ------
    UsageError
        No preset has that name, or the chip is of another kind.
    InputError
        The file cannot be read, or breaks a rule: file, line, key, what was found, what is allowed.
    """
    chip = load_any_chip(name)
    if not isinstance(chip, ChipSpec):
        raise UsageError(
            str(name),
            f"is a chip of kind {chip.kind!r}; needed: a crossbar chip, such as xbar1152",
            code="chip-kind",
            found=chip.kind,
            allowed="crossbar",
        )
    return chip


def load_any_chip(name: str | Path) -> AnyChip:
    """Load a preset by name, or a chip YAML, which may say ``base: PRESET`` and override single keys.

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


def _preset(name: str) -> AnyChip:
    if name not in preset_names():
        near = difflib.get_close_matches(name, preset_names(), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(
            "--chip",
            f"{name!r} is no chip; allowed: {', '.join(preset_names())} or a YAML file{hint}",
            code="chip-unknown",
            found=name,
            allowed=list(preset_names()),
        )
    return _build((resources.files("chipsim.chip") / "presets" / f"{name}.yaml").read_bytes(), f"preset {name}")


def _build(content: bytes, where: str) -> AnyChip:
    try:
        value, lines = yaml.load(content)
    except yaml.YamlError as error:
        raise InputError(f"{where}:{error.line}", f"is no chip: {error}", code="chip-yaml") from None
    if not isinstance(value, dict) or not value:
        raise InputError(f"{where}:1", "is no chip: keys and values are needed, such as base: xbar1152", code="chip-yaml")
    if "base" in value:
        value = _override(value, where, lines)
    kind = value.get("kind", "crossbar")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        text = f"kind is {kind!r}; allowed: {', '.join(KINDS)}"
        raise InputError(f"{where}:{lines[('kind',)]}", text, code="chip-invalid", limit="kind", found=repr(kind)[:80])
    base = next(name for name, of in (("xbar1152", ChipSpec), ("paicore25", PaicoreSpec)) if of is model)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise refusal(
            error, where, lines, "chip-invalid", lambda at: _keys(model, at), f"give it, or say base: {base}"
        ) from None


def _override(value: dict[str, Any], where: str, lines: Lines) -> dict[str, Any]:
    base = value["base"]
    if not isinstance(base, str) or base not in preset_names():
        raise InputError(
            f"{where}:{lines[('base',)]}",
            f"base: {base!r} is no preset; allowed: {', '.join(preset_names())}",
            code="chip-base",
            found=base,
            allowed=list(preset_names()),
        )
    merged = _preset(base).model_dump(mode="json")
    sources = merged["provenance"]
    for key, new in value.items():
        if key in ("base", "provenance"):
            continue
        if key == "kind" and new != merged["kind"]:
            raise InputError(
                f"{where}:{lines[('kind',)]}",
                f"kind is {new!r}; allowed: {merged['kind']}, the kind of {base}",
                code="chip-invalid",
                limit="kind",
                found=repr(new)[:80],
            )
        if key in SECTIONS and isinstance(new, dict):
            merged[key] = {**(merged[key] or {}), **new}
            sources.update({f"{key}.{part}": {"origin": "assumed", "note": f"set in {where}"} for part in new})
        else:
            merged[key] = new
            if key in sources:
                sources[key] = {"origin": "assumed", "note": f"set in {where}"}
    own = value.get("provenance")
    if own is not None:
        merged["provenance"] = {**sources, **own} if isinstance(own, dict) else own
    return merged


def _keys(chip: type[BaseModel], location: tuple[Key, ...]) -> list[str]:
    """Keys that are allowed where one was not known."""
    model = chip if len(location) == 1 else SECTIONS.get(str(location[0]), Provenance)
    return list(model.model_fields)
