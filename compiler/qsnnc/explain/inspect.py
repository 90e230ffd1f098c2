"""Describe a mapping: totals, layers, cores, and on request one core with all its weights and targets."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from chipsim.mapping import Mapping, read_mapping
from chipsim.mapping.totals import core_synapses, totals
from chipsim.paicore import Program, is_paicore, read_program
from qsnnc.explain.paicore import inspect_program
from qsnnc.explain.selection import check_selection
from qsnnc.explain.tables import LAYER_KEYS


def inspect(mapping: Mapping | Program | str | Path, *, layer: str | None = None, core: int | None = None) -> dict[str, Any]:
    """Describe a mapping.

    Parameters
    ----------
    mapping : Mapping, Program or path
        A ``.map``, or a ``.paicore``.
    layer : str, optional
        Keep only this layer's cores.
    core : int, optional
        Keep only this core, and add its axon sources, thresholds, target list and weights.

    Raises
    ------
    UsageError
        An unknown layer or core.
    """
    if isinstance(mapping, str | Path):
        mapping = read_program(mapping) if is_paicore(mapping) else read_mapping(mapping)
    if isinstance(mapping, Program):
        return inspect_program(mapping, layer=layer, core=core)
    m = mapping
    names = [entry.name for entry in m.layers]
    check_selection(names, m.cores, layer, core)
    synapses = core_synapses(m)
    entries = np.diff(m.target_offset[m.encoder_neurons + m.neuron_offset])
    hashes = [
        hashlib.sha256(repr(shape.tolist()).encode() + m.crossbar_bits[start:stop].tobytes()).hexdigest()[:16]
        for shape, start, stop in zip(m.crossbar_shape, m.crossbar_offset[:-1], m.crossbar_offset[1:], strict=True)
    ]
    wanted = [
        c for c in range(m.cores) if (core is None or c == core) and (layer is None or names[m.core_layer[c]] == layer)
    ]
    cores = []
    for c in wanted:
        fold, bits = int(m.core_fold[c]), int(m.core_weight_bits[c])
        neurons = int(m.neuron_offset[c + 1] - m.neuron_offset[c])
        cores.append(
            {
                "id": c, "x": int(m.core_position[c, 0]), "y": int(m.core_position[c, 1]), "layer": names[m.core_layer[c]],
                "axons": int(m.axon_offset[c + 1] - m.axon_offset[c]), "neurons": neurons, "columns": neurons * fold * bits,
                "fold": fold, "weight_bits": bits, "synapses": int(synapses[c]), "targets": int(entries[c]),
                "crossbar": hashes[m.core_crossbar[c]],
            }
        )  # fmt: skip
        if core is not None:
            cores[-1].update(_whole_core(m, c))
    return {
        "format": "qsnnc-map/1",
        "model_sha256": m.model_sha256,
        "chip": m.chip.name,
        "totals": totals(m),
        "layers": [{key: getattr(entry, key) for key in LAYER_KEYS} for entry in m.layers],
        "cores": cores,
    }


def _whole_core(m: Mapping, core: int) -> dict[str, Any]:
    """Return axon sources, neurons, targets and weights of a core."""
    axons = slice(int(m.axon_offset[core]), int(m.axon_offset[core + 1]))
    neurons = range(int(m.neuron_offset[core]), int(m.neuron_offset[core + 1]))
    targets = []
    for number, neuron in enumerate(neurons):
        source = m.encoder_neurons + neuron
        for entry in range(int(m.target_offset[source]), int(m.target_offset[source + 1])):
            axon = int(m.target_axon[entry])
            there = int(np.searchsorted(m.axon_offset, axon, side="right")) - 1
            targets.append(
                {
                    "neuron": number,
                    "core": there,
                    "axon": axon - int(m.axon_offset[there]),
                    "delay": int(m.target_delay[entry]),
                }
            )
    return {
        "axon_sources": m.axon_source[axons].tolist(),
        "elements": m.neuron_element[neurons.start : neurons.stop].tolist(),
        "thresholds": m.neuron_threshold[neurons.start : neurons.stop].tolist(),
        "target_list": targets,
        "weights": m.crossbar(int(m.core_crossbar[core])).tolist(),
    }
