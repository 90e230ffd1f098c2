"""Show compilations, mappings and verifications, as JSON and as tables."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chipsim import paths
from chipsim.chip import AnyChip, PaicoreSpec
from chipsim.errors import InputError
from chipsim.wording import agreement, shortened
from qsnnc.compilation import CheckResult, Compilation
from qsnnc.errors import ModelError
from qsnnc.ir.cores import CoreLayer
from qsnnc.place.positions import Placement

if TYPE_CHECKING:
    from rich.table import Table

    from qsnnc.ir.layers import Layer, LayerGraph, WeightsChanged
    from qsnnc.ir.uncertain import UncertainThresholds
    from qsnnc.partition.advice import Alternative
    from qsnnc.verification import Verification

ESTIMATED = "estimated from shapes and level ranges, because the network is very large"
#: spans of uncertain thresholds that the JSON of compile and check lists for each layer
MOST_SPANS = 20
LAYER_KEYS = tuple("name kind levels weight_bits fan_in fold neurons removed synapses cores bound limiting".split())


def compilation_json(found: CheckResult) -> dict[str, Any]:
    """Return the JSON of compile and check."""
    facts = compilation_facts(found)
    for row, entry in zip(facts["layers"], found.layers, strict=True):
        row["uncertain_thresholds"] = entry.layer.uncertain.to_json(MOST_SPANS)
        row["uncertain_total"] = entry.layer.uncertain.total_json()
    return facts


def compilation_facts(found: CheckResult) -> dict[str, Any]:
    """Return the JSON of compile and check without each layer's uncertain thresholds."""
    layers = []
    for entry in found.layers:
        ir = entry.layer
        known = {"name": ir.name, "kind": ir.kind, "levels": ir.levels, "removed": entry.removed.neurons}
        row = {key: known[key] if key in known else getattr(entry, key) for key in LAYER_KEYS}
        if not entry.fold and not isinstance(found.chip, PaicoreSpec):  # a neuron of it fits on no core
            row |= dict.fromkeys(("fold", "cores", "bound"))
        more = {"removed_as": asdict(entry.removed), "zero_rows": entry.zero_rows}
        layers.append({**row, **more, "exactness": "certified" if ir.certified else "tested"})
    return {
        "schema": "qsnnc-compile/1",
        "model_sha256": found.graph.model_sha256,
        "chip": found.chip.name,
        "fits": found.fits,
        "cores": found.cores,
        "cores_bound": found.cores_bound,
        "cores_available": found.chip.cores,
        "estimated": found.estimated,
        "alternatives": [_alternative(each) for each in getattr(found, "alternatives", ())],
        "layers": layers,
        "exactness": "certified" if found.graph.certified else "tested",
        "readout": found.graph.readout,
        "encoder": found.graph.encoder.name,
        "input": {
            "at": "chip" if found.code else "host",
            "neurons": found.graph.encoder.neurons,
            "code": str(found.code or ""),
        },
        "steps": found.graph.steps,
        "input_code": found.graph.input.code,
        "weight_bits_changed": {
            **{change.layer: _change(change) for change in found.graph.weights_changed},
            **{name: asdict(each) for name, each in found.rounded.items()},
        },
        "agreement": None if found.agreement is None else asdict(found.agreement),
        "violations": [violation.to_json() for violation in found.violations],
        "placement": placement_json(found.placement) if isinstance(found, Compilation) and found.placement else None,
        "seconds": found.seconds,
    }


def _alternative(each: Alternative) -> dict[str, Any]:
    """Return a changed network or chip and what it takes; ``cores`` is null where a layer fits on no core."""
    fields = {**asdict(each), "change": each.change, "layers_beyond": each.beyond}
    del fields["beyond"]
    return fields | ({"cores": None} if each.beyond else {})


def _change(change: WeightsChanged) -> dict[str, Any]:
    """Return what became of the weights of a layer."""
    return {key: getattr(change, key) for key in ("bits", "changed", "weights", "error")}


def boundary_lines(graph: LayerGraph) -> list[str]:
    """Say what the host computes, and which weights are not the file's."""
    lines = []
    if graph.batch_rows:
        lines.append(
            f"input: an image is the file's whole batch, {graph.input.shape}, because a constant differs between its "
            f"{graph.batch_rows} rows"
        )
    if graph.readout == "host":
        sources = " and ".join(sorted({link.source for link in graph.layers[-1].connections}))
        last = " and ".join(graph.readout_layers)
        lines.append(f"readout: the host computes {last}, as the file says, from the levels of {sources}")
    if graph.direct_encoding:
        lines.append(f"encoder: the host computes {graph.encoder.name} too and hands over its activation (direct encoding)")
    for change in graph.weights_changed:
        lines.append(
            f"weights of {change.layer}: {change.bits} bits; {change.changed:,} of {change.weights:,} are not the file's, "
            f"relative error {change.error:.2g}"
        )
    return lines


