"""Assign neurons to cores: consumers first, because they decide how many target entries a neuron needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from qsnnc.errors import Violation
from qsnnc.ir.cores import CoreGraph, CoreLayer
from qsnnc.ir.layers import Int, LayerGraph
from qsnnc.lower.neurons import NeuronLayer
from qsnnc.partition.bounds import Bound, layer_bound
from qsnnc.partition.estimate import LAID_OUT, cores_violation
from qsnnc.partition.fill import Filling, fill
from qsnnc.partition.sharing import sharing_bound


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """The cores of a layer with all their axons; cores with equal crossbars share one."""

    sources: tuple[Int, ...]  # of each core's axons, global elements
    elements: tuple[Int, ...]
    crossbar: tuple[int, ...]  # index into
    crossbars: tuple[npt.NDArray[np.int8], ...]
    zero_rows: int


def partition(
    graph: LayerGraph,
    neurons: tuple[NeuronLayer, ...],
    chip: ChipSpec,
    *,
    keep_dead: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[CoreGraph | None, tuple[CoreLayer, ...], tuple[Violation, ...]]:
    """Fill cores, layer by layer from the last to the first.

    Parameters
    ----------
    keep_dead : bool
        Keep axons that no neuron of their core has a weight for.
    tell : callable, optional
        Is told which layer is being done.

    Returns
    -------
    cores : CoreGraph or None
        None if the network does not fit.
    layers : tuple of CoreLayer
        What is known of each layer, whether the network fits or not.
    violations : tuple of Violation
    """
    populations = {graph.encoder.name: graph.encoder, **{entry.layer.name: entry.layer for entry in neurons}}
    entries = np.zeros(_elements(neurons), np.int64)
    written: list[Written | None] = []
    summaries: list[CoreLayer] = []
    violations: list[Violation] = []
    for layer in reversed(neurons):
        tell(f"partition {layer.layer.name} ({len(written) + 1} of {len(neurons)} layers)")
        asked = entries[layer.base : layer.base + layer.layer.neurons]
        found = _does_not_fit(layer, chip, asked)
        bound = layer_bound(layer, populations, chip, int(asked.sum())) if found is None else None
        filling, cores = None, None
        if found is None and bound is not None and bound.cores <= most_written(chip):
            filling = fill(layer, chip, asked, bound)
            if filling.cores > bound.cores:
                bound = sharing_bound(layer, chip, bound)
            cores = _write(layer, filling, keep_zero_rows=keep_dead)
            for sources in cores.sources:
                np.add.at(entries, sources, 1)  # two connections to one source have an axon each
        if found is not None:
            violations.append(found)
        written.append(cores)
        summaries.append(_summary(layer, filling, bound, found, cores.zero_rows if cores else 0))
    written.reverse()
    summaries.reverse()
    violations.reverse()
    violations += too_many(tuple(summaries), chip)
    if violations or any(cores is None for cores in written):
        return None, tuple(summaries), tuple(violations)
    complete = [cores for cores in written if cores is not None]
    return _assemble(graph, neurons, complete, tuple(summaries), chip), tuple(summaries), ()


def too_many(layers: tuple[CoreLayer, ...], chip: ChipSpec) -> tuple[Violation, ...]:
    """Return the violation of a network that was laid out and needs more cores than the chip has."""
    if sum(entry.cores for entry in layers) <= chip.cores:
        return ()
    counted = all(entry.fold and entry.bound <= most_written(chip) for entry in layers)
    return (cores_violation(layers, chip, "" if counted else "at least"),)


def most_written(chip: ChipSpec) -> int:
    """Return up to how many cores, by its bound, a layer is written out, whether they fit or not."""
    return max(chip.cores, LAID_OUT)


def _does_not_fit(layer: NeuronLayer, chip: ChipSpec, asked: Int) -> Violation | None:
    """Find the first limit that a single neuron of the layer exceeds."""
    name, widest = layer.layer.name, chip.max_fold * chip.axons
    if layer.fan_in > widest:
        return Violation(
            "fan-in",
            name,
            "axons",
            layer.fan_in,
            widest,
            f"a neuron needs {layer.fan_in:,} axons; chip '{chip.name}' allows {widest:,} ({chip.axons:,} rows "
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
    if asked.size and int(asked.max()) > chip.max_fan_out:
        return Violation(
            "targets",
            name,
            "targets",
            int(asked.max()),
            chip.max_fan_out,
            f"a neuron drives {int(asked.max())} axons; chip '{chip.name}' allows {chip.max_fan_out} (the target table "
            f"of a core has {chip.targets} entries). "
            "Use a chip with larger tables, or fewer output channels or a larger stride in the layer that reads it.",
        )
    return None


def _elements(neurons: tuple[NeuronLayer, ...]) -> int:
    """Count the elements of all populations, including removed ones."""
    return neurons[-1].base + neurons[-1].layer.neurons


def _summary(
    layer: NeuronLayer, filling: Filling | None, bound: Bound | None, violation: Violation | None, zero_rows: int
) -> CoreLayer:
    return CoreLayer(
        layer=layer.layer,
        tick=layer.tick,
        weight_bits=layer.weight_bits,
        fan_in=layer.fan_in,
        fold=filling.fold if filling else bound.fold if bound else 0,
        neurons=layer.neurons,
        removed=layer.removed,
        zero_rows=zero_rows,
        cores=filling.cores if filling else bound.cores if bound else 0,
        synapses=layer.synapses,
        bound=bound.cores if bound else 0,
        limiting=bound.limiting if bound else violation.limit if violation else "columns",
    )


def _write(layer: NeuronLayer, filling: Filling, *, keep_zero_rows: bool) -> Written:
    """Write out the cores of a layer."""
    from qsnnc.partition.kernel import crossbar  # numba, as in `fill`

    known: dict[tuple[bytes, ...], tuple[int, npt.NDArray[np.bool_]]] = {}
    crossbars: list[npt.NDArray[np.int8]] = []
    sources, elements, index = [], [], []
    zero_rows = 0
    kind, width = _kinds(layer), layer.tile_width
    number_of = np.full(len(width) + 1, -1, np.int64)  # of a tile in its core; the last is the padding's
    channel, taps_of = layer.channels(layer.output_elements), layer.kernel()
    for slices in filling.by_core():
        output, first, last = slices.T
        taps = layer.output_tiles[output]
        tiles = np.sort(taps, axis=None)
        tiles = tiles[np.diff(tiles, prepend=-1) > 0]  # each once, without the padding's -1
        # which tile of the core stands at each tap of each of its output positions, -1 in the padding
        number_of[tiles] = np.arange(len(tiles))
        pattern = number_of[taps]
        neurons = _spans(layer.output_offset[output] + first, last - first)
        axons = _spans(layer.tile_offset[tiles], width[tiles])
        parts = pattern, output % layer.groups, last - first, channel[neurons], kind[tiles]
        key = tuple(part.tobytes() for part in parts)
        if key not in known:
            weights = np.zeros((len(axons), len(neurons)), np.int8)
            place = _starts(width[tiles]), layer.tile_rows[axons], _starts(last - first), channel[neurons]
            crossbar(taps_of, pattern, *place, weights)
            wanted = np.asarray(weights.any(axis=1) | keep_zero_rows)
            known[key] = len(crossbars), wanted
            crossbars.append(weights[wanted])
        number, wanted = known[key]
        zero_rows += int((~wanted).sum())
        sources.append(layer.tile_sources[axons][wanted])
        elements.append(layer.output_elements[neurons])
        index.append(number)
    return Written(tuple(sources), tuple(elements), tuple(index), tuple(crossbars), zero_rows)


def _starts(length: Int) -> Int:
    """Where ranges of the given lengths begin when they are put in a row, and where the last ends."""
    return np.concatenate([[0], np.cumsum(length)]).astype(np.int64)


def _spans(start: Int, length: Int) -> Int:
    """Concatenate the ranges that begin at ``start`` and have the given lengths."""
    before = np.cumsum(length) - length
    return np.asarray(np.repeat(start - before, length) + np.arange(int(length.sum())), np.int64)


def _kinds(layer: NeuronLayer) -> Int:
    """Number the tiles by their sequence of input channels: equal sequences get the same number."""
    width = layer.tile_width
    kind = np.zeros(len(width), np.int64)
    count = 0
    for size in np.unique(width).tolist():
        mine = np.flatnonzero(width == size)
        rows = layer.tile_rows[layer.tile_offset[mine][:, None] + np.arange(size)]
        _, number = np.unique(rows, axis=0, return_inverse=True) if size else (None, np.zeros(len(mine), np.int64))
        kind[mine] = count + number.reshape(-1)
        count += int(kind[mine].max()) + 1 - count
    return kind


def _assemble(
    graph: LayerGraph,
    neurons: tuple[NeuronLayer, ...],
    written: list[Written],
    summaries: tuple[CoreLayer, ...],
    chip: ChipSpec,
) -> CoreGraph:
    """Number the cores, neurons and sources of all layers."""
    axons = [part for layer in written for part in layer.sources]
    elements = [part for layer in written for part in layer.elements]
    neuron_element = np.concatenate(elements)
    neuron_layer = np.repeat(np.arange(len(written)), [sum(map(len, layer.elements)) for layer in written])
    element = np.array([layer.base for layer in neurons])[neuron_layer] + neuron_element
    index_of = np.full(_elements(neurons), -1, np.int64)  # global element to source
    index_of[: graph.encoder.neurons] = np.arange(graph.encoder.neurons)
    index_of[element] = graph.encoder.neurons + np.arange(len(element))
    axon_source = index_of[np.concatenate(axons)]
    assert (axon_source >= 0).all()

    def each(values: list[Int]) -> npt.NDArray[np.int32]:
        """Order the constants of all elements by neuron."""
        return np.concatenate([np.zeros(graph.encoder.neurons, np.int64), *values])[element].astype(np.int32)

    first = np.concatenate([[0], np.cumsum([len(layer.crossbars) for layer in written])])
    return CoreGraph(
        layers=summaries,
        encoder_neurons=graph.encoder.neurons,
        core_layer=np.repeat(np.arange(len(written)), [len(layer.sources) for layer in written]).astype(np.int32),
        core_fold=np.array([next(f for f in chip.folds if f * chip.axons >= len(part)) for part in axons], np.int32),
        core_crossbar=np.concatenate(
            [first[i] + np.array(layer.crossbar, np.int64) for i, layer in enumerate(written)]
        ).astype(np.int32),
        axon_offset=np.concatenate([[0], np.cumsum([len(part) for part in axons])]).astype(np.int64),
        axon_source=axon_source.astype(np.int32),
        neuron_offset=np.concatenate([[0], np.cumsum([len(part) for part in elements])]).astype(np.int64),
        neuron_element=neuron_element.astype(np.int32),
        neuron_threshold=each([layer.thresholds for layer in neurons]),
        neuron_constants=tuple(each([layer.constants[i] for layer in neurons]) for i in range(3)),
        crossbars=tuple(crossbar for layer in written for crossbar in layer.crossbars),
    )
