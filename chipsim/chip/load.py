"""Chips from YAML: the presets, and a user's own file."""

from __future__ import annotations

import difflib
import warnings
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from chipsim import paths, yaml
from chipsim.chip import inherited
from chipsim.chip.paicore import PaicoreSpec
from chipsim.chip.spec import ChipSpec, Energy, NeuronLimits, Provenance, Timing
from chipsim.errors import InputError, UsageError, printable
from chipsim.wording import Key, Lines, refusal

#: keys of a chip that hold keys of their own, each of which can be overridden alone
SECTIONS: dict[str, type[BaseModel]] = {"energy": Energy, "timing": Timing, "neuron": NeuronLimits}
#: what a chip's ``kind`` may be; a file that does not say it describes a crossbar chip
KINDS: dict[str, type[ChipSpec] | type[PaicoreSpec]] = {"crossbar": ChipSpec, "paicore": PaicoreSpec}
#: a preset of each kind, to start from
EXAMPLES = {"crossbar": "xbar1152", "paicore": "paicore25"}
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
        text = f"is a chip of kind {chip.kind!r}; needed: a crossbar chip, such as xbar1152"
        raise UsageError(str(name), text, code="chip-kind", found=chip.kind, allowed="crossbar")
    return chip


def load_any_chip(name: str | Path) -> AnyChip:
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
    if not is_file_name(text):
        return _preset(text)
    return _build(paths.read(text, yaml.MOST_WRITTEN, "file-unreadable"), printable(text))


def is_file_name(name: str) -> bool:
    """Whether a chip is called by the path of its file, and not by the name of a preset."""
    return name.endswith((".yaml", ".yml")) or "/" in name


def check_name(name: str, subject: str = "chip") -> None:
    """Refuse the name of a preset that does not exist; the error begins with ``subject``.

    Raises
    ------
    UsageError
    """
    if name not in preset_names():
        near = difflib.get_close_matches(name, preset_names(), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(
            subject,
            f"unknown chip {name!r}; expected {', '.join(preset_names())} or a path to a YAML file{hint}",
            code="chip-unknown",
            found=name,
            allowed=list(preset_names()),
        )


def _preset(name: str) -> AnyChip:
    check_name(name)
    return _build((resources.files("chipsim.chip") / "presets" / f"{name}.yaml").read_bytes(), f"preset {name}", preset=True)


def _build(content: bytes, where: str, *, preset: bool = False) -> AnyChip:
    try:
        value, lines = yaml.load(content)
    except yaml.YamlError as error:
        raise InputError(f"{where}:{error.line}", f"is not a chip: {error}", code="yaml-syntax") from None
    if not isinstance(value, dict) or not value:
        raise InputError(f"{where}:1", "is not a chip: expected keys and values, such as base: xbar1152", code="yaml-syntax")
    said: list[str] = []
    if "base" in value:
        base = _base(value["base"], where, lines)
        _check_kind(value.get("kind", base["kind"]), (base["kind"],), where, lines)
        own, value = value, _override(value, base, where)
        said = [] if preset else inherited.mark(own, base, value, where, lines)
    kind = value.get("kind", "crossbar")
    _check_kind(kind, tuple(KINDS), where, lines)
    model, hint = KINDS[kind], f"add it, or base: {EXAMPLES[kind]}"
    try:
        chip = model.model_validate(value)
    except ValidationError as error:
        raise refusal(error, where, lines, "chip-invalid", lambda at: _keys(model, at), hint) from None
    for line in said:
        warnings.warn(line, inherited.ChipWarning, stacklevel=3)
    return chip


def _check_kind(kind: object, allowed: tuple[str, ...], where: str, lines: Lines) -> None:
    """Refuse a kind that there is not, or that the base is not of."""
    if kind not in allowed:
        text = f"kind is {kind!r}; allowed: {', '.join(allowed)}"
        raise InputError(f"{where}:{lines[('kind',)]}", text, code="chip-invalid", limit="kind", found=repr(kind)[:80])


def _base(name: object, where: str, lines: Lines) -> dict[str, Any]:
    if not isinstance(name, str) or name not in preset_names():
        raise InputError(
            f"{where}:{lines[('base',)]}",
            f"base: unknown preset {name!r}; expected {', '.join(preset_names())}",
            code="chip-invalid",
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


def _keys(chip: type[BaseModel], location: tuple[Key, ...]) -> list[str]:
    """Keys that are allowed where one was not known."""
    model = chip if len(location) == 1 else SECTIONS.get(str(location[0]), Provenance)
    return list(model.model_fields)
