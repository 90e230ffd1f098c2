"""Lay out what counts of each image are added up from: rows in *runs* that weigh alike.

The SOPs and events of a core are sums of its rows, each times a weight. Rows of equal weights are added up in bytes first
and multiplied once. Runs are put into *segments*, whose sums fit 16 bits; a run whose products do not is a segment of its
own, added up in bytes, then in 16 bits, and multiplied in 32. A segment says which sums it adds to: bit 0 the first, bit 1
the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.layout import CORE, LANES
from chipsim.engine.fast.lines import Int, places_among, spread
from chipsim.engine.fast.memory import address
from chipsim.engine.fast.tables import Lines, Tables

Word = npt.NDArray[np.uint32]
Whole = npt.NDArray[np.integer]
Signed = npt.NDArray[np.int8]
#: the largest sum of bytes, and of 16 bits; and the largest of a run, weighed, in 16 bits: a segment reaches twice as far
BYTE, WORD, HALF = 255, 65535, 16383
#: the largest weight of a quad
MOST = 127
#: additions of a row here and there that take as long as multiplying one in quads
SPARSE = 6
#: largest sum of a part of what the encoder and all cores send: it fits 32 bits
PART = 1 << 30


@dataclass(frozen=True, eq=False)
class Runs:
    """Rows of some owners, run by run."""

    offsets: Word  # (rows,): where each lies
    runs: Word  # (runs, 4): first row, rows, both weights
    segments: Word  # (segments, 4): first run, end, how many rows are added up in bytes if products need 32 bits, which sums
    first: Word  # (owners + 1,): segments of each owner

    @cached_property
    def table(self) -> Int:
        """Addresses of all of it, for the kernel."""
        return np.array([address(part) for part in (self.offsets, self.runs, self.segments, self.first)], np.int64)


def runs(owner: Whole, offset: Whole, bound: Whole, weights: tuple[Whole, Whole], owners: int) -> Runs:
    """Sort rows into runs and segments.

    Parameters
    ----------
    owner, offset, bound : ndarray, (rows,)
        Whose row it is, where it lies in bytes, and its largest value, at most 255.
    weights : two ndarrays, (rows,)
        They may be negative. A row without weight is left out.
    """
    kept = np.flatnonzero((weights[0] != 0) | (weights[1] != 0))
    order = kept[np.lexsort((weights[1][kept], weights[0][kept], owner[kept]))]
    start, heaviest, largest = _alike(*(part[order].astype(np.int64) for part in (owner, bound, *weights)))
    size = np.diff(start, append=len(order))
    wide = size * heaviest * largest > HALF
    turn = np.lexsort((wide, owner[order[start]]))  # those that are wide after the others of the same owner
    order = order[spread(start[turn], size[turn])[0]]
    size, heaviest, largest, wide = size[turn], heaviest[turn], largest[turn], wide[turn]
    owner, offset, bound, one, other = (part[order].astype(np.int64) for part in (owner, offset, bound, *weights))
    rows = len(order)
    at_once = np.maximum(1, BYTE // np.maximum(1, largest))
    together = np.where(wide, WORD // np.maximum(1, largest), at_once)
    start = np.cumsum(size) - size
    first = np.flatnonzero((np.arange(rows) - np.repeat(start, size)) % np.repeat(together, size) == 0)
    count = np.diff(first, append=rows)
    wide, at_once, most = (np.repeat(part, size)[first] for part in (wide, at_once, heaviest * largest))
    most = np.where(wide, 0, count * most)
    mine = owner[first]
    before = np.cumsum(most) - most
    own = np.searchsorted(mine, mine)  # the first run of its owner
    part = (before - before[own]) // (HALF + 1)
    new = np.ones(len(first), bool)
    new[1:] = (mine[1:] != mine[:-1]) | (part[1:] != part[:-1]) | wide[1:]
    begin = np.flatnonzero(new)
    sums = (one[first] != 0) + 2 * (other[first] != 0)
    segments = [
        begin,
        np.append(begin[1:], len(first))[: len(begin)],
        np.where(wide, at_once, 0)[begin],
        np.bitwise_or.reduceat(sums, begin) if rows else sums,
    ]
    return Runs(
        offset.astype(np.uint32),
        np.stack([first, count, one[first], other[first]], axis=1).astype(np.uint32),
        np.stack(segments, axis=1).astype(np.uint32),
        np.searchsorted(mine[begin], np.arange(owners + 1)).astype(np.uint32),
    )


def _alike(owner: Int, bound: Int, one: Int, other: Int) -> tuple[Int, Int, Int]:
    """Of rows of one owner and of equal weights, in a row: the first, their larger weight and largest value."""
    new = np.ones(len(owner), bool)
    new[1:] = (owner[1:] != owner[:-1]) | (one[1:] != one[:-1]) | (other[1:] != other[:-1])
    start = np.flatnonzero(new)
    heaviest = np.maximum(1, np.maximum(abs(one[start]), abs(other[start])))
    return start, heaviest, np.maximum.reduceat(bound, start) if len(start) else bound


@dataclass(frozen=True, slots=True, eq=False)
class _Factors:
    """SOPs of cores as a factor times their events, and the rest."""

    factor: Int  # (cores,)
    rest: Int  # (rows,): SOPs of one spike beyond the factor times its events
    dense: npt.NDArray[np.bool_]  # (cores,): whether the rest is multiplied in quads


class Counting:
    """What the counts of each image are made from.

    Cores that take the same values have the same events, which one of them counts for all. The SOPs of a core are a *factor*
    times its events, and a *rest* of single rows: none where no weight is zero.

    Parameters
    ----------
    tick : ndarray, (cores,), optional
        Of each record; None: not all arrives that is sent, so that no two cores have the same events.
    tiled : bool
        Rows lie packed where cores multiply tiles.

    Attributes
    ----------
    cores : ndarray, int64, (cores, 4)
        For each record: the addresses of weights of its packed rows, for the rest and for events, 0 where these are counted
        otherwise or not at all; quads of rows; and which row of events is its own.
    factor, events_of : ndarray, int32, (cores of the mapping,)
        The factor, and the row of events.
    rest_of : ndarray, (rests,)
        Cores of the mapping that have a rest.
    reach : ndarray, int64, (2,)
        The least and the largest rest that a core may have in a step.
    events : int
        Rows of events.
    sent, parts : Runs, int
        Spikes of the encoder, and half of the paper's SOPs: sums of so many parts.
    """

    def __init__(self, t: Tables, lines: Lines, fanout: Int, *, tick: Int | None, tiled: bool) -> None:
        cores, size = t.cores, np.zeros(t.all_slots, np.int64)
        size[t.fresh] = size[t.slot] = t.merged.values.size
        number = np.arange(len(cores))
        lead = number if tick is None else _leads(lines, tick)
        first = lead == number
        own = (np.cumsum(first) - 1)[lead]
        packed = cores[:, CORE.index("lookup")] * cores[:, CORE.index("wide")] * tiled > 0
        found = _factors(lines, packed)
        most = np.zeros(len(cores), np.int64)
        np.maximum.at(most, lines.owner, lines.events)
        in_quads = packed & first & (most <= MOST)
        self.weights, self.cores = _quads(t, lines, found, in_quads, own)
        rest = np.where(found.dense[lines.owner], 0, found.rest)
        events = lines.events * (first & ~in_quads)[lines.owner]
        self.rows = runs(lines.owner, lines.offset, lines.bound, (rest, events), len(cores))
        fires = cores[:, CORE.index("fires")] * (cores[:, CORE.index("spiking")] + cores[:, CORE.index("stepping")])
        owner = np.repeat(number, fires)
        record = np.arange(len(owner)) + np.repeat(cores[:, CORE.index("fire")] - (np.cumsum(fires) - fires), fires)
        slot = t.fires[record, 1].astype(np.int64)
        once = np.ones(len(slot), np.int64)
        self.spikes = runs(owner, LANES * slot, size[slot], (once, 0 * once), len(cores))
        encoder = (np.arange(len(fanout)) < t.merged.values.encoder).astype(np.int64)
        part = np.cumsum(fanout * t.merged.values.size) // PART
        self.parts = int(part[-1]) + 1
        self.sent = runs(part, LANES * t.slot, t.merged.values.size, (encoder, fanout), self.parts)
        place = cores[:, CORE.index("core")]
        self.factor, self.events_of = np.zeros((2, len(cores)), np.int32)
        self.factor[place], self.events_of[place] = found.factor, own
        self.rest_of = np.sort(place[np.bincount(lines.owner, found.rest != 0, len(cores)) > 0])
        self.reach = reach_of(found.rest, lines)
        self.events = int(first.sum())


def reach_of(weights: Whole, lines: Lines) -> Int:
    """The least and the largest sum of a core's lines, each as large as it may be, times their weights, (2,)."""
    most = weights.astype(np.float64) * lines.bound  # exact below 2**53
    least, largest = (np.bincount(lines.owner, part, 1) for part in (np.minimum(most, 0), np.maximum(most, 0)))
    return np.array([least.min(), largest.max()]).astype(np.int64)


