"""Where the features of a layer's sources lie in the input map of its cores.

All cores of a part (a layer, or some rows of one) hold the same map, and so do all layers that read the same neurons of
the chip: a neuron has one destination, and each copy arrives at the same address. Addresses are affine in channel, row,
column and level. Sources that one layer reads together lie on one lattice of cells, so that one step of a fold moves the
windows on all of them; where a layer reads them with different strides, the cells of some lie further apart.

A lattice is laid out by cells (all features of a position together: windows are short, so that dense weights are few) or by
planes (all positions of a feature together: steps are small). Cells outside a map, which a window reads as padding, exist
and are never written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np

from qsnnc.ir.layers import Connection, Int, Layer, LayerGraph, Population
from qsnnc.targets.paicore25.coding import Coding

CELLS, PLANES = "cells", "planes"


class NoLayout(Exception):
    """Sources whose windows no one step can move together; ``layer`` reads them."""

    def __init__(self, layer: str) -> None:
        super().__init__(layer)
        self.layer = layer


@dataclass(frozen=True, slots=True)
class Part:
    """Rows ``first`` to ``last`` of a layer, whose cores hold one input map."""

    layer: Layer
    first: int
    last: int

    @property
    def extent(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.last - self.first + 1, self.layer.shape[2]

    def rows_read(self, link: Connection, rows: int) -> tuple[int, int]:
        """First and last row of a source that its windows reach."""
        first = self.first * link.strides[0] - link.pads[0]
        last = self.last * link.strides[0] - link.pads[0] + (link.weights.shape[2] - 1) * link.dilations[0]
        return max(0, first), min(rows - 1, last)


@dataclass(frozen=True, slots=True)
class Place:
    """Bit address of input i of a feature: base + channel, row, column and level times these."""

    base: int
    channel: int
    row: int
    column: int
    level: int

    def addresses(self, shape: tuple[int, int, int], inputs: int) -> Int:
        """Bit address of each input, int64 (channels, rows, columns, inputs)."""
        steps = np.array([self.channel, self.row, self.column, self.level], np.int64)
        return np.asarray(self.base + np.tensordot(steps, np.indices((*shape, inputs)), 1))


@dataclass(frozen=True, slots=True, eq=False)
class InputMap:
    """The input memory of some cores."""

    places: dict[str, Place]
    bits: int
    width: int  # of one input
    lcn: int  # the map takes 2 ** lcn input rows of 512 bits


def lcn_of(bits: int) -> int:
    """Smallest LCN whose input rows hold so many bits."""
    return max(0, -(-bits // 512) - 1).bit_length()


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Parts that read the same neurons of the chip, so that their cores hold one map; ``fed`` by the host alone.

    ``rows`` are the first and last row of each source that the map holds.
    """

    parts: tuple[Part, ...]
    fed: bool
    rows: dict[str, tuple[int, int]]

    @property
    def sources(self) -> tuple[str, ...]:
        """Populations that it reads, each once."""
        return tuple(self.rows)

    def read(self, source: str, rows: int) -> tuple[int, int]:
        """First and last row of a source that a window reaches."""
        found = [
            part.rows_read(link, rows) for part in self.parts for link in part.layer.connections if link.source == source
        ]
        return min(a for a, _ in found), max(b for _, b in found)


