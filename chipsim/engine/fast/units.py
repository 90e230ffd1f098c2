"""Cores that take the same values are added up together, as a *unit*: the matrices of its members stand side by side.

Rows are then packed once for all members, stay near, and what is multiplied in blocks of columns is filled by the columns of
several cores. Each member fires from its own accumulators and is counted by itself.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np

from chipsim.engine.fast.lines import Int, places_of
from chipsim.engine.fast.merge import Form, Merged, MergedCore, Unit, make_form, ticks_of
from chipsim.engine.fast.programs import Costs
from chipsim.mapping import Mapping

#: accumulators of a unit, at most: they stay in the second cache
MOST = 1024


def united(merged: Merged, m: Mapping, costs: Costs) -> Merged:
    """Find units, where they take less time by count of instructions; their members follow each other then."""
    if costs.instruction is None or merged.cores[0].arrives is not None:
        return merged
    uses = np.bincount([core.form for core in merged.cores], minlength=len(merged.forms))
    found = _Units(merged, costs.times(merged.forms, uses).tolist(), costs)
    ticks, alike = ticks_of(m).tolist(), defaultdict[tuple[int, bytes], list[int]](list)
    for number, core in enumerate(merged.cores):
        if not merged.forms[core.form].maximum:
            alike[ticks[core.core], np.sort(core.rows).tobytes()].append(number)
    for members in alike.values():
        columns = np.cumsum([merged.forms[merged.cores[number].form].matrix.shape[1] for number in members])
        part = (columns - 1) // MOST
        for which in range(int(part[-1]) + 1):
            found.join([number for number, mine in zip(members, part, strict=True) if mine == which])
    return found.merged()


class _Units:
    """Units under construction."""

    def __init__(self, merged: Merged, time: list[int], costs: Costs) -> None:
        self.all, self.time, self.costs = merged, time, costs
        self.known: dict[tuple[tuple[int, bytes], ...], tuple[int, int] | None] = {}
        self.forms: list[Form] = []
        self.lead = np.arange(len(merged.cores))
        self.form: dict[int, tuple[int, int]] = {}

    def join(self, members: list[int]) -> None:
        """Make a unit of some cores that take the same values, if that pays."""
        if len(members) < 2:
            return
        cores = [self.all.cores[number] for number in members]
        places = [places_of(cores[0].rows, core.rows) for core in cores]
        key = tuple((core.form, place.tobytes()) for core, place in zip(cores, places, strict=True))
        if key not in self.known:
            self.known[key] = self._joined(cores, places)
        found = self.known[key]
        if found is not None:
            self.lead[members] = members[0]
            self.form[members[0]] = found

    def _joined(self, cores: list[MergedCore], places: list[Int]) -> tuple[int, int] | None:
        """The form of a unit, and what it saves."""
        forms = [self.all.forms[core.form] for core in cores]
        matrix = np.concatenate([form.matrix[place] for form, place in zip(forms, places, strict=True)], axis=1)
        form = make_form(matrix, forms[0].bound[places[0]])
        saves = sum(self.time[core.form] for core in cores) - self.costs.dense(form)
        if saves <= 0:
            return None
        self.forms.append(form)
        return len(self.forms) - 1, saves

    def merged(self) -> Merged:
        """All cores, the members of a unit one after the other."""
        order = np.argsort(self.lead, kind="stable")
        first = np.flatnonzero(np.diff(self.lead[order], prepend=-1))
        units = [
            Unit(int(at), int(many), *self.form[lead])
            for at, many, lead in zip(
                first, np.diff(first, append=len(order)), self.lead[order[first]].tolist(), strict=True
            )
            if many > 1
        ]
        cores = tuple(self.all.cores[number] for number in order)
        return replace(self.all, cores=cores, joined=tuple(self.forms), units=tuple(units))