def unwatched_lines(found: CheckResult) -> list[str]:
    """Say of which limited activations (--levels) a run does not tell where the model exceeds the limit."""
    graph = found.graph
    names, why = graph.unwatched, "the limit changes more of the network than a number of levels"
    if isinstance(found.chip, PaicoreSpec):
        names, why = (*graph.watched, *graph.unwatched), f"on chip '{found.chip.name}'"
    if not names:
        return []
    listed = ", ".join(names)
    return [f"levels: chipsim run does not count images beyond the limit of {listed} ({why}); chipsim compare finds them"]


def problems_json(error: ModelError, path: str, chip: AnyChip) -> dict[str, Any]:
    """Return the JSON of check for a model that cannot be compiled: no layers, and every problem as a violation."""
    try:
        content = paths.read(path, (1 << 31) - 1, "file-unreadable") if paths.is_stored(path) else None
        digest = None if content is None else hashlib.sha256(content).hexdigest()
    except InputError:
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
    """Return one row per layer: what it needs, the cores it takes, the fewest it could take, and what limits it."""
    from rich.table import Table

    table = Table("layer", "kind", box=None, pad_edge=False)
    for name in ("levels", "bits", "fan-in", "fold", "neurons", "removed", "synapses", "cores", "bound"):
        table.add_column(name, justify="right")
    table.add_column("limited by")
    if exact is not None:
        table.add_column("exactness")
    short = shortened(layer["name"] for layer in layers)
    for layer in layers:
        row = [short[layer["name"]], layer["kind"], str(layer["levels"] or "readout"), str(layer["weight_bits"])]
        keys = ("fan_in", "fold", "neurons", "removed", "synapses", "cores", "bound")
        row += ["-" if layer[key] is None else f"{layer[key]:,}" for key in keys]
        row.append(layer["limiting"])
        table.add_row(*row, *([exact.get(layer["name"], "")] if exact is not None else []))
    return table


def compilation_tables(found: CheckResult) -> list[Any]:
    """Return the layers, the totals and every violation."""
    j = compilation_facts(found)
    exact = {layer.name: _exactness(layer) for layer in found.graph.layers}
    lines: list[Any] = [layer_table(j["layers"], exact), ""]
    share = f"{j['cores']:,} of {j['cores_available']:,} cores on chip '{j['chip']}'"
    about = "about" if j["estimated"] else "at least"
    if beyond := sum(layer["cores"] is None for layer in j["layers"]):
        others = f"the others need {about} {j['cores_bound']:,} cores" if beyond < len(j["layers"]) else ""
        others += f" ({ESTIMATED})" if others and j["estimated"] else ""
        said = f"{beyond} of {len(j['layers'])} layers do not fit on a core"
        lines.append("; ".join(filter(None, (said, others, f"chip '{j['chip']}' has {j['cores_available']:,} cores"))))
    elif j["estimated"]:
        lines.append(f"about {share} ({ESTIMATED})")
    else:
        lines.append(f"{share}; no tiling takes fewer than {j['cores_bound']:,}")
    short = shortened(layer["name"] for layer in j["layers"])
    lines += [
        f"{short[entry.layer.name]}: {_removed(entry)}" for entry in found.layers if entry.removed.neurons or entry.zero_rows
    ]
    if isinstance(found, Compilation) and found.placement:
        lines += placement_lines(found.placement)
    if found.code:
        lines.append(f"the image enters the chip as {found.code}")
    lines += boundary_lines(found.graph)
    lines += unwatched_lines(found)
    lines += rounded_lines(found)
    lines.append(f"exactness: {j['exactness']}{'' if found.graph.certified else why_tested(found.graph)}")
    if found.chip.hypothetical:
        lines.append(f"chip '{j['chip']}' is hypothetical: do not compare its core counts with those of other chips")
    lines += [violation.shown() for violation in found.violations]
    return lines


def rounded_lines(found: CheckResult) -> list[str]:
    """Say what rounding weights on request changed, and what of the spikes stays."""
    lines = [
        f"weights of {name}: {each.bits} bits; {each.changed:,} are not the file's" for name, each in found.rounded.items()
    ]
    if found.agreement is not None:
        shares = ", ".join(f"{name} {100 * share:.2f} %" for name, share in found.agreement.layers.items())
        same = f"predictions {100 * found.agreement.predictions:.1f} %"
        lines.append(f"spikes equal to the file's on {found.agreement.frames} random frames: {shares}; {same}")
    return lines


def _exactness(layer: Layer) -> str:
    """Say whether a layer is certified, and if not, at how many thresholds float rounding can change a decision."""
    if layer.certified:
        return "certified"
    count = layer.uncertain.total
    return f"tested ({count:,} uncertain thresholds)" if count else "tested"


