"""Cores that take the same values, or nearly, are added up together, as a *unit*: their matrices stand side by side.

Rows are then packed once for all members, stay near, and what is multiplied in blocks of columns is filled by the columns of
several cores. Each member fires from its own accumulators and is counted by itself. A core has no axon where none of its
neurons has a weight, so cores of few columns that read one position differ in some rows, which weigh nothing there.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from chipsim.engine.fast.lines import Int, Small, mix, places_among
from chipsim.engine.fast.merge import Form, Merged, Unit, make_form, ticks_of
from chipsim.engine.fast.programs import Costs
from chipsim.mapping import Mapping

#: accumulators of a unit, at most: they stay in the second cache
MOST = 1024
#: what two cores must have in common, at least, of the rows of the larger
NEAR = 0.75
#: marks by which cores are found that have much in common, and how many of those with one mark are looked at
MARKS, LOOKED = 4, 4


def united(merged: Merged, m: Mapping, costs: Costs) -> Merged:
    """Find units, where they take less time by count of instructions; their members follow each other then."""
    if costs.instruction is None or merged.cores[0].arrives is not None:
        return merged
    uses = np.bincount([core.form for core in merged.cores], minlength=len(merged.forms))
    found = _Units(merged, costs.times(merged.forms, uses).tolist(), costs)
    ticks, same = ticks_of(m).tolist(), defaultdict[tuple[int, bytes], list[int]](list)
    for number, core in enumerate(merged.cores):
        if not merged.forms[core.form].maximum:
            same[ticks[core.core], np.sort(core.rows).tobytes()].append(number)
    groups = list(same.values())
    for near in _near([(tick, np.frombuffer(rows, np.int32)) for tick, rows in same]):
        plans = [[made for group in near for made in found.plan(groups[group])]]
        if len(near) > 1:
            plans.append(found.plan(sorted(number for group in near for number in groups[group]), same=False))
        for made in max(plans, key=lambda plan: sum(each.saves for each in plan)):
            found.join(made)
    return found.merged()


def _near(groups: list[tuple[int, Small]]) -> list[list[int]]:
    """Bring groups together that have one tick and many rows in common; the ``rows`` of each are sorted."""
    rows = [rows for _, rows in groups]
    filled = [number for number, own in enumerate(rows) if len(own)]
    joined = np.concatenate([np.zeros(0, np.int32), *rows]).astype(np.uint64)
    length = np.array([len(own) for own in rows], np.int64)[filled]
    # two lists have one least mark with the probability of their share in common (Broder's MinHash)
    marks = [
        np.minimum.reduceat(mix(joined + np.uint64(k << 40)), np.cumsum(length) - length).tolist() for k in range(MARKS)
    ]
    leads: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    found: dict[int, list[int]] = {number: [number] for number in set(range(len(rows))) - set(filled)}
    for place, number in enumerate(filled):
        tick, own = groups[number]
        keys = [(tick, k, each[place]) for k, each in enumerate(marks)]
        lead = next((other for key in keys for other in leads[key][:LOOKED] if _share(own, rows[other])), number)
        found.setdefault(lead, []).append(number)
        if lead == number:
            for key in keys:
                leads[key].append(number)
    return list(found.values())


def _share(one: Small, other: Small) -> bool:
    """Whether two lists of rows, sorted, have much in common."""
    most = max(len(one), len(other))
    if min(len(one), len(other)) < NEAR * most:
        return False
    place = np.minimum(np.searchsorted(other, one), len(other) - 1)
    return bool(np.count_nonzero(other[place] == one) >= NEAR * most)


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """A unit that may be made."""

    members: list[int]
    form: int  # index among joined ones
    rows: Small
    saves: int


class _Units:
    """Units under construction."""

    def __init__(self, merged: Merged, time: list[int], costs: Costs) -> None:
        self.all, self.time, self.costs = merged, time, costs
        self.known: dict[tuple[tuple[int, bytes], ...], tuple[int, int]] = {}
        self.forms: list[Form] = []
        self.lead = np.arange(len(merged.cores))
        self.made: dict[int, _Made] = {}

    def plan(self, members: list[int], *, same: bool = True) -> list[_Made]:
        """Units of some cores that pay; whether they take the ``same``."""
        columns = np.cumsum([self.all.forms[self.all.cores[number].form].matrix.shape[1] for number in members])
        part = (columns - 1) // MOST
        parts = [[members[each] for each in np.flatnonzero(part == which)] for which in range(int(part[-1]) + 1)]
        return [made for each in parts if len(each) > 1 and (made := self._made(each, same)).saves > 0]

    def join(self, made: _Made) -> None:
        """Make a unit."""
        self.lead[made.members] = made.members[0]
        self.made[made.members[0]] = made

    def _made(self, members: list[int], same: bool) -> _Made:
        cores = [self.all.cores[number] for number in members]
        rows = cores[0].rows
        if not same:
            rows = np.append(rows, np.setdiff1d(np.concatenate([core.rows for core in cores]), rows))
        places = [places_among(core.rows, rows) for core in cores]
        key = tuple((core.form, place.tobytes()) for core, place in zip(cores, places, strict=True))
        if key not in self.known:
            self.known[key] = self._joined([core.form for core in cores], places, len(rows))
        form, saves = self.known[key]
        return _Made(members, form, rows, saves)

    def _joined(self, members: list[int], places: list[Int], rows: int) -> tuple[int, int]:
        """The form of a unit from the forms of its members, and what it saves."""
        forms = [self.all.forms[form] for form in members]
        edge = np.cumsum([0, *(form.matrix.shape[1] for form in forms)]).tolist()
        matrix, bound = (
            np.zeros((rows, edge[-1]), np.result_type(*(form.matrix for form in forms))),
            np.zeros(rows, np.int64),
        )
        for form, place, begin, end in zip(forms, places, edge[:-1], edge[1:], strict=True):
            matrix[place, begin:end], bound[place] = form.matrix, form.bound
        form = make_form(matrix, bound)
        self.forms.append(form)
        return len(self.forms) - 1, sum(self.time[number] for number in members) - self.costs.dense(form)

    def merged(self) -> Merged:
        """All cores, the members of a unit one after the other."""
        order = np.argsort(self.lead, kind="stable")
        first = np.flatnonzero(np.diff(self.lead[order], prepend=-1))
        units = []
        for at, many in zip(first.tolist(), np.diff(first, append=len(order)).tolist(), strict=True):
            if many > 1:
                made = self.made[int(self.lead[order[at]])]
                units.append(Unit(at, many, made.form, made.rows, made.saves))
        cores = tuple(self.all.cores[number] for number in order)
        return replace(self.all, cores=cores, joined=tuple(self.forms), units=tuple(units))
