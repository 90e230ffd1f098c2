"""Scatter and gather: levels become thermometer neurons, linear maps become axons that carry one bit each.

A *site* is a set of neurons that read the same axons: all output channels (of one group) of one position. A *block* is a
set of axons that always come together: all levels of all input channels (of one group) at one position. Sites and blocks
stay index maps; no synapse is written out here.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from qsnnc.errors import Violation
from qsnnc.frontend.linear.weight_grid import width
from qsnnc.ir.cores import Removed
from qsnnc.ir.layers import Connection, Int, Layer, LayerGraph, Population
from qsnnc.lower.relays import schedule
from qsnnc.lower.removal import Survivors, keep_all, survivors


@dataclass(frozen=True, slots=True, eq=False)
class NeuronLayer:
    """One layer's neurons, as sites that read blocks of sources.

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
        """Neurons that are left."""
        return len(self.site_elements)

    @property
    def site_size(self) -> Int:
        """Neurons of each site."""
        return np.diff(self.site_offset)

    @property
    def block_width(self) -> Int:
        """Axons of each block."""
        return np.diff(self.block_offset)

    def elements(self, site: int, first: int, last: int) -> Int:
        """Elements of some of a site's neurons."""
        start = int(self.site_offset[site])
        return self.site_elements[start + first : start + last]

    def channels(self, elements: Int) -> Int:
        """Output channel of each element."""
        return elements // (self.layer.neurons // self.layer.shape[0])

    def rows(self, block: int) -> Int:
        """Input channel of each axon of a block."""
        return self.block_rows[self.block_offset[block] : self.block_offset[block + 1]]

    def tile(self, tap: int, rows: Int, channels: Int) -> npt.NDArray[np.int8]:
        """Weights (axons, neurons) at one tap, by the axons' input channels and the neurons' output channels."""
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
    """Turn every layer's features into neurons, and check what does not depend on how cores are filled.

    Parameters
    ----------
    keep_dead : bool
        Keep the neurons that never fire, always fire, or that nothing reads.

    Returns
    -------
    layers : tuple of NeuronLayer
        Those of the graph, and the relays that carry spikes further than the chip can delay them.
    violations : tuple of Violation
        Weights, potentials or thresholds that the chip cannot hold; such layers are lowered at the chip's widest weights.
    """
    left = keep_all(graph) if keep_dead else survivors(graph)
    timed = schedule(graph, left, chip.max_delay, keep_dead=keep_dead)
    bases: dict[str, int] = {graph.encoder.name: 0}
    populations: dict[str, Population] = {graph.encoder.name: graph.encoder}
    base = graph.encoder.neurons
    kept = {name: entry.kept for name, entry in timed.left.items()}
    kept[graph.encoder.name] = np.ones((*graph.encoder.shape, graph.encoder.levels), bool)
    lowered: list[NeuronLayer] = []
    violations: list[Violation] = []
    for layer in timed.layers:
        violations += ranges(layer, chip)
        need = max(width(link.weights) for link in layer.connections)
        bits = next((b for b in sorted(chip.weight_bits) if b >= need), max(chip.weight_bits))
        tick, stays = timed.ticks[layer.name], timed.left[layer.name]
        lowered.append(_layer(layer, tick, bits, populations, bases, base, kept, stays))
        bases[layer.name], populations[layer.name] = base, layer
        base += layer.neurons
    return tuple(lowered), tuple(violations)


def verify_neurons(neurons: tuple[NeuronLayer, ...], graph: LayerGraph, chip: ChipSpec) -> None:
    """Assert that every element is at most one neuron of one site, that blocks hold sources that are there, and that all
    axons of a neuron carry the same frame: a spike of tick t waits the rest of the way to its reader's tick, and can.
    """
    base = graph.encoder.neurons
    size = base + sum(entry.layer.neurons for entry in neurons)
    fires = np.zeros(size, np.int64)  # tick of each source; a layer that is read out is none
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


