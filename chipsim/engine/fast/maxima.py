"""Find cores whose neurons are maxima: what a max pool becomes, and a relay.

Sources that share an accumulator are *ranked*: the second fires only where the first does. A neuron that fires where any of
its axons has a spike is the largest of these bits, and where the neurons of a *group* take the first, the second, ... of the
same inputs, as many of them fire as the largest input has spikes. So an input is one value and a group is one accumulator:
bytes are compared where there was a sum, a threshold and a column for each level.

Nothing is taken from the geometry of a layer: weights, thresholds and sources say so, or the core is added up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.lines import Int, Small, mix, spread
from chipsim.engine.fast.values import LARGEST_VALUE
from chipsim.mapping import Mapping

#: groups that an input may be in, on average: beyond, adding up is quicker
OVERLAP = 9
#: times that sources are told apart by what they are compared with
COLOURS = 3
#: times that cores are left out and the others looked at again
ROUNDS = 5

Weights = npt.NDArray[np.int8] | None


@dataclass(frozen=True, slots=True, eq=False)
class Maxima:
    """Sources that nothing tells apart but maxima, and which neurons are such."""

    alike: Int  # (sources,): the first source that nothing tells apart from each
    accumulator: Int  # (neurons,): its number in its core; of a maximum that of its group
    rank: Int  # (neurons,): of a maximum its place in its group, from 1; of others 0


def find(
    m: Mapping,
    weights: Sequence[Weights],
    row: Small,
    accumulator: Int,
    alike: Callable[[Small], Int],
    *,
    noisy: bool,
) -> Maxima:
    """Look for maxima.

    Parameters
    ----------
    weights : sequence of ndarray, (axons, neurons)
        Of each crossbar; None of one that has equal columns.
    row : ndarray, (axons,)
        The first axon of its core that has this axon's row.
    accumulator : ndarray, (neurons,)
        Number in its core of each neuron's accumulator.
    alike : callable
        Numbers sources, (sources,), that arrive at the same rows.
    noisy : bool
        Spikes of the encoder are lost, one by one: its levels are not ranked.
    """
    cores = _perhaps(m, weights, noisy)
    for _ in range(ROUNDS if len(cores) else 0):
        keys = row.copy()
        for begin, end in zip(m.axon_offset[cores].tolist(), m.axon_offset[cores + 1].tolist(), strict=True):
            keys[begin:end] = begin
        search = _Search(m, weights, accumulator, alike(keys))
        wrong = search.look(cores)
        if not len(wrong):
            return search.found
        cores = np.setdiff1d(cores, wrong)
    return Maxima(alike(row), accumulator, np.zeros(m.neurons, np.int64))


def _perhaps(m: Mapping, weights: Sequence[Weights], noisy: bool) -> Int:
    """Cores each of whose neurons fires where it gets any spike."""
    plain = np.array([e.neuron is None and e.levels > 0 for e in m.layers])[m.core_layer]
    least = [_least(each) for each in weights]
    found = []
    for core in np.flatnonzero(plain).tolist():
        reached = least[m.core_crossbar[core]]
        if reached is None:
            continue
        threshold = m.neuron_threshold[m.neuron_offset[core] : m.neuron_offset[core + 1]]
        source = m.axon_source[m.axon_offset[core] : m.axon_offset[core + 1]]
        if threshold.min() >= 1 and (threshold <= reached).all() and not (noisy and source.min() < m.encoder_neurons):
            found.append(core)
    return np.array(found, np.int64)


def _least(weights: Weights) -> npt.NDArray[np.int8] | None:
    """The least weight of each neuron, (neurons,), but for zeros; None: some are negative, or it is no pool."""
    if weights is None or not weights.size or weights.min() < 0:
        return None
    some = weights > 0
    if not (some.any(axis=0).all() and some.any(axis=1).all()) or np.count_nonzero(some) > OVERLAP * len(weights):
        return None
    return np.asarray(np.where(some, weights, 127).min(axis=0))


class _Search:
    """What is known of sources, tick after tick: outputs of maxima are ranked as well."""

    def __init__(self, m: Mapping, weights: Sequence[Weights], accumulator: Int, alike: Int) -> None:
        self.m, self.weights, self.alike = m, weights, alike
        encoder, levels = m.encoder_neurons, m.encoder.levels
        first = encoder // levels + m.neuron_offset[:-1].astype(np.int64)  # no core has more accumulators than neurons
        owner = np.repeat(np.arange(m.cores), np.diff(m.neuron_offset))
        kept = np.array([e.neuron is not None for e in m.layers])[m.core_layer][owner]  # each has a state of its own
        producer = np.where(kept, -1 - np.arange(m.neurons), first[owner] + accumulator)
        self.producer = np.concatenate([np.arange(encoder) // levels, producer])
        self.level = np.concatenate([np.arange(encoder), m.neuron_threshold.astype(np.int64)])
        self.taken = np.zeros(len(alike), bool)
        self.found = Maxima(alike.copy(), accumulator.copy(), np.zeros(m.neurons, np.int64))

    def look(self, cores: Int) -> Int:
        """Look at all ``cores`` that may be maxima; return some that are not, after which the others may differ."""
        tick = np.array([e.tick for e in self.m.layers], np.int64)[self.m.core_layer[cores]]
        for each in np.unique(tick):
            wrong = self._of_tick(cores[tick == each])
            if len(wrong):
                return wrong
        return np.zeros(0, np.int64)

    def _of_tick(self, cores: Int) -> Int:
        """Cores of one tick: find their groups, or which of them have others."""
        m = self.m
        many = np.diff(m.axon_offset)[cores]
        core = np.repeat(np.arange(len(cores)), many)
        source = m.axon_source[spread(m.axon_offset[cores].astype(np.int64), many)[0]].astype(np.int64)
        taken, of_axon = np.unique(source, return_inverse=True)
        row, neuron = self._synapses(cores, np.cumsum(many) - many)
        given = of_axon[row]
        number, rank, size = self._inputs(taken, _colours(self.producer[taken], given, neuron))
        twice = np.sort(core * len(self.alike) + source)
        wrong = [core[self.taken[source]], core[size[number[of_axon]] > LARGEST_VALUE]]
        wrong.append(twice[1:][twice[1:] == twice[:-1]] // len(self.alike))
        neurons, lead, of_rank, bad = _groups(core[row], neuron, number[given], rank[given], size[number[given]])
        wrong.append(bad)
        if any(len(each) for each in wrong):
            return np.asarray(cores[np.unique(np.concatenate(wrong))])
        leads, place = np.unique(lead, return_inverse=True)
        owner = np.searchsorted(m.neuron_offset, neurons, side="right") - 1
        self.taken[taken] = True
        self.found.accumulator[neurons] = place - np.searchsorted(leads, m.neuron_offset[owner])
        self.found.rank[neurons] = self.level[m.encoder_neurons + neurons] = of_rank
        self.producer[m.encoder_neurons + neurons] = self.producer[m.encoder_neurons + lead]
        return np.zeros(0, np.int64)

    def _synapses(self, cores: Int, first: Int) -> tuple[Int, Int]:
        """Axon and neuron of each weight; the axons of a core are numbered from its ``first`` one."""
        which = self.m.core_crossbar[cores]
        found = {k: np.nonzero(np.asarray(self.weights[k])) for k in np.unique(which).tolist()}
        begin = zip(which.tolist(), first.tolist(), self.m.neuron_offset[cores].tolist(), strict=True)
        parts = [(found[k][0] + axon, found[k][1] + neuron) for k, axon, neuron in begin]
        axon, neuron = (np.concatenate(each) for each in zip(*parts, strict=True))
        return axon, neuron

    def _inputs(self, taken: Int, colour: npt.NDArray[np.uint64]) -> tuple[Int, Int, Int]:
        """Inputs of some sources, each once: their numbers and ranks, (sources,), and how many sources each input has."""
        keys = (colour, self.alike[taken], self.producer[taken])
        order = np.lexsort((self.level[taken], *keys))
        new = np.ones(len(order), bool)
        new[1:] = np.any([each[order[1:]] != each[order[:-1]] for each in keys], axis=0)
        start = np.flatnonzero(new)
        number, rank = np.empty((2, len(order)), np.int64)
        number[order] = own_number = np.cumsum(new) - 1
        rank[order] = np.arange(len(order)) - start[own_number] + 1
        self.found.alike[taken[order]] = np.minimum.reduceat(taken[order], start)[own_number]
        return number, rank, np.diff(start, append=len(order))


def _colours(producer: Int, source: Int, neuron: Int) -> npt.NDArray[np.uint64]:
    """A mark of each source, (sources,), that tells it from those of its producer that are compared with other inputs.

    Where some inputs lack a level, the others that have it are two inputs. The mark of a source is made of those of the
    neurons that take it, and theirs of those of all that they take (Weisfeiler and Leman's refinement).

    Parameters
    ----------
    source, neuron : ndarray, (entries,)
        Which neurons take which sources.
    """
    colour = mix(producer.astype(np.uint64))
    _, neuron = np.unique(neuron, return_inverse=True)
    by_neuron, by_source = np.argsort(neuron, kind="stable"), np.argsort(source, kind="stable")
    of_neuron, of_source = (
        np.searchsorted(each[order], np.arange(each.max() + 1)) for each, order in ((neuron, by_neuron), (source, by_source))
    )
    for _ in range(COLOURS):
        mark = np.add.reduceat(mix(colour)[source[by_neuron]], of_neuron)
        colour = mix(colour) + np.add.reduceat(mix(mark)[neuron[by_source]], of_source)
    return colour


def _groups(core: Int, neuron: Int, number: Int, rank: Int, size: Int) -> tuple[Int, Int, Int, Int]:
    """Find groups.

    Parameters
    ----------
    core, neuron, number, rank, size : ndarray, (entries,)
        What neurons take: the core and the neuron, the input, which of its levels, and how many it has.

    Returns
    -------
    neuron, lead, rank : ndarray, (neurons,)
        Each neuron, the first of its group, and its place in it.
    bad : ndarray
        Cores that have neurons in no group.
    """
    order = np.lexsort((number, neuron))
    core, neuron, number, rank, size = (each[order] for each in (core, neuron, number, rank, size))
    start = np.flatnonzero(np.diff(neuron, prepend=-1))
    many = np.diff(start, append=len(neuron))
    mixed = np.zeros(len(start), bool)
    for each in (rank, size):
        mixed |= np.maximum.reduceat(each, start) != np.minimum.reduceat(each, start)
    mark = np.add.reduceat(mix(number.astype(np.uint64)), start)
    entries, (of_core, of_rank, of_size) = core, (each[start] for each in (core, rank, size))
    order = np.lexsort((of_rank, mark, many, of_core))
    new = np.ones(len(order), bool)
    new[1:] = np.any([each[order[1:]] != each[order[:-1]] for each in (mark, many, of_core, of_size)], axis=0)
    first = np.flatnonzero(new)
    group = np.cumsum(new) - 1
    inside = np.arange(len(order)) - first[group]
    mixed[order] |= (of_rank[order] != inside + 1) | (np.diff(first, append=len(order))[group] != of_size[order])
    lead = np.empty(len(order), np.int64)
    lead[order] = order[first][group]
    own, at = spread(start, many)
    other = number[own] != number[np.repeat(start[lead], many) + at]
    return neuron[start], neuron[start[lead]], of_rank, np.concatenate([of_core[mixed], entries[other]])
