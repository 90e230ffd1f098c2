"""Neurons to cores: consumers first, because they decide how many target entries a neuron needs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from qsnnc.errors import Violation
from qsnnc.ir.cores import CoreGraph, CoreLayer
from qsnnc.ir.layers import Int, LayerGraph
from qsnnc.lower.neurons import NeuronLayer
from qsnnc.partition.bounds import Bound, layer_bound
from qsnnc.partition.fill import Filling, fill


def partition(
    graph: LayerGraph, neurons: tuple[NeuronLayer, ...], chip: ChipSpec
) -> tuple[CoreGraph | None, tuple[CoreLayer, ...], tuple[Violation, ...]]:
    """Fill cores, layer by layer from the last to the first.

    Returns
    -------
    cores : CoreGraph or None
        None where something does not fit.
    layers : tuple of CoreLayer
        What is known of each layer, fitting or not.
    violations : tuple of Violation
    """
    populations = {population.name: population for population in (graph.encoder, *graph.layers)}
    sources = neurons[-1].base + neurons[-1].neurons
    entries = np.zeros(sources, np.int64)
    fillings: list[Filling | None] = []
    summaries: list[CoreLayer] = []
    violations: list[Violation] = []
    total = 0
    for layer in reversed(neurons):
        asked = entries[layer.base : layer.base + layer.neurons]
        found = _does_not_fit(layer, chip, asked)
        bound = layer_bound(layer, populations, chip, int(asked.sum())) if found is None else None
        filling = None
        if found is None and bound is not None and bound.cores <= chip.cores:
            filling = fill(layer, chip, asked, bound)
            for core in filling.cores:
                np.add.at(entries, _axon_sources(layer, core), 1)
        if found is not None:
            violations.append(found)
        fillings.append(filling)
        summaries.append(_summary(layer, filling, bound, found))
        total += summaries[-1].cores
    fillings.reverse()
    summaries.reverse()
    violations.reverse()
    if total > chip.cores:
        worst = max(range(len(summaries)), key=lambda i: summaries[i].bound)
        name = summaries[worst].layer.name
        violations.append(
            Violation(
                "cores",
                name,
                "cores",
                total,
                chip.cores,
                f"the network needs {'at least ' if None in fillings else ''}{total} cores, {name} alone "
                f"{summaries[worst].bound} (limited by {summaries[worst].limiting}); chip '{chip.name}' has {chip.cores}. "
                "Use a chip file with a larger grid, fewer activation levels (each takes a neuron), or narrower weights, "
                f"first in {name}.",
            )
        )
    if violations or any(filling is None for filling in fillings):
        return None, tuple(summaries), tuple(violations)
    complete = [filling for filling in fillings if filling is not None]
    return _assemble(graph, neurons, complete, tuple(summaries), chip), tuple(summaries), ()


def _does_not_fit(layer: NeuronLayer, chip: ChipSpec, asked: Int) -> Violation | None:
    """The first limit that a single neuron of the layer breaks."""
    name, widest = layer.layer.name, chip.max_fold * chip.axons
    if layer.fan_in > widest:
        return Violation(
            "fan-in",
            name,
            "axons",
            layer.fan_in,
            widest,
            f"a neuron needs {layer.fan_in} axons; chip '{chip.name}' allows {widest} ({chip.axons} rows "
            f"folded {chip.max_fold} times). "
            "Use a chip with more axons, a smaller kernel, fewer input channels or fewer levels in the layers it reads.",
        )
    fold = next(f for f in chip.folds if f * chip.axons >= layer.fan_in)
    if fold * layer.weight_bits > chip.columns:
        return Violation(
            "columns",
            name,
            "columns",
            fold * layer.weight_bits,
            chip.columns,
            f"a neuron needs {fold * layer.weight_bits} columns (fold {fold} x {layer.weight_bits} bits); "
            f"chip '{chip.name}' has {chip.columns}. Use narrower weights or a smaller fan-in.",
        )
    if asked.size and int(asked.max()) > chip.targets:
        return Violation(
            "targets",
            name,
            "targets",
            int(asked.max()),
            chip.targets,
            f"a neuron drives {int(asked.max())} axons; the target table of a core of chip '{chip.name}' has "
            f"{chip.targets} entries. "
            "Use a chip with larger tables, or fewer output channels or a larger stride in the layer that reads it.",
        )
    return None


def _summary(layer: NeuronLayer, filling: Filling | None, bound: Bound | None, violation: Violation | None) -> CoreLayer:
    return CoreLayer(
        layer=layer.layer,
        tick=layer.tick,
        weight_bits=layer.weight_bits,
        fan_in=layer.fan_in,
        fold=filling.fold if filling else bound.fold if bound else 0,
        cores=len(filling.cores) if filling else bound.cores if bound else 0,
        synapses=layer.synapses,
        bound=bound.cores if bound else 0,
        limiting=bound.limiting if bound else violation.limit if violation else "columns",
    )


def _axon_sources(layer: NeuronLayer, core: tuple) -> Int:  # type: ignore[type-arg]
    return np.concatenate([_sources(layer, int(block)) for block in _blocks(layer, core)])


def _sources(layer: NeuronLayer, block: int) -> Int:
    return layer.block_sources[layer.block_offset[block] : layer.block_offset[block + 1]]


def _blocks(layer: NeuronLayer, core: tuple) -> Int:  # type: ignore[type-arg]
    """Blocks that a core reads, each once, ascending."""
    blocks = np.unique(layer.site_blocks[[piece.site for piece in core]])
    return blocks[blocks >= 0]


def _assemble(
    graph: LayerGraph,
    neurons: tuple[NeuronLayer, ...],
    fillings: list[Filling],
    summaries: tuple[CoreLayer, ...],
    chip: ChipSpec,
) -> CoreGraph:
    """Write the cores out; a crossbar is written once for all cores that have the same one."""
    core_layer, core_fold, core_crossbar = [], [], []
    axons: list[Int] = []
    elements: list[Int] = []
    thresholds: list[Int] = []
    crossbars: list[npt.NDArray[np.int8]] = []
    index_of = np.full(neurons[-1].base + neurons[-1].neurons, -1, np.int64)  # global element to source
    index_of[: graph.encoder.neurons] = np.arange(graph.encoder.neurons)
    source = graph.encoder.neurons
    for number, (layer, filling) in enumerate(zip(neurons, fillings, strict=True)):
        known: dict[tuple[object, ...], int] = {}
        flat = _thresholds(layer)
        for core in filling.cores:
            blocks = _blocks(layer, core)
            mine = np.concatenate([layer.site_elements[p.site, p.first : p.last] for p in core])
            pattern = _pattern(layer, core, blocks)
            key = (
                pattern.tobytes(),
                tuple((int(layer.site_kind[p.site]), p.first, p.last) for p in core),
                layer.block_width[blocks].tobytes(),
            )
            if key not in known:
                known[key] = len(crossbars)
                crossbars.append(_crossbar(layer, core, blocks, pattern))
            core_layer.append(number)
            core_crossbar.append(known[key])
            sources = np.concatenate([_sources(layer, int(b)) for b in blocks])
            core_fold.append(next(f for f in chip.folds if f * chip.axons >= len(sources)))
            axons.append(sources)
            elements.append(mine)
            thresholds.append(flat[mine])
            index_of[layer.base + mine] = np.arange(source, source + len(mine))
            source += len(mine)
    axon_source = index_of[np.concatenate(axons)]
    assert (axon_source >= 0).all()
    return CoreGraph(
        layers=summaries,
        encoder_neurons=graph.encoder.neurons,
        core_layer=np.array(core_layer, np.int32),
        core_fold=np.array(core_fold, np.int32),
        core_crossbar=np.array(core_crossbar, np.int32),
        axon_offset=np.concatenate([[0], np.cumsum([len(part) for part in axons])]).astype(np.int64),
        axon_source=axon_source.astype(np.int32),
        neuron_offset=np.concatenate([[0], np.cumsum([len(part) for part in elements])]).astype(np.int64),
        neuron_element=np.concatenate(elements).astype(np.int32),
        neuron_threshold=np.concatenate(thresholds).astype(np.int32),
        crossbars=tuple(crossbars),
    )


def _thresholds(layer: NeuronLayer) -> Int:
    """Threshold of each element of a layer, in element order; 0 where potentials are read out."""
    ir = layer.layer
    if ir.readout:
        return np.zeros(ir.neurons, np.int64)
    return ir.thresholds[ir.border].transpose(2, 0, 1, 3).reshape(-1)


def _pattern(layer: NeuronLayer, core: tuple, blocks: Int) -> Int:  # type: ignore[type-arg]
    """Which block of the core stands at each tap of each of its sites, (sites, taps), -1 in the padding."""
    taps = layer.site_blocks[[piece.site for piece in core]]
    return np.where(taps >= 0, np.searchsorted(blocks, taps), -1)


def _crossbar(layer: NeuronLayer, core: tuple, blocks: Int, pattern: Int) -> npt.NDArray[np.int8]:  # type: ignore[type-arg]
    """Weights (axons, neurons) of a core."""
    offset = np.concatenate([[0], np.cumsum(layer.block_width[blocks])])
    weights = np.zeros((offset[-1], sum(p.last - p.first for p in core)), np.int8)
    column = 0
    for piece, taps in zip(core, pattern, strict=True):
        size = piece.last - piece.first
        for tap in np.flatnonzero(taps >= 0).tolist():
            at = int(taps[tap])
            rows = slice(int(offset[at]), int(offset[at + 1]))
            tile = layer.tile(int(layer.site_kind[piece.site]), tap, rows.stop - rows.start)
            weights[rows, column : column + size] += tile[:, piece.first : piece.last]
        column += size
    return weights
