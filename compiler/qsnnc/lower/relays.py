"""Schedule layers by tick, and insert relay neurons where a spike must wait longer than the chip can delay it.

A layer works one tick after the last of its sources; in a frame of several steps it does step t in the t-th tick from there
on. The spikes of a layer with a delay of one step are those of a layer one tick before it. Where branches of different depth
meet (a residual addition, a concatenation), the spikes of the shallower one wait. Up to the chip's largest delay M they wait
on their way. Beyond it they pass relays, neurons with one axon of weight 1 and a threshold of 1: a source's relay k works
k * M ticks after it. A reader that is d ticks away reads relay ceil(d / M) - 1, which is the fewest that can bridge d, and
all readers share the relays of a source. Only those neurons are relayed that a reader behind the relay has a weight for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from qsnnc.ir.cores import Removed
from qsnnc.ir.layers import Connection, Layer, LayerGraph, Population
from qsnnc.ir.names import free_name
from qsnnc.lower.removal import Survivors, readers

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """The layers and relays in order, each relay before its first reader, with their ticks and the neurons they keep."""

    layers: tuple[Layer, ...]  # a connection to a layer that is too far away names its relay
    ticks: dict[str, int]  # of every population
    left: dict[str, Survivors]


def schedule(graph: LayerGraph, left: dict[str, Survivors], max_delay: int, *, keep_dead: bool = False) -> Schedule:
    """Give every layer its tick, and insert relays where a connection takes longer than ``max_delay``.

    Parameters
    ----------
    left : dict
        The neurons that stay, by layer.
    keep_dead : bool
        Relay every neuron of a source, whether a reader has a weight for it or not.
    """
    ticks = depths(graph)
    wanted = _relayed(graph, left, ticks, max_delay, keep_dead=keep_dead)
    made: dict[tuple[str, int], Layer] = {}
    taken = set(ticks)
    layers: list[Layer] = []
    found = dict(left)
    for layer in graph.layers:
        links = []
        for link in layer.connections:
            source = graph.population(link.source)
            hops = _hops(ticks[layer.name] - sent_at(source, ticks), max_delay)
            reached: Population = source
            for hop in range(1, hops + 1):
                if (source.name, hop) not in made and wanted[source.name, hop].any():
                    name = free_name(f"{source.name}_relay{hop}", taken)
                    relay = made[source.name, hop] = relay_of(reached, source, name)
                    layers.append(relay)
                    ticks[name] = sent_at(source, ticks) + hop * max_delay
                    ones = np.ones((*source.shape, source.levels), np.int64)
                    found[name] = Survivors(wanted[source.name, hop], ones, Removed())
                reached = made.get((source.name, hop), reached)
            # nothing is read through a connection whose relays are empty; the one that sets the layer's tick has none
            if not hops or (source.name, hops) in made:
                links.append(replace(link, source=reached.name))
        layers.append(replace(layer, connections=tuple(links)))
    return Schedule(tuple(layers), ticks, found)


def depths(graph: LayerGraph) -> dict[str, int]:
    """Compute the tick of each population: one after the last of its sources, and 0 for the encoder."""
    ticks = {graph.encoder.name: 0}
    for layer in graph.layers:
        ticks[layer.name] = 1 + max(sent_at(graph.population(link.source), ticks) for link in layer.connections)
    return ticks


def sent_at(source: Population, ticks: dict[str, int]) -> int:
    """Return the tick in which a population sends the spikes that are read as those of a frame's first step."""
    model = source.dynamics if isinstance(source, Layer) else None
    return ticks[source.name] - (model.delay if model else 0)


def relay_of(reached: Population, source: Population, name: str) -> Layer:
    """Return a layer that repeats the neurons of ``reached``, which is the source or a relay of it."""
    channels, rows, columns = source.shape
    link = Connection(reached.name, np.ones((channels, 1, 1, 1), np.int64), groups=channels, level_wise=True)
    return Layer(
        name=name,
        tensor="",
        tensor_shape=source.tensor_shape,
        shape=source.shape,
        levels=source.levels,
        scale=source.scale,
        zero_point=source.zero_point,
        kind="relay",
        connections=(link,),
        thresholds=np.ones((1, channels, source.levels), np.int64),
        border=np.zeros((rows, columns), np.int64),
        reach=np.tile(np.array([0, 1], np.int64), (1, channels, 1)),
        exact_sums=True,
    )


def _hops(delay: int, max_delay: int) -> int:
    """Count the relays that a spike passes if it has to wait that many ticks."""
    return -(-delay // max_delay) - 1


def _relayed(
    graph: LayerGraph, left: dict[str, Survivors], ticks: dict[str, int], max_delay: int, *, keep_dead: bool
) -> dict[tuple[str, int], Bool]:
    """Find the neurons (channels, rows, columns, levels) of each relay of each source: those that are read behind it."""
    wanted: dict[tuple[str, int], Bool] = {}
    for layer in graph.layers:
        for link in layer.connections:
            source = graph.population(link.source)
            hops = _hops(ticks[layer.name] - sent_at(source, ticks), max_delay)
            if not hops:
                continue
            whole = np.ones((*source.shape, source.levels), bool)
            kept = left[source.name].kept if source.name in left else whole
            read = kept if keep_dead else kept & readers(link, left[layer.name].kept, source)
            for hop in range(1, hops + 1):
                wanted[source.name, hop] = wanted.get((source.name, hop), np.zeros_like(whole)) | read
    return wanted
