"""Time a tick of the chip by nested models that add one effect after the other.

    rows        every core reads the rows of its axon bits, and nothing else happens
    sweep       and sweeps over its neurons
    injection   and hands out its packets (the host: its spikes), one after the other
    flight      and the packets fly, each as if it were alone
    contention  and meet the others: routers, queues, credits
    sync        and everyone waits for everyone

Each model gives a number of cycles, none less than the one before; the differences are the increments that add up to the
tick's cycles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from chipsim.errors import UsageError
from chipsim.timing.core import Bits, Fired, Inputs, emit
from chipsim.timing.network.mesh import Flow, Int, Traffic
from chipsim.timing.network.simulate import Workspace
from chipsim.timing.network.straight import straight
from chipsim.timing.network.tree import held
from chipsim.timing.plan import Plan
from chipsim.timing.steps import Steps, reads, steps_of

INCREMENTS = ("rows", "sweep", "injection", "flight", "contention", "sync")
Mode = Literal["ideal", "cycle"]
MODES: tuple[Mode, ...] = get_args(Mode)


def check_mode(mode: str, option: str, *others: str) -> None:
    """Refuse an unknown timing mode; ``others`` are what the option allows besides."""
    if mode not in MODES:
        *first, last = [*others, *(str(name) for name in MODES)]
        raise UsageError(
            option, f"unknown timing mode {mode!r}; expected {', '.join(first)} or {last}", code="option-value", found=mode
        )


@dataclass(frozen=True, slots=True, eq=False)
class Tick:
    """One tick of one frame: active cores, packets and times."""

    number: int
    cores: Int  # at work
    ready: Int  # (cores,): cycle at which each had swept over its neurons, T_core
    traffic: Traffic
    ideal: Flow  # every packet alone
    flow: Flow  # what happened; of the ideal one's times where the network is not simulated
    models: Int  # (6,): cycles of each nested model, the last T_tick
    entering: Int | None  # (R, 5): flits of the host's packets through each output; None where it sends none

    @property
    def unmet(self) -> bool:
        """Whether the network was not simulated, because no packets contend in this mode or tick."""
        return self.flow.ejected is self.ideal.ejected

    @property
    def cycles(self) -> int:
        """T_tick."""
        return int(self.models[-1])

    @property
    def increments(self) -> Int:
        """(6,): what each effect of `INCREMENTS` adds."""
        return np.diff(self.models, prepend=0)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame alone on the chip."""

    inputs: Inputs  # of all steps
    steps: Steps
    ticks: tuple[Tick, ...]


class Bench:
    """The plan, mode and network with which one thread times frames."""

    def __init__(self, plan: Plan, mode: Mode = "cycle") -> None:
        assert mode in MODES
        self.plan, self.mode = plan, mode
        self.network = Workspace(plan.mesh, plan.flits)

    def frame(self, fired: Fired, bits: Bits | None = None) -> Frame:
        """Time a frame that is alone on the chip.

        Parameters
        ----------
        fired, bits : ndarray, uint8, (steps * (E+N),) and (steps * A,), optional
            As for `chipsim.timing.steps.steps_of`.
        """
        (found,) = steps_of(self.plan, [fired], [bits])
        ticks = tuple(self._tick(number, found) for number in range(self.plan.mapping.frame_ticks))
        return Frame(found.together, found, ticks)

    def _tick(self, number: int, found: Steps) -> Tick:
        traffic = emit(self.plan, found.cycles(number), found.fired(number), number, reads=reads(self.plan, number))
        return self.tick(number, found, traffic)

    def tick(self, number: int, found: Steps, traffic: Traffic, end: int | None = None) -> Tick:
        """Time a tick of a frame, whose packets are given.

        With ``end``, the cycle of the last ejection, the network has been simulated; the flow is then the ideal one.
        """
        plan, cycles, cores = self.plan, found.cycles(number), self.plan.at_work(number)
        alone = self.alone(traffic)
        flow = alone
        if self.mode == "cycle" and len(traffic.ready) and end is None:
            flow = held(alone) if number == 0 and plan.one_tree else self.network.simulate(traffic)
        rows = plan.timing.start_cycles + cycles[cores]
        neurons: Int = np.diff(plan.mapping.neuron_offset)[cores]
        ready = rows + neurons * plan.update_cycles[cores]
        done = int(ready.max(initial=0))
        sent = 1 + int(traffic.ready.max(initial=-1))  # as soon as it was looked up
        models = np.array(
            [
                rows.max(initial=0),
                done,
                max(done, sent),
                max(done, alone.end),
                max(done, flow.end if end is None else end),
                0,
            ],
            np.int64,
        )
        models[-1] = models[-2] + plan.sync_cycles
        return Tick(number, cores, ready, traffic, alone, flow, models, self._entering(number, traffic, flow))

    def _entering(self, number: int, traffic: Traffic, flow: Flow) -> Int | None:
        """Return the flits of the host's packets through each output, (R, 5); from the second step on others fly too.

        Ways are fixed, so what meets whom changes no load.
        """
        first = int(traffic.offset[self.plan.mesh.routers])
        if first == len(traffic.ready):
            return None
        if number == 0:  # no core is at work
            return flow.load
        offset = np.maximum(traffic.offset - first, 0)
        return self.alone(Traffic(offset, traffic.ready[first:], traffic.target[first:], traffic.trees)).load

    def alone(self, traffic: Traffic) -> Flow:
        """Return the times of the packets without contention."""
        plain = self.plan.mesh.routes is None and traffic.trees is None
        return straight(self.plan.mesh, traffic) if plain else self.network.ideal(traffic)

    def stream(self, fired: Fired, cycles: Int, *, reads: bool = True) -> int:
        """Cycle of the last ejection of a tick in which the host and every layer work at once, each on a frame of its own.

        Parameters
        ----------
        fired : ndarray, uint8, (E+N,)
            Of each source in its own frame.
        cycles : ndarray, int64, (C,)
            T_in of each core in its own frame.
        reads : bool
            Whether potentials leave.
        """
        _, ejected = self.network.times(emit(self.plan, cycles, fired, None, reads=reads))
        return int(ejected.max(initial=0))