def why_tested(graph: LayerGraph) -> str:
    """Say which part of a network is not certified, and where more is said."""
    inexact = "" if graph.encoder_exact else f"the float sums of the encoder {graph.encoder.name} depend on their order; "
    inexact += "" if graph.readout_exact else "so do those of the host's last layer; "
    return f" ({inexact}qsnnc verify lists the uncertain thresholds)"


def placement_json(placed: Placement) -> dict[str, Any]:
    """Return what a placement costs, in packets per image."""
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
    """Say what a placement costs, beside its lower bounds and beside cores placed row by row."""
    counted = "at the measured firing rates" if placed.calibrated else "if every source fires once"
    each, plain = (value / max(1.0, placed.packets) for value in (placed.hops, placed.row_major.hops))
    return [
        f"placement: {placed.hops:,.0f} hops per image {counted}, {each:.1f} per packet "
        f"(lower bound {placed.hops_bound:,.0f}; row-major placement: {plain:.1f} per packet)",
        f"busiest link between cores: {placed.figures.busiest_link:,.0f} packets per image "
        f"(lower bound {placed.busiest_link_bound:,.0f}; row-major placement: {placed.row_major.busiest_link:,.0f})",
    ]


def _removed(entry: CoreLayer) -> str:
    """Say what is left out of the chip, and why."""
    gone = entry.removed
    reasons = ((gone.dead, "never fire"), (gone.constant, "always fire"), (gone.unread, "are read by nothing"))
    why = ", ".join(f"{count:,} {reason}" for count, reason in reasons if count)
    parts = [f"{gone.neurons:,} neurons ({why})"] if why else []
    if entry.zero_rows:
        parts.append(f"{entry.zero_rows:,} axons (all weights on their core are zero)")
    return f"left out {' and '.join(parts)}"


def core_table(cores: list[dict[str, Any]], most: int = 20) -> Table:
    """Return one row per core."""
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
    short = shortened(str(core["layer"]) for core in cores)
    for core in cores[:most]:
        table.add_row(*(short.get(str(core[name]), str(core[name])) for name in names))
    return table


def verification_lines(found: Verification, name: str) -> list[str]:
    """Say what was compared, what differs, and at which thresholds float rounding can change a decision."""
    compared = f"{found.values:,} levels and scores of {found.images:,} images ({name})"
    if found.equal:
        lines = [f"equal: {compared}; {found.exactness}"]
    else:
        same = agreement(found.agreement.changed, found.images, found.agreement.model, found.agreement.integer)
        largest = f"the largest by {found.largest:g} in {found.largest_in}; {same}"
        if found.unexplained:
            why = f"{found.unexplained:,} of them beyond the float error bound: a defect; {largest}"
            lines = [f"different: {found.differences:,} of {compared}, {why}; {found.exactness}"]
        else:
            why = f"differ by float rounding at a threshold listed below, {largest}"
            lines = [f"explained: {found.differences:,} of {compared} {why}; {found.exactness}"]
    if found.weights is not None:
        lines += found.weights.lines()
    if found.exactness == "certified":
        lines.append("certified: bit-exact on every input, in whatever order floats are summed")
    if found.inexact:
        lines.append(f"layers whose float sums can depend on the order of summation: {', '.join(found.inexact)}")
    short = shortened(found.uncertain)
    for layer, uncertain in found.uncertain.items():
        count = uncertain.total
        share = f"{count:,} of {found.thresholds.get(layer, count):,} thresholds within the float error bound"
        lines.append(f"{short[layer]}: {share}: {_by_channel(uncertain)}")
    return lines


def _by_channel(uncertain: UncertainThresholds, most: int = 6) -> str:
    """List uncertain thresholds by channel."""
    channels = list(dict.fromkeys(uncertain.channel.tolist()))
    parts = []
    for channel in channels[:most]:  # the others are only counted
        mine = uncertain.channel == channel
        levels = np.zeros(int((uncertain.level + uncertain.count)[mine].max()), bool)
        for first, count in zip(uncertain.level[mine].tolist(), uncertain.count[mine].tolist(), strict=True):
            levels[first : first + count] = True
        parts.append(f"channel {channel} ({_runs(levels)})")
    rest = len(channels) - most
    return ", ".join(parts) + (f" and {rest:,} more channels" if rest > 0 else "")


def _runs(chosen: npt.NDArray[np.bool_]) -> str:
    """Write the numbers of 1, 2, 3, 7 as 1-3, 7."""
    ends = np.flatnonzero(np.diff(chosen, prepend=False, append=False)).reshape(-1, 2).tolist()
    text = ", ".join(f"{first}-{after - 1}" if after - first > 1 else f"{first}" for first, after in ends[:6])
    return text + (", ..." if len(ends) > 6 else "")
