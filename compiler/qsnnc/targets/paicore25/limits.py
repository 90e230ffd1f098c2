"""What a network breaks of the chip: each with the layer, what it needs, what the chip has and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from chipsim.chip import PaicoreSpec
from qsnnc.errors import Violation
from qsnnc.ir.cores import CoreLayer
from qsnnc.ir.layers import Layer, LayerGraph
from qsnnc.targets.paicore25.layout import Group
from qsnnc.targets.paicore25.plan import Filled, TooLarge
from qsnnc.targets.paicore25.vectors import width_of

#: elements whose potentials can be told apart where they arrive: 32 addresses each, 512 << max_lcn of them
OUTPUT_BITS = 32
#: potentials that one row of a core's memory holds
POTENTIALS_PER_ROW = 4
#: how many times the chip a network has to be to be refused by its shapes
HOPELESS = 8


def weight_width(layer: Layer, chip: PaicoreSpec) -> tuple[int, bool] | None:
    """Bits of a layer's weights on this chip, and whether they are signed; None where none holds them."""
    return width_of(np.concatenate([link.weights.reshape(-1) for link in layer.connections]), chip.weight_bits)


def steps(graph: LayerGraph, chip: PaicoreSpec) -> tuple[Violation, ...]:
    """Refuse frames of several steps and neurons that keep their potentials, which this target does not lay out."""
    found = []
    for layer in graph.layers:
        if graph.steps > 1 or layer.dynamics is not None:
            text = (
                f"frames of {graph.steps} steps, neuron model {'yes' if layer.dynamics else 'no'}; chip '{chip.name}' is "
                "compiled for frames of one step without. Use --chip xbar1152."
            )
            found.append(Violation("steps", layer.name, "neuron", graph.steps, 1, text))
    return tuple(found)


def ranges(graph: LayerGraph, chip: PaicoreSpec) -> tuple[Violation, ...]:
    """Weights, potentials and outputs against the chip's widths."""
    found = []
    for layer in graph.layers:
        if weight_width(layer, chip) is None:
            low = min(int(link.weights.min(initial=0)) for link in layer.connections)
            high = max(int(link.weights.max(initial=0)) for link in layer.connections)
            widest = max(chip.weight_bits)
            advice = (
                f"its weights are {low} to {high}; chip '{chip.name}' has {widest} bits at most. Quantize them to fewer bits"
                f"{', or bring tensors together whose scales have a small ratio' if layer.kind == 'add' else ''}."
            )
            found.append(Violation("weight-bits", layer.name, "weights", max(high, -low), 1 << (widest - 1), advice))
        low, high = int(layer.reach[..., 0].min()), int(layer.reach[..., 1].max())
        if high > chip.potential_max or low < chip.potential_min:
            advice = (
                f"its potentials reach {low} to {high}; chip '{chip.name}' holds {chip.potential_min} to "
                f"{chip.potential_max}. Use fewer levels or narrower weights."
            )
            found.append(Violation("potential", layer.name, "potential", max(high, -low), chip.potential_max, advice))
    last = graph.layers[-1]
    most = (512 << chip.max_lcn) // OUTPUT_BITS
    if last.features > most:
        advice = (
            f"it reads out {last.features:,} potentials; chip '{chip.name}' has addresses for {most:,} of 32 bits. "
            f"Pool them, or end the network earlier."
        )
        found.append(Violation("outputs", last.name, "outputs", last.features, most, advice))
    return tuple(found)


def narrowed(graph: LayerGraph, chip: PaicoreSpec) -> LayerGraph:
    """Return the graph with weights cut off at the chip's widest, to see what else it would break with narrower ones."""
    bits = max(chip.weight_bits)

    def cut(layer: Layer) -> Layer:
        if weight_width(layer, chip) is not None:
            return layer
        signed = bits > 1 and any(link.weights.min(initial=0) < 0 for link in layer.connections)
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        links = (replace(link, weights=np.clip(link.weights, low, high)) for link in layer.connections)
        return replace(layer, connections=tuple(links))

    return replace(graph, layers=tuple(map(cut, graph.layers)))


