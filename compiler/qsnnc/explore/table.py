"""What an exploration writes: tables, and the YAML of chips."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import yaml

from qsnnc.explore.explore import Exploration, Row
from qsnnc.explore.space import Candidate, Space

#: columns behind those of the keys
COLUMNS = (
    "fits", "cores", "bound", "cycles", "interval", "energy_pj", "area_bits", "busiest_link", "seconds", "violation",
)  # fmt: skip


def records(space: Space, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return each row as a dictionary: model, chip, the varied keys, and the figures.

    Seconds differ from run to run: they are None unless the space asks for them.
    """
    timed = "seconds" in space.figures
    found = []
    for row in rows:
        figures = {name: row.figures.get(name) for name in COLUMNS}
        figures["seconds"] = figures["seconds"] if timed else None
        if not row.figures:
            figures["violation"] = "not measured: the task ended every worker"
        found.append({"model": row.model, "chip": row.chip.name, **row.chip.values, **figures})
    return found


def to_csv(found: Sequence[dict[str, Any]], columns: Sequence[str]) -> bytes:
    """Return a table as CSV; a list is written as JSON, what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[name]) for name in columns] for row in found)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, bool | list | tuple | dict) else value


def to_json(exploration: Exploration, figures: Sequence[str], chosen: Sequence[Row], made: dict[str, Any]) -> bytes:
    """Return everything as JSON; ``made`` is what made it, as `origin` returns it."""
    space = exploration.space
    value = {
        "schema": "qsnnc-explore/1",
        "base": space.file.base,
        "keys": list(space.keys),
        "chips": len(space.chips),
        "timing": space.file.timing,
        "rows": records(space, exploration.rows),
        "pareto": {"figures": list(figures), "rows": [{"model": row.model, "chip": row.chip.name} for row in chosen]},
        "failed": list(exploration.failed),
        "provenance": made,
    }
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def to_parquet(found: Sequence[dict[str, Any]], columns: Sequence[str]) -> bytes | None:
    """Return a table as Parquet; None where pyarrow is not installed. Lists are text, as in the CSV."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return None
    arrays = {}
    for name in columns:
        values = [row[name] for row in found]
        plain = all(value is None or isinstance(value, bool | int | float | str) for value in values)
        arrays[name] = values if plain else [None if value is None else json.dumps(value) for value in values]
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(arrays), file)
    return file.getvalue()


def chip_yaml(space: Space, chip: Candidate) -> bytes:
    """Return a chip as a file for ``--chip``: the base, and the keys that the space varies."""
    own: dict[str, Any] = {"base": space.file.base, "name": chip.name}
    for key, value in chip.values.items():
        section, _, name = key.rpartition(".")
        (own.setdefault(section, {}) if section else own)[name] = value
    return yaml.safe_dump(own, sort_keys=False, default_flow_style=None).encode()
