"""Find which sources nothing in a mapping tells apart: *values*, and *bundles* of them.

A value is a set of sources that share an accumulator (equal columns of one core; for the encoder one feature) and whose
spikes no listener tells apart: each core that listens to one of them listens to all of them, by axons with equal rows, and
the paper's count and that of packets weigh them alike. What arrives is then the number of them that fired, a sum of bits
that is formed before it is multiplied.

Values of several accumulators that no listener tells apart either are a bundle: their sum is formed once, and each of the
cores that listen takes one row instead of several. So levels become one number again that a pool has taken apart. Nothing is
taken from the geometry of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.lines import Int, Small, mix, shares, spread
from chipsim.mapping import Mapping

#: sources in one value or bundle; it is held in a signed byte where it is added up
LARGEST_VALUE = 127


@dataclass(frozen=True, slots=True, eq=False)
class Bundles:
    """Values whose sum is what listeners take."""

    part: Int  # (parts,): values, bundle by bundle
    offset: Int  # (bundles + 1,) into part
    size: Int  # (bundles,): sources in it
    tick: Int  # (bundles,): of the cores that send; those that listen come later

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.size)

    def parts(self, which: Int) -> tuple[Int, Int]:
        """The values of some bundles, one bundle after the other, and how many each has."""
        many = np.diff(self.offset)[which]
        return self.part[spread(self.offset[which], many)[0]], many


@dataclass(frozen=True, eq=False)
class Values:
    """The partition of all sources that can fire into values, and what listeners take of them.

    What is taken has numbers: those of the values, then those of the bundles.
    """

    of_source: Int  # (sources,): value of each source, -1 for a read-out neuron
    size: Int  # (values,): sources in it
    member: Int  # (sources that fire,): sources, value by value
    offset: Int  # (values + 1,) into member
    producer: Int  # (values,): encoder feature, or features + the number of a core's accumulator over all cores
    encoder: int  # values of the encoder come first
    bundles: Bundles

    @property
    def lead(self) -> Int:
        """The first source of each value, (values,)."""
        return self.member[self.offset[:-1]]

    @cached_property
    def _bundle(self) -> Int:
        """The number that each value is taken by, (values,)."""
        number = np.arange(len(self.size))
        number[self.bundles.part] = len(self.size) + np.repeat(np.arange(self.bundles.count), np.diff(self.bundles.offset))
        return number

    @property
    def taken(self) -> Int:
        """The number by which listeners take each source, (sources,); -1 for a read-out neuron."""
        return np.where(self.of_source < 0, -1, self._bundle[self.of_source])

    @property
    def taken_size(self) -> Int:
        """How large each number that is taken can be, (values + bundles,)."""
        return np.append(self.size, self.bundles.size)

    def spoken(self) -> npt.NDArray[np.uint8]:
        """How large what each source speaks for can be, (sources,): one of those taken together speaks, others have 0."""
        size = np.zeros(len(self.of_source), np.uint8)
        lead = self.lead
        size[lead] = self.size
        size[lead[self.bundles.part]] = 0
        size[lead[self.bundles.part[self.bundles.offset[:-1]]]] = self.bundles.size
        return size


def find(m: Mapping, accumulator: Int, alike: Int) -> Values:
    """Find values and bundles.

    Parameters
    ----------
    accumulator : ndarray, (neurons,)
        Number in its core of each neuron's accumulator: that of neurons with equal columns is the same.
    alike : ndarray, (sources,)
        The same for sources that no listener tells apart.
    """
    encoder, sources = m.encoder_neurons, len(alike)
    core_of = np.repeat(np.arange(m.cores), np.diff(m.neuron_offset))
    layer = m.core_layer[core_of]
    producer = _producers(m, accumulator)
    mute = np.concatenate([np.zeros(encoder, bool), np.array([e.levels == 0 for e in m.layers])[layer]])
    alike = alike.copy()
    if m.readout_of == "count":  # the spikes of each are wanted
        counted = encoder + np.flatnonzero(layer == m.readout)
        alike[counted] = counted
    order = np.lexsort((alike, producer))
    order = order[~mute[order]]
    new = np.ones(len(order), bool)
    new[1:] = (alike[order[1:]] != alike[order[:-1]]) | (producer[order[1:]] != producer[order[:-1]])
    start = np.flatnonzero(new)
    rank = np.arange(len(order)) - np.repeat(start, np.diff(start, append=len(order)))
    new |= rank % LARGEST_VALUE == 0
    start = np.flatnonzero(new)
    of_source = np.full(sources, -1)
    of_source[order] = np.cumsum(new) - 1
    size, inside = np.diff(start, append=len(order)), int((order[start] < encoder).sum())
    tick = np.array([e.tick for e in m.layers])[m.core_layer]
    lead = order[start[inside:]]  # of the chip's values
    bundles = _bundles(m, lead, alike[lead], size[inside:], tick, tick[core_of[lead - encoder]])
    return Values(
        of_source=of_source,
        size=size,
        member=order,
        offset=np.append(start, len(order)),
        producer=producer[order[start]],
        encoder=inside,
        bundles=Bundles(inside + bundles.part, bundles.offset, bundles.size, bundles.tick),
    )


def _producers(m: Mapping, accumulator: Int) -> Int:
    """What sends each source, (sources,): a feature of the encoder, or an accumulator of all, behind these."""
    accumulators = 1 + np.maximum.reduceat(accumulator, m.neuron_offset[:-1])
    features = m.encoder_neurons // m.encoder.levels
    base = features + np.cumsum(accumulators) - accumulators
    return np.append(
        np.arange(m.encoder_neurons) // m.encoder.levels, np.repeat(base, np.diff(m.neuron_offset)) + accumulator
    )


def alike(m: Mapping, row: Small, accumulator: Int, sent: Int, *, bundled: bool) -> Int:
    """Number sources so that those with one number arrive at the same rows, and have one fan-out.

    The number is that of the first such source. Candidates come from a hash; each is then compared entry by entry.

    Parameters
    ----------
    row : ndarray, (axons,)
        The first axon of its core that has this axon's row.
    accumulator : ndarray, (neurons,)
        Number in its core of each neuron's accumulator.
    sent : ndarray, (sources,)
        Packets that a spike of each source sends.
    bundled : bool
        Those with one number may have several accumulators, if they are of one layer and sent in the tick that fires them.
    """
    sources = len(sent)
    within = _producers(m, accumulator)
    if bundled:
        layer = np.repeat(m.core_layer, np.diff(m.neuron_offset))
        at_once = np.array([e.tick == e.sent_tick for e in m.layers])[layer]
        within[m.encoder_neurons :] = np.where(at_once, sources + layer, within[m.encoder_neurons :])
    order, offset = m.target_axon, m.target_offset  # axons, source by source
    keys, count = row[order], np.diff(offset)
    begins = np.zeros(len(keys) + 1, bool)
    begins[offset] = True
    if (~begins[1:-1] & (keys[1:] < keys[:-1])).any():  # within a source they fall
        order = np.lexsort((row, m.axon_source))
        keys = row[order]
    digest = np.empty(sources, np.uint64)
    for first, last in shares(count):
        begin, end = offset[first], offset[last]
        running = np.zeros(end - begin + 1, np.uint64)
        marks = keys[begin:end].astype(np.uint64)  # in fewer steps than `mix`: there are many, and equals are compared
        marks *= np.uint64(0x9E3779B97F4A7C15)
        marks ^= marks >> np.uint64(32)
        marks *= np.uint64(0xBF58476D1CE4E5B9)
        np.cumsum(marks, out=running[1:])
        digest[first:last] = np.diff(running[offset[first : last + 1] - begin])
    digest ^= mix(m.dense_fanout.astype(np.uint64) + (count.astype(np.uint64) << np.uint64(32)))
    digest += mix(sent.astype(np.uint64))
    mark = digest ^ mix(within.astype(np.uint64))
    by = np.argsort(mark)
    mark = mark[by]
    new = np.ones(sources, bool)
    new[1:] = mark[1:] != mark[:-1]
    leader = np.empty(sources, np.int64)
    leader[by] = np.minimum.reduceat(by, np.flatnonzero(new))[np.cumsum(new) - 1]
    same = (within == within[leader]) & (count == count[leader]) & (sent == sent[leader])
    same &= m.dense_fanout == m.dense_fanout[leader]
    follows = np.flatnonzero(same & (leader != np.arange(sources)))
    for first, last in shares(count[follows]):
        some = follows[first:last]
        many = count[some]
        own, _ = spread(offset[some], many)
        theirs = own + np.repeat(offset[leader[some]] - offset[some], many)
        same[np.repeat(some, many)[keys[own] != keys[theirs]]] = False
    return np.where(same, leader, np.arange(sources))


def _bundles(m: Mapping, lead: Int, alike: Int, size: Int, tick: Int, sent: Int) -> Bundles:
    """Join values whose sources are numbered alike, where several cores listen, all of them later.

    Parameters
    ----------
    lead, alike, size, sent : ndarray, (values,)
        First source of each, its number, sources, and the tick of its core.
    tick : ndarray, (cores,)
    """
    order = np.argsort(alike, kind="stable")
    number = alike[order]
    first = np.searchsorted(number, number)
    order = order[np.bincount(first, minlength=len(order))[first] > 1]
    listens = np.diff(m.target_offset)[lead[order]] > 0
    order = order[listens]
    of = lead[order]
    core = np.repeat(np.arange(m.cores, dtype=np.int32), np.diff(m.axon_offset))
    begin, many = m.target_offset[of], np.diff(m.target_offset)[of]
    several, earliest = np.empty(len(of), bool), np.empty(len(of), np.int64)
    for part in (slice(*each) for each in shares(many)):
        listening = core[m.target_axon[spread(begin[part], many[part])[0]]]
        place = np.cumsum(many[part]) - many[part]
        several[part] = np.minimum.reduceat(listening, place) != np.maximum.reduceat(listening, place)
        earliest[part] = np.minimum.reduceat(tick[listening], place)
    order = order[several & (earliest > sent[order])]
    number = alike[order]
    before = np.cumsum(size[order]) - size[order]
    before -= before[np.searchsorted(number, number)]
    section = before // (LARGEST_VALUE + 1 - int(size.max(initial=1)))  # then the last of one does not reach beyond
    new = np.ones(len(order), bool)
    new[1:] = (number[1:] != number[:-1]) | (section[1:] != section[:-1])
    offset = np.append(np.flatnonzero(new), len(order))
    alone = np.diff(offset) == 1  # left over
    order = order[~np.repeat(alone, np.diff(offset))]
    offset = np.concatenate([[0], np.cumsum(np.diff(offset)[~alone])]).astype(np.int64)
    total = np.add.reduceat(size[order], offset[:-1]) if len(order) else np.zeros(0, np.int64)
    return Bundles(order, offset, total, sent[order[offset[:-1]]])
