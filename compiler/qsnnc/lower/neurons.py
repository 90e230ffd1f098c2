"""Lower layers to spiking neurons: levels become thermometer neurons, and each axon carries one bit.

A *site* is an output position: the neurons of all output channels (of one group) at one position, which read the same
axons. A *block* is an input tile: the axons of all levels of all input channels (of one group) at one position, which
always go together. Sites and blocks stay index maps; no synapse is written out here.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from qsnnc.errors import Violation
from qsnnc.ir.cores import Removed
from qsnnc.ir.layers import Connection, Int, Layer, LayerGraph, Population
from qsnnc.ir.weights import bits_of_connections
from qsnnc.lower.ranges import ranges
from qsnnc.lower.relays import schedule
from qsnnc.lower.removal import Survivors, keep_all, survivors


@dataclass(frozen=True, slots=True, eq=False)
class NeuronLayer:
    """The neurons of a layer, as sites (output positions) that read blocks (input tiles) of sources.

    ``site_blocks[s, t]`` is the block at tap t of site s, -1 in the padding. Sites run position by position, and in a
    position group by group; those of one group have equal weights at equal taps. Site s holds the elements
    ``site_elements[site_offset[s] : site_offset[s + 1]]``, block b the sources ``block_sources[block_offset[b] :
    block_offset[b + 1]]``: fewer than the others, or none, where neurons were removed.
    """

    layer: Layer
    tick: int
    weight_bits: int
    fan_in: int  # axons of the widest site
    groups: int
    site_offset: Int  # (sites + 1,)
    site_elements: Int  # which element of the layer each neuron is
    site_blocks: Int  # (sites, taps)
    block_offset: Int  # (blocks + 1,)
    block_sources: Int  # global element numbers: the population's base + element
    block_rows: Int  # input channel in its group that each of them belongs to
    link_offset: Int  # (connections + 1,): each connection's blocks
    base: int  # global number of the layer's first element
    thresholds: Int  # (elements,)
    removed: Removed
    synapses: int

    @property
    def neurons(self) -> int:
        """Number of neurons that are kept."""
        return len(self.site_elements)

    @property
    def site_size(self) -> Int:
        """Number of neurons of each site."""
        return np.diff(self.site_offset)

    @property
    def block_width(self) -> Int:
        """Number of axons of each block."""
        return np.diff(self.block_offset)

    def elements(self, site: int, first: int, last: int) -> Int:
        """Return the elements of some of a site's neurons."""
        start = int(self.site_offset[site])
        return self.site_elements[start + first : start + last]

    def channels(self, elements: Int) -> Int:
        """Return the output channel of each element."""
        return elements // (self.layer.neurons // self.layer.shape[0])

    def rows(self, block: int) -> Int:
        """Return the input channel of each axon of a block."""
        return self.block_rows[self.block_offset[block] : self.block_offset[block + 1]]

    def tile(self, tap: int, rows: Int, channels: Int) -> npt.NDArray[np.int8]:
        """Return weights (axons, neurons) at one tap, by the axons' input channels and the neurons' output channels."""
        for link in self.layer.connections:
            size = link.weights.shape[2] * link.weights.shape[3]
            if tap < size:
                if link.level_wise:
                    return np.ones((len(rows), len(channels)), np.int8)
                kernel = link.weights[:, :, tap // link.weights.shape[3], tap % link.weights.shape[3]]
                return kernel[channels[None, :], rows[:, None]].astype(np.int8)
            tap -= size
        raise AssertionError("no such tap")


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
        violations += ranges(layer, chip)
        need = bits_of_connections(layer.connections)
        bits = next((b for b in sorted(chip.weight_bits) if b >= need), max(chip.weight_bits))
        lowered.append(_layer(layer, timed.ticks[layer.name], bits, timed.left[layer.name], sources))
        sources.populations[layer.name], sources.bases[layer.name] = layer, sources.elements
        sources.elements += layer.neurons
    return tuple(lowered), tuple(violations)


def verify_neurons(neurons: tuple[NeuronLayer, ...], graph: LayerGraph, chip: ChipSpec) -> None:
    """Assert the rules of lowered layers.

    Every element is at most one neuron of one site; blocks hold sources that were kept; and all axons of a neuron carry
    the same frame: every spike can be delayed until the tick of its reader.
    """
    base = graph.encoder.neurons
    size = base + sum(entry.layer.neurons for entry in neurons)
    fires = np.zeros(size, np.int64)  # tick of each source; the readout layer is none
    there = np.ones(size, bool)  # what was removed is no source
    for entry in neurons:
        name, total = entry.layer.name, entry.layer.neurons
        assert entry.base == base, name
        hits = np.bincount(entry.site_elements, minlength=total)
        assert len(hits) == total, name
        assert hits.max() <= 1, f"{name}: no neuron twice"
        assert entry.site_blocks.min() >= -1, name
        assert entry.site_blocks.max() < len(entry.block_offset) - 1, name
        assert ((entry.block_sources >= 0) & (entry.block_sources < base)).all(), f"{name}: reads before it"
        delay = entry.tick - fires[entry.block_sources]
        assert ((delay >= 1) & (delay <= chip.max_delay)).all(), f"{name}: a spike comes in the tick of its reader"
        assert there[entry.block_sources].all(), f"{name}: reads a neuron that is not there"
        if entry.layer.kind == "relay":
            _verify_relay(entry)
        else:
            assert entry.neurons + entry.removed.neurons == total, name
        fires[base : base + total] = entry.tick
        there[base : base + total] = hits > 0
        base += total


def _verify_relay(entry: NeuronLayer) -> None:
    """Assert that each neuron repeats, one for one, the neuron of the same number of the population that it reads."""
    name = entry.layer.name
    assert not entry.removed.neurons, name
    assert (entry.thresholds[entry.site_elements] == 1).all(), f"{name}: a relay's threshold is 1"
    sites = np.flatnonzero(entry.site_size)
    assert (entry.site_size[sites] == 1).all(), name
    blocks = entry.site_blocks[sites]
    assert blocks.shape[1] == 1, f"{name}: a relay has one axon"
    assert (entry.block_width[blocks[:, 0]] == 1).all(), f"{name}: a relay has one axon"
    elements = entry.site_elements[entry.site_offset[sites]]
    source = entry.block_sources[entry.block_offset[blocks[:, 0]]]
    assert len(np.unique(source - elements)) <= 1, f"{name}: repeats another neuron than its own"


@dataclass(slots=True)
class _Sources:
    """The populations that were lowered so far: which of their neurons are kept, and the number of their first element."""

    populations: dict[str, Population]
    kept: dict[str, npt.NDArray[np.bool_]]  # (channels, rows, columns, levels), of all populations
    bases: dict[str, int]
    elements: int  # of all of them


def _layer(layer: Layer, tick: int, bits: int, left: Survivors, sources: _Sources) -> NeuronLayer:
    """Lower a layer: its output positions as sites, the input positions of its connections as blocks."""
    by_level = any(link.level_wise for link in layer.connections)
    groups = (
        layer.neurons // (layer.shape[1] * layer.shape[2]) if by_level else lcm(*(link.groups for link in layer.connections))
    )
    sites = _sites(layer, groups, by_level=by_level)
    stays = left.kept.reshape(-1)[sites]
    taps: list[Int] = []
    blocks: list[_Blocks] = []
    link_offset = [0]
    for link in layer.connections:
        read = _blocks(link, sources, by_level=by_level)
        taps.append(_taps(link, sources.populations[link.source], layer, groups, read.groups, link_offset[-1]))
        blocks.append(read)
        link_offset.append(link_offset[-1] + len(read.width))
    site_blocks, width = np.concatenate(taps, axis=1), np.concatenate([read.width for read in blocks])
    # nothing is read by an empty site, nor from an empty block
    site_blocks[~stays.any(axis=1)] = -1
    site_blocks[np.where(site_blocks >= 0, width[site_blocks], 0) == 0] = -1
    return NeuronLayer(
        layer=layer,
        tick=tick,
        weight_bits=bits,
        fan_in=int(np.where(site_blocks >= 0, width[site_blocks], 0).sum(axis=1).max()),
        groups=groups,
        site_offset=np.concatenate([[0], np.cumsum(stays.sum(axis=1))]),
        site_elements=sites[stays].astype(np.int64),
        site_blocks=site_blocks,
        block_offset=np.concatenate([[0], np.cumsum(width)]),
        block_sources=np.concatenate([read.sources for read in blocks]),
        block_rows=np.concatenate([read.rows for read in blocks]),
        link_offset=np.array(link_offset),
        base=sources.elements,
        thresholds=left.thresholds.reshape(-1),
        removed=left.removed,
        synapses=sum(_synapses(link, left.kept, sources.kept[link.source]) for link in layer.connections),
    )


def _sites(layer: Layer, groups: int, *, by_level: bool) -> Int:
    """Elements of each site, (sites, neurons): position by position, and in a position group by group."""
    channels, rows, columns = layer.shape
    levels = max(layer.levels, 1)
    elements = np.arange(channels * rows * columns * levels).reshape(channels, rows * columns, levels)
    if by_level:
        return elements.transpose(1, 0, 2).reshape(-1, 1)  # (position, channel, level) sites of one neuron
    per = channels // groups
    return elements.reshape(groups, per, rows * columns, levels).transpose(2, 0, 1, 3).reshape(-1, per * levels)


@dataclass(frozen=True, slots=True, eq=False)
class _Blocks:
    """The blocks of one connection: group by group, and in a group position by position."""

    groups: int
    width: Int  # kept axons of each block
    sources: Int  # global elements of all their axons
    rows: Int  # input channel in its group of each axon


def _blocks(link: Connection, known: _Sources, *, by_level: bool) -> _Blocks:
    """Gather the kept axons of each block of a connection."""
    source = known.populations[link.source]
    positions = source.shape[1] * source.shape[2]
    own = np.arange(source.neurons).reshape(source.shape[0], positions, source.levels)
    if by_level:
        block = own.transpose(0, 2, 1).reshape(-1, 1)  # ((channel, level), position): one axon a block
        groups = source.shape[0] * source.levels
    else:
        groups = link.groups
        by_group = own.reshape(groups, -1, positions, source.levels).transpose(0, 2, 1, 3)
        block = by_group.reshape(groups * positions, -1)
    mine = known.kept[link.source].reshape(-1)[block]
    rows = block[mine] // (positions * source.levels) % link.weights.shape[1]
    return _Blocks(groups, mine.sum(axis=1), block[mine] + known.bases[link.source], rows)


def _taps(link: Connection, source: Population, layer: Layer, groups: int, link_groups: int, first: int) -> Int:
    """Block that each site reads at each tap of a connection, -1 in the padding; ``first`` is its first block."""
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
