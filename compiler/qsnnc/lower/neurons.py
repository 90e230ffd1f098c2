"""Lower layers to spiking neurons: levels become thermometer neurons, and each axon carries one bit.

An *output position* stands for the neurons of all output channels (of one group) at one position of the output map,
which read the same axons. An *input tile* is the axons of all levels of all input channels (of one group) at one position
of an input map, which always go together. Both stay index maps; no synapse is written out here.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from chipsim.mapping.program import UNREACHED
from qsnnc.errors import Violation
from qsnnc.ir.cores import Removed
from qsnnc.ir.layers import Connection, Int, Layer, LayerGraph, Population
from qsnnc.ir.weights import bits_of_connections
from qsnnc.lower.ranges import ranges
from qsnnc.lower.relays import schedule
from qsnnc.lower.removal import Survivors, keep_all, survivors


@dataclass(frozen=True, slots=True, eq=False)
class NeuronLayer:
    """The neurons of a layer, as output positions that read input tiles of sources.

    ``output_tiles[p, t]`` is the tile at tap t of output position p, -1 in the padding. They run through the map and, at
    each place, through the groups; those of one group have equal weights at equal taps. Output position p holds elements
    ``output_elements[output_offset[p] : output_offset[p + 1]]``, tile b the sources ``tile_sources[tile_offset[b] :
    tile_offset[b + 1]]``: fewer than the others, or none, where neurons were removed.
    """

    layer: Layer
    tick: int
    weight_bits: int
    fan_in: int  # axons of the widest output position
    groups: int
    output_offset: Int  # (output positions + 1,)
    output_elements: Int  # which element of the layer each neuron is
    output_tiles: Int  # (output positions, taps)
    tile_offset: Int  # (tiles + 1,)
    tile_sources: Int  # global element numbers: the population's base + element
    tile_rows: Int  # input channel in its group that each of them belongs to
    link_offset: Int  # (connections + 1,): each connection's tiles
    base: int  # global number of the layer's first element
    thresholds: Int  # (elements,)
    constants: tuple[Int, Int, Int]  # (elements,) each: amount, start and bias of a neuron model, zeros without one
    removed: Removed
    synapses: int
    ceilings: Int | None = None  # (elements,), `UNREACHED` where there is none; None: in the whole layer

    @property
    def neurons(self) -> int:
        """Number of neurons that are kept."""
        return len(self.output_elements)

    @property
    def output_size(self) -> Int:
        """Number of neurons of each output position."""
        return np.diff(self.output_offset)

    @property
    def tile_width(self) -> Int:
        """Number of axons of each tile."""
        return np.diff(self.tile_offset)

    def elements(self, output: int, first: int, last: int) -> Int:
        """Return the elements of some of an output position's neurons."""
        start = int(self.output_offset[output])
        return self.output_elements[start + first : start + last]

    def channels(self, elements: Int) -> Int:
        """Return the output channel of each element."""
        return elements // (self.layer.neurons // self.layer.shape[0])

    def kernel(self) -> npt.NDArray[np.int8]:
        """Return the weights by tap, input channel and output channel, (taps, inputs, outputs), over all connections."""
        parts = []
        most = max(link.weights.shape[1] for link in self.layer.connections)
        for link in self.layer.connections:
            outputs, inputs = link.weights.shape[:2]
            flat = np.ones_like(link.weights) if link.level_wise else link.weights
            part = flat.reshape(outputs, inputs, -1).transpose(2, 1, 0).astype(np.int8)
            parts.append(np.pad(part, ((0, 0), (0, most - inputs), (0, 0))))
        return np.concatenate(parts)


def lower(
    graph: LayerGraph, chip: ChipSpec, *, keep_dead: bool = False
) -> tuple[tuple[NeuronLayer, ...], tuple[Violation, ...]]:
    """Lower every layer to neurons, and check the limits that do not depend on how cores are filled.

    Parameters
    ----------
    keep_dead : bool
        Keep the neurons that never fire, always fire or are read by nothing.

    Returns
    -------
    layers : tuple of NeuronLayer
        Those of the graph, and the relays that carry spikes further than the chip can delay them.
    violations : tuple of Violation
        Weights, potentials or thresholds that the chip cannot hold; such layers are lowered at the chip's widest weights.
    """
    left = keep_all(graph) if keep_dead else survivors(graph)
    timed = schedule(graph, left, chip.max_delay, keep_dead=keep_dead)
    encoder = graph.encoder
    kept = {name: entry.kept for name, entry in timed.left.items()}
    kept[encoder.name] = np.ones((*encoder.shape, encoder.levels), bool)
    sources = _Sources({encoder.name: encoder}, kept, {encoder.name: 0}, encoder.neurons)
    lowered: list[NeuronLayer] = []
    violations: list[Violation] = []
    for layer in timed.layers:
        violations += ranges(layer, chip, graph.steps)
        need = bits_of_connections(layer.connections)
        bits = next((b for b in sorted(chip.weight_bits) if b >= need), max(chip.weight_bits))
        lowered.append(_layer(layer, timed.ticks[layer.name], bits, timed.left[layer.name], sources))
        sources.populations[layer.name], sources.bases[layer.name] = layer, sources.elements
        sources.elements += layer.neurons
    return tuple(lowered), tuple(violations)


