"""From the groups of a `MappingBuilder` to ticks, layers with their figures, and cores with numbered sources."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chipsim.chip import ChipSpec
from chipsim.errors import MappingError
from chipsim.mapping.arrays import CorePlan
from chipsim.mapping.groups import CoreOfGroup, LayerGroup, width_of
from chipsim.mapping.program import RELAY, Layer
from chipsim.mapping.totals import axon_synapses


def ticks_of(chip: ChipSpec, layers: Sequence[LayerGroup], cores: Sequence[CoreOfGroup]) -> list[int]:
    """Return the tick of each group, the input first.

    Raises
    ------
    MappingError
        A layer without a tick has sources that were added after it, or spikes arrive too late.
    """
    ticks: list[int] = [0]
    for layer in layers:
        groups = {int(group) for core in layer.cores for group in np.unique(core.sources.group)}
        if layer.tick is None and max(groups, default=0) >= len(ticks):
            later = layers[max(groups) - 1].name
            raise MappingError(
                layer.name, f"has sources in {later}, which was added after it; give both a tick", code="builder-rule"
            )
        if layer.tick is None:
            ticks.append(max(1, 1 + max((_sent(layers, group, ticks) for group in groups), default=0)))
        else:
            ticks.append(layer.tick)
    for core in cores:
        for group in np.unique(core.sources.group).tolist():
            delay, name = ticks[core.layer + 1] - _sent(layers, group, ticks), layers[core.layer].name
            if not 1 <= delay <= 255:
                raise MappingError(name, f"fires {delay} ticks after one of its sources; allowed: 1 to "
                                   f"{chip.max_delay}", code="map-rule", found=delay)  # fmt: skip
    return ticks


def _sent(layers: Sequence[LayerGroup], group: int, ticks: Sequence[int]) -> int:
    """Return the tick in which a group sends the spikes that are read as those of the first step."""
    return ticks[group] - (layers[group - 1].delay if group else 0)


def finished(chip: ChipSpec, layer: LayerGroup, tick: int) -> Layer:
    """Return a layer with the figures that its cores give.

    Raises
    ------
    MappingError
        It is on no core.
    """
    if not layer.cores:
        raise MappingError(layer.name, "is on no core; add one with core()", code="builder-rule")
    neurons = sum(len(core.elements) for core in layer.cores)
    return Layer(
        name=layer.name,
        tensor="",
        shape=layer.shape,
        levels=layer.levels,
        scale=1.0,
        zero_point=0.0,
        tick=tick,
        kind=layer.kind,
        weight_bits=width_of(chip, layer),
        fan_in=max(len(core.sources) for core in layer.cores),
        fold=max(core.fold for core in layer.cores),
        neurons=neurons,
        removed=0 if layer.kind == RELAY else layer.neurons - neurons,
        synapses=sum(int(axon_synapses(core.weights.astype(np.int8)).sum()) for core in layer.cores),
        cores=len(layer.cores),
        bound=len(layer.cores),
        limiting="columns",
        neuron=layer.neuron,
    )


def plans(inputs: int, layers: Sequence[LayerGroup], cores: Sequence[CoreOfGroup], widths: Sequence[int]) -> list[CorePlan]:
    """Number the sources: those of the input, then the neurons core by core.

    Raises
    ------
    MappingError
        A source is on no core.
    """
    sizes = [inputs, *(layer.neurons for layer in layers)]
    first = np.concatenate([[0], np.cumsum(sizes)])  # of each group in `number`
    number = np.full(first[-1], -1)
    number[: sizes[0]] = np.arange(sizes[0])
    held = np.concatenate([first[core.layer + 1] + core.elements for core in cores])
    number[held] = sizes[0] + np.arange(len(held))
    found = []
    for core in cores:
        sources = number[first[core.sources.group] + core.sources.element]
        if (sources < 0).any():
            at = int((sources < 0).argmax())
            group = layers[core.sources.group[at] - 1].name
            raise MappingError(
                layers[core.layer].name,
                f"has neuron {core.sources.element[at]} of {group} as a source, and no core holds it",
                code="builder-rule",
            )
        found.append(
            CorePlan(
                core.layer, core.position, core.fold, widths[core.layer], core.weights, sources,
                core.elements, core.thresholds, core.constants, core.dense_fanout,
            )
        )  # fmt: skip
    return found
