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
from qsnnc.frontend.weights import width
from qsnnc.ir.layers import Connection, Int, Layer, LayerGraph, Population


@dataclass(frozen=True, slots=True, eq=False)
class NeuronLayer:
    """One layer's neurons, as sites that read blocks of sources.

    ``site_blocks[s, t]`` is the block at tap t of site s, -1 in the padding; ``site_kind[s]`` says which sites have equal
    weights at equal taps (the group). Block b holds the sources ``block_sources[block_offset[b] : block_offset[b + 1]]``.
    """

    layer: Layer
    tick: int
    weight_bits: int
    fan_in: int  # axons of the widest site
    site_elements: Int  # (sites, neurons a site): which element of the layer each neuron is
    site_blocks: Int  # (sites, taps)
    site_kind: Int  # (sites,)
    block_offset: Int  # (blocks + 1,)
    block_sources: Int  # global element numbers: the population's base + element
    base: int  # global number of the layer's first element

    @property
    def neurons(self) -> int:
        """Neurons of the layer."""
        return int(self.site_elements.size)

    @property
    def block_width(self) -> Int:
        """Axons of each block."""
        return np.diff(self.block_offset)

    @property
    def synapses(self) -> int:
        """Non-zero weights, one for each axon and neuron that they join."""
        levels = max(self.layer.levels, 1)
        total, first = 0, 0
        for link in self.layer.connections:
            taps = link.weights.shape[2] * link.weights.shape[3]
            blocks = self.site_blocks[:, first : first + taps]
            if link.level_wise:
                total += int((blocks >= 0).sum())
            else:
                per_axon = int(self.block_width[blocks[blocks >= 0][0]]) // link.weights.shape[1]
                full = np.count_nonzero(link.weights.reshape(*link.weights.shape[:2], -1), axis=(0, 1))
                windows = (blocks >= 0).sum(axis=0) // (len(blocks) // (self.layer.shape[1] * self.layer.shape[2]))
                total += int(full @ windows) * per_axon * levels
            first += taps
        return total

    def tile(self, kind: int, tap: int, axons: int) -> npt.NDArray[np.int8]:
        """Weights (axons of a block, neurons of a site) at one tap."""
        for link in self.layer.connections:
            size = link.weights.shape[2] * link.weights.shape[3]
            if tap < size:
                return _tile(link, self.layer, kind, tap, self.site_elements.shape[1], axons)
            tap -= size
        raise AssertionError("no such tap")


def _tile(link: Connection, layer: Layer, kind: int, tap: int, neurons: int, axons: int) -> npt.NDArray[np.int8]:
    if link.level_wise:
        return np.ones((axons, neurons), np.int8)
    channels = layer.shape[0]
    levels = max(layer.levels, 1)
    mine = neurons // levels
    first = kind * mine
    kernel = link.weights.reshape(channels, link.weights.shape[1], -1)[first : first + mine, :, tap]
    per_channel = axons // kernel.shape[1]
    return np.repeat(np.repeat(kernel.T, per_channel, axis=0), levels, axis=1).astype(np.int8)


def lower(graph: LayerGraph, chip: ChipSpec) -> tuple[tuple[NeuronLayer, ...], tuple[Violation, ...]]:
    """Turn every layer's features into neurons, and check what does not depend on how cores are filled.

    Returns
    -------
    layers : tuple of NeuronLayer
    violations : tuple of Violation
        Weights, potentials or thresholds that the chip cannot hold; such layers are lowered at the chip's widest weights.
    """
    bases: dict[str, int] = {graph.encoder.name: 0}
    ticks: dict[str, int] = {graph.encoder.name: 0}
    populations: dict[str, Population] = {graph.encoder.name: graph.encoder}
    base = graph.encoder.neurons
    lowered: list[NeuronLayer] = []
    violations: list[Violation] = []
    for layer in graph.layers:
        tick = 1 + max(ticks[link.source] for link in layer.connections)
        for link in layer.connections:
            delay = tick - ticks[link.source]
            if delay > chip.max_delay:
                violations.append(
                    Violation(
                        "delay",
                        layer.name,
                        "cores",
                        delay,
                        chip.max_delay,
                        f"its arms differ by {delay} ticks; chip '{chip.name}' delays a spike by {chip.max_delay} at most. "
                        "Use a chip with longer delays or arms of more equal depth.",
                    )
                )
        violations += _ranges(layer, chip)
        need = max(width(link.weights) for link in layer.connections)
        bits = next((b for b in sorted(chip.weight_bits) if b >= need), max(chip.weight_bits))
        lowered.append(_layer(layer, tick, bits, populations, bases, base))
        bases[layer.name], ticks[layer.name], populations[layer.name] = base, tick, layer
        base += layer.neurons
    return tuple(lowered), tuple(violations)


