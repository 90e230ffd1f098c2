"""Filled cores with their places as a `.paicore`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

from chipsim.paicore import Block, Core, Delivery, Output, Program, Signal
from chipsim.paicore import words as w
from chipsim.paicore.fields import Words
from chipsim.paicore.program import VALUE
from qsnnc.ir.cores import CoreLayer
from qsnnc.ir.layers import Int, Population
from qsnnc.targets.paicore25 import emit
from qsnnc.targets.paicore25.layout import Group, lcn_of
from qsnnc.targets.paicore25.neurons import HOST, POTENTIAL_BITS
from qsnnc.targets.paicore25.plan import Filled, Network, readers
from qsnnc.targets.paicore25.routes import XY, signals


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Groups with their filled parts and the place of every core."""

    groups: list[Group]
    filled: list[list[Filled]]  # of each group, part by part
    places: list[list[XY]]  # of each group, core by core
    ticks: dict[str, int]
    tables: list[Words]


def assemble(network: Network, placed: Placed, layers: tuple[CoreLayer, ...]) -> Program:
    """Gather everything that the chip and a host need."""
    graph = network.graph
    order = [layer.name for layer in graph.layers]
    cores, words, elements = [], [], []
    standing = [
        (order.index(filled.part.layer.name), number, part, core)
        for number, group in enumerate(placed.filled)
        for part, filled in enumerate(group)
        for core in range(len(filled.cores))
    ]
    standing.sort()
    every = [_place(placed, number, part, core) for _, number, part, core in standing]
    tree = signals(every)
    assert tree is not None
    for at, (layer, number, part, core) in enumerate(standing):
        filled = placed.filled[number][part]
        content = filled.cores[core]
        x, y = every[at]
        targets = readers(placed.groups, filled.part.layer)
        to = {target: _destination(placed, target, (x, y)) for target in targets or [HOST]}
        made = emit.memory(content, filled.windows.vectors, to, readout=not targets)
        registers = {
            **_registers(network, placed, filled, targets),
            "neuron_number": made.neuron_number,
            "global_send": tree[0][at],
            "global_receive": tree[1][at],
        }
        table = content.sequences[0].table
        words.append(emit.frames(x, y, registers, made.rows, placed.tables[table] if table >= 0 else None))
        cores.append(Core(x, y, layer, made.records, made.parameters, made.potentials, made.weights, len(made.elements)))
        elements.append(made.elements)
    element = np.concatenate(elements).astype(np.int32)
    blocks = tuple(_block(network, placed, entry) for entry in layers)
    return Program(
        model_sha256=graph.model_sha256,
        exactness="certified" if graph.certified else "tested",
        generator=f"qsnnc {metadata.version('qsnnc')}",
        chip=network.chip,
        input=graph.input,
        encoder=Signal(**_signal(network, graph.encoder, 0)),
        encoder_shape=graph.encoder.shape,
        deliveries=_deliveries(network, placed),
        layers=blocks,
        cores=tuple(cores),
        output=Output(graph.output_tensor, graph.output_shape),
        steps=max(placed.ticks.values()),
        root=0,
        in_flight=min(256 >> filled.inputs.lcn for group in placed.filled for filled in group if filled.cores),
        words=np.concatenate(words),
        neuron_element=element,
        dense_fanout=_dense_fanout(network, [core.layer for core in cores], elements).astype(np.int32),
        encoder_onnx=graph.encoder_onnx,
        readout_onnx=graph.readout_onnx,
    )


def _place(placed: Placed, group: int, part: int, core: int) -> XY:
    before = sum(len(filled.cores) for filled in placed.filled[group][:part])
    return placed.places[group][before + core]


def _destination(placed: Placed, target: int, here: XY) -> emit.Destination:
    """The run of the layer's readers, or the host."""
    if target == HOST:
        return emit.Destination(-here[0], -here[1])
    run = placed.places[target]
    return emit.Destination(run[0][0] - here[0], run[0][1] - here[1], len(run) - 1)


def _registers(network: Network, placed: Placed, filled: Filled, targets: list[int]) -> dict[str, int]:
    layer = filled.part.layer
    coding = network.codings[layer.name]
    bits, signed = network.widths[layer.name]
    reads = placed.filled[targets[0]][0].inputs if targets else None
    target_lcn = lcn_of(layer.features * POTENTIAL_BITS) if reads is None else reads.lcn
    value = coding.code == VALUE
    return {
        "snn_ann": value,
        "max_pooling": value and layer.connections[0].level_wise,
        "input_width": w.WIDTH_CODE[filled.inputs.width],
        "output_width": w.WIDTH_CODE[coding.width],
        "weight_sign": signed,
        "weight_width": w.WIDTH_CODE[bits],
        "lcn": filled.inputs.lcn,
        "target_lcn": target_lcn,
        "tick_start": placed.ticks[layer.name],
        "tick_duration": 1,
    }


