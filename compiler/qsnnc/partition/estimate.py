"""Estimate cores from shapes and level ranges alone, for networks too large to write out their neurons.

Each feature's level is bounded over all inputs, which says how many of its neurons can change; a core with fold f and
weights of w bits holds columns // (f w) of them. Features that nothing reads are left out. No array here has an entry per
neuron.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil, lcm

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from qsnnc.errors import Violation
from qsnnc.ir.cores import CoreLayer, Removed
from qsnnc.ir.execute import fire, products, run
from qsnnc.ir.layers import Connection, Int, Layer, LayerGraph
from qsnnc.ir.weights import bits_of_connections
from qsnnc.lower.relays import depths
from qsnnc.lower.removal import any_of
from qsnnc.partition.alike import Map, crossed, kinds, readers_along, small

#: networks with more neurons than this, or more synapses, are only estimated if the estimate is beyond the chip: laying out
#: so many takes seconds to minutes
LARGE, DENSE = 50_000, 100_000_000
#: neurons, removed ones too, that are written out at most where few of them are left: some GB
WRITTEN_OUT = 1 << 26
#: how many times the chip's cores are clearly beyond it: the partition may save a few that the estimate counts
CLEARLY = 1.1
#: cores that are laid out in seconds: up to so many are counted exactly, whatever the chip has
LAID_OUT = 2048
#: cores that are laid out to answer a question, whatever the chip has: a minute and some GB
MOST_CORES = 1 << 16
#: parts of weights: what raises a potential, and what lowers it
SIDES = (lambda weights: np.maximum(weights, 0), lambda weights: np.minimum(weights, 0))


def too_large(graph: LayerGraph, chip: ChipSpec, *, whole: bool = True) -> tuple[CoreLayer, ...] | None:
    """Estimate all layers of a network that is too large to be laid out; None for any other.

    Small networks, and those of few cores, are left to the partition, which is exact, unless nearly all of their neurons
    would be written out only to be removed. So are large ones that may fit the chip, if they are to be compiled.

    Parameters
    ----------
    whole : bool
        It is to be compiled. If not, no more than `MOST_CORES` cores are laid out, however many the chip has.
    """
    few = CLEARLY * max(chip.cores, LAID_OUT)
    if not whole:
        few = min(few, MOST_CORES)
    if sum(sizes(graph, chip).values()) <= few or not costly(graph):
        return None
    found = estimate(graph, chip)
    beyond = sum(entry.cores for entry in found) > few or any(not entry.fold for entry in found)
    return found if beyond or mostly_removed(graph, found) else None


def mostly_removed(graph: LayerGraph, found: tuple[CoreLayer, ...]) -> bool:
    """Return whether a network has too many neurons to write them out for the few that are left."""
    return _neurons(graph) > max(WRITTEN_OUT, 4 * sum(entry.neurons for entry in found))


def _neurons(graph: LayerGraph) -> int:
    return sum(layer.neurons for layer in graph.layers)


def too_many_neurons(graph: LayerGraph) -> Violation:
    """Return the violation for a network whose few live neurons would fit, but not all of them in memory."""
    worst = max(graph.layers, key=lambda layer: layer.neurons)
    found = _neurons(graph)
    text = (
        f"has {worst.features:,} features of {worst.levels:,} levels, and the network {found:,} neurons, nearly all of "
        f"which cannot change the output; at most {WRITTEN_OUT:,} are examined one by one. Use fewer levels."
    )
    return Violation("neurons", worst.name, "neurons", found, WRITTEN_OUT, text)


def costly(graph: LayerGraph) -> bool:
    """Return whether a network is too large to be laid out just to see that it does not fit."""
    levels = {entry.name: max(1, entry.levels) for entry in (graph.encoder, *graph.layers)}
    links = [(layer, link) for layer in graph.layers for link in layer.connections]
    synapses = sum(max(1, layer.neurons) * link.weights[0].size * levels[link.source] for layer, link in links)
    return _neurons(graph) > LARGE or synapses > DENSE


def estimate(graph: LayerGraph, chip: ChipSpec) -> tuple[CoreLayer, ...]:
    """Estimate the cores of each layer from the neurons that can change and the axons that their output positions read."""
    live = _live(graph, _ranges(graph))
    found = []
    ticks = depths(graph)
    for layer in graph.layers:
        seen = small(layer, live, live[layer.name])
        kept, low, high = live[layer.name].at(seen.rows, seen.columns)
        bits = weight_bits(layer, chip)
        axons = _axons(seen.layer, live, kept)
        folds = np.array(chip.folds)
        fold = folds[np.minimum(np.searchsorted(folds * chip.axons, axons), len(folds) - 1)]  # (channels, rows, columns)
        room = np.maximum(1, chip.columns // (fold * bits))
        there = fits_on_core(int(axons.max()), int(fold.max()), bits, chip)
        neurons = kept * seen.counts
        cores = ceil(sum(Fraction(int(neurons[room == each].sum()), int(each)) for each in np.unique(room))) if there else 0
        dead, gone, constant = (
            int((each * seen.counts).sum())
            for each in (max(1, layer.levels) - high, high - kept, np.minimum(low, high - kept))
        )
        found.append(
            CoreLayer(
                layer=layer,
                tick=ticks[layer.name],
                weight_bits=bits,
                fan_in=int(axons.max()),
                fold=int(fold.max()) if there else 0,
                neurons=int(neurons.sum()),
                removed=Removed(dead, constant, gone - constant),
                zero_rows=0,
                cores=cores,
                synapses=_synapses(seen.layer, live, neurons),
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


def _ranges(graph: LayerGraph) -> dict[str, Map]:
    """Bound the level of each feature over all inputs: the smallest and the largest; 0 and 1 for the readout layer and for
    neurons with state."""
    source = graph.encoder
    known = {source.name: Map.full(source.shape, 0, source.levels)}
    for layer in graph.layers:
        if layer.readout or layer.dynamics is not None:
            known[layer.name] = Map.full(layer.shape, 0, 1)
            continue
        seen = small(layer, known)
        if all(link.level_wise for link in layer.connections):
            ends = [run(seen.layer, {name: entry.values[side][None] for name, entry in known.items()}) for side in (0, 1)]
            found = np.concatenate(ends)
        else:
            reach = np.zeros((2, *seen.layer.shape), np.int64)
            for link in seen.layer.connections:
                (up_low, up_high), (down_low, down_high) = products(link, known[link.source].values, SIDES, seen.layer.shape)
                reach += np.stack([up_low + down_high, up_high + down_low])
            found = fire(seen.layer, reach)
        known[layer.name] = Map.of(seen.rows, seen.columns, found)
    return known


def _live(graph: LayerGraph, ranges: dict[str, Map]) -> dict[str, Map]:
    """Count the neurons of each feature that can change and are read by one that can change, beside its range."""
    live: dict[str, Map] = {}
    changes: dict[str, Map] = {}
    readers: dict[str, list[tuple[Layer, Connection]]] = {entry.name: [] for entry in (graph.encoder, *graph.layers)}
    last = graph.layers[-1]
    for entry in (*reversed(graph.layers), graph.encoder):
        own, mine = ranges[entry.name], readers[entry.name]
        read = [
            [readers_along(link, axis, entry.shape[1 + axis], layer.shape[1 + axis]) for layer, link in mine]
            for axis in (0, 1)
        ]
        seen = [
            [(changes[layer.name].rows, changes[layer.name].columns)[axis].read_by(places)
             for (layer, _), places in zip(mine, read[axis], strict=True)]
            for axis in (0, 1)
        ]  # fmt: skip
        rows, columns = kinds([own.rows.of, *seen[0]]), kinds([own.columns.of, *seen[1]])
        low, high = own.at(rows, columns)
        kept, wanted = high - low, np.zeros(high.shape, bool)
        for (layer, link), down, across in zip(mine, *seen, strict=True):
            found = _read(link, changes[layer.name], down[rows.first], across[columns.first])
            wanted |= found
            if layer is last:  # no threshold takes a constant neuron's part
                kept = np.where(found, high, kept)
        if entry is not last and entry is not graph.encoder:
            kept = np.where(wanted, kept, 0)
        live[entry.name] = Map.of(rows, columns, np.stack([kept, low, high]))
        changes[entry.name] = Map.of(rows, columns, (kept > 0)[None].astype(np.int64))
        if isinstance(entry, Layer):
            for link in entry.connections:
                readers[link.source].append((entry, link))
    return live


def _read(link: Connection, changes: Map, rows: Int, columns: Int) -> npt.NDArray[np.bool_]:
    """Return whether a neuron that can change reads each channel of the source at some kinds of rows and columns.

    ``rows`` and ``columns`` are the kinds of the layer's that read them at each tap, -1 for none.
    """
    there = changes.values[0] > 0
    outputs, taps = len(there) // link.groups, link.weights[0, 0].size
    weights = (link.weights != 0).reshape(link.groups, outputs, -1)
    hit = any_of(weights, there.reshape(link.groups, outputs, -1)).reshape(-1, taps, there[0].size)
    places = crossed(rows, columns, len(changes.columns.first))
    found = np.zeros((len(hit), len(places)), bool)
    at, tap = np.nonzero(places >= 0)
    if len(at):
        first = np.flatnonzero(np.diff(at, prepend=-1))
        found[:, at[first]] = np.logical_or.reduceat(hit[:, tap, places[at, tap]], first, axis=1)
    return found.reshape(-1, len(rows), len(columns))


def _axons(layer: Layer, live: dict[str, Map], kept: Int) -> Int:
    """Count the axons that the output position of each feature reads, (channels, rows, columns)."""
    total = np.zeros(layer.shape, np.int64)
    for link in layer.connections:
        count = _counted(link, live)
        whole = count.reshape(link.groups, -1, count[0].size).sum(axis=1)
        whole = np.concatenate([whole, np.zeros((link.groups, 1), np.int64)], axis=1)  # the padding: at -1
        read = whole[:, link.taps(count.shape[1:], layer.shape[1:])].sum(axis=2)  # type: ignore[arg-type]
        total += np.repeat(read, layer.shape[0] // link.groups, axis=0).reshape(layer.shape)
    # an output position without neurons reads nothing; the channels of one group share their output positions
    groups = layer.shape[0] if layer.connections[0].level_wise else lcm(*(link.groups for link in layer.connections))
    there = (kept > 0).reshape(groups, -1, *layer.shape[1:]).any(axis=1)
    return np.where(np.repeat(there, layer.shape[0] // groups, axis=0), total, 0)


def _synapses(layer: Layer, live: dict[str, Map], neurons: Int) -> int:
    """Count synapses: non-zero weights, one for each axon and neuron that they connect."""
    there = (lambda weights: (weights != 0).astype(np.float64),)
    return sum(
        int((products(link, _counted(link, live)[None], there, layer.shape)[0, 0] * neurons).sum())
        for link in layer.connections
    )


def _counted(link: Connection, live: dict[str, Map]) -> Int:
    """Return how many neurons of each feature of the source can change; of one level, where that is all that is read."""
    count: Int = live[link.source].values[0]
    return np.minimum(count, 1) if link.level_wise else count