def verify_neurons(neurons: tuple[NeuronLayer, ...], graph: LayerGraph, chip: ChipSpec) -> None:
    """Assert the rules of lowered layers.

    Every element is at most one neuron of one output position; tiles hold sources that were kept; and all axons of a neuron
    carry the same frame: every spike can be delayed until the tick of its reader.
    """
    base = graph.encoder.neurons
    size = base + sum(entry.layer.neurons for entry in neurons)
    fires = np.zeros(size, np.int64)  # tick in which each source sends the first step; the readout layer is none
    there = np.ones(size, bool)  # what was removed is no source
    for entry in neurons:
        name, total = entry.layer.name, entry.layer.neurons
        assert entry.base == base, name
        hits = np.bincount(entry.output_elements, minlength=total)
        assert len(hits) == total, name
        assert hits.max() <= 1, f"{name}: no neuron twice"
        assert entry.output_tiles.min() >= -1, name
        assert entry.output_tiles.max() < len(entry.tile_offset) - 1, name
        assert ((entry.tile_sources >= 0) & (entry.tile_sources < base)).all(), f"{name}: reads before it"
        delay = entry.tick - fires[entry.tile_sources]
        assert ((delay >= 1) & (delay <= chip.max_delay)).all(), f"{name}: a spike comes in the tick of its reader"
        assert there[entry.tile_sources].all(), f"{name}: reads a neuron that is not there"
        if entry.layer.kind == "relay":
            _verify_relay(entry)
        else:
            assert entry.neurons + entry.removed.neurons == total, name
        fires[base : base + total] = entry.tick - _delay(entry.layer)
        there[base : base + total] = hits > 0
        base += total


def _verify_relay(entry: NeuronLayer) -> None:
    """Assert that each neuron repeats, one for one, the neuron of the same number of the population that it reads."""
    name = entry.layer.name
    assert not entry.removed.neurons, name
    assert (entry.thresholds[entry.output_elements] == 1).all(), f"{name}: a relay's threshold is 1"
    outputs = np.flatnonzero(entry.output_size)
    assert (entry.output_size[outputs] == 1).all(), name
    tiles = entry.output_tiles[outputs]
    assert tiles.shape[1] == 1, f"{name}: a relay has one axon"
    assert (entry.tile_width[tiles[:, 0]] == 1).all(), f"{name}: a relay has one axon"
    elements = entry.output_elements[entry.output_offset[outputs]]
    source = entry.tile_sources[entry.tile_offset[tiles[:, 0]]]
    assert len(np.unique(source - elements)) <= 1, f"{name}: repeats another neuron than its own"


def _delay(layer: Layer) -> int:
    return layer.dynamics.delay if layer.dynamics else 0


@dataclass(slots=True)
class _Sources:
    """The populations that were lowered so far: which of their neurons are kept, and the number of their first element."""

    populations: dict[str, Population]
    kept: dict[str, npt.NDArray[np.bool_]]  # (channels, rows, columns, levels), of all populations
    bases: dict[str, int]
    elements: int  # of all of them


def _layer(layer: Layer, tick: int, bits: int, left: Survivors, sources: _Sources) -> NeuronLayer:
    """Lower a layer: group its neurons by output position, and the axons of its connections into tiles."""
    by_level = any(link.level_wise for link in layer.connections)
    groups = (
        layer.neurons // (layer.shape[1] * layer.shape[2]) if by_level else lcm(*(link.groups for link in layer.connections))
    )
    outputs = _outputs(layer, groups, by_level=by_level)
    stays = left.kept.reshape(-1)[outputs]
    taps: list[Int] = []
    tiles: list[_Tiles] = []
    link_offset = [0]
    for link in layer.connections:
        read = _tiles(link, sources, by_level=by_level)
        taps.append(_taps(link, sources.populations[link.source], layer, groups, read.groups, link_offset[-1]))
        tiles.append(read)
        link_offset.append(link_offset[-1] + len(read.width))
    output_tiles, width = np.concatenate(taps, axis=1), np.concatenate([read.width for read in tiles])
    # nothing is read by an empty output position, nor from an empty tile
    output_tiles[~stays.any(axis=1)] = -1
    output_tiles[np.where(output_tiles >= 0, width[output_tiles], 0) == 0] = -1
    return NeuronLayer(
        layer=layer,
        tick=tick,
        weight_bits=bits,
        fan_in=int(np.where(output_tiles >= 0, width[output_tiles], 0).sum(axis=1).max()),
        groups=groups,
        output_offset=np.concatenate([[0], np.cumsum(stays.sum(axis=1))]),
        output_elements=outputs[stays].astype(np.int64),
        output_tiles=output_tiles,
        tile_offset=np.concatenate([[0], np.cumsum(width)]),
        tile_sources=np.concatenate([read.sources for read in tiles]),
        tile_rows=np.concatenate([read.rows for read in tiles]),
        link_offset=np.array(link_offset),
        base=sources.elements,
        thresholds=left.thresholds.reshape(-1),
        constants=_constants(layer),
        removed=left.removed,
        synapses=sum(_synapses(link, left.kept, sources.kept[link.source]) for link in layer.connections),
        ceilings=None if left.ceilings is None else _ceilings(left.ceilings, left.kept),
    )


