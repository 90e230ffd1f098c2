"""Choosing layouts and filling cores: what every layer takes, and the cores that hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from chipsim.chip import PaicoreSpec
from chipsim.paicore.fields import Words
from qsnnc.ir.cores import Removed
from qsnnc.ir.layers import Layer, LayerGraph, Population
from qsnnc.targets.paicore25.allocation import Contents, Neurons, allocate, bound
from qsnnc.targets.paicore25.coding import Coding
from qsnnc.targets.paicore25.layout import CELLS, PLANES, Group, InputMap, Part, groups, lattices, lay_out
from qsnnc.targets.paicore25.neurons import HOST, Firing, Target, gather, readout_place
from qsnnc.targets.paicore25.vectors import Bool, Windows, windows

#: cores of a layer that no core can hold
MANY = 1 << 20
#: rounds over the groups in which a layout is changed where that saves rows
ROUNDS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """What is laid out: the graph, how levels travel, and what each layer's neurons decide by."""

    graph: LayerGraph
    chip: PaicoreSpec
    codings: dict[str, Coding]
    firing: dict[str, Firing]
    live: dict[str, Bool]  # (channels, inputs) of each population: inputs that some position sends
    widths: dict[str, tuple[int, bool]]  # of each layer's weights, and whether they are signed
    removed: dict[str, Removed]
    tables: list[Words]  # activation tables, by the numbers in ``firing``

    @property
    def populations(self) -> dict[str, Population]:
        """The encoder and the layers by name."""
        return {entry.name: entry for entry in (self.graph.encoder, *self.graph.layers)}


