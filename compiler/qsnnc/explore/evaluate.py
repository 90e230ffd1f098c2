"""Compile a network onto some chips that differ in their timing alone, and measure each of them: one task."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chipsim.chip import ChipSpec
from chipsim.datasets import Dataset, load_dataset
from chipsim.mapping import Mapping
from chipsim.tasks import Given, Recent
from chipsim.timing.area import memory_bits
from chipsim.timing.profile import profile
from qsnnc.compilation import Compilation, FailedCompilation
from qsnnc.explore.space import TIMED, merged
from qsnnc.ir.layers import LayerGraph
from qsnnc.pipeline import check_layers

_GRAPH: Recent[LayerGraph] = Recent(2)
_IMAGES: Recent[Dataset] = Recent(1)
#: sections and keys of a chip that the compiler does not look at
UNCOMPILED = ("timing", "energy", "clock_mhz", "name", "description", "hypothetical", "provenance")


def measure(arguments: dict[str, Any], inputs: list[Given], tell: Callable[[str], None]) -> bytes:
    """Return the rows of the chips in ``arguments["chips"]``: the first is compiled for, the others differ in timing.

    The first input is a pickled layer graph that the client made, the second, if cycles are asked for, the images.
    """
    graph = _GRAPH.get(inputs[0].name, lambda: pickle.loads(inputs[0].read()))
    chips = [ChipSpec.model_validate(merged(arguments["base"], values) | {"name": "chip"}) for values in arguments["chips"]]
    found = check_layers(graph, chips[0])
    rows = [_row(found, chip) for chip in chips]
    if isinstance(found, Compilation) and arguments["timing"] is not None:
        assert isinstance(found.mapping, Mapping)
        images = _IMAGES.get(inputs[1].name, lambda: _load(inputs[1]))
        for row, chip in zip(rows, chips, strict=True):
            row |= _timed(replace(found.mapping, chip=chip), images, arguments["timing"], arguments["threads"])
    return json.dumps(rows).encode()


def _load(given: Given) -> Dataset:
    with given.file(".npz") as path:
        return load_dataset(path)


def _row(found: Compilation | FailedCompilation, chip: ChipSpec) -> dict[str, Any]:
    """Return what is known without cycles; of a layer that fits on no core there is no number of cores."""
    counted = all(entry.fold for entry in found.layers)
    row: dict[str, Any] = {"fits": found.fits, "cores": found.cores if counted else None}
    row |= {"bound": found.cores_bound if counted else None, **dict.fromkeys(TIMED)}
    row["area_bits"] = found.cores * sum(memory_bits(chip).values()) if found.fits else None
    row["seconds"] = sum(found.seconds.values())
    row["violation"] = ""
    if found.violations:
        first = found.violations[0]
        row["violation"] = f"{first.layer}: {first.code}: {first.found} of {first.allowed} {first.limit}"
    return row


def _timed(mapping: Mapping, images: Dataset, mode: str, threads: int) -> dict[str, Any]:
    """Return the timed figures: means over the images."""
    found = profile(mapping, images, mode=mode, timing_limit=len(images), threads=threads)  # type: ignore[arg-type]  # checked
    return {
        "cycles": float(found.cycles.mean()),
        "interval": float(found.interval_cycles.mean()),
        "energy_pj": float(found.parts.sum()),
        "busiest_link": found.busiest_link.load if found.busiest_link else 0.0,
    }
