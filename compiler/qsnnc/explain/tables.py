"""Compilations and mappings as JSON and as tables."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chipsim.chip import AnyChip
from qsnnc.errors import ModelError
from qsnnc.ir.cores import CoreLayer
from qsnnc.pipeline import Compilation
from qsnnc.place.positions import Placement

if TYPE_CHECKING:
    from rich.table import Table

    from qsnnc.ir.layers import Doubt
    from qsnnc.verification import Verification

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
        "estimated": done.estimated,
        "layers": layers,
        "exactness": "certified" if done.graph.certified else "tested",
        "encoder": {
            "at": "chip" if done.code else "host",
            "neurons": done.graph.encoder.neurons,
            "code": str(done.code or ""),
        },
        "violations": [violation.to_json() for violation in done.violations],
        "placement": None if done.placement is None else placement_json(done.placement),
        "seconds": done.seconds,
    }


def problems_json(error: ModelError, path: str, chip: AnyChip) -> dict[str, Any]:
    """The JSON of check where the model itself cannot be compiled: no layers, and every problem among the violations."""
    try:
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except (OSError, ValueError):
        digest = None
    return {
        "schema": "qsnnc-compile/1",
        "model_sha256": digest,
        "chip": chip.name,
        "fits": False,
        "cores": None,
        "cores_bound": None,
        "cores_available": chip.cores,
        "layers": [],
        "exactness": None,
        "violations": [problem.to_json() for problem in error.problems],
        "seconds": {},
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
    if j["estimated"]:
        lines.append(f"about {share}: estimated, for the network is far too large to be laid out")
    else:
        lines.append(f"{share}; at least {j['cores_bound']:,} are needed by the bounds above")
    lines += [_removed(entry) for entry in done.layers if entry.removed.neurons or entry.zero_rows]
    if done.placement is not None:
        lines += placement_lines(done.placement)
    if done.code:
        lines.append(f"the image enters the chip: {done.code}")
    why = "" if done.graph.encoder_exact else f" (the sums of the encoder {done.graph.encoder.name} depend on their order)"
    lines.append(f"exactness: {j['exactness']}{why}")
    if done.chip.hypothetical:
        lines.append(f"chip '{j['chip']}' is hypothetical: its core counts compare with no other chip's")
    lines += [str(violation) for violation in done.violations]
    return lines


def placement_json(placed: Placement) -> dict[str, Any]:
    """What a placement costs; packets an image."""
    figures = {
        "packets": placed.packets,
        "hops": placed.hops,
        "host_hops": placed.figures.host_hops,
        "chip_hops": placed.figures.chip_hops,
        "hops_bound": placed.hops_bound,
        "row_major_hops": placed.row_major.hops,
        "busiest_link": placed.figures.busiest_link,
        "busiest_link_bound": placed.busiest_link_bound,
        "row_major_busiest_link": placed.row_major.busiest_link,
    }
    return {
        "strategy": placed.strategy,
        "weights": "rates" if placed.calibrated else "fan-out",
        **{name: round(value, 3) for name, value in figures.items()},
    }


def placement_lines(placed: Placement) -> list[str]:
    """What a placement costs beside the bounds and beside cores placed row by row."""
    counted = "at the measured rates" if placed.calibrated else "with every source firing once"
    each, plain = (value / max(1.0, placed.packets) for value in (placed.hops, placed.row_major.hops))
    return [
        f"placement: {placed.hops:,.0f} hops an image {counted}, at least {placed.hops_bound:,.0f}: "
        f"{each:.1f} a packet on average ({plain:.1f} row by row)",
        f"busiest link between cores: {placed.figures.busiest_link:,.0f} packets an image, at least "
        f"{placed.busiest_link_bound:,.0f} ({placed.row_major.busiest_link:,.0f} row by row)",
    ]


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


def verification_lines(found: Verification, name: str) -> list[str]:
    """What was compared, how sure it is, and the thresholds that float rounding can move."""
    lines = [f"equal: {found.samples:,} samples ({name}), {found.values:,} levels and scores; {found.exactness}"]
    if not found.equal:
        why = "all inside the float error bound" if found.explained else "not all inside the float error bound: a defect"
        lines[0] = lines[0].replace("equal:", "different:", 1)
        lines.append(f"{found.differences:,} of {found.values:,} differ, {why}")
    if found.exactness == "certified":
        lines.append("certified: equal on every input, whatever the order in which the floats are summed")
    if found.inexact:
        lines.append(f"float sums depend on their order in: {', '.join(found.inexact)}")
    for layer, doubts in found.doubts.items():
        count = sum(doubt.count for doubt in doubts)
        inside = f"{count:,} of {found.thresholds.get(layer, count):,} thresholds lie inside the float error bound"
        lines.append(f"{layer}: {inside}: {_by_channel(doubts)}")
    return lines


def _by_channel(doubts: tuple[Doubt, ...], most: int = 6) -> str:
    """Doubtful thresholds, channel by channel."""
    channels: dict[int, set[int]] = {}
    for doubt in doubts:
        levels = channels.setdefault(doubt.channel, set())
        if len(channels) <= most:  # the others are only counted
            levels.update(range(doubt.level, doubt.level + doubt.count))
    parts = [f"channel {channel} ({_runs(sorted(levels))})" for channel, levels in list(channels.items())[:most]]
    rest = len(channels) - most
    return ", ".join(parts) + (f" and {rest:,} channels more: --json lists them" if rest > 0 else "")


def _runs(numbers: list[int]) -> str:
    """1, 2, 3, 7 as 1-3, 7."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    text = ", ".join("-".join(map(str, part)) for part in parts[:6])
    return text + (", ..." if len(parts) > 6 else "")
