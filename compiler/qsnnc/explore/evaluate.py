"""Compile a network onto some chips and measure each of them: one task."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

from chipsim.chip import ChipSpec
from chipsim.datasets import Dataset, load_dataset
from chipsim.tasks import Given, Recent
from chipsim.timing.area import memory_bits
from chipsim.timing.profile import replay
from chipsim.timing.result import Profile
from qsnnc.compilation import Compilation, FailedCompilation
from qsnnc.explore.shared import Shared
from qsnnc.explore.space import TIMED, merged
from qsnnc.ir.layers import LayerGraph

_GRAPH: Recent[LayerGraph] = Recent(2)
_IMAGES: Recent[Dataset] = Recent(1)
_SHARED = Shared()


def measure(arguments: dict[str, Any], inputs: list[Given], tell: Callable[[str], None]) -> bytes:
    """Return the rows of the chips in ``arguments["chips"]``; those that share most come one after the other.

    The first input is a pickled layer graph that the client made, the second, if cycles are asked for, the images.
    """
    name = inputs[0].name
    graph = _GRAPH.get(name, lambda: pickle.loads(inputs[0].read()))
    rows = []
    for values in arguments["chips"]:
        chip = ChipSpec.model_validate(merged(arguments["base"], values) | {"name": "chip"})
        found = _SHARED.compiled(name, graph, chip)
        row = _row(found, chip)
        if isinstance(found, Compilation) and arguments["timing"] is not None:
            images = _IMAGES.get(inputs[1].name, lambda: _load(inputs[1]))
            spikes = _SHARED.spikes(name, graph, chip, images, inputs[1].name)
            row |= _timed(replay(_SHARED.plan(name, graph, chip), spikes, mode=arguments["timing"]))
        rows.append(row)
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


def _timed(found: Profile) -> dict[str, Any]:
    """Return the timed figures: means over the images."""
    return {
        "cycles": float(found.cycles.mean()),
        "interval": float(found.interval_cycles.mean()),
        "energy_pj": float(found.parts.sum()),
        "busiest_link": found.busiest_link.load if found.busiest_link else 0.0,
    }
