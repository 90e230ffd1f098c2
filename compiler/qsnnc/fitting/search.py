"""Find the mildest narrowing of a network that fits, by what each part of it costs alone.

All ladders are climbed to the same error: as far as each goes without exceeding it. The smallest error at which the
network fits is found by bisection; then every ladder that does not need it is climbed down again, the costliest first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from chipsim.chip import ChipSpec
from qsnnc.fitting.ladders import Climb, Ladder
from qsnnc.frontend.integerize.direct_encoding import NARROW
from qsnnc.ir.layers import LayerGraph
from qsnnc.ir.weights import bits_of_connections
from qsnnc.partition.estimate import fits_on_core


def mildest(ladders: Sequence[Ladder], fits: Callable[[Climb], bool], *, relax: bool = True) -> Climb | None:
    """Return the climb of least error that fits; None if not even the tops of all ladders do.

    Parameters
    ----------
    fits : callable
        Whether a network fits; one that is narrowed more always does if one that is narrowed less does.
    relax : bool
        Whether to undo what is not needed; it asks ``fits`` a few times for each ladder.
    """
    errors = sorted({rung.error for ladder in ladders for rung in ladder.rungs})
    if not errors or not fits(_up_to(ladders, errors[-1])):
        return None
    low, high = 0, len(errors) - 1
    while low < high:
        middle = (low + high) // 2
        if fits(_up_to(ladders, errors[middle])):
            high = middle
        else:
            low = middle + 1
    climb = _up_to(ladders, errors[high])
    return _relaxed(ladders, climb, fits) if relax else climb


def _up_to(ladders: Sequence[Ladder], error: float) -> Climb:
    return tuple(sum(rung.error <= error for rung in ladder.rungs) for ladder in ladders)


def _relaxed(ladders: Sequence[Ladder], climb: Climb, fits: Callable[[Climb], bool]) -> Climb:
    """Climb down every ladder as far as the network still fits, the rung of largest error first."""
    order = sorted((at for at, height in enumerate(climb) if height), key=lambda at: -ladders[at].rungs[climb[at] - 1].error)
    for at in order:
        for height in range(climb[at]):
            lower = (*climb[:at], height, *climb[at + 1 :])
            if fits(lower):
                climb = lower
                break
    return climb


def cores_needed(
    graph: LayerGraph, chip: ChipSpec, ladders: Sequence[Ladder], climb: Climb, image: str | None = None
) -> int | None:
    """Estimate the cores of a narrowed network from shapes; None if a neuron fits on no core.

    Parameters
    ----------
    image : str, optional
        The population that is the image itself: the host computes the first layer too where that layer's activation is
        narrow and the image is not.
    """
    populations = {entry.name: entry for entry in (graph.encoder, *graph.layers)}
    levels = {name: entry.levels for name, entry in populations.items()}
    channels = {name: entry.shape[0] for name, entry in populations.items()}
    bits = {layer.name: bits_of_connections(layer.connections) for layer in graph.layers}
    for ladder, height in zip(ladders, climb, strict=True):
        if height:
            rung = ladder.rungs[height - 1]
            if ladder.kind == "levels" and rung.levels is not None:
                levels[ladder.name] = rung.levels.levels
            elif ladder.kind == "bits":
                bits[ladder.name] = rung.bits
            else:
                channels[ladder.name] -= len(rung.without)
    total = 0
    for layer in graph.layers:
        first = layer.connections[0]
        if first.level_wise:  # a max pool passes levels and channels on
            levels[layer.name], channels[layer.name] = levels[first.source], channels[first.source]
        hosted = image is not None and all(link.source == image for link in layer.connections)
        if hosted and levels[str(image)] > NARROW >= levels[layer.name]:
            continue
        need = _layer_cores(graph, chip, layer.name, levels, channels, bits[layer.name])
        if need is None:
            return None
        total += need
    return total


def _layer_cores(
    graph: LayerGraph, chip: ChipSpec, name: str, levels: Mapping[str, int], channels: Mapping[str, int], bits: int
) -> int | None:
    layer = next(layer for layer in graph.layers if layer.name == name)
    axons = 0
    for link in layer.connections:
        per_group, rows, columns = link.weights.shape[1:]
        share = channels[link.source] / graph.population(link.source).shape[0]
        axons += rows * columns * (1 if link.level_wise else round(per_group * share) * levels[link.source])
    width = next((w for w in sorted(chip.weight_bits) if w >= bits), max(chip.weight_bits))
    fold = next((f for f in chip.folds if f * chip.axons >= axons), chip.max_fold)
    if not fits_on_core(axons, fold, width, chip):
        return None
    features = layer.features * channels[name] // layer.shape[0]
    return -(-features * max(1, levels[name]) // (chip.columns // (fold * width)))
