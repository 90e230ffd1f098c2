"""What the page shows of a ``.paicore``: as of a ``.map``, with rows of memory in place of axons and columns."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.engine.paicore.cores import Core, load_cores
from chipsim.engine.paicore.counters import Links, find_links
from chipsim.engine.paicore.host import load_host
from chipsim.mapping import pack_crossbar
from chipsim.mapping.program import FEATURES
from chipsim.paicore import Program, Signal
from chipsim.paicore.totals import totals
from chipsim.report.page.edges import edges
from chipsim.report.page.packing import packed

_ROWS = ("records", "parameters", "potentials", "weights")
_LAYER = "kind code width weight_bits fan_in neurons removed synapses cores bound limiting".split()
_WEIGHT_BITS = 8


def content(p: Program) -> dict[str, Any]:
    """Return the page's content of a program."""
    cores = load_cores(p.words)
    links = find_links(cores, load_host(p, cores))
    return {
        "kind": "paicore",
        "model_sha256": p.model_sha256,
        "generator": p.generator,
        "exactness": p.exactness,
        "steps": 1,
        "ticks": p.steps,
        "readout": "host" if p.layers[-1].kind == FEATURES else "chip",
        "totals": totals(p),
        "chip": {
            **p.chip.model_dump(mode="json", include={"name", "description", "hypothetical", "grid", "dead_cores"}),
            "ports": [[0, 0]],  # the host's core
            "dead_links": [],
            "cores": p.chip.cores,
            "clock_mhz": None,
        },
        "populations": [_population(p.encoder, 0)] + [
            {**_population(layer, layer.tick), **{key: getattr(layer, key) for key in _LAYER}, "fold": 1}
            for layer in p.layers
        ],
        "cores": _columns(p, cores),
        "uses": [{"key": "rows", "label": "rows of memory", "limit": "row_limit"}],
        **_edges(p, links),
        "neurons": {
            "offset": packed(np.cumsum([0, *(core.neurons for core in cores)]), "int32"),
            "element": packed(p.neuron_element, "int32", delta=True),
            "threshold": packed(np.concatenate([core.threshold for core in cores]), "int32"),
        },
        "axons": None,
        "crossbars": _weights(cores),
    }  # fmt: skip


def _population(entry: Signal, tick: int) -> dict[str, Any]:
    kept = {key: asdict(entry)[key] for key in ("name", "tensor", "shape", "levels", "scale", "zero_point")}
    return {**kept, "shape": list(entry.shape), "per_feature": entry.per_feature, "tick": tick, "kind": None}


def _columns(p: Program, cores: tuple[Core, ...]) -> dict[str, Any]:
    """Return the columns of the table of cores."""
    rows = {name: np.array([getattr(core, name) for core in p.cores]) for name in _ROWS}
    columns: dict[str, npt.ArrayLike] = {
        "x": [core.x for core in p.cores],
        "y": [core.y for core in p.cores],
        "layer": [core.layer for core in p.cores],
        "neurons": [core.neurons for core in p.cores],
        **{f"{name}_rows": values for name, values in rows.items()},
        "rows": np.sum(list(rows.values()), axis=0),
        "row_limit": np.full(len(p.cores), p.chip.memory_rows),
        "weight_bits": np.array([p.layers[core.layer].weight_bits for core in p.cores]),
        "crossbar": np.arange(len(cores)),
    }
    return {name: packed(values, "int32") for name, values in columns.items()}


def _edges(p: Program, links: Links) -> dict[str, Any]:
    """Return who sends to whom: each input of the words is one of its core."""
    sender = np.concatenate([np.full(p.encoder_inputs, -1), links.neuron_core])[links.source]
    return edges(sender, links.core, np.array([core.layer for core in p.cores], np.int64))


def _weights(cores: tuple[Core, ...]) -> dict[str, Any]:
    """Return the weight vectors of each core as a matrix (inputs, vectors), each vector used by the neurons of a fold."""
    matrices = []
    for core in cores:
        inputs = max((bank.weights.shape[1] for bank in core.banks), default=0)
        rows = [np.pad(bank.weights, ((0, 0), (0, inputs - bank.weights.shape[1]))) for bank in core.banks]
        whole = np.concatenate(rows) if rows else np.zeros((0, 0), np.int64)
        matrices.append(np.ascontiguousarray(np.clip(whole.T, -128, 127), np.int8))
    bits = [pack_crossbar(matrix, _WEIGHT_BITS) for matrix in matrices]
    return {
        "shape": packed([[*matrix.shape, _WEIGHT_BITS] for matrix in matrices], "int32"),
        "offset": packed(np.cumsum([0, *map(len, bits)]), "float64"),
        "bits": packed(np.concatenate(bits), "uint8"),
    }