def verify_neurons(neurons: tuple[NeuronLayer, ...], graph: LayerGraph) -> None:
    """Assert that every element is one neuron of one site, and every block holds sources that fire before."""
    base = graph.encoder.neurons
    fires = np.zeros(base, np.int64)  # tick of each source; a layer that is read out is none
    for entry in neurons:
        assert entry.base == base, entry.layer.name
        elements = np.sort(entry.site_elements.reshape(-1))
        assert (elements == np.arange(entry.layer.neurons)).all(), f"{entry.layer.name}: every neuron once"
        assert entry.site_blocks.min() >= -1, entry.layer.name
        assert entry.site_blocks.max() < len(entry.block_offset) - 1, entry.layer.name
        assert entry.block_sources.min() >= 0, entry.layer.name
        assert entry.block_sources.max() < base, f"{entry.layer.name}: a source comes before its reader"
        assert (fires[entry.block_sources] < entry.tick).all(), f"{entry.layer.name}: a source fires before its reader"
        fires = np.concatenate([fires, np.full(entry.layer.neurons, entry.tick)])
        base += entry.layer.neurons


def _ranges(layer: Layer, chip: ChipSpec) -> list[Violation]:
    """Weights, potentials and thresholds against the chip's widths."""
    found = []
    need = max(width(link.weights) for link in layer.connections)
    widest = max(chip.weight_bits)
    if need > widest:
        found.append(
            Violation(
                "weight-bits",
                layer.name,
                "columns",
                need,
                widest,
                f"its weights need {need} bits; chip '{chip.name}' has {widest} at most. Quantize them to fewer bits "
                "(a falling activation negates its weights, and -128 has no 8-bit negative).",
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
    layer: Layer, tick: int, bits: int, populations: dict[str, Population], bases: dict[str, int], base: int
) -> NeuronLayer:
    channels, rows, columns = layer.shape
    levels = max(layer.levels, 1)
    by_level = any(link.level_wise for link in layer.connections)
    groups = channels * levels if by_level else lcm(*(link.groups for link in layer.connections))
    elements = np.arange(channels * rows * columns * levels).reshape(channels, rows * columns, levels)
    if by_level:
        site_elements = elements.transpose(1, 0, 2).reshape(-1, 1)  # (position, channel, level) sites of one neuron
    else:
        per = channels // groups
        site_elements = elements.reshape(groups, per, rows * columns, levels).transpose(2, 0, 1, 3).reshape(-1, per * levels)
    kinds = np.tile(np.arange(groups), rows * columns)
    taps: list[Int] = []
    sources: list[Int] = []
    widths: list[Int] = []
    count = 0
    for link in layer.connections:
        source = populations[link.source]
        taken = link.taps(source.shape[1:], (rows, columns))
        positions = source.shape[1] * source.shape[2]
        own = np.arange(source.neurons).reshape(source.shape[0], positions, source.levels) + bases[link.source]
        if by_level:
            blocks = own.transpose(0, 2, 1).reshape(-1, 1)  # ((channel, level), position): one axon a block
            link_groups = source.shape[0] * source.levels
        else:
            link_groups = link.groups
            by_group = own.reshape(link_groups, -1, positions, source.levels).transpose(0, 2, 1, 3)
            blocks = by_group.reshape(link_groups * positions, -1)
        group = np.arange(groups) * link_groups // groups
        block = taken[:, None, :] + (group * positions)[None, :, None] + count
        taps.append(np.where(taken[:, None, :] >= 0, block, -1).reshape(-1, taken.shape[1]))
        sources.append(blocks.reshape(-1))
        widths.append(np.full(len(blocks), blocks.shape[1]))
        count += len(blocks)
    site_blocks = np.concatenate(taps, axis=1)
    width_of = np.concatenate(widths)
    read = np.where(site_blocks >= 0, width_of[site_blocks], 0).sum(axis=1)
    return NeuronLayer(
        layer=layer,
        tick=tick,
        weight_bits=bits,
        fan_in=int(read.max()),
        site_elements=site_elements.astype(np.int64),
        site_blocks=site_blocks,
        site_kind=kinds,
        block_offset=np.concatenate([[0], np.cumsum(width_of)]),
        block_sources=np.concatenate(sources),
        base=base,
    )
