"""Estimate cores from shapes and level ranges alone, for networks too large to write out their neurons.

Each feature's level is bounded over all inputs, which says how many of its neurons can change; a core with fold f and
weights of w bits holds columns // (f w) of them. Features that nothing reads are left out. No array here has an entry per
neuron.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import lcm

import numpy as np

from chipsim.chip import ChipSpec
from qsnnc.errors import Violation
from qsnnc.ir.cores import CoreLayer, Removed
from qsnnc.ir.execute import convolve, fire, run
from qsnnc.ir.layers import Connection, Int, Layer, LayerGraph, Population
from qsnnc.ir.weights import bits_of_connections
from qsnnc.lower.relays import depths
from qsnnc.lower.removal import readers

#: networks with more neurons than this, or more synapses, are only estimated if the estimate is beyond the chip: laying out
#: so many takes seconds to minutes
LARGE, DENSE = 50_000, 100_000_000
#: neurons, removed ones too, that are written out at most where the estimate fits the chip: some GB
WRITTEN_OUT = 1 << 26
#: how many times the chip's cores are clearly beyond it: the partition may save a few that the estimate counts
CLEARLY = 1.1
#: cores that are laid out in seconds: up to so many are counted exactly, whatever the chip has
LAID_OUT = 2048


def too_large(graph: LayerGraph, chip: ChipSpec) -> tuple[CoreLayer, ...] | None:
    """Estimate all layers of a large network that clearly needs more cores than the chip has; None for any other.

    Small networks, and those of few cores, are left to the partition, which is exact, unless nearly all of their neurons
    would be written out only to be removed.
    """
    few = CLEARLY * max(chip.cores, LAID_OUT)
    if sum(sizes(graph, chip).values()) <= few or not costly(graph):
        return None
    found = estimate(graph, chip)
    beyond = sum(entry.cores for entry in found) > few or any(not entry.fold for entry in found)
    return found if beyond or _neurons(graph) > _written_out(chip) else None


def _neurons(graph: LayerGraph) -> int:
    return sum(layer.neurons for layer in graph.layers)


def _written_out(chip: ChipSpec) -> int:
    """Return how many neurons are written out at most to count those that are left."""
    return max(WRITTEN_OUT, 4 * chip.cores * chip.columns)


def too_many_neurons(graph: LayerGraph, chip: ChipSpec) -> Violation:
    """Return the violation for a network whose few live neurons would fit, but not all of them in memory."""
    worst = max(graph.layers, key=lambda layer: layer.neurons)
    found, most = _neurons(graph), _written_out(chip)
    text = (
        f"has {worst.features:,} features of {worst.levels:,} levels, and the network {found:,} neurons, nearly all of "
        f"which cannot change the output; at most {most:,} are examined one by one. Use fewer levels."
    )
    return Violation("neurons", worst.name, "neurons", found, most, text)


def costly(graph: LayerGraph) -> bool:
    """Return whether a network is too large to be laid out just to see that it does not fit."""
    levels = {entry.name: max(1, entry.levels) for entry in (graph.encoder, *graph.layers)}
    links = [(layer, link) for layer in graph.layers for link in layer.connections]
    synapses = sum(max(1, layer.neurons) * link.weights[0].size * levels[link.source] for layer, link in links)
    return _neurons(graph) > LARGE or synapses > DENSE


def estimate(graph: LayerGraph, chip: ChipSpec) -> tuple[CoreLayer, ...]:
    """Estimate the cores of each layer from the neurons that can change and the axons that their output positions read."""
    ranges = _ranges(graph)
    live = _live(graph, ranges)
    found = []
    ticks = depths(graph)
    for layer in graph.layers:
        low, high = ranges[layer.name]
        kept = live[layer.name]
        bits = weight_bits(layer, chip)
        axons = _axons(layer, live)
        folds = np.array(chip.folds)
        fold = folds[np.minimum(np.searchsorted(folds * chip.axons, axons), len(folds) - 1)]  # (channels, rows, columns)
        room = np.maximum(1, chip.columns // (fold * bits))
        there = fits_on_core(int(axons.max()), int(fold.max()), bits, chip)
        cores = int(np.ceil((kept / room).sum())) if there else 0
        dead, gone = int((max(1, layer.levels) - high).sum()), int((high - kept).sum())
        constant = int(np.minimum(low, high - kept).sum())
        found.append(
            CoreLayer(
                layer=layer,
                tick=ticks[layer.name],
                weight_bits=bits,
                fan_in=int(axons.max()),
                fold=int(fold.max()) if there else 0,
                neurons=int(kept.sum()),
                removed=Removed(dead, constant, gone - constant),
                zero_rows=0,
                cores=cores,
                synapses=_synapses(layer, live),
                bound=cores,
                limiting="axons" if int(axons.max()) > chip.max_fold * chip.axons else "columns",
            )
        )
    return tuple(found)


def fits_on_core(axons: int, fold: int, bits: int, chip: ChipSpec) -> bool:
    """Return whether a neuron with so many axons fits on a core, at the smallest fold that has them."""
    return axons <= chip.max_fold * chip.axons and fold * bits <= chip.columns


def violations(layers: tuple[CoreLayer, ...], chip: ChipSpec) -> tuple[Violation, ...]:
    """Return the violations of an estimate: single neurons that fit no core, then the number of cores."""
    found = []
    for entry in layers:
        name, widest = entry.layer.name, chip.max_fold * chip.axons
        if entry.fan_in > widest:
            sources = " and ".join(link.source for link in entry.layer.connections)
            text = (
                f"a neuron needs {entry.fan_in:,} axons; chip '{chip.name}' allows {widest:,} ({chip.axons:,} rows folded "
                f"{chip.max_fold} times). Use a chip with more axons, a smaller kernel, fewer input channels or fewer "
                f"levels in {sources}."
            )
            found.append(Violation("fan-in", name, "axons", entry.fan_in, widest, text))
        elif not entry.fold:
            fold = next(fold for fold in chip.folds if fold * chip.axons >= entry.fan_in)
            need = fold * entry.weight_bits
            text = (
                f"a neuron needs {need:,} columns (fold {fold} x {entry.weight_bits} bits); chip '{chip.name}' has "
                f"{chip.columns:,}. Use narrower weights or a smaller fan-in."
            )
            found.append(Violation("columns", name, "columns", need, chip.columns, text))
    if sum(entry.cores for entry in layers) > chip.cores:
        found.append(cores_violation(layers, chip, "about"))
    return tuple(found)


def cores_violation(layers: tuple[CoreLayer, ...], chip: ChipSpec, said: str) -> Violation:
    """Return the violation for too many cores: how many, and in which layer most.

    Parameters
    ----------
    said : str
        What comes before the number: ``about``, ``at least`` or nothing.
    """
    total = sum(entry.cores for entry in layers)
    worst = max(layers, key=lambda entry: entry.cores)
    name = worst.layer.name
    whole = "the network needs" if all(entry.fold for entry in layers) else "the layers that fit on a core need"
    text = (
        f"{whole} {said}{' ' if said else ''}{total:,} cores, {name} alone {worst.cores:,} (limited by {worst.limiting}); "
        f"chip '{chip.name}' has {chip.cores_said}."
    )
    return Violation("cores", name, "cores", total, chip.cores, text)


def sizes(graph: LayerGraph, chip: ChipSpec, levels: Mapping[str, int] | None = None) -> dict[str, int]:
    """Estimate the cores of each layer from shapes alone, with no neuron or axon left out.

    Parameters
    ----------
    levels : dict, optional
        Populations that would have no more than so many levels.
    """
    most = levels or {}
    count = {entry.name: min(entry.levels, most.get(entry.name, entry.levels)) for entry in (graph.encoder, *graph.layers)}
    found = {}
    for layer in graph.layers:
        axons = 0
        for link in layer.connections:
            per_group, rows, columns = link.weights.shape[1:]
            axons += rows * columns * (1 if link.level_wise else per_group * count[link.source])
        fold = next((f for f in chip.folds if f * chip.axons >= axons), chip.max_fold)
        room = max(1, chip.columns // (fold * weight_bits(layer, chip)))
        found[layer.name] = -(-layer.features * max(1, count[layer.name]) // room)
    return found


def weight_bits(layer: Layer, chip: ChipSpec) -> int:
    """Return the number of columns that a weight of the layer takes."""
    need = bits_of_connections(layer.connections)
    return next((bits for bits in sorted(chip.weight_bits) if bits >= need), max(chip.weight_bits))


def _ranges(graph: LayerGraph) -> dict[str, tuple[Int, Int]]:
    """Bound the level of each feature over all inputs, (channels, rows, columns) each; 0 and 1 for the readout layer and
    for neurons with state."""
    source = graph.encoder
    known = {source.name: (np.zeros(source.shape, np.int64), np.full(source.shape, source.levels, np.int64))}
    for layer in graph.layers:
        if layer.readout or layer.dynamics is not None:
            known[layer.name] = np.zeros(layer.shape, np.int64), np.ones(layer.shape, np.int64)
            continue
        if all(link.level_wise for link in layer.connections):
            low, high = (run(layer, {name: pair[side][None] for name, pair in known.items()})[0] for side in (0, 1))
            known[layer.name] = low, high
            continue
        low, high = np.zeros((1, *layer.shape), np.int64), np.zeros((1, *layer.shape), np.int64)
        for link in layer.connections:
            bottom, top = (end[None] for end in known[link.source])
            rising = replace(link, weights=np.maximum(link.weights, 0))
            least = convolve(link, bottom, layer.shape) if bottom.any() else 0
            up, both = (convolve(each, top - bottom, layer.shape) for each in (rising, link))
            low += least + both - up
            high += least + up
        known[layer.name] = fire(layer, low)[0], fire(layer, high)[0]
    return known


def _live(graph: LayerGraph, ranges: dict[str, tuple[Int, Int]]) -> dict[str, Int]:
    """Count the neurons of each feature that can change and are read by one that can change."""
    populations: dict[str, Population] = {entry.name: entry for entry in (graph.encoder, *graph.layers)}
    live = {name: high - low for name, (low, high) in ranges.items()}
    read = {name: np.zeros(entry.shape, bool) for name, entry in populations.items()}
    for layer in reversed(graph.layers):
        last = layer is graph.layers[-1]
        if not last:
            live[layer.name] = np.where(read[layer.name], live[layer.name], 0)
        changes = (live[layer.name] > 0)[..., None]
        for link in layer.connections:
            found = readers(link, changes, populations[link.source])[..., 0]
            read[link.source] |= found
            if last:  # no threshold takes a constant neuron's part
                live[link.source] = np.where(found, ranges[link.source][1], live[link.source])
    return live


def _axons(layer: Layer, live: dict[str, Int]) -> Int:
    """Count the axons that the output position of each feature reads, (channels, rows, columns)."""
    total = np.zeros(layer.shape, np.int64)
    for link in layer.connections:
        per_group, rows, columns = link.weights.shape[1:]
        ones = np.ones((link.groups, per_group, rows, columns), np.int64)
        count = np.minimum(live[link.source], 1) if link.level_wise else live[link.source]
        window = Connection(link.source, ones, link.strides, link.pads, link.dilations, link.groups)
        read = convolve(window, count[None], (link.groups, *layer.shape[1:]))[0]
        total += np.repeat(read, layer.shape[0] // link.groups, axis=0)
    # an output position without neurons reads nothing; the channels of one group share their output positions
    groups = layer.shape[0] if layer.connections[0].level_wise else lcm(*(link.groups for link in layer.connections))
    there = (live[layer.name] > 0).reshape(groups, -1, *layer.shape[1:]).any(axis=1)
    return np.where(np.repeat(there, layer.shape[0] // groups, axis=0), total, 0)


def _synapses(layer: Layer, live: dict[str, Int]) -> int:
    """Count synapses: non-zero weights, one for each axon and neuron that they connect."""
    total = 0
    for link in layer.connections:
        there = replace(link, weights=link.weights != 0)
        count = np.minimum(live[link.source], 1) if link.level_wise else live[link.source]
        total += int((convolve(there, count[None], layer.shape)[0] * live[layer.name]).sum())
    return total
