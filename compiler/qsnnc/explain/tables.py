"""Compilations and mappings as JSON and as tables."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from qsnnc.ir.cores import CoreLayer
from qsnnc.pipeline import Compilation

if TYPE_CHECKING:
    from rich.table import Table

LAYER_KEYS = tuple("name kind levels weight_bits fan_in fold neurons removed synapses cores bound limiting".split())


def compilation_json(done: Compilation) -> dict[str, Any]:
    """Return the JSON of compile and check."""
    layers = []
    for entry in done.layers:
        ir = entry.layer
        known = {"name": ir.name, "kind": ir.kind, "levels": ir.levels, "removed": entry.removed.neurons}
        row = {key: known[key] if key in known else getattr(entry, key) for key in LAYER_KEYS}
        layers.append({**row, "removed_as": asdict(entry.removed), "zero_rows": entry.zero_rows})
    return {
        "schema": "qsnnc-compile/1",
        "model_sha256": done.model.sha256,
        "chip": done.chip.name,
        "fits": done.mapping is not None,
        "cores": sum(entry.cores for entry in done.layers),
        "cores_bound": done.cores_bound,
        "cores_available": done.chip.cores,
        "layers": layers,
        "exactness": "certified" if done.graph.certified else "tested",
        "encoder": {
            "at": "chip" if done.code else "host",
            "neurons": done.graph.encoder.neurons,
            "code": str(done.code or ""),
        },
        "violations": [violation.to_json() for violation in done.violations],
        "seconds": done.seconds,
    }


def layer_table(layers: list[dict[str, Any]], exact: dict[str, str] | None = None) -> Table:
    """One row a layer: what it needs, the cores it takes, the fewest it could take, and what limits it."""
    from rich.table import Table

    table = Table("layer", "kind", box=None, pad_edge=False)
    for name in ("levels", "bits", "fan-in", "fold", "neurons", "removed", "synapses", "cores", "bound"):
        table.add_column(name, justify="right")
    table.add_column("limited by")
    if exact is not None:
        table.add_column("exactness")
    for layer in layers:
        row = [layer["name"], layer["kind"], str(layer["levels"] or "read out"), str(layer["weight_bits"])]
        row += [f"{layer[key]:,}" for key in ("fan_in", "fold", "neurons", "removed", "synapses", "cores", "bound")]
        row.append(layer["limiting"])
        table.add_row(*row, *([exact.get(layer["name"], "")] if exact is not None else []))
    return table


def compilation_tables(done: Compilation) -> list[Any]:
    """Layers, totals, and every violation."""
    j = compilation_json(done)
    exact = {
        layer.name: "certified" if layer.certified else f"tested ({len(layer.doubts)} doubts)" for layer in done.graph.layers
    }
    lines: list[Any] = [layer_table(j["layers"], exact), ""]
    share = f"{j['cores']:,} cores of {j['cores_available']:,} on chip '{j['chip']}'"
    lines.append(f"{share}; at least {j['cores_bound']:,} are needed by the bounds above")
    lines += [_removed(entry) for entry in done.layers if entry.removed.neurons or entry.zero_rows]
    if done.mapping is not None and done.placement is not None:
        entries = len(done.mapping.target_axon)
        mean, plain = done.placement.hops / entries, done.placement.row_major_hops / entries
        lines.append(f"placement: {mean:.1f} hops from a spike's source to an axon on average ({plain:.1f} row by row)")
    if done.code:
        lines.append(f"the image enters the chip: {done.code}")
    why = "" if done.graph.encoder_exact else f" (the sums of the encoder {done.graph.encoder.name} depend on their order)"
    lines.append(f"exactness: {j['exactness']}{why}")
    if done.chip.hypothetical:
        lines.append(f"chip '{j['chip']}' is hypothetical: its core counts compare with no other chip's")
    lines += [str(violation) for violation in done.violations]
    return lines


def _removed(entry: CoreLayer) -> str:
    """What is not on the chip, and why."""
    gone = entry.removed
    reasons = ((gone.dead, "never fire"), (gone.constant, "always fire"), (gone.unread, "are read by nothing"))
    parts = [f"{count:,} neurons that {why}" for count, why in reasons if count]
    if entry.zero_rows:
        parts.append(f"{entry.zero_rows:,} axons that their core has no weight for")
    return f"{entry.layer.name}: removed {', '.join(parts)}"


def core_table(cores: list[dict[str, Any]], most: int = 20) -> Table:
    """One row a core."""
    from rich.table import Table

    names = (
        "id",
        "x",
        "y",
        "layer",
        "axons",
        "neurons",
        "columns",
        "fold",
        "weight_bits",
        "synapses",
        "targets",
        "crossbar",
    )
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="left" if name in ("layer", "crossbar") else "right")
    for core in cores[:most]:
        table.add_row(*(str(core[name]) for name in names))
    return table
