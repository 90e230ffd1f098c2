"""Find the values that a chip file inherits although they were set for another width.

A file with ``base:`` changes some keys and inherits the rest. An inherited energy or delay may have been derived from a
width that the file changes: 80 pJ to read a row is the energy of a row of 512 columns. Such a value is kept, because
nobody but the designer knows the right one, but the program warns, and the value's provenance says what it was set for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chipsim.errors import ReportedWarning, printable
from chipsim.wording import Lines

#: key -> keys whose values were chosen for it
FOLLOWS: dict[str, tuple[str, ...]] = {
    "columns": ("energy.row_pj", "targets", "timing.input", "timing.synapses_per_cycle"),
    "potential_bits": ("energy.update_pj",),
    "targets": ("energy.lookup_pj",),
    "timing.router_cycles": ("timing.buffer_flits",),
    "timing.link_cycles": ("timing.buffer_flits",),
    "timing.credit_cycles": ("timing.buffer_flits",),
}
#: values of timing.input -> the key that the chip then ignores
UNUSED = {"row_parallel": "timing.synapses_per_cycle", "synapse_serial": "timing.input"}


class ChipWarning(ReportedWarning):
    """A chip file inherits a value that was set for another width."""


def mark(own: Mapping[str, Any], base: Mapping[str, Any], merged: dict[str, Any], where: str, lines: Lines) -> list[str]:
    """Say in the provenance of ``merged`` which values were set for another width, and return a warning a width.

    Parameters
    ----------
    own : Mapping
        The chip file ``where``. A key that it sets, or gives a provenance for, is taken as checked by the designer.
    base, merged : Mapping
        The preset that the file is based on, and the chip that results.
    lines : Mapping
        The line of each key of the file.
    """
    said = []
    for key, kept in stale(own, base, merged).items():
        sources = merged["provenance"]
        for each in kept:
            if isinstance(sources, dict) and each in sources:
                note = (
                    f"inherited from {base['name']}, where {key} is {value(base, key)}: {base['provenance'][each]['note']}"
                )
                sources[each] = {"origin": "assumed", "note": note}
        said.append(_warning(key, kept, base, merged, f"{where}:{lines[tuple(key.split('.'))]}"))
    return said


def stale(own: Mapping[str, Any], base: Mapping[str, Any], merged: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return, for each key that the file changes, the inherited keys whose values were chosen for its old value."""
    given = own.get("provenance")
    checked = set(given) if isinstance(given, Mapping) else set()
    unused = UNUSED.get(str(value(merged, "timing.input")))
    found = {}
    for key, followers in FOLLOWS.items():
        if value(own, key) is None or value(own, key) == value(base, key):
            continue
        kept = [
            each
            for each in followers
            if value(own, each) is None and value(merged, each) is not None and each not in checked and each != unused
        ]
        if kept:
            found[key] = kept
    return found


def value(chip: Mapping[str, Any], key: str) -> Any:
    """Look up ``key`` or ``section.key``; None where it is missing."""
    found: Any = chip
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _warning(key: str, kept: list[str], base: Mapping[str, Any], merged: Mapping[str, Any], place: str) -> str:
    values = ", ".join(f"{each} ({_said(value(merged, each))})" for each in kept)
    verb, them = ("is", "it") if len(kept) == 1 else ("are", "each")
    return printable(
        f"{place}: {key} is {_said(value(merged, key))}, but {values} {verb} inherited from {base['name']}, where {key} is "
        f"{_said(value(base, key))}; set {them} in this file, to the same value where it still holds"
    )


def _said(number: object) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)