def most_positions(graph: LayerGraph, chip: PaicoreSpec, coding: str) -> tuple[Violation, ...]:
    """Whether potentials alone, one a feature or a level, take many times the rows of the chip.

    Removal of dead neurons is not awaited: it would have to leave fewer than one in `HOPELESS`.
    """
    words = (1 << max(chip.input_bits)) - 1 if coding != "thermometer" else 0  # the largest level that a word can hold
    neurons = {layer.name: layer.features if layer.levels <= words else layer.neurons for layer in graph.layers}
    rows = {name: -(-count // POTENTIALS_PER_ROW) for name, count in neurons.items()}
    need = -(-sum(rows.values()) // chip.memory_rows)
    if need <= HOPELESS * chip.cores:
        return ()
    largest = max(rows, key=lambda name: rows[name])
    advice = (
        f"potentials alone, {POTENTIALS_PER_ROW} a row, need {need:,} cores; chip '{chip.name}' has {chip.cores_said}. This "
        f"layer has {neurons[largest]:,}. Use fewer levels, channels or positions."
    )
    return (Violation("cores", largest, "cores", need, chip.cores, advice),)


def no_layout(layer: str) -> Violation:
    """Sources whose windows move apart."""
    advice = (
        "it reads maps at strides whose ratio another layer contradicts, so that no one step of a fold moves all its "
        "windows. Give the branches the same strides, or merge them elsewhere."
    )
    return Violation("layout", layer, "layout", 1, 0, advice)


def too_large(part: TooLarge, chip: PaicoreSpec) -> Violation:
    """An input map, or one neuron's weights, that no core holds."""
    if part.limit == "inputs":
        advice = (
            f"a core that holds its input map needs {part.found:,} input bits; chip '{chip.name}' has {part.allowed:,}. Use "
            f"fewer levels, channels or positions before it."
        )
        return Violation("inputs", part.layer, "inputs", part.found, part.allowed, advice)
    advice = (
        f"one neuron with its weights needs {part.found:,} rows; a core of chip '{chip.name}' has {part.allowed:,}. Use a "
        f"smaller kernel, fewer channels or narrower weights."
    )
    return Violation("rows", part.layer, "rows", part.found, part.allowed, advice)


def runs(groups: Sequence[Group], filled: Sequence[Sequence[Filled]], chip: PaicoreSpec) -> tuple[Violation, ...]:
    """Groups that the chip feeds with more cores than one neuron's copies reach."""
    found = []
    most = 1 + min(chip.max_copies, chip.grid[1] - chip.first_row - 1)
    for group, parts in zip(groups, filled, strict=True):
        cores = sum(len(each.cores) for each in parts)
        if group.fed or cores <= most:
            continue
        names = list(dict.fromkeys(each.part.layer.name for each in parts))
        rows = _rows([each for each in parts if each.part.layer.name == names[0]])
        others = f" with {', '.join(names[1:])}, which read the same neurons," if names[1:] else ""
        advice = (
            f"it needs {cores} cores{others} in one vertical run, for a neuron of the chip has one destination and copies "
            f"of it; chip '{chip.name}' has {most} in a column (its rows: {rows}). Use fewer levels, channels or weights."
        )
        found.append(Violation("layout", names[0], "run", cores, most, advice))
    return tuple(found)


def cores(
    layers: Sequence[CoreLayer], groups: Sequence[Group], filled: Sequence[Sequence[Filled]], chip: PaicoreSpec
) -> Violation:
    """More cores than there are, or no place for their runs."""
    total = sum(entry.cores for entry in layers)
    largest = max(layers, key=lambda entry: entry.cores)
    rows = _rows([each for group in filled for each in group if each.part.layer is largest.layer])
    if total > chip.cores:
        text = f"the network needs {total} cores; chip '{chip.name}' has {chip.cores_said}. This layer takes {largest.cores}"
    else:
        sizes = sorted(
            (sum(len(each.cores) for each in parts) for parts, g in zip(filled, groups, strict=True) if not g.fed)
        )
        text = (
            f"the network's vertical runs of {', '.join(map(str, sizes[::-1]))} cores have no place beside one another on "
            f"chip '{chip.name}'. This layer takes {largest.cores}"
        )
    advice = f"{text} (its rows: {rows}). Use fewer levels, channels or positions."
    return Violation("cores", largest.layer.name, "cores", total, chip.cores, advice)


def _rows(parts: Sequence[Filled]) -> str:
    """Rows of a layer by use, the largest first."""
    potentials = sum(piece.potentials for each in parts for n in each.neurons for piece in n.folds)
    records = sum(n.rows for each in parts for n in each.neurons) - potentials
    weights = sum(each.windows.vectors[v].rows for each in parts for core in each.cores for v in core.vectors)
    parameters = sum(len(core.parameters) for each in parts for core in each.cores)
    uses = {"potentials": potentials, "records": records, "weights": weights, "parameters": parameters}
    return ", ".join(f"{count:,} {name}" for name, count in sorted(uses.items(), key=lambda item: -item[1]))
