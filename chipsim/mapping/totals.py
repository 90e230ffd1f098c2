"""What a mapping adds up to."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chipsim.mapping.program import Mapping

Int = npt.NDArray[np.int64]


def crossbar_synapses(mapping: Mapping) -> Int:
    """Non-zero weights of each distinct crossbar, int64 (K,)."""
    return np.array([np.count_nonzero(mapping.crossbar(k)) for k in range(len(mapping.crossbar_shape))], np.int64)


def core_synapses(mapping: Mapping) -> Int:
    """Synapses of each core, int64 (C,)."""
    return np.asarray(crossbar_synapses(mapping)[mapping.core_crossbar])


def layer_sums(mapping: Mapping, per_core: npt.NDArray[np.integer]) -> list[int]:
    """Sum a number of each core over the cores of each layer."""
    sums = np.zeros(len(mapping.layers), np.int64)
    np.add.at(sums, mapping.core_layer, per_core.astype(np.int64))
    return [int(value) for value in sums]


def totals(mapping: Mapping) -> dict[str, int]:
    """The ``totals`` of ``mapping.yaml``: ``packets_max`` is one packet for each target entry, the host's included."""
    return {
        "cores": mapping.cores,
        "cores_bound": sum(layer.bound for layer in mapping.layers),
        "neurons": mapping.neurons,
        "synapses": int(core_synapses(mapping).sum()),
        "axons": len(mapping.axon_source),
        "packets_max": len(mapping.target_axon),
    }