def ranges(layer: Layer, chip: ChipSpec) -> list[Violation]:
    """Weights, potentials and thresholds against the chip's widths."""
    found = []
    need = max(width(link.weights) for link in layer.connections)
    widest = max(chip.weight_bits)
    if need > widest:
        if layer.kind == "add":
            advice = "It brings tensors together whose scales have no small ratio: give them one scale."
        else:
            advice = "Quantize them to fewer bits (a falling activation negates its weights: -128 has no 8-bit negative)."
        found.append(
            Violation(
                "weight-bits",
                layer.name,
                "columns",
                need,
                widest,
                f"its weights need {need} bits; chip '{chip.name}' has {widest} at most. {advice}",
            )
        )
    low, high = int(layer.reach[..., 0].min()), int(layer.reach[..., 1].max())
    # the verifier bounds the positive and the negative weights apart, which is what reach does for levels from 0
    if high > chip.potential_max or low < chip.potential_min:
        found.append(
            Violation(
                "potential",
                layer.name,
                "potential",
                max(high, -low),
                chip.potential_max,
                f"its potentials reach {low} to {high}; chip '{chip.name}' holds {chip.potential_min} to "
                f"{chip.potential_max}. "
                "Use fewer levels, fewer weight bits or a smaller fan-in.",
            )
        )
    if layer.thresholds.size:
        bottom, top = int(layer.thresholds.min()), int(layer.thresholds.max())
        if top > chip.threshold_max or bottom < chip.threshold_min:
            found.append(
                Violation(
                    "threshold",
                    layer.name,
                    "potential",
                    max(top, -bottom),
                    chip.threshold_max,
                    f"its thresholds reach {bottom} to {top}; chip '{chip.name}' holds {chip.threshold_min} to "
                    f"{chip.threshold_max}. Use fewer levels, fewer weight bits or a smaller fan-in.",
                )
            )
    return found


def _layer(
    layer: Layer,
    tick: int,
    bits: int,
    populations: dict[str, Population],
    bases: dict[str, int],
    base: int,
    kept: dict[str, npt.NDArray[np.bool_]],
    left: Survivors,
) -> NeuronLayer:
    channels, rows, columns = layer.shape
    levels = max(layer.levels, 1)
    by_level = any(link.level_wise for link in layer.connections)
    groups = channels * levels if by_level else lcm(*(link.groups for link in layer.connections))
    elements = np.arange(channels * rows * columns * levels).reshape(channels, rows * columns, levels)
    if by_level:
        sites = elements.transpose(1, 0, 2).reshape(-1, 1)  # (position, channel, level) sites of one neuron
    else:
        per = channels // groups
        sites = elements.reshape(groups, per, rows * columns, levels).transpose(2, 0, 1, 3).reshape(-1, per * levels)
    stays = left.kept.reshape(-1)[sites]
    taps: list[Int] = []
    blocks: list[Int] = []
    block_rows: list[Int] = []
    widths: list[Int] = []
    link_offset = [0]
    for link in layer.connections:
        source = populations[link.source]
        taken = link.taps(source.shape[1:], (rows, columns))
        positions = source.shape[1] * source.shape[2]
        own = np.arange(source.neurons).reshape(source.shape[0], positions, source.levels)
        if by_level:
            block = own.transpose(0, 2, 1).reshape(-1, 1)  # ((channel, level), position): one axon a block
            link_groups = source.shape[0] * source.levels
        else:
            link_groups = link.groups
            by_group = own.reshape(link_groups, -1, positions, source.levels).transpose(0, 2, 1, 3)
            block = by_group.reshape(link_groups * positions, -1)
        mine = kept[link.source].reshape(-1)[block]
        group = np.arange(groups) * link_groups // groups
        at = taken[:, None, :] + (group * positions)[None, :, None] + link_offset[-1]
        taps.append(np.where(taken[:, None, :] >= 0, at, -1).reshape(-1, taken.shape[1]))
        blocks.append(block[mine] + bases[link.source])
        block_rows.append(block[mine] // (positions * source.levels) % link.weights.shape[1])
        widths.append(mine.sum(axis=1))
        link_offset.append(link_offset[-1] + len(block))
    site_blocks = np.concatenate(taps, axis=1)
    width_of = np.concatenate(widths)
    # nothing is read by an empty site, nor from an empty block
    site_blocks[~stays.any(axis=1)] = -1
    site_blocks[np.where(site_blocks >= 0, width_of[site_blocks], 0) == 0] = -1
    read = np.where(site_blocks >= 0, width_of[site_blocks], 0).sum(axis=1)
    return NeuronLayer(
        layer=layer,
        tick=tick,
        weight_bits=bits,
        fan_in=int(read.max()),
        groups=groups,
        site_offset=np.concatenate([[0], np.cumsum(stays.sum(axis=1))]),
        site_elements=sites[stays].astype(np.int64),
        site_blocks=site_blocks,
        block_offset=np.concatenate([[0], np.cumsum(width_of)]),
        block_sources=np.concatenate(blocks),
        block_rows=np.concatenate(block_rows),
        link_offset=np.array(link_offset),
        base=base,
        thresholds=left.thresholds.reshape(-1),
        removed=left.removed,
        synapses=sum(_synapses(link, left.kept, kept[link.source]) for link in layer.connections),
    )


def _synapses(link: Connection, kept: npt.NDArray[np.bool_], sources: npt.NDArray[np.bool_]) -> int:
    """Non-zero weights, one for each axon and neuron that they join."""
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
