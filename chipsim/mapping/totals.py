"""Synapse counts and totals of a mapping."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chipsim.mapping.program import Mapping

Int = npt.NDArray[np.int64]


def axon_synapses(crossbar: npt.NDArray[np.int8]) -> Int:
    """Count the synapses of each axon of a crossbar (axons, neurons), int64 (axons,): a synapse is a non-zero weight.

    Every count of synapses that a `.map` file states is derived from it.
    """
    there = (crossbar != 0).astype(np.float32)  # a product adds up twice as fast, exactly: there are below 2**24 neurons
    return np.asarray(there @ np.ones(there.shape[1], np.float32)).astype(np.int64)


def neuron_sums(crossbar: npt.NDArray[np.int8]) -> tuple[Int, Int]:
    """Return the smallest and largest sum of weights of each neuron of a crossbar (axons, neurons), int64 (neurons,).

    By float products, which are several times as fast as sums of int8 and exact: 2**16 weights of 8 bits add up to 2**23.
    """
    weights = crossbar.astype(np.float32 if len(crossbar) <= 1 << 16 else np.float64)
    one = np.ones(len(weights), weights.dtype)
    total = one @ weights
    sizes = one @ np.abs(weights, out=weights)
    return ((total - sizes) / 2).astype(np.int64), ((total + sizes) / 2).astype(np.int64)


def axon_sops(crossbar: npt.NDArray[np.int8]) -> Int:
    """Count the SOPs of one spike on each axon of a crossbar (axons, neurons), int64 (axons,): one for each synapse.

    This is the one definition of a SOP: both engines, the timing and all reports count by it, and no file depends on it.
    """
    return axon_synapses(crossbar)


def crossbar_synapses(mapping: Mapping) -> Int:
    """Count the synapses of each distinct crossbar, int64 (K,)."""
    return np.array([axon_synapses(mapping.crossbar(k)).sum() for k in range(len(mapping.crossbar_shape))], np.int64)


def core_synapses(mapping: Mapping) -> Int:
    """Synapses of each core, int64 (C,)."""
    return np.asarray(crossbar_synapses(mapping)[mapping.core_crossbar])


def layer_sums(mapping: Mapping, per_core: npt.NDArray[np.integer]) -> list[int]:
    """Sum a number of each core over the cores of each layer."""
    sums = np.zeros(len(mapping.layers), np.int64)
    np.add.at(sums, mapping.core_layer, per_core.astype(np.int64))
    return [int(value) for value in sums]


def totals(mapping: Mapping, synapses: Int | None = None) -> dict[str, int]:
    """Return the ``totals`` of ``mapping.yaml``; ``packets_max`` counts one packet per target entry, the host's included.

    Parameters
    ----------
    synapses : ndarray, (K,), optional
        Those of each distinct crossbar, where they are known.
    """
    each = crossbar_synapses(mapping) if synapses is None else synapses
    return {
        "cores": mapping.cores,
        "cores_bound": sum(layer.bound for layer in mapping.layers),
        "neurons": mapping.neurons,
        "synapses": int(each[mapping.core_crossbar].sum()),
        "axons": len(mapping.axon_source),
        "packets_max": len(mapping.target_axon),
    }
