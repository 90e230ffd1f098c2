"""What the page shows of a ``.map``: the chip, the populations, the cores and what joins them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.mapping import Mapping, Population
from chipsim.mapping.totals import core_synapses, totals
from chipsim.report.page.edges import edges
from chipsim.report.page.packing import packed

Int = npt.NDArray[np.int64]
#: bytes of base64 that the weights, and the sources of the axons, may take at most; beyond it the page does without them
MOST_BYTES = 24 << 20
_LAYER = "kind weight_bits fan_in fold neurons removed synapses cores bound limiting".split()


def content(m: Mapping) -> dict[str, Any]:
    """Return the page's content of a mapping."""
    chip = m.chip
    return {
        "kind": "crossbar",
        "model_sha256": m.model_sha256,
        "generator": m.generator,
        "exactness": m.exactness,
        "steps": m.steps,
        "ticks": m.frame_ticks,
        "readout": m.readout_place,
        "totals": totals(m),
        "chip": {
            **chip.model_dump(mode="json", include={"name", "description", "hypothetical", "grid", "ports", "dead_cores"}),
            "dead_links": chip.model_dump(mode="json")["dead_links"],
            "cores": chip.cores,
            "clock_mhz": chip.clock_mhz,
        },
        "populations": [_population(m.encoder)] + [
            {**_population(layer), **{key: getattr(layer, key) for key in _LAYER}} for layer in m.layers
        ],
        "cores": _cores(m),
        "uses": [
            {"key": "axons", "label": "axons", "limit": "axon_limit"},
            {"key": "columns", "label": "columns", "limit": "column_limit"},
            {"key": "targets", "label": "target entries", "limit": "target_limit"},
        ],
        **_edges(m),
        "neurons": {
            "offset": packed(m.neuron_offset, "int32"),
            "element": packed(m.neuron_element, "int32", delta=True),
            "threshold": packed(m.neuron_threshold, "int32"),
        },
        **_wiring(m),
    }  # fmt: skip


def _population(entry: Population) -> dict[str, Any]:
    """Return a population; ``per_feature`` neurons stand for a feature, and ``kind`` is null for the encoder."""
    return {
        "name": entry.name,
        "tensor": entry.tensor,
        "shape": list(entry.shape),
        "levels": entry.levels,
        "per_feature": max(entry.levels, 1),
        "scale": entry.scale,
        "zero_point": entry.zero_point,
        "tick": entry.tick,
        "kind": None,
    }


def _cores(m: Mapping) -> dict[str, Any]:
    """Return the columns of the table of cores."""
    fold, bits, neurons = m.core_fold, m.core_weight_bits, np.diff(m.neuron_offset)
    columns: dict[str, npt.ArrayLike] = {
        "x": m.core_position[:, 0],
        "y": m.core_position[:, 1],
        "layer": m.core_layer,
        "neurons": neurons,
        "axons": np.diff(m.axon_offset),
        "columns": neurons * fold * bits,
        "targets": np.diff(m.target_offset[m.encoder_neurons + m.neuron_offset]),
        "synapses": core_synapses(m),
        "fold": fold,
        "weight_bits": bits,
        "crossbar": m.core_crossbar,
        "axon_limit": fold * m.chip.axons,
        "column_limit": np.full(m.cores, m.chip.columns),
        "target_limit": np.full(m.cores, min(m.chip.targets, np.iinfo(np.int32).max)),
    }
    return {name: packed(values, "int32") for name, values in columns.items()}


def _edges(m: Mapping) -> dict[str, Any]:
    """Return who sends to whom: each axon is an input of its core."""
    core_of_neuron = np.repeat(np.arange(m.cores), np.diff(m.neuron_offset))
    sender = np.concatenate([np.full(m.encoder_neurons, -1), core_of_neuron])[m.axon_source]
    return edges(sender, np.repeat(np.arange(m.cores), np.diff(m.axon_offset)), m.core_layer)


def _wiring(m: Mapping) -> dict[str, Any]:
    """Return sources and weights, each None where it is too large for a page."""
    sources = packed(m.axon_source, "int32", delta=True)
    weights = {
        "shape": packed(m.crossbar_shape, "int32"),
        "offset": packed(m.crossbar_offset, "float64"),
        "bits": packed(m.crossbar_bits, "uint8"),
    }
    return {
        "axons": None
        if len(sources["base64"]) > MOST_BYTES
        else {"offset": packed(m.axon_offset, "int32"), "source": sources, "first": m.encoder_neurons},
        "crossbars": None if len(weights["bits"]["base64"]) > MOST_BYTES else weights,
    }
