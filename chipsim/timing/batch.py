"""Time frames and ticks of a stream, several at once, as `Bench` times one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chipsim.timing.core import Bits, Fired, emit
from chipsim.timing.ingress import Ingress
from chipsim.timing.network.lanes import LATEST, Lanes, fits
from chipsim.timing.network.lanes_router import LANES
from chipsim.timing.network.mesh import Int, Traffic
from chipsim.timing.network.tree import queues
from chipsim.timing.plan import Plan
from chipsim.timing.record import Counts, Network, Short, counts_of
from chipsim.timing.steps import Steps, reads, steps_of
from chipsim.timing.tick import Bench, Mode

#: fewer networks than this are simulated one by one
FEW = 6


class Batch:
    """The plan, mode and networks with which one thread times several frames at once."""

    def __init__(self, plan: Plan, mode: Mode) -> None:
        self.plan, self.mode = plan, mode
        self.bench = Bench(plan, mode)
        many = mode == "cycle" and plan.trees is None and fits(plan.mesh)
        self.lanes = Lanes(plan.mesh) if many else None
        self.ingress = Ingress(plan) if plan.one_tree and plan.trees is None and not len(plan.at_work(0)) else None

    def frames(self, rows: Sequence[Fired], bits: Sequence[Bits | None]) -> tuple[list[Short], list[Network]]:
        """Time frames that are each alone on the chip; and the network in each tick, over all of them."""
        found = steps_of(self.plan, rows, bits)
        ticks: list[list[Counts]] = []
        networks: list[Network] = []
        for number in range(self.plan.mapping.frame_ticks):
            network = Network.empty(self.plan.mesh)
            ticks.append(self._enter(found, network) if number == 0 and self.ingress else self._tick(number, found, network))
            networks.append(network)
        frames = zip(found, zip(*ticks, strict=True), strict=True)
        return [Short(each.together, each, of) for each, of in frames], networks

    def _enter(self, found: list[Steps], network: Network) -> list[Counts]:
        """Ticks in which only the host sends, by one port."""
        assert self.ingress is not None
        mesh, result = self.plan.mesh, []
        for each in found:
            entry = self.ingress.enter(each.fired(0))
            load = self.ingress.load(entry.counts)
            if self.mode == "cycle":
                cycles, peak = queues(mesh, load, entry.packets)
                network.queue_cycles[:] += cycles
                np.maximum(network.queue_peak, peak, out=network.queue_peak)
            network.load[:] += load
            of = np.zeros(mesh.terminals, np.int64)
            packets, far = of.copy(), of.copy()
            packets[-1], far[-1] = entry.packets, entry.hops
            models = np.array([0, 0, *(max(entry.packets, end) for end in (0, entry.end, entry.end)), 0], np.int64)
            models[-1] = models[-2] + self.plan.sync_cycles
            none = np.zeros(0, np.int64)
            result.append(Counts(0, none, none, packets, far, of - 1, models, load if entry.packets else None))
        return result

    def _tick(self, number: int, found: list[Steps], network: Network) -> list[Counts]:
        """A tick of each frame."""
        given = [(each.cycles(number), each.fired(number)) for each in found]
        traffics = [emit(self.plan, cycles, fired, number, reads=reads(self.plan, number)) for cycles, fired in given]
        many = self.lanes is not None and FEW <= len(found) <= LANES and (number > 0 or not self.plan.one_tree)
        met = self.lanes.run(traffics) if self.lanes is not None and many else None
        result = []
        for image, each in enumerate(found):
            tick = self.bench.tick(number, each, traffics[image], None if met is None else int(met.end[image]))
            result.append(counts_of(self.plan, tick))
            if met is None:
                network.add(tick.flow)
            else:
                network.load[:] += tick.flow.load
        if met is not None:
            network.add(Network(np.zeros_like(network.load), met.blocked, met.queue_peak, met.queue_cycles, met.stalls))
        return result

    def stream(self, fired: Sequence[Fired], cycles: Sequence[Int], reads: Sequence[bool]) -> list[int]:
        """Cycle of the last ejection of ticks in which the host and every layer work at once, as `Bench.stream`."""
        ends: list[int] | None = None
        given = list(zip(fired, cycles, reads, strict=True))
        if self.lanes is not None and FEW <= len(given) <= LANES:
            if self.ingress is not None and self.plan.one_tree:
                ends = self._after(given)
            else:
                met = self.lanes.run([emit(self.plan, when, row, None, reads=out) for row, when, out in given])
                ends = None if met is None else met.end.tolist()
        if ends is None:
            ends = [0] * len(given)
        return [end or self.bench.stream(row, when, reads=out) for end, (row, when, out) in zip(ends, given, strict=True)]

    def _after(self, given: list[tuple[Fired, Int, bool]]) -> list[int] | None:
        """The last arrivals where the host sends, by one port, long after the cores are done; 0 where it does not."""
        assert self.ingress is not None
        assert self.lanes is not None
        traffics: list[Traffic] = [
            emit(self.plan, when, row, None, reads=out, encoder=self.ingress.first(row, LATEST)) for row, when, out in given
        ]
        shifts = self.lanes.shifts(traffics)
        if shifts is None:
            return None
        first = self.plan.mesh.routers
        return [
            self.ingress.last(row, int(shift), int(traffic.offset[-1] - traffic.offset[first]))
            if shift >= 0 and traffic.offset[first]
            else 0
            for (row, _, _), traffic, shift in zip(given, traffics, shifts, strict=True)
        ]
