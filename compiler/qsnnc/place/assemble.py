"""Write a placed core graph as a mapping."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from chipsim.mapping import Layer, Mapping, Population, pack_crossbar
from chipsim.mapping.program import CEILING, MARGIN, STATE_ARRAYS, UNREACHED, array_dtypes
from qsnnc.ir.cores import CoreGraph
from qsnnc.ir.layers import Int, LayerGraph
from qsnnc.ir.layers import Population as IrPopulation
from qsnnc.ir.stored import to_bytes
from qsnnc.lower.neurons import NeuronLayer
from qsnnc.lower.removal import margins
from qsnnc.place.positions import Placement

Arrays = dict[str, npt.NDArray[Any]]


#: the array that positions change
POSITION = "core_position"


def assemble(
    graph: LayerGraph, neurons: tuple[NeuronLayer, ...], cores: CoreGraph, chip: ChipSpec, placed: Placement | None = None
) -> Mapping:
    """Write a core graph as a mapping, with everything that the chip and a reader of the file need.

    Without a placement all positions are 0, until `moved` replaces them.
    """
    arrays = {
        "core_layer": cores.core_layer,
        POSITION: np.zeros((cores.cores, 2), np.int32) if placed is None else placed.position,
        "core_fold": cores.core_fold,
        "core_weight_bits": np.array([entry.weight_bits for entry in cores.layers], np.int32)[cores.core_layer],
        "axon_offset": cores.axon_offset,
        "axon_source": cores.axon_source,
        "neuron_offset": cores.neuron_offset,
        "neuron_element": cores.neuron_element,
        "neuron_threshold": cores.neuron_threshold,
        "dense_fanout": _dense_fanout(graph, neurons, cores).astype(np.int32),
        **_targets(cores),
        **_crossbars(cores),
    }
    layers = tuple(_layer(cores, number) for number in range(len(cores.layers)))
    stateful = any(layer.neuron is not None for layer in layers)
    arrays.update(zip(STATE_ARRAYS, cores.neuron_constants, strict=True))
    arrays[CEILING] = _of_neurons(cores, {entry.layer.name: entry.ceilings for entry in neurons}, UNREACHED)
    within = _of_neurons(cores, {entry.layer.name: margins(entry.layer) for entry in neurons}, 0)
    arrays[MARGIN] = within
    limited, uncertain = any(layer.ceiling is not None for layer in graph.layers), bool(within.any())
    return Mapping(
        model_sha256=graph.model_sha256,
        exactness="certified" if graph.certified else "tested",
        generator=f"qsnnc {metadata.version('qsnnc')}",
        chip=chip,
        input=graph.input,
        encoder=Population(**_population(graph.encoder, 0)),
        layers=layers,
        output_tensor=graph.output_tensor,
        output_shape=graph.output_shape,
        ticks=1 + max(entry.tick for entry in cores.layers),
        arrays={
            name: np.ascontiguousarray(arrays[name])
            for name in array_dtypes(stateful=stateful, limited=limited, uncertain=uncertain)
        },
        encoder_onnx=graph.encoder_onnx,
        readout_onnx=graph.readout_onnx,
        network=to_bytes(graph),
        steps=graph.steps,
        readout_of=graph.readout_of,
        watched=graph.watched,
        unwatched=graph.unwatched,
        slack=graph.layers[-1].slack,
    )


def moved(mapping: Mapping, placed: Placement, chip: ChipSpec) -> Mapping:
    """Return what `assemble` returns for the same cores at other positions, perhaps on another grid."""
    return replace(mapping, chip=chip, arrays={**mapping.arrays, POSITION: np.ascontiguousarray(placed.position)})


def _of_neurons(cores: CoreGraph, elements: dict[str, Int | None], otherwise: int) -> npt.NDArray[np.int32]:
    """Return a value for each neuron, from those of the elements of each layer; ``None``: it has none."""
    found = np.full(len(cores.neuron_element), otherwise, np.int32)
    owner = np.repeat(cores.core_layer, np.diff(cores.neuron_offset))
    for number, layer in enumerate(cores.layers):
        values = elements[layer.layer.name]
        if values is not None:
            mine = owner == number
            found[mine] = values[cores.neuron_element[mine]]
    return found


def _targets(cores: CoreGraph) -> Arrays:
    """Build the target tables: for each source its axons, and by how many ticks its spikes are delayed."""
    from qsnnc.place.axon_kernel import by_source  # numba, as in `place`

    tick = np.array([entry.tick for entry in cores.layers], np.int32)
    delay = np.array([entry.layer.dynamics.delay if entry.layer.dynamics else 0 for entry in cores.layers], np.int32)
    fires = np.concatenate(
        [
            np.zeros(cores.encoder_neurons, np.int32),
            np.repeat((tick - delay)[cores.core_layer], np.diff(cores.neuron_offset)),
        ]
    )
    entries = np.bincount(cores.axon_source, minlength=len(fires))
    offset = np.concatenate([[0], np.cumsum(entries)]).astype(np.int64)
    axon, late = np.empty(len(cores.axon_source), np.int32), np.empty(len(cores.axon_source), np.uint8)
    by_source(cores.axon_source, cores.axon_offset, tick[cores.core_layer], fires, offset[:-1].copy(), axon, late)
    return {"target_offset": offset, "target_axon": axon, "target_delay": late}


def _crossbars(cores: CoreGraph) -> Arrays:
    """Pack the crossbars, each distinct content once, and say which of them each core has."""
    layer_of = np.zeros(len(cores.crossbars), np.int64)
    layer_of[cores.core_crossbar] = cores.core_layer
    number: dict[tuple[bytes, tuple[int, ...]], int] = {}
    pieces: list[npt.NDArray[np.uint8]] = []
    renumbered: list[int] = []
    for weights, layer in zip(cores.crossbars, layer_of.tolist(), strict=True):
        bits = cores.layers[layer].weight_bits
        content, shape = pack_crossbar(weights, bits), (*weights.shape, bits)
        key = (content.tobytes(), shape)
        if key not in number:
            number[key] = len(pieces)
            pieces.append(content)
        renumbered.append(number[key])
    return {
        "core_crossbar": np.array(renumbered, np.int32)[cores.core_crossbar],
        "crossbar_shape": np.array([shape for _, shape in number], np.int32).reshape(-1, 3),
        "crossbar_offset": np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64),
        "crossbar_bits": np.concatenate(pieces),
    }


def _layer(cores: CoreGraph, number: int) -> Layer:
    """Describe a layer for the reader of the file."""
    entry = cores.layers[number]
    return Layer(
        **_population(entry.layer, entry.tick),
        kind=entry.layer.kind,
        weight_bits=entry.weight_bits,
        fan_in=entry.fan_in,
        fold=int(cores.core_fold[cores.core_layer == number].max(initial=0)),
        neurons=entry.neurons,
        removed=entry.removed.neurons,
        synapses=entry.synapses,
        cores=entry.cores,
        bound=entry.bound,
        limiting=entry.limiting,
        neuron=entry.layer.dynamics and entry.layer.dynamics.model,
    )


def _population(population: IrPopulation, tick: int) -> dict[str, Any]:
    return {
        "name": population.name,
        "tensor": population.tensor,
        "shape": tuple(population.tensor_shape),
        "levels": population.levels,
        "scale": population.scale,
        "zero_point": population.zero_point,
        "tick": tick,
    }


def _dense_fanout(graph: LayerGraph, neurons: tuple[NeuronLayer, ...], cores: CoreGraph) -> Int:
    """Count dense fan-out, for the paper's SOPs: windows of convolutions that read a source, times output channels, times L.

    A channel of which a window keeps no neuron does not count in it; removed levels of a channel do. Relays are none of the
    network's neurons: what they drive counts for the source.
    """
    entries = {entry.layer.name: entry for entry in neurons}
    base = {graph.encoder.name: 0, **{name: entry.base for name, entry in entries.items()}}
    fanout = np.zeros(neurons[-1].base + neurons[-1].layer.neurons, np.int64)
    for layer in graph.layers:
        if layer.kind != "convolution" or layer is graph.layers[-1]:
            continue
        channels, rows, columns = layer.shape
        stays = np.zeros(layer.neurons, bool)
        stays[entries[layer.name].output_elements] = True
        counted = layer.levels * stays.reshape(channels, rows * columns, -1).any(axis=2)
        for link in layer.connections:
            source = graph.population(link.source)
            if graph.of_pixels and source is graph.encoder:  # the paper's first layer is the host's
                continue
            per_group = counted.reshape(link.groups, -1, rows * columns).sum(axis=1)
            windows = np.zeros((link.groups, source.shape[1] * source.shape[2] + 1), np.int64)  # the last: the padding
            for at in link.taps(source.shape[1:], (rows, columns)).T:  # at one tap, no two windows read the same position
                windows[:, at] += per_group
            each = np.repeat(windows[:, :-1], link.weights.shape[1], axis=0).reshape(-1)
            fanout[base[source.name] : base[source.name] + source.neurons] += np.repeat(each, source.levels)
    layer_base = np.array([base[entry.layer.name] for entry in cores.layers])
    owner = np.repeat(cores.core_layer, np.diff(cores.neuron_offset))
    return np.concatenate([fanout[: graph.encoder.neurons], fanout[layer_base[owner] + cores.neuron_element]])
