"""Assign neurons to cores: consumers first, because they decide how many target entries a neuron needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

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

    sources: npt.NDArray[np.int32]  # global elements, axon by axon and core by core
    axons: Int  # (cores,): how many axons each core has
    elements: Int  # neuron by neuron
    neurons: Int  # (cores,)
    crossbar: Int  # (cores,): index into
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
            entries += np.bincount(cores.sources, minlength=len(entries))  # two connections to one source have an axon each
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


def bounded(
    graph: LayerGraph, neurons: tuple[NeuronLayer, ...], chip: ChipSpec
) -> tuple[tuple[CoreLayer, ...], tuple[Violation, ...]]:
    """Return what is known of each layer before any core is filled: no fewer cores, and neurons that fit no core.

    Target entries are not counted: they depend on the cores of the consumers.
    """
    populations = {graph.encoder.name: graph.encoder, **{entry.layer.name: entry.layer for entry in neurons}}
    summaries, violations = [], []
    for layer in neurons:
        found = _does_not_fit(layer, chip, np.zeros(0, np.int64))
        bound = layer_bound(layer, populations, chip, 0) if found is None else None
        violations += [found] if found else []
        summaries.append(_summary(layer, None, bound, found, 0))
    return tuple(summaries), tuple(violations)


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
    from qsnnc.partition.kernel import crossbar, sources  # numba, as in `fill`

    core, output, first, last = filling.slices.T
    width, size, kind = layer.tile_width, last - first, _kinds(layer)
    slices = np.searchsorted(core, np.arange(filling.cores + 1))
    # the tiles of each core in ascending order, and which of them stands at each tap of its slices, -1 in the padding
    taps = layer.output_tiles[output]
    pattern = np.full(taps.shape, -1, np.int64)
    read = taps >= 0
    one, place = np.unique((core[:, None] * len(width) + taps)[read], return_inverse=True)
    tiles = one % len(width)
    tile = np.searchsorted(one, np.arange(filling.cores + 1) * len(width))
    pattern[read] = place - np.broadcast_to(tile[core, None], taps.shape)[read]
    neurons = _spans(layer.output_offset[output] + first, size)
    neuron = _starts(size)[slices]
    channel, rows, taps_of = layer.channels(layer.output_elements)[neurons], layer.tile_rows, layer.kernel()
    group, kind = output % layer.groups, kind[tiles]
    known: dict[tuple[bytes, ...], int] = {}
    crossbars: list[npt.NDArray[np.int8]] = []
    wanted: list[npt.NDArray[np.bool_]] = []  # rows of each crossbar that some neuron has a weight for
    index = np.empty(filling.cores, np.int64)
    for number in range(filling.cores):
        mine, its = slice(slices[number], slices[number + 1]), slice(tile[number], tile[number + 1])
        columns = channel[neuron[number] : neuron[number + 1]]
        parts = pattern[mine], group[mine], size[mine], columns, kind[its]
        key = tuple(part.tobytes() for part in parts)
        if key not in known:
            known[key] = len(crossbars)
            held = rows[_spans(layer.tile_offset[tiles[its]], width[tiles[its]])]
            weights = np.zeros((len(held), len(columns)), np.int8)
            crossbar(taps_of, pattern[mine], _starts(width[tiles[its]]), held, _starts(size[mine]), columns, weights)
            wanted.append(np.asarray(weights.any(axis=1) | keep_zero_rows))
            crossbars.append(weights[wanted[-1]])
        index[number] = known[key]
    axons = np.array([len(held) for held in crossbars], np.int64)[index]
    found = np.empty(int(axons.sum()), np.int32)
    first_row = _starts(np.array([len(stays) for stays in wanted]))
    stays = np.concatenate([np.zeros(0, bool), *wanted]).view(np.uint8)
    whole = sources(layer.tile_offset, layer.tile_sources, tiles, tile, index, first_row, stays, found)
    return Written(
        found, axons, layer.output_elements[neurons], np.diff(neuron), index, tuple(crossbars), whole - len(found)
    )


def _starts(length: Int) -> Int:
    """Where ranges of the given lengths begin when they are put in a row, and where the last ends."""
    return np.concatenate([[0], np.cumsum(length)]).astype(np.int64)


def _spans(start: Int, length: Int) -> Int:
    """Concatenate the ranges that begin at ``start`` and have the given lengths."""
    before = np.cumsum(length) - length
    return np.asarray(np.repeat(start - before, length) + np.arange(int(length.sum())), np.int64)


def _kinds(layer: NeuronLayer) -> Int:
    """Number the tiles by their sequence of input channels: equal sequences get the same number."""
    known: dict[bytes, int] = {}
    rows, ends = layer.tile_rows.tobytes(), (layer.tile_offset * layer.tile_rows.itemsize).tolist()
    return np.array([known.setdefault(rows[first:last], len(known)) for first, last in pairwise(ends)], np.int64)


def _assemble(
    graph: LayerGraph,
    neurons: tuple[NeuronLayer, ...],
    written: list[Written],
    summaries: tuple[CoreLayer, ...],
    chip: ChipSpec,
) -> CoreGraph:
    """Number the cores, neurons and sources of all layers."""
    axons = np.concatenate([layer.axons for layer in written])
    neuron_element = np.concatenate([layer.elements for layer in written])
    neuron_layer = np.repeat(np.arange(len(written)), [len(layer.elements) for layer in written])
    element = np.array([layer.base for layer in neurons])[neuron_layer] + neuron_element
    index_of = np.full(_elements(neurons), -1, np.int32)  # global element to source
    index_of[: graph.encoder.neurons] = np.arange(graph.encoder.neurons)
    index_of[element] = graph.encoder.neurons + np.arange(len(element))
    axon_source = np.concatenate([index_of[layer.sources] for layer in written])
    assert (axon_source >= 0).all()

    def each(values: list[Int]) -> npt.NDArray[np.int32]:
        """Order the constants of all elements by neuron."""
        return np.asarray(np.concatenate([np.zeros(graph.encoder.neurons, np.int64), *values])[element], np.int32)

    first = np.concatenate([[0], np.cumsum([len(layer.crossbars) for layer in written])])
    return CoreGraph(
        layers=summaries,
        encoder_neurons=graph.encoder.neurons,
        core_layer=np.repeat(np.arange(len(written)), [len(layer.axons) for layer in written]).astype(np.int32),
        core_fold=np.array(chip.folds, np.int32)[np.searchsorted(np.array(chip.folds) * chip.axons, axons)],
        core_crossbar=np.concatenate([first[i] + layer.crossbar for i, layer in enumerate(written)]).astype(np.int32),
        axon_offset=_starts(axons),
        axon_source=axon_source,
        neuron_offset=_starts(np.concatenate([layer.neurons for layer in written])),
        neuron_element=neuron_element.astype(np.int32),
        neuron_threshold=each([layer.thresholds for layer in neurons]),
        neuron_constants=tuple(each([layer.constants[i] for layer in neurons]) for i in range(3)),
        crossbars=tuple(crossbar for layer in written for crossbar in layer.crossbars),
    )
