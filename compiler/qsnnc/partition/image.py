"""Choose the code in which an image enters the chip."""

from __future__ import annotations

from chipsim.chip import ChipSpec
from qsnnc.ir.layers import LayerGraph
from qsnnc.lower.codes import Code, codes, encode
from qsnnc.lower.neurons import lower
from qsnnc.partition.bounds import layer_bound


def choose(graph: LayerGraph, chip: ChipSpec) -> tuple[LayerGraph, Code]:
    """Choose the code with the fewest cores for the layers that read the image, then with the fewest neurons.

    A code that exceeds no limit goes before one that does, so that the violations of a network that does not fit are those
    of its best code.
    """
    best: tuple[tuple[bool, int, int], LayerGraph, Code] | None = None
    for code in codes(graph, chip):
        coded = encode(graph, code)
        rank = _rank(coded, chip, code)
        if best is None or rank < best[0]:
            best = rank, coded, code
    assert best is not None
    return best[1], best[2]


def _rank(graph: LayerGraph, chip: ChipSpec, code: Code) -> tuple[bool, int, int]:
    readers = {layer.name for layer in graph.layers if any(link.source == graph.encoder.name for link in layer.connections)}
    neurons, violations = lower(graph, chip, keep_dead=True)
    populations = {graph.encoder.name: graph.encoder, **{entry.layer.name: entry.layer for entry in neurons}}
    broken, cores = any(v.layer in readers for v in violations), 0
    for entry in neurons:
        if entry.layer.name in readers:
            fold = next((f for f in chip.folds if f * chip.axons >= entry.fan_in), 0)
            if fold and fold * entry.weight_bits <= chip.columns:
                cores += layer_bound(entry, populations, chip, 0).cores
            else:
                broken, cores = True, cores + entry.fan_in
    return broken, cores, code.neurons