def _deliveries(network: Network, placed: Placed) -> tuple[Delivery, ...]:
    """The encoder to every group that reads it: to runs of cores that hold one map."""
    encoder = network.graph.encoder
    found = []
    for number, group in enumerate(placed.groups):
        if encoder.name not in group.sources or not placed.places[number]:
            continue
        place = placed.filled[number][0].inputs.places[encoder.name]
        first, last = group.read(encoder.name, encoder.shape[1])
        for x, y, copies in _runs(placed.places[number]):
            steps = (place.channel, place.row, place.column, place.level)
            found.append(Delivery(x, y, copies, place.base, steps, first, last))
    return tuple(found)


def _runs(places: Sequence[XY]) -> list[tuple[int, int, int]]:
    """Vertical runs of some cores: x, y and further cores."""
    found: list[tuple[int, int, int]] = []
    for x, y in sorted(places):
        if found and (found[-1][0], found[-1][1] + found[-1][2] + 1) == (x, y):
            found[-1] = (found[-1][0], found[-1][1], found[-1][2] + 1)
        else:
            found.append((x, y, 0))
    return found


def _signal(network: Network, population: Population, tick: int) -> dict[str, Any]:
    coding = network.codings[population.name]
    return {
        "name": population.name,
        "tensor": population.tensor,
        "shape": tuple(population.tensor_shape),
        "levels": population.levels,
        "scale": population.scale,
        "zero_point": population.zero_point,
        "tick": tick,
        "code": coding.code,
        "width": coding.width,
    }


def _block(network: Network, placed: Placed, entry: CoreLayer) -> Block:
    return Block(
        **_signal(network, entry.layer, placed.ticks[entry.layer.name]),
        kind=entry.layer.kind,
        weight_bits=entry.weight_bits,
        fan_in=entry.fan_in,
        neurons=entry.neurons,
        removed=entry.removed.neurons,
        synapses=entry.synapses,
        cores=entry.cores,
        bound=entry.bound,
        limiting=entry.limiting,
    )


def written(network: Network, filled: Filled) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which inputs of a part's map somebody sends, bool (inputs,)."""
    inputs = filled.inputs
    found = np.zeros(512 << inputs.lcn, bool)
    for source, place in inputs.places.items():
        population, coding = network.populations[source], network.codings[source]
        address = place.addresses(population.shape, coding.inputs)
        if source == network.graph.encoder.name:
            first, last = filled.group.read(source, population.shape[1])
            found[address[:, first : last + 1].reshape(-1)] = True
        else:
            first, last = filled.group.rows[source]
            found[address[:, first : last + 1][network.firing[source].kept[:, first : last + 1]]] = True
    return found[:: inputs.width]


def synapses(network: Network, mine: list[Filled]) -> tuple[int, int]:
    """Widest fan-in and all synapses: weights that are not zero whose input somebody sends."""
    widest, total = 0, 0
    for filled in mine:
        sent = written(network, filled)
        known: dict[tuple[int, bytes], tuple[int, int]] = {}  # the levels of a channel read the same
        for each in filled.neurons:
            key = each.vector, each.offset.tobytes()
            if key not in known:
                index = filled.windows.vectors[each.vector].index
                reads = sent[(index[None] + each.offset[:, None]) // filled.inputs.width]
                known[key] = int(reads.sum(axis=1).max(initial=0)), int(np.count_nonzero(reads))
            widest = max(widest, known[key][0])
            total += known[key][1]
    return widest, total


def _dense_fanout(network: Network, owner: list[int], elements: list[Int]) -> Int:
    """For the paper's count: windows of convolutions that a source lies in, times their output channels, times their L.

    A channel of which a window keeps no neuron does not count in it; removed levels of a channel do.
    """
    graph = network.graph
    fanout = {
        name: np.zeros((*entry.shape, network.codings[name].inputs), np.int64) for name, entry in network.populations.items()
    }
    for layer in graph.layers:
        if layer.kind != "convolution" or layer.readout:
            continue
        channels, rows, columns = layer.shape
        counted = layer.levels * network.firing[layer.name].kept.any(axis=3).reshape(channels, rows * columns)
        for link in layer.connections:
            source = graph.population(link.source)
            if graph.of_pixels and source is graph.encoder:  # the paper's first layer is the host's
                continue
            per_group = counted.reshape(link.groups, -1, rows * columns).sum(axis=1)
            seen = np.zeros((link.groups, source.shape[1] * source.shape[2] + 1), np.int64)  # the last: the padding
            for at in link.taps(source.shape[1:], (rows, columns)).T:
                seen[:, at] += per_group
            each = np.repeat(seen[:, :-1], link.weights.shape[1], axis=0).reshape(source.shape)
            fanout[source.name] += each[..., None]
    parts = [fanout[graph.encoder.name].reshape(-1)]
    for layer_number, element in zip(owner, elements, strict=True):
        parts.append(fanout[graph.layers[layer_number].name].reshape(-1)[element])
    return np.concatenate(parts)
