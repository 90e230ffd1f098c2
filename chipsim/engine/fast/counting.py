"""Lay out what counts of each image are added up from: rows in *runs* that weigh alike.

The SOPs and events of a core are sums of its rows, each times a weight. Rows of equal weights are added up in bytes first
and multiplied once. Runs are put into *segments*, whose sums fit 16 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.layout import CORE, LANES
from chipsim.engine.fast.lines import Int
from chipsim.engine.fast.memory import address
from chipsim.engine.fast.tables import Lines, Tables

Word = npt.NDArray[np.uint32]
Whole = npt.NDArray[np.integer]
#: the largest sum of bytes; half of the largest sum of a segment
BYTE, HALF = 255, 32767


@dataclass(frozen=True, eq=False)
class Runs:
    """Rows of some owners, run by run."""

    offsets: Word  # (rows,): where each lies
    runs: Word  # (runs, 4): first row, rows, both weights
    segments: Word  # (segments, 3): first run, end, whether a product may not fit 16 bits
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
        A row without weight is left out.
    """
    kept = np.flatnonzero((weights[0] != 0) | (weights[1] != 0))
    order = kept[np.lexsort((weights[1][kept], weights[0][kept], owner[kept]))]
    owner, offset, bound, one, other = (part[order].astype(np.int64) for part in (owner, offset, bound, *weights))
    rows = len(order)
    alike = np.ones(rows, bool)
    alike[1:] = (owner[1:] != owner[:-1]) | (one[1:] != one[:-1]) | (other[1:] != other[:-1])
    start = np.flatnonzero(alike)
    size = np.diff(start, append=rows)
    heaviest = np.maximum(1, np.maximum(one[start], other[start]))
    largest = np.maximum.reduceat(bound, start) if rows else bound
    together = np.maximum(1, np.minimum(BYTE, HALF // heaviest) // np.maximum(1, largest))
    first = np.flatnonzero((np.arange(rows) - np.repeat(start, size)) % np.repeat(together, size) == 0)
    count = np.diff(first, append=rows)
    most = count * np.repeat(heaviest * largest, size)[first]
    wide = most > HALF
    mine = owner[first]
    before = np.cumsum(most) - most
    own = np.searchsorted(mine, mine)  # the first run of its owner
    part = (before - before[own]) // (HALF + 1)
    new = np.ones(len(first), bool)
    new[1:] = (mine[1:] != mine[:-1]) | (part[1:] != part[:-1]) | (wide[1:] != wide[:-1])
    begin = np.flatnonzero(new)
    segments = np.stack([begin, np.append(begin[1:], len(first))[: len(begin)], wide[begin]], axis=1)
    return Runs(
        offset.astype(np.uint32),
        np.stack([first, count, one[first], other[first]], axis=1).astype(np.uint32),
        segments.astype(np.uint32),
        np.searchsorted(mine[begin], np.arange(owners + 1)).astype(np.uint32),
    )


@dataclass(frozen=True, eq=False)
class Quads:
    """Weights of rows that lie packed in quads: for each the SOPs modulo 128, those above, and the events, as bytes."""

    weights: npt.NDArray[np.int8]  # (quads of all cores, 3, 4)
    cores: Int  # (cores, 2): address of a core's weights, and quads; zeros where its rows are counted otherwise

    def counted(self) -> npt.NDArray[np.bool_]:
        """Which cores are."""
        return np.asarray(self.cores[:, 1] > 0)


def quads(t: Tables, lines: Lines, tiled: bool) -> Quads:
    """Lay out the weights of the rows of cores that multiply tiles, where they fit."""
    cores = np.zeros((len(t.cores), 2), np.int64)
    taken = t.cores[:, CORE.index("lookup")] * t.cores[:, CORE.index("wide")] * tiled
    edge = np.searchsorted(lines.owner, np.arange(len(cores) + 1))
    found, at = [np.zeros((0, 3, 4), np.int8)], 0
    for core in np.flatnonzero(taken).tolist():
        own = slice(edge[core], edge[core + 1])
        packed = lines.bound[own] > 0
        sops, events = lines.sops[own][packed], lines.events[own][packed]
        if not len(sops) or sops.max() >= 1 << 14 or events.max() > 127:
            continue
        bytes_of = np.zeros((3, -(-len(sops) // 4) * 4), np.int8)
        bytes_of[:, : len(sops)] = sops & 127, sops >> 7, events
        found.append(bytes_of.reshape(3, -1, 4).swapaxes(0, 1))
        cores[core] = at, len(found[-1])
        at += found[-1].nbytes
    weights = np.concatenate(found)
    cores[:, 0] += address(weights)
    return Quads(weights, cores)


class Counting:
    """What the counts of each image are made from."""

    def __init__(self, t: Tables, lines: Lines, fanout: Int, tiled: bool) -> None:
        cores, size = t.cores, np.zeros(t.all_slots, np.int64)
        size[t.fresh] = size[t.slot] = t.merged.values.size
        self.quads = quads(t, lines, tiled)
        other = ~self.quads.counted()[lines.owner]
        weights = lines.sops * other, lines.events * other
        self.rows = runs(lines.owner, lines.offset, lines.bound, weights, len(cores))
        fires = cores[:, CORE.index("fires")] * (cores[:, CORE.index("spiking")] + cores[:, CORE.index("stepping")])
        owner = np.repeat(np.arange(len(cores)), fires)
        record = np.arange(len(owner)) + np.repeat(cores[:, CORE.index("fire")] - (np.cumsum(fires) - fires), fires)
        slot = t.fires[record, 1].astype(np.int64)
        once = np.ones(len(slot), np.int64)
        self.spikes = runs(owner, LANES * slot, size[slot], (once, 0 * once), len(cores))
        self.fanout = fanout
        encoder = (np.arange(len(fanout)) < t.merged.values.encoder).astype(np.int64)
        # a sum that 32 bits might not hold is left to doubles, exact below 2**53
        self.wide = int(fanout @ t.merged.values.size) >= 1 << 31
        given = (encoder, 0 * fanout if self.wide else fanout)
        self.sent = runs(0 * fanout, LANES * t.slot, t.merged.values.size, given, 1)
