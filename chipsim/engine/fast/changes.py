"""Cores of which a few weights differ from a matrix that many share, as stuck bits make them.

The shared matrix is added up as if nothing were broken, and what differs is added to that. Each core on its own would take
far longer to load than to run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from chipsim.engine.fast import plan
from chipsim.engine.fast.lines import Int
from chipsim.engine.fast.merge import Change, Merged, MergedCore
from chipsim.faults import Damage
from chipsim.faults.damage import with_arrays
from chipsim.mapping import Mapping
from chipsim.mapping.totals import axon_sops

#: of this share of all weights on, cores are no longer like the matrix that they shared
MOST = 1 / 8


@dataclass(frozen=True, slots=True, eq=False)
class Different:
    """Weights of a core that differ."""

    axon: Int
    neuron: Int
    more: Int  # what is to be added to the shared weight
    sops: Int  # (axons of the core,): of one spike, with the weights as they are


def differences(damage: Damage) -> list[Different] | None:
    """Find the weights of each core that stuck bits changed; None where none can be stuck, or too many changed."""
    m, healthy = damage.mapping, damage.healthy
    if healthy is None:
        return None
    found, changed, weights = [], 0, 0
    for core in range(m.cores):
        before, after = (each.crossbar(int(each.core_crossbar[core])) for each in (healthy, m))
        axon, neuron = np.nonzero(before != after)
        more = after[axon, neuron].astype(np.int64) - before[axon, neuron]
        found.append(Different(axon, neuron, more, axon_sops(after)))
        changed, weights = changed + len(axon), weights + after.size
    return found if changed <= MOST * weights else None


def as_if_healthy(m: Mapping, damage: Damage) -> Mapping:
    """Return the mapping with the weights as they were."""
    assert damage.healthy is not None
    names = ("core_crossbar", "crossbar_shape", "crossbar_offset", "crossbar_bits")
    return with_arrays(m, **{name: damage.healthy.arrays[name] for name in names})


def with_differences(merged: Merged, m: Mapping, found: list[Different]) -> Merged | None:
    """Give each neuron an accumulator of its own, and each core what it adds; None where a sum would need more bits."""
    accumulator, cores = merged.accumulator.copy(), list[MergedCore]()
    for core in merged.cores:
        form, own = merged.forms[core.form], found[core.core]
        neurons = slice(*m.neuron_offset[core.core : core.core + 2].tolist())
        shared = merged.accumulator[neurons]
        largest = form.largest + int(np.bincount(own.neuron, np.abs(own.more)).max(initial=0))
        if (largest < plan.NARROW) != plan.narrow(form):
            return None
        program = [np.array([len(shared)]), shared, plan.sparse(own.axon, own.neuron, own.more)]
        change = Change(len(shared), np.concatenate(program).astype(np.uint32))
        cores.append(replace(core, largest=largest, change=change))
        accumulator[neurons] = form.matrix.shape[1] + np.arange(len(shared))
    return replace(merged, cores=tuple(cores), accumulator=accumulator)