def groups(graph: LayerGraph) -> list[Group]:
    """Layers that have to share a map; those that only share the encoder need not, for the host sends to each."""
    owner: dict[str, str] = {}  # of a population: the layer that stands for its group
    parent = {layer.name: layer.name for layer in graph.layers}

    def find(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for layer in graph.layers:
        for link in layer.connections:
            if link.source != graph.encoder.name:
                first = owner.setdefault(link.source, layer.name)
                parent[find(layer.name)] = find(first)
    found: dict[str, list[Layer]] = {}
    for layer in graph.layers:
        found.setdefault(find(layer.name), []).append(layer)
    return [_group(graph, layers) for layers in found.values()]


def _group(graph: LayerGraph, layers: list[Layer]) -> Group:
    sources = dict.fromkeys(link.source for layer in layers for link in layer.connections)
    return Group(
        tuple(Part(layer, 0, layer.shape[1] - 1) for layer in layers),
        all(source == graph.encoder.name for source in sources),
        {source: (0, graph.population(source).shape[1] - 1) for source in sources},
    )


def lattices(group: Group) -> list[tuple[str, ...]]:
    """Sources of a group that one layer reads together."""
    found: list[set[str]] = []
    for part in group.parts:
        joined = {link.source for link in part.layer.connections}
        for other in [each for each in found if each & joined]:
            found.remove(other)
            joined |= other
        found.append(joined)
    order = group.sources
    return [tuple(sorted(each, key=order.index)) for each in found]


def lay_out(group: Group, populations: dict[str, Population], codings: dict[str, Coding], kinds: Sequence[str]) -> InputMap:
    """Give every source of a group its place.

    Parameters
    ----------
    kinds : sequence of str
        ``CELLS`` or ``PLANES`` for each of `lattices`.

    Raises
    ------
    NoLayout
    """
    places: dict[str, Place] = {}
    base = 0
    width = codings[group.sources[0]].width
    for sources, kind in zip(lattices(group), kinds, strict=True):
        found, bits = _lattice(group, sources, populations, codings, kind, base)
        places.update(found)
        base += bits
    return InputMap(places, base, width, lcn_of(base))


def _lattice(
    group: Group,
    sources: tuple[str, ...],
    populations: dict[str, Population],
    codings: dict[str, Coding],
    kind: str,
    base: int,
) -> tuple[dict[str, Place], int]:
    """Places of the sources of one lattice, and the bits that it takes."""
    parts = [part for part in group.parts if part.layer.connections[0].source in sources]
    apart = _apart(parts, sources)
    rows = _extent(parts, {name: group.rows[name] for name in sources}, apart, 0)
    columns = _extent(parts, {name: (0, populations[name].shape[2] - 1) for name in sources}, apart, 1)
    inner = max((populations[name].shape[2] - 1) * apart[name][1] for name in sources)
    left, right = -columns[0], columns[1] - inner
    pitch = inner + 1 + max(left, right)  # the padding right of a row is the padding left of the next
    origin = -rows[0] * pitch + left
    cells = origin + rows[1] * pitch + columns[1] + 1
    width = codings[sources[0]].width
    sizes = [populations[name].shape[0] * codings[name].inputs for name in sources]
    unit = 1 if kind == PLANES else sum(sizes)  # inputs of a cell
    each = cells if kind == PLANES else 1  # inputs from one of a feature to the next
    places, before = {}, 0
    for name, size in zip(sources, sizes, strict=True):
        down, along = (step * unit * width for step in (apart[name][0] * pitch, apart[name][1]))
        first = base + (before * each + origin * unit) * width
        places[name] = Place(first, codings[name].inputs * each * width, down, along, each * width)
        before += size
    return places, cells * sum(sizes) * width


def _apart(parts: Iterable[Part], sources: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Cells from one position of each source to the next, so that every layer's windows move alike on all its sources."""
    found = []
    for axis in (0, 1):
        ratio: dict[str, Fraction] = {}
        waiting = list(parts)
        while waiting:
            known = next(
                (p for p in waiting if any(link.source in ratio for link in p.layer.connections) and p.extent[axis] > 1),
                waiting[0],
            )
            waiting.remove(known)
            if known.extent[axis] == 1:  # its windows never move
                continue
            links = known.layer.connections
            step = next((link.strides[axis] * ratio[link.source] for link in links if link.source in ratio), Fraction(1))
            for link in links:
                wanted = step / link.strides[axis]
                if ratio.setdefault(link.source, wanted) != wanted:
                    raise NoLayout(known.layer.name)
        scale = lcm(*(each.denominator for each in ratio.values())) if ratio else 1
        whole = {name: int(each * scale) for name, each in ratio.items()}
        smallest = int(np.gcd.reduce(list(whole.values()))) if whole else 1
        found.append({name: whole.get(name, smallest) // smallest for name in sources})
    return {name: (found[0][name], found[1][name]) for name in sources}


def _extent(
    parts: list[Part], held: dict[str, tuple[int, int]], apart: dict[str, tuple[int, int]], axis: int
) -> tuple[int, int]:
    """First and last cell along an axis that a window reaches or a source has."""
    low = [first * apart[name][axis] for name, (first, _) in held.items()]
    high = [last * apart[name][axis] for name, (_, last) in held.items()]
    for part in parts:
        first, last = (part.first, part.last) if axis == 0 else (0, part.layer.shape[2] - 1)
        for link in part.layer.connections:
            begin = first * link.strides[axis] - link.pads[axis]
            end = last * link.strides[axis] - link.pads[axis] + (link.weights.shape[2 + axis] - 1) * link.dilations[axis]
            low.append(begin * apart[link.source][axis])
            high.append(end * apart[link.source][axis])
    return min(low), max(high)
