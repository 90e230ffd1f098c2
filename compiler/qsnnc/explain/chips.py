"""Show chips: their limits, and the source of each number."""

from __future__ import annotations

from typing import Any

from chipsim.chip import ChipSpec, load_chip, preset_names


def chips() -> dict[str, ChipSpec]:
    """Return the presets by name."""
    return {name: load_chip(name) for name in preset_names()}


def chip_tables(chips: list[ChipSpec], *, detailed: bool) -> list[Any]:
    """Return one row per chip, or all limits of one chip with the origin of each number."""
    from rich.table import Table

    if not detailed:
        table = Table(
            "chip",
            "grid",
            "axons",
            "columns",
            "weight bits",
            "fold",
            "targets",
            "delay",
            "description",
            box=None,
            pad_edge=False,
        )
        for chip in chips:
            grid = f"{chip.grid[0]} x {chip.grid[1]}"
            bits = "/".join(map(str, chip.weight_bits))
            table.add_row(
                chip.name,
                grid,
                str(chip.axons),
                str(chip.columns),
                bits,
                f"1-{chip.max_fold}",
                str(chip.targets),
                f"1-{chip.max_delay}",
                chip.description,
            )
        return [table]
    (chip,) = chips
    table = Table("limit", "value", "origin", "source", box=None, pad_edge=False)
    values = chip.model_dump(mode="json")
    for section in ("energy", "timing"):
        values.update({f"{section}.{name}": number for name, number in (values.pop(section) or {}).items()})
    for key, value in values.items():
        if key in ("name", "description", "hypothetical", "provenance"):
            continue
        origin = chip.provenance.get(key)
        said = str(value).lower() if isinstance(value, bool) else str(value)  # as YAML spells it
        table.add_row(key, said, origin.origin if origin else "", origin.note if origin else "")
    kind = " (hypothetical)" if chip.hypothetical else ""
    return [f"{chip.name}{kind}: {chip.description}", "", table]
