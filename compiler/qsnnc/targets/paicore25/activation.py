"""Levels as words: activation tables, and which channels can share one.

A core has one table of thresholds. A channel meets it with a multiplier m of its weights and an offset s of its potentials:
its level is above i where m * potential + s >= table[i]. For integer potentials that is the channel's own threshold T[i]
exactly if m * (T[i] - 1) + s < table[i] <= m * T[i] + s. A larger m leaves more room, at the price of wider weights: with it
channels of a batch norm, whose steps have no common ratio, come to share a table. Every assignment is checked with these
inequalities, so that nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from chipsim.paicore import words as w
from chipsim.paicore.fields import Words
from qsnnc.ir.layers import Int
from qsnnc.targets.paicore25.neurons import NEVER

#: uniform tables that are tried: near the largest step that suits every channel, and over the whole range of steps
NEAREST, SPREAD = 12, 52
#: tables that are tried in all
MOST_TRIED = 160
#: multipliers that are tried around the ratio of the steps
NEAR = 4


class NoTable(Exception):
    """Channels that share no few tables, or one whose positions need different ones."""


@dataclass(frozen=True, eq=False)
class Channels:
    """Thresholds of the channels of a layer: a row for each set of a channel's positions that decide alike.

    ``low`` and ``high`` are what potentials reach there.
    """

    thresholds: Int  # (rows, levels), none falling
    low: Int  # (rows,)
    high: Int  # (rows,)
    owner: Int  # (rows,) channel of each row, ascending; every channel has a row
    most: Int  # (channels,) largest multiplier that its weights allow

    @cached_property
    def steps(self) -> npt.NDArray[np.float64]:
        """Average distance of each channel's thresholds, those that potentials can meet; 0 where there are no two."""
        between = (self.thresholds[:, :-1] > self.low[:, None]) & (self.thresholds[:, 1:] <= self.high[:, None])
        total = np.bincount(self.owner, (np.diff(self.thresholds) * between).sum(axis=1), len(self.most))
        count = np.bincount(self.owner, between.sum(axis=1), len(self.most))
        return np.asarray(np.divide(total, count, out=np.zeros(len(self.most)), where=count > 0))

    def multipliers(self, table: Int) -> Int:
        """Multipliers to try with a table, int64 (channels, 1 + NEAR): 1, and those near the ratio of the steps."""
        steps = self.steps
        ratio = np.ones(len(self.most))
        if len(table) > 1:
            each = (int(table[-1]) - int(table[0])) / (len(table) - 1)
            ratio = np.divide(each, steps, out=ratio, where=steps > 0)
        first = np.maximum(1, np.minimum(ratio, 1e6).astype(np.int64) - 1)
        tried = first[:, None] + np.append(-first.max(), np.arange(NEAR))
        return np.asarray(np.clip(tried, 1, self.most[:, None]))

    def meet(self, table: Int, most_offset: int) -> tuple[npt.NDArray[np.bool_], Int, Int]:
        """Which channels meet a table.

        Returns
        -------
        met : ndarray, bool, (channels,)
        multiplier : ndarray, int64, (channels,)
            The smallest that was tried and does.
        offset : ndarray, int64, (rows,)
        """
        tried = self.multipliers(table)
        m = tried[self.owner][:, :, None]
        t = self.thresholds[:, None, :]
        low, high = self.low[:, None, None], self.high[:, None, None]
        always, never = t <= low, t > high
        # m * (T - 1) + s < table <= m * T + s, where a potential can tell
        at_least = np.where(always, table - m * low, np.where(never, -most_offset, table - m * t)).max(axis=2)
        at_most = np.where(never, table - m * high - 1, np.where(always, most_offset, table - m * (t - 1) - 1)).min(axis=2)
        at_least, at_most = np.maximum(at_least, -most_offset), np.minimum(at_most, most_offset)
        starts = np.searchsorted(self.owner, np.arange(len(self.most)))
        good = np.logical_and.reduceat(at_least <= at_most, starts, axis=0)
        choice = good.argmax(axis=1)
        rows = np.arange(len(self.owner)), choice[self.owner]
        offset = np.clip(0, at_least[rows], np.maximum(at_least[rows], at_most[rows]))
        return np.asarray(good.any(axis=1)), tried[np.arange(len(choice)), choice], np.asarray(offset, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """Tables of a layer, and how its channels meet them."""

    tables: list[Int]
    table: Int  # (channels,)
    multiplier: Int  # (channels,)
    offset: Int  # (rows of `Channels`,)


def share(channels: Channels, most_offset: int, most_tables: int) -> Shared:
    """Find few tables for all channels.

    Raises
    ------
    NoTable
        There are none, or more than ``most_tables``.
    """
    count = len(channels.most)
    found = Shared([], np.full(count, -1), np.ones(count, np.int64), np.zeros(len(channels.owner), np.int64))
    candidates = list(_candidates(channels))[:MOST_TRIED]
    while (found.table < 0).any():
        if len(found.tables) == most_tables:
            raise NoTable
        left = found.table < 0
        best, most = None, 0
        for table in candidates:
            met, multiplier, offset = channels.meet(table, most_offset)
            covered = int((met & left).sum())
            if covered > most:
                best, most = (table, met & left, multiplier, offset), covered
            if covered == int(left.sum()):
                break
        if best is None:
            raise NoTable
        table, mine, multiplier, offset = best
        found.table[mine] = len(found.tables)
        found.multiplier[mine] = multiplier[mine]
        rows = mine[channels.owner]
        found.offset[rows] = offset[rows]
        found.tables.append(table)
    return found


def _candidates(channels: Channels) -> Iterator[Int]:
    """Tables that may suit many channels: the thresholds of the one, or uniform ones, or the thresholds that each has."""
    relative = np.unique(channels.thresholds - channels.thresholds[:, :1], axis=0)
    if len(relative) == 1:
        yield from relative
    steps = channels.steps
    if (steps > 0).any() and channels.most.max(initial=1) > 1:
        levels = channels.thresholds.shape[1]
        reached = (steps * channels.most)[steps > 0]
        common = int(reached.min())  # the largest step that every channel can be multiplied to
        near = np.arange(common, max(1, common - NEAREST), -1)
        spread = np.geomspace(max(2.0, float(steps[steps > 0].min())), max(2.0, float(reached.max())), SPREAD)
        for step in dict.fromkeys([*near.tolist(), *spread[::-1].astype(np.int64).tolist()]):
            yield np.arange(levels, dtype=np.int64) * step
    yield from relative


def words_of(table: Int, bits: int) -> Words:
    """The 256 entries of a core's table for outputs of so many bits, uint64 (256,)."""
    threshold, value = np.full(w.TABLE_ENTRIES, NEVER, np.int64), np.zeros(w.TABLE_ENTRIES, np.int64)
    block = w.TABLE_ENTRIES >> bits
    entries = np.arange(1, len(table) + 1)
    threshold[0] = -(1 << 31)
    threshold[entries * block] = table
    value[entries * block] = entries
    return np.asarray(w.TABLE.pack({"threshold": threshold, "value": value})[:, 0])
