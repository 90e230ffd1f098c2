"""Compute energy as the sum of event counts times the chip's constant for each event.

    E = sum over the cores (axon events * row_pj + column operations * add_pj + neuron updates * update_pj
                            + spikes * spike_pj + packets of the target table * lookup_pj)
      + hops between routers * hop_pj + packets in and potentials out * io_pj + static_mw * time

The host has a table of its own: its packets cost io, not a lookup. Time is the latency of a frame that is alone on the chip,
or the interval between the frames of a stream; cores that are not used are part of the static power.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from chipsim.timing.network.mesh import Int
from chipsim.timing.record import PARTS, STATIC

Float = npt.NDArray[np.float64]

#: constant of the chip's for each of `PARTS`
CONSTANTS = ("row_pj", "add_pj", "update_pj", "spike_pj", "lookup_pj", "hop_pj", "io_pj", "static_mw")


def unit_pj(chip: ChipSpec) -> Float:
    """(8,): picojoules for one of each of `PARTS`; the last for a cycle."""
    found = np.array([getattr(chip.energy, name) for name in CONSTANTS], float)
    found[STATIC] *= 1000 / chip.clock_mhz  # 1 mW for 1 us is 1000 pJ
    return found


def spent(counts: Int | Float, chip: ChipSpec) -> Float:
    """Return picojoules (..., 8) by part."""
    return np.asarray(counts * unit_pj(chip))


@dataclass(frozen=True, slots=True)
class Constant:
    """An energy constant of a chip, and its source."""

    part: str
    name: str
    value: float
    origin: str  # sourced, derived, assumed; unknown where the chip does not say
    note: str


def constants(chip: ChipSpec) -> tuple[Constant, ...]:
    """The constants, each with its tag."""
    found = []
    for part, name in zip(PARTS, CONSTANTS, strict=True):
        tag = chip.provenance.get(f"energy.{name}")
        origin, note = (tag.origin, tag.note) if tag else ("unknown", "")
        found.append(Constant(part, name, float(getattr(chip.energy, name)), origin, note))
    return tuple(found)


def by_part(energy: Float) -> dict[str, Any]:
    """Picojoules by the name of their part."""
    return dict(zip(PARTS, energy.tolist(), strict=True))
