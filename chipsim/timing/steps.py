"""Which step of a frame each core does in a tick, and what it sends then.

A core at tick d does step t of a frame in tick d + t. In a stream a frame enters after every so many ticks as it has steps;
then tick s + k * steps of the frame k before the newest falls into tick s of the newest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chipsim.mapping import Mapping
from chipsim.timing.core import Bits, Fired, Inputs, inputs
from chipsim.timing.network.mesh import Int
from chipsim.timing.plan import Plan


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """The steps of one frame."""

    plan: Plan
    sent: Fired  # (steps, E+N): what each source sends in a step of its own
    inputs: tuple[Inputs, ...]  # what the cores read in each step

    def fired(self, tick: int) -> Fired:
        """What each source sends in a tick of the frame, (E+N,); of one at work in another tick it means nothing."""
        if len(self.sent) == 1:
            return np.asarray(self.sent[0])
        step = np.clip(tick - self.plan.source_tick, 0, len(self.sent) - 1)
        return np.ascontiguousarray(self.sent[step, np.arange(self.sent.shape[1])])

    def cycles(self, tick: int) -> Int:
        """Cycles for which each core reads in a tick of the frame, (C,); as in `fired`."""
        if len(self.inputs) == 1:
            return self.inputs[0].cycles
        step = np.clip(tick - self.plan.tick, 0, len(self.inputs) - 1)
        return np.asarray(np.stack([each.cycles for each in self.inputs])[step, np.arange(len(step))])

    @property
    def together(self) -> Inputs:
        """What the cores read in all steps."""
        if len(self.inputs) == 1:
            return self.inputs[0]
        return Inputs(*(sum(getattr(each, name) for each in self.inputs) for name in ("cycles", "events", "operations")))


def steps_of(plan: Plan, fired: Sequence[Fired], bits: Sequence[Bits | None]) -> list[Steps]:
    """Arrange frames by the steps of their sources.

    Parameters
    ----------
    fired : sequence of ndarray, uint8, (steps * (E+N),)
        What each source sent, in the step in which it is read, as `chipsim.engine.machine.Machine.run` says.
    bits : sequence of ndarray, uint8, (steps * A,), or None
        What each axon held on a faulty chip.
    """
    count = plan.mapping.steps
    trains = np.stack(fired).reshape(len(fired) * count, -1)
    held = [row for row in bits if row is not None]
    found = inputs(plan, trains, np.stack(held).reshape(len(trains), -1) if held else None)
    frames = range(0, len(trains), count)
    return [
        Steps(plan, own(plan.mapping, trains[first : first + count]), tuple(found[first : first + count]))
        for first in frames
    ]


def own(m: Mapping, trains: Fired) -> Fired:
    """Shift the spikes that are sent with a delay to the steps in which they were found, (steps, E+N)."""
    late = np.array([entry.tick != entry.sent_tick for entry in m.layers])
    if not late.any():
        return trains
    of = np.flatnonzero(late[np.repeat(m.core_layer, np.diff(m.neuron_offset))]) + m.encoder_neurons
    found = trains.copy()
    found[:-1, of], found[-1, of] = trains[1:, of], 0
    return found


def reads(plan: Plan, tick: int) -> bool:
    """Whether potentials leave in a tick of a frame: in the last step, or in every one."""
    m = plan.mapping
    step = tick - m.layers[m.readout].tick
    return 0 <= step < m.steps and (m.readout_of == "largest" or step == m.steps - 1)
