"""A valid mapping of 10,000 small cores: layers of equal size, each core reading one core of the layer before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chipsim import MappingBuilder
from chipsim.chip import load_chip
from chipsim.mapping import Mapping, pack_crossbar, validate_mapping

SIDE = 100
NEURONS = 4  # and axons of a core


def large_mapping(layers: int = 9, neurons: int = NEURONS) -> Mapping:
    """9 layers of 1,111 cores and one that is read out, on a grid of 100 x 100; as many axons as neurons on a core."""
    chip = load_chip("xbar1152").model_copy(update={"grid": (SIDE, SIDE)})
    net = MappingBuilder(chip)
    image = net.input(neurons, 1)
    hidden = net.layer("layer0", neurons)
    weights = np.eye(neurons, dtype=np.int64)
    net.core(hidden, image, weights, [1] * neurons)
    last = net.readout("scores", neurons)
    net.core(last, hidden, weights, [0] * neurons)
    small = net.build()
    cores = SIDE * SIDE
    each = (cores - 1) // layers
    first, out = small.layers
    entries = [
        replace(first, name=f"layer{k}", tick=k + 1, shape=(each * neurons,), cores=each, bound=each, neurons=each * neurons,
                synapses=each * neurons)
        for k in range(layers)
    ]  # fmt: skip
    entries.append(replace(out, tick=layers + 1))
    core = np.arange(cores)
    layer = np.minimum(core // each, layers)
    before = np.where(layer == layers, (layers - 1) * each, core - each)  # the core that each reads
    lane = np.arange(neurons)
    source = np.where((layer == 0)[:, None], lane, neurons + before[:, None] * neurons + lane).reshape(-1).astype(np.int32)
    element = ((core - layer * each)[:, None] * neurons + lane).reshape(-1).astype(np.int32)
    order = np.argsort(source, kind="stable")
    sources = neurons + cores * neurons
    arrays = {
        **small.arrays,
        "core_layer": layer.astype(np.int32),
        "core_position": np.stack([core % SIDE, core // SIDE], axis=1).astype(np.int32),
        "core_fold": np.ones(cores, np.int32),
        "core_weight_bits": np.full(cores, first.weight_bits, np.int32),
        "core_crossbar": np.zeros(cores, np.int32),
        "axon_offset": np.arange(cores + 1, dtype=np.int64) * neurons,
        "axon_source": source,
        "neuron_offset": np.arange(cores + 1, dtype=np.int64) * neurons,
        "neuron_element": element,
        "neuron_threshold": np.repeat(np.where(layer == layers, 0, 1), neurons).astype(np.int32),
        "target_offset": np.searchsorted(source[order], np.arange(sources + 1)).astype(np.int64),
        "target_axon": order.astype(np.int32),
        "target_delay": np.ones(len(source), np.uint8),
        "dense_fanout": np.zeros(sources, np.int32),
        "crossbar_shape": np.array([[neurons, neurons, first.weight_bits]], np.int32),
        "crossbar_offset": np.array([0, neurons * neurons * first.weight_bits // 8], np.int64),
        "crossbar_bits": pack_crossbar(np.eye(neurons, dtype=np.int8), first.weight_bits),
    }
    mapping = replace(small, layers=tuple(entries), arrays=arrays, ticks=layers + 2)
    validate_mapping(mapping)
    return mapping
