"""Show chips: their limits, and the source of each number."""

from __future__ import annotations

from typing import Any

from chipsim.chip import AnyChip, ChipSpec, PaicoreSpec, load_any_chip, preset_names

#: columns of the list of chips, for each kind
COLUMNS = ("chip", "grid", "axons", "columns", "weight bits", "fold", "targets", "delay", "description")
PAICORE_COLUMNS = ("chip", "cores", "memory rows", "input bits", "input map", "weight bits", "description")


def chips() -> dict[str, AnyChip]:
    """Return the presets by name."""
    return {name: load_any_chip(name) for name in preset_names()}


def chip_tables(chips: list[AnyChip], *, detailed: bool) -> list[Any]:
    """Return one row per chip, a table for each kind, or all limits of one chip with the origin of each number."""
    from rich.table import Table

    if not detailed:
        crossbars = Table(*COLUMNS, box=None, pad_edge=False)
        others = Table(*PAICORE_COLUMNS, box=None, pad_edge=False)
        for chip in chips:
            if isinstance(chip, ChipSpec):
                crossbars.add_row(*_crossbar_row(chip))
            else:
                others.add_row(*_paicore_row(chip))
        return [crossbars, *(["", others] if others.row_count else [])]
    (chip,) = chips
    table = Table("limit", "value", "origin", "source", box=None, pad_edge=False)
    values = chip.model_dump(mode="json")
    for section in ("energy", "timing", "neuron"):
        values.update({f"{section}.{name}": number for name, number in (values.pop(section, None) or {}).items()})
    for key, value in values.items():
        if key in ("name", "description", "hypothetical", "provenance"):
            continue
        origin = chip.provenance.get(key)
        said = str(value).lower() if isinstance(value, bool) else str(value)  # as YAML spells it
        table.add_row(key, said, origin.origin if origin else "", origin.note if origin else "")
    kind = " (hypothetical)" if chip.hypothetical else ""
    return [f"{chip.name}{kind}: {chip.description}", "", table]


def _crossbar_row(chip: ChipSpec) -> list[str]:
    limits = [f"{chip.grid[0]} x {chip.grid[1]}", str(chip.axons), str(chip.columns), "/".join(map(str, chip.weight_bits))]
    return [chip.name, *limits, f"1-{chip.max_fold}", str(chip.targets), f"1-{chip.max_delay}", chip.description]


def _paicore_row(chip: PaicoreSpec) -> list[str]:
    inputs, weights = ("/".join(map(str, each)) for each in (chip.input_bits, chip.weight_bits))
    cores, rows = str(chip.cores), f"{chip.memory_rows:,}"
    return [chip.name, cores, rows, inputs, f"{chip.max_inputs:,}", weights, chip.description]
