"""Which packets arrive, axon by axon: `chipsim.faults.damage.Dropped` and constant bits in machine code.

A core's rows are then not values but what arrives of them: cores whose axons are stuck in different places still share
their matrices, as if all axons worked. A value says how many of its sources fired; where these share a
potential and lose nothing on the way, that says which did: those with the lowest thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.arrive_kernel import ENTRY
from chipsim.engine.fast.layout import CORE, LANES
from chipsim.engine.fast.lines import Int
from chipsim.engine.fast.merge import Merged
from chipsim.engine.fast.tables import Lines, Tables
from chipsim.faults import WORKS, Damage
from chipsim.mapping import Mapping

#: matrices that stuck axons may add before they are left as they are
OWN = 32
#: a rank that no value reaches: nothing arrives
NOTHING = 255


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """What the kernel reads, and what is drawn."""

    cores: Int  # (cores, fields of ARRIVAL), in the order of the tables
    entries: npt.NDArray[np.uint32]  # (entries, fields of ENTRY)
    lines: Lines  # what is counted: rows, or each axon
    each: bool  # each axon
    latched: int  # lines that cores latch, at most


def axon_by_axon(damage: Damage) -> bool:
    """Whether packets are dropped, or so many axons are stuck that cores without them would share little."""
    if damage.dropped is not None:
        return True
    m, works = damage.mapping, damage.held == WORKS
    if works.all():
        return False
    own = {
        (int(k), works[first:end].tobytes())
        for k, first, end in zip(m.core_crossbar, m.axon_offset[:-1], m.axon_offset[1:], strict=True)
    }
    return len(own) > OWN + len(np.unique(m.core_crossbar))


def counts_tell(damage: Damage) -> bool:
    """Whether the number of sources of a value that fired tells which did, without noise of the encoder."""
    m = damage.mapping
    return not (m.stateful or damage.noise or damage.encoder_noise) and m.input.code in ("image", "direct")


def lay_out(damage: Damage, m: Mapping, t: Tables, sops: list[Int] | None) -> Arrivals:
    """Lay out an entry for each axon of the chip.

    Parameters
    ----------
    m : Mapping
        With the thresholds that constant bits leave.
    sops : list of ndarray, optional
        SOPs of one spike on each axon, core by core: axons of a row differ in them.
    """
    works, rank, merged = damage.held == WORKS, _ranks(m, t.merged), t.merged
    axons = np.diff(m.axon_offset)
    entries = np.zeros((len(m.axon_source), len(ENTRY)), np.uint32)
    for core in merged.cores:
        assert core.arrives is not None
        own = slice(*m.axon_offset[core.core : core.core + 2].tolist())
        sources = m.axon_source[own]
        ranks = np.where(works[own], rank[sources], NOTHING)
        entries[own] = np.stack([t.slot[merged.values.of_source[sources]], ranks, core.arrives], axis=1)
    number = np.array([core.core for core in merged.cores])
    many = axons[number] if sops is not None else t.cores[:, CORE.index("rows")]
    first = m.axon_offset[number]
    cores = np.stack([first, first, axons[number], many, np.cumsum(many) - many], axis=1)
    lines = t.lines
    if sops is not None:
        ones = np.ones(int(many.sum()), np.int32)
        owner = np.repeat(np.arange(len(many), dtype=np.int32), many)
        place = (LANES * (np.arange(len(ones)) - np.repeat(np.cumsum(many) - many, many))).astype(np.uint32)
        lines = Lines(owner, place, ones, np.concatenate([sops[core] for core in number]).astype(np.int32), ones)
    return Arrivals(cores.astype(np.int64), entries, lines, sops is not None, int(axons.max(initial=0)) + 1)


def _ranks(m: Mapping, merged: Merged) -> Int:
    """How many sources of its value each source fires after, (sources,)."""
    values = merged.values
    level = np.arange(m.encoder_neurons) % m.encoder.levels
    order = np.concatenate([level, m.neuron_threshold.astype(np.int64)])[values.member]
    owner = np.repeat(np.arange(len(values.size)), values.size)
    rank = np.zeros(len(values.of_source), np.int64)
    rank[values.member[np.lexsort((order, owner))]] = np.arange(len(owner)) - np.repeat(values.offset[:-1], values.size)
    return rank