@dataclass(frozen=True, slots=True, eq=False)
class Filled:
    """A part of a group, with its cores."""

    group: Group
    part: Part
    inputs: InputMap
    windows: Windows
    neurons: tuple[Neurons, ...]
    bound: int
    cores: tuple[Contents, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TooLarge:
    """A part that no core can hold: ``limit`` is inputs or rows."""

    layer: str
    limit: str
    found: int
    allowed: int


def inputs_of(network: Network, group: Group, kinds: Sequence[str]) -> InputMap:
    """The input map of a group, by the kinds of its lattices."""
    return lay_out(group, network.populations, network.codings, kinds)


def banded(network: Network, group: Group) -> list[Group] | TooLarge:
    """Cut a layer into bands of rows, the fewest whose maps a core can hold.

    Bands of what the host sends overlap where windows do: it sends a row to each that reads it. A neuron of the chip sends
    to one, so that bands of what the chip sends must not.
    """
    limit = network.chip.max_inputs
    need = min(inputs_of(network, group, [kind] * len(lattices(group))).bits for kind in (CELLS, PLANES))
    if need <= limit:
        return [group]
    if len(group.parts) == 1:
        rows = group.parts[0].layer.shape[1]
        for count in range(2, rows + 1):
            bands = _bands(network, group, np.linspace(0, rows, count + 1).astype(int).tolist())
            if bands is None:
                break
            if all(inputs_of(network, band, [CELLS]).bits <= limit for band in bands):
                return bands
    return TooLarge(group.parts[0].layer.name, "inputs", need, limit)


def _bands(network: Network, group: Group, edges: list[int]) -> list[Group] | None:
    """Bands of output rows between edges; None where two read one row that the chip sends."""
    (whole,) = group.parts
    bands = [Group((Part(whole.layer, a, b - 1),), group.fed, {}) for a, b in pairwise(edges)]
    for source in group.sources:
        rows = network.populations[source].shape[1]
        read = [
            band.parts[0].rows_read(link, rows)
            for band in bands
            for link in whole.layer.connections
            if link.source == source
        ]
        if source == network.graph.encoder.name:
            held = read
        elif any(last >= first for (_, last), (first, _) in pairwise(read)):
            return None
        else:  # rows between two bands go to the upper, so that every neuron has a destination
            begin = [0, *(first for first, _ in read[1:])]
            held = [(first, stop - 1) for first, stop in zip(begin, [*begin[1:], rows], strict=True)]
        for band, mine in zip(bands, held, strict=True):
            band.rows[source] = mine
    return bands


def choose_layouts(network: Network, cut: list[Group]) -> list[InputMap]:
    """Lay out every group, by cells where that takes no more rows."""
    kinds = [[CELLS] * len(lattices(group)) for group in cut]
    maps = [inputs_of(network, group, kind) for group, kind in zip(cut, kinds, strict=True)]
    costs: dict[tuple[int, ...], tuple[int, int]] = {}

    def total(maps: list[InputMap]) -> tuple[int, int]:
        sums = [0, 0]
        for number, group in enumerate(cut):
            for part in group.parts:
                targets = readers(cut, part.layer)
                key = (part.first, id(part.layer), id(maps[number]), *(id(maps[target]) for target in targets))
                if key not in costs:
                    costs[key] = _cost(network, cut, part, maps[number], maps)
                sums = [a + b for a, b in zip(sums, costs[key], strict=True)]
        return sums[0], sums[1]

    held = list(maps)  # so that no id is given twice
    best = total(maps)
    for _ in range(ROUNDS):
        before = best
        for number, group in enumerate(cut):
            for lattice in range(len(kinds[number])):
                tried = list(kinds[number])
                tried[lattice] = PLANES if tried[lattice] == CELLS else CELLS
                other = inputs_of(network, group, tried)
                held.append(other)
                if other.bits > network.chip.max_inputs >= maps[number].bits:
                    continue
                changed = [*maps[:number], other, *maps[number + 1 :]]
                found = total(changed)
                if found < best or maps[number].bits > network.chip.max_inputs >= other.bits:
                    kinds[number], maps, best = tried, changed, found
        if best == before:
            break
    return maps


def costs(network: Network) -> dict[str, tuple[int, int]]:
    """About the cores and rows of each layer, laid out by cells; many where no core can hold it."""
    cut: list[Group] = []
    found: dict[str, tuple[int, int]] = {}
    for group in groups(network.graph):
        bands = banded(network, group)
        if isinstance(bands, TooLarge):
            found.update({part.layer.name: (MANY, MANY) for part in group.parts})
            bands = [group]
        cut += bands
    maps = [inputs_of(network, group, [CELLS] * len(lattices(group))) for group in cut]
    for number, group in enumerate(cut):
        for part in group.parts:
            cores, rows = _cost(network, cut, part, maps[number], maps)
            before = found.get(part.layer.name, (0, 0))
            found[part.layer.name] = before[0] + cores, before[1] + rows
    return found


def equalised(cut: list[Group], maps: list[InputMap], layers: Sequence[Layer]) -> list[InputMap]:
    """Give maps that one layer sends to one LCN: a core has one ``target_lcn``."""
    lcn = [each.lcn for each in maps]
    while True:
        before = list(lcn)
        for layer in layers:
            targets = readers(cut, layer)
            for target in targets:
                lcn[target] = max(lcn[other] for other in targets)
        if lcn == before:
            return [replace(each, lcn=code) for each, code in zip(maps, lcn, strict=True)]


def readers(cut: list[Group], layer: Layer) -> list[int]:
    """Numbers of the cut that read a layer, one or its bands; none where its potentials are read out."""
    return [number for number, group in enumerate(cut) if layer.name in group.sources]


def targets_of(cut: list[Group], maps: list[InputMap], layer: Layer) -> list[Target]:
    """Where the rows of a layer are sent."""
    found = [
        Target(number, maps[number].places[layer.name], *cut[number].rows[layer.name]) for number in readers(cut, layer)
    ]
    return found or [Target(HOST, readout_place(layer.shape), 0, layer.shape[1] - 1)]


def _parts_of(
    network: Network, cut: list[Group], part: Part, inputs: InputMap, maps: list[InputMap]
) -> tuple[Windows, list[Neurons]]:
    name = part.layer.name
    found = windows(part, inputs, network.codings, network.live, network.widths[name][0], network.chip.max_skew)
    targets = targets_of(cut, maps, part.layer)
    return found, gather(part, found, network.firing[name], targets, network.chip.max_fold_step)


def _cost(network: Network, cut: list[Group], part: Part, inputs: InputMap, maps: list[InputMap]) -> tuple[int, int]:
    """Fewest cores and rows of a part."""
    found, neurons = _parts_of(network, cut, part, inputs, maps)
    sizes = [vector.rows for vector in found.vectors]
    rows = sum(each.rows for each in neurons) + sum(sizes[vector] for vector in {each.vector for each in neurons})
    return bound_by_table(neurons, sizes, network.chip.memory_rows), rows


def bound_by_table(neurons: Sequence[Neurons], sizes: Sequence[int], capacity: int) -> int:
    """Fewest cores, where a core has one activation table."""
    tables = sorted({each.table for each in neurons})
    return sum(bound([each for each in neurons if each.table == table], sizes, capacity) for table in tables)


def fill(network: Network, cut: list[Group], number: int, part: Part, maps: list[InputMap]) -> Filled | TooLarge:
    """Put the neurons of a part of group ``number`` into cores."""
    inputs = maps[number]
    found, neurons = _parts_of(network, cut, part, inputs, maps)
    sizes = [vector.rows for vector in found.vectors]
    capacity = network.chip.memory_rows
    cores: list[Contents] = []
    for table in sorted({each.table for each in neurons}):
        more = allocate([each for each in neurons if each.table == table], sizes, capacity)
        if more is None:
            need = max(sizes[each.vector] for each in neurons) + 2
            return TooLarge(part.layer.name, "rows", need, capacity)
        cores += more
    return Filled(cut[number], part, inputs, found, tuple(neurons), bound_by_table(neurons, sizes, capacity), tuple(cores))
