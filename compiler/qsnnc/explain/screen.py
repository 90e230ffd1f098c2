"""A compilation on one screen: what was done, what it takes, what limits it, what to do next."""

from __future__ import annotations

import os
from typing import Any

from chipsim.provenance import line
from chipsim.screen import MORE, NAME, count, largest, screen, some, table, wrap
from chipsim.wording import shortened
from qsnnc.compilation import CheckResult, Compilation, Estimate
from qsnnc.explain.tables import ESTIMATED, boundary_lines, compilation_facts, rounded_lines, unwatched_lines, why_tested

#: rows of the table, lines of notes and of problems
FITTING, FAILED = (14, 10, 0), (12, 5, 8)


def compilation_screen(
    found: CheckResult, model: str, file: str | None = None, command: str = "",
    made: dict[str, Any] | None = None,
) -> str:  # fmt: skip
    """Return the text that ``compile`` and ``check`` print.

    Parameters
    ----------
    model : str
        Path of the model.
    file : str, optional
        The mapping that was written.
    command : str
        The one to go on with; '' where there is none, as for a NIR file.
    made : dict, optional
        The provenance, named in a line.
    """
    j = compilation_facts(found)
    rows, notes, problems = FITTING if found.fits else FAILED
    return screen(
        wrap(f"{_what(found, model, file)}: {_cores(j)}"),
        _layers(j["layers"], rows) if j["layers"] else (),
        some(_notes(found, j), notes, "notes"),
        some([violation.shown() for violation in found.violations], problems, "problems"),
        wrap(line(made)) if made else (),
        wrap(f"next: {_next(found, model, file, command)}"),
    )


def _what(found: CheckResult, model: str, file: str | None) -> str:
    names = [os.path.basename(path) for path in (model, file or "")]
    short = shortened(names, 40)
    read, written = (short[name] for name in names)
    if not found.fits:
        return f"{read} does not fit"
    return f"{read} -> {written}" if file else f"{read} fits"


def _cores(j: dict[str, Any]) -> str:
    has = f"chip '{j['chip']}' has {count(j['cores_available'])}"
    if not j["layers"]:  # it was clear before any was laid out
        return f"{has} cores"
    about = "about " if j["estimated"] else ""
    rest = f" ({ESTIMATED})" if j["estimated"] else ""
    if beyond := sum(layer["cores"] is None for layer in j["layers"]):
        alone = beyond == len(j["layers"])
        others = "" if alone else f"; the others need {about or 'at least '}{count(j['cores_bound'])} cores{rest}"
        return f"{beyond} of {len(j['layers'])} layers do not fit on a core{others}; {has} cores"
    fewest = "the fewest possible" if j["cores"] == j["cores_bound"] else f"at least {count(j['cores_bound'])} are needed"
    return f"{about}{count(j['cores'])} cores, {has}" + (rest or f" ({fewest})")


def _layers(layers: list[dict[str, Any]], most: int) -> list[str]:
    """A row a layer; of many, those with the most cores."""
    heads = ("layer", "neurons", "levels", "bits", "fan-in", "cores", "limited by")
    shown = largest([float("inf") if layer["cores"] is None else layer["cores"] for layer in layers], most)
    short = shortened((layer["name"] for layer in layers), NAME)
    rows = [
        (
            short[layer["name"]], count(layer["neurons"]), str(layer["levels"] or "readout"), str(layer["weight_bits"]),
            count(layer["fan_in"]), count(layer["cores"]), str(layer["limiting"]),
        )
        for layer in (layers[at] for at in shown)
    ]  # fmt: skip
    others = [layer for at, layer in enumerate(layers) if at not in set(shown)]
    if others:
        totals = (count(sum(layer[key] or 0 for layer in others)) for key in ("neurons", "cores"))
        neurons, cores = totals
        rows.append((f"{len(others)} more layers", neurons, "", "", "", cores, MORE))
    return table(heads, rows, left=(0, 6))


def _notes(found: CheckResult, j: dict[str, Any]) -> list[str]:
    """What else there is to know, in a line each."""
    gone, rows = sum(x.removed.neurons for x in found.layers), sum(x.zero_rows for x in found.layers)
    parts = [f"{count(number)} {what}" for number, what in ((gone, "neurons"), (rows, "axons")) if number]
    lines = [f"left out without any effect: {' and '.join(parts)}"] if parts else []
    if isinstance(found, Compilation) and found.placement:
        placed = found.placement
        each = placed.hops / max(1.0, placed.packets)
        counted = "at the measured firing rates" if placed.calibrated else "if every source fires once"
        lines.append(
            f"placement: {each:.1f} hops per packet {counted}; busiest link {count(placed.figures.busiest_link)} packets"
        )
    if found.code:
        lines.append(f"the image enters the chip as {found.code}")
    if isinstance(found, Estimate):
        lines.append("cores are an estimate, some more may be needed: qsnnc compile lays them out and counts them")
    lines += [*boundary_lines(found.graph), *unwatched_lines(found), *rounded_lines(found)]
    certified = found.graph.certified
    how = "certified: bit-exact with the model on every input" if certified else f"tested{why_tested(found.graph)}"
    lines.append(f"exactness: {how}")
    if found.chip.hypothetical:
        lines.append(f"chip '{j['chip']}' is hypothetical: do not compare its core counts with those of other chips")
    return lines


def _next(found: CheckResult, model: str, file: str | None, command: str) -> str:
    if not found.fits:
        explain = f"qsnnc explain {found.violations[0].code}; {MORE}"
        return f"{command} finds changes that fit; --dataset tells what they cost; {explain}" if command else explain
    short = shortened([model, file or ""], 30)
    return f"chipsim run {short[file]} --dataset mnist" if file else command or f"qsnnc compile {short[model]} -o OUT.map"