def _leads(lines: Lines, tick: Int) -> Int:
    """The first core that has the same events as each, (cores,): it takes the same values in the same tick."""
    edge = lines.edges(len(tick)).tolist()
    row = lines.offset.astype(np.int64) << 32 | lines.events
    known: dict[tuple[int, bytes], int] = {}
    return np.array(
        [
            known.setdefault((mine, np.sort(row[edge[core] : edge[core + 1]]).tobytes()), core)
            for core, mine in enumerate(tick.tolist())
        ]
    )


def _factors(lines: Lines, packed: npt.NDArray[np.bool_]) -> _Factors:
    """Find factors: the most SOPs of a row; where many ``packed`` rows have fewer, what lies between most and fewest."""
    owner, events, sops = lines.owner, lines.events.astype(np.int64), lines.sops.astype(np.int64)
    ratio = -(-sops // np.maximum(1, events))
    most, largest = np.zeros((2, len(packed)), np.int64)
    fewest = np.full(len(packed), np.iinfo(np.int32).max, np.int64)
    np.maximum.at(most, owner, ratio)
    np.minimum.at(fewest, owner, ratio)
    middle = (most + fewest) // 2
    np.maximum.at(largest, owner, np.abs(sops - middle[owner] * events))
    differ = np.bincount(owner[sops != most[owner] * events], minlength=len(packed))
    many = differ * SPARSE > np.bincount(owner, minlength=len(packed))
    dense = packed & many & (largest <= MOST)
    factor = np.where(dense, middle, most)
    return _Factors(factor, np.asarray(sops - factor[owner] * events, np.int64), dense)


def _quads(t: Tables, lines: Lines, found: _Factors, in_quads: npt.NDArray[np.bool_], own: Int) -> tuple[Signed, Int]:
    """Weights of packed rows, in the order in which the unit of a core has packed them; and the table `Counting.cores`."""
    cores = np.zeros((len(own), 4), np.int64)
    cores[:, 3] = own
    edge = lines.edges(len(own))
    units = {number: each for each in t.merged.units for number in range(each.first, each.first + each.members)}
    weights, at = [np.zeros(4, np.int8)], 4
    for core in np.flatnonzero(found.dense | in_quads).tolist():
        mine = slice(edge[core], edge[core + 1])
        packed = lines.bound[mine].astype(np.int64)
        place = np.arange(len(packed))
        if core in units:
            unit = units[core]
            packed, place = t.merged.joined[unit.form].bound, places_among(t.merged.cores[core].rows, unit.rows)
        rows = np.flatnonzero(packed)
        cores[core, 2] = quads = -(-len(rows) // 4)
        for field, so, of_row in ((0, found.dense[core], found.rest), (1, in_quads[core], lines.events)):
            if so and quads:
                every = np.zeros(len(packed), np.int8)
                every[place] = of_row[mine]
                weights.append(np.zeros(4 * quads, np.int8))
                weights[-1][: len(rows)] = every[rows]
                cores[core, field], at = at, at + 4 * quads
    joined = np.concatenate(weights)
    cores[:, :2] += np.where(cores[:, :2] > 0, address(joined), 0)
    return joined, cores
