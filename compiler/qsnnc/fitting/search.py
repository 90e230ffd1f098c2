"""Find the mildest narrowing of a network that fits, by what each part of it costs alone.

All ladders are climbed to the same error: as far as each goes without exceeding it. The smallest error at which the
network fits is found by bisection; then every ladder that does not need it is climbed down again, the costliest first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

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


@dataclass(frozen=True, slots=True)
class Link:
    """What a layer reads from one population."""

    source: str
    window: int  # positions of the kernel
    per_group: int  # channels of a group
    of: int  # channels of the source
    level_wise: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """What the cores of a layer depend on."""

    name: str
    links: tuple[Link, ...]
    channels: int
    features: int
    bits: int


@dataclass(frozen=True, slots=True)
class Shapes:
    """What the cores of a network depend on, read off its layers once."""

    levels: Mapping[str, int]
    channels: Mapping[str, int]
    layers: tuple[Shape, ...]

    @classmethod
    def of(cls, graph: LayerGraph) -> Shapes:
        """Read the shapes of a network."""
        populations = {entry.name: entry for entry in (graph.encoder, *graph.layers)}
        layers = [
            Shape(
                layer.name,
                tuple(
                    Link(
                        link.source, int(np.prod(link.weights.shape[2:])), link.weights.shape[1],
                        populations[link.source].shape[0], link.level_wise,
                    )
                    for link in layer.connections
                ),
                layer.shape[0], layer.features, bits_of_connections(layer.connections),
            )
            for layer in graph.layers
        ]  # fmt: skip
        levels = {name: entry.levels for name, entry in populations.items()}
        return cls(levels, {name: entry.shape[0] for name, entry in populations.items()}, tuple(layers))


def cores_needed(
    shapes: Shapes, chip: ChipSpec, ladders: Sequence[Ladder], climb: Climb, image: str | None = None
) -> int | None:
    """Estimate the cores of a narrowed network from shapes; None if a neuron fits on no core.

    Parameters
    ----------
    image : str, optional
        The population that is the image itself: the host computes the first layer too where that layer's activation is
        narrow and the image is not.
    """
    levels, channels, bits = dict(shapes.levels), dict(shapes.channels), {each.name: each.bits for each in shapes.layers}
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
    for layer in shapes.layers:
        first = layer.links[0]
        if first.level_wise:  # a max pool passes levels and channels on
            levels[layer.name], channels[layer.name] = levels[first.source], channels[first.source]
        hosted = image is not None and all(link.source == image for link in layer.links)
        if hosted and levels[str(image)] > NARROW >= levels[layer.name]:
            continue
        need = _layer_cores(layer, chip, levels, channels, bits[layer.name])
        if need is None:
            return None
        total += need
    return total


def _layer_cores(
    layer: Shape, chip: ChipSpec, levels: Mapping[str, int], channels: Mapping[str, int], bits: int
) -> int | None:
    axons = 0
    for link in layer.links:
        kept = 1 if link.level_wise else round(link.per_group * (channels[link.source] / link.of)) * levels[link.source]
        axons += link.window * kept
    width = next((w for w in sorted(chip.weight_bits) if w >= bits), max(chip.weight_bits))
    fold = next((f for f in chip.folds if f * chip.axons >= axons), chip.max_fold)
    if not fits_on_core(axons, fold, width, chip):
        return None
    features = layer.features * channels[layer.name] // layer.channels
    return -(-features * max(1, levels[layer.name]) // (chip.columns // (fold * width)))