def _ceilings(of_features: Int, kept: npt.NDArray[np.bool_]) -> Int:
    """Spread the ceilings of features to the neurons of their highest level."""
    found = np.full(kept.shape, UNREACHED, np.int64)
    found[..., -1] = of_features
    return found.reshape(-1)


def _constants(layer: Layer) -> tuple[Int, Int, Int]:
    """Amount, start and bias of each element; zeros without a neuron model."""
    if layer.dynamics is None:
        zeros = np.zeros(layer.neurons, np.int64)
        return zeros, zeros, zeros
    amount, start, bias = (
        np.ascontiguousarray(values[layer.border].transpose(2, 0, 1)).reshape(-1) for values in layer.dynamics.constants
    )
    return amount, start, bias


def _outputs(layer: Layer, groups: int, *, by_level: bool) -> Int:
    """Elements of each output position, (outputs, neurons): through the map, at each place through the groups."""
    channels, rows, columns = layer.shape
    levels = max(layer.levels, 1)
    elements = np.arange(channels * rows * columns * levels).reshape(channels, rows * columns, levels)
    if by_level:
        return elements.transpose(1, 0, 2).reshape(-1, 1)  # (place, channel, level): one neuron each
    per = channels // groups
    return elements.reshape(groups, per, rows * columns, levels).transpose(2, 0, 1, 3).reshape(-1, per * levels)


@dataclass(frozen=True, slots=True, eq=False)
class _Tiles:
    """The tiles of one connection: group by group, and in a group position by position."""

    groups: int
    width: Int  # kept axons of each tile
    sources: Int  # global elements of all their axons
    rows: Int  # input channel in its group of each axon


def _tiles(link: Connection, known: _Sources, *, by_level: bool) -> _Tiles:
    """Gather the kept axons of each tile of a connection."""
    source = known.populations[link.source]
    positions = source.shape[1] * source.shape[2]
    own = np.arange(source.neurons).reshape(source.shape[0], positions, source.levels)
    if by_level:
        tile = own.transpose(0, 2, 1).reshape(-1, 1)  # ((channel, level), position): one axon a tile
        groups = source.shape[0] * source.levels
    else:
        groups = link.groups
        by_group = own.reshape(groups, -1, positions, source.levels).transpose(0, 2, 1, 3)
        tile = by_group.reshape(groups * positions, -1)
    mine = known.kept[link.source].reshape(-1)[tile]
    rows = tile[mine] // (positions * source.levels) % link.weights.shape[1]
    return _Tiles(groups, mine.sum(axis=1), tile[mine] + known.bases[link.source], rows)


def _taps(link: Connection, source: Population, layer: Layer, groups: int, link_groups: int, first: int) -> Int:
    """Tile that each output position reads at each tap of a connection, -1 in the padding; ``first`` is its first tile."""
    taken = link.taps(source.shape[1:], layer.shape[1:])
    group = np.arange(groups) * link_groups // groups
    at = taken[:, None, :] + (group * source.shape[1] * source.shape[2])[None, :, None] + first
    return np.where(taken[:, None, :] >= 0, at, -1).reshape(-1, taken.shape[1])


def _synapses(link: Connection, kept: npt.NDArray[np.bool_], sources: npt.NDArray[np.bool_]) -> int:
    """Count synapses: non-zero weights, one for each axon and neuron that they connect."""
    channels, rows, columns, _ = kept.shape
    taps = link.taps(sources.shape[1:3], (rows, columns))  # type: ignore[arg-type]
    outputs, inputs = channels // link.groups, link.weights.shape[1]
    neurons = (kept if link.level_wise else kept.sum(axis=-1, keepdims=True)).reshape(channels, rows * columns, -1)
    axons = (sources if link.level_wise else sources.sum(axis=-1, keepdims=True)).astype(np.float64)
    axons = axons.reshape(len(axons), -1, axons.shape[-1])
    axons = np.concatenate([axons, np.zeros_like(axons[:, :1])], axis=1)  # index -1: the padding
    total = 0
    for group in range(link.groups):
        mine = slice(group * outputs, (group + 1) * outputs)
        there = (link.weights[mine] != 0).reshape(outputs, inputs, -1)
        for tap in range(there.shape[2]):
            read = axons[group * inputs : (group + 1) * inputs, taps[:, tap]].reshape(inputs, -1)
            total += int((neurons[mine].reshape(outputs, -1) * (there[:, :, tap].astype(np.float64) @ read)).sum())
    return total
