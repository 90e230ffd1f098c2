"""One worker of the fast engine: its memory, and a batch from pixels to potentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.image_counts import CountsByImage, Each
from chipsim.engine.fast.layout import CONTEXT, LANES
from chipsim.engine.fast.lines import Int, shares
from chipsim.engine.fast.loaded import Loaded
from chipsim.engine.fast.losses import Drawing, Losses
from chipsim.engine.fast.memory import address, aligned
from chipsim.engine.fast.presenting import Presenter
from chipsim.engine.fast.tiles import COLUMNS
from chipsim.engine.host import Array
from chipsim.engine.shared_counts import SharedCounts
from chipsim.faults.draws import stream

#: vector additions between two looks at whether somebody wants to stop; some ten milliseconds
SLICE = 1 << 25

#: fields of the context for counts of each image
PER_CORE = ("core_spikes", "core_sops", "core_events")


class FastWorker(CountsByImage):
    """One thread's memory: values, latched rows and accumulators of 64 images, and its counters."""

    takes_bytes = True

    def __init__(self, engine: Loaded, noise: float, seed: int, per_image: bool, trains: bool = False) -> None:
        self.engine = engine
        t = engine.tables
        self.keeps = trains
        self.trains: npt.NDArray[np.uint8] | None = None
        waiting = t.fresh != t.slot
        self.late = t.slot[waiting]  # what was found in a step before
        self.block, p = t.block, engine.pixels
        places = max(t.block, t.side)
        held = aligned((t.all_slots + (0 if p is None else p.slots), LANES), np.uint8)
        self.values = held[: t.all_slots].reshape(-1, t.slots, LANES)
        self.masks = aligned((places, LANES), np.uint8)
        self.mask = self.masks[0]
        self.totals = np.zeros(2 * t.slots, np.int64)
        self.numbers = np.zeros(places, np.int64)  # of the steps
        self.images = 0
        self.potentials = aligned((places, t.outputs, LANES), np.int32)
        self.read = np.zeros((t.outputs, LANES), np.int64)
        self.per_image = np.zeros((2, LANES), np.int64)  # encoder spikes, and half the paper's SOPs
        most_rows, most_accumulators = (
            max(getattr(each, name) for each in (t, p) if each is not None) for name in ("most_rows", "most_accumulators")
        )
        self.rows = aligned((most_rows + 1, LANES), np.uint8)  # row 0 stays zero
        self.accumulators = aligned((most_accumulators + COLUMNS, LANES), np.int32)  # tiles reach beyond
        self.each = Each(engine, t.side, engine.counting) if per_image else None
        self.losses = Losses(engine) if engine.damage.noise else None
        self.shared: dict[str, Any] = {
            "rows": self.rows, "accumulators": self.accumulators, "mask": self.mask, "totals": self.totals,
            "row_offset": t.row_offset, "fires": t.fires, "thresholds": t.thresholds, "lists": t.lists, "tables": t.tables,
            "state": aligned((len(t.kept.get("start", ())), LANES), np.int32), **t.kept,
        }  # fmt: skip
        if self.each is not None:
            self.shared |= zip(PER_CORE, self.each.of_kinds(0), strict=True)
            counting = engine.counting
            self.shared |= {"row_runs": counting.rows.table, "spike_runs": counting.spikes.table}
            self.shared["row_counts"] = counting.cores
            self.shared["no_counts"] = aligned((LANES,), np.int32)
            self.sums = aligned((2, LANES), np.int32)
            self.sums_at, self.sent_at = address(self.sums), address(engine.counting.sent.table)
        self.arrived = np.zeros(len(engine.lines.owner), np.int64)  # by line, where not all of them arrive
        self.arrival: dict[str, Any] = {}
        dropped = engine.damage.dropped
        self.dropping = Drawing()
        if dropped is not None:
            self.dropping = Drawing(dropped.rate, dropped.seed, stream("dropped_packets"), dropped.axons)
        if engine.arrivals is not None:
            taken, latched = aligned((most_rows + 1, LANES), np.uint8), aligned((engine.arrivals.latched, LANES), np.uint8)
            counted = latched[1:] if engine.arrivals.each else taken
            self.arrival |= {
                "arrivals": engine.arrivals.cores,
                "entries": engine.arrivals.entries,
                "drawing": self.dropping.record,
            }
            self.arrival |= {"arrived": self.arrived, "taken": taken, "latched": latched, "counted": counted}
        fire = "fire" if self.losses is None else "fire_sent"
        self.called = engine.function.called(t.cores, fire, per_image, engine.arrivals is not None)
        self.side = t.side if self.losses is None and engine.arrivals is None and not trains else 1
        self.contexts = np.array([self._context(step) for step in range(places)], np.int64)
        self.context_of = [address(context) for context in self.contexts]
        self.slices = shares(t.cost * places, SLICE)
        self.presenter = Presenter(engine, noise, seed, self.values[0], held[t.all_slots :], self.shared)

    def _context(self, step: int) -> list[int]:
        """Addresses of what a step of a block works on, or some of the images side by side."""
        own = {"cores": self.engine.tables.cores, "values": self.values[step], "potentials": self.potentials[step]}
        if self.side > 1:
            own["mask"] = self.masks[step]
            if self.each is not None:
                own |= zip(PER_CORE, self.each.of_kinds(step), strict=True)
        own |= {
            "kernels": self.called,
            "step": self.numbers[step:],
            **dict.fromkeys(("taken", "counted"), self.values[step]),
        }
        own["sent"] = None if self.losses is None else self.losses.laid[step]
        return [address((self.shared | own | self.arrival).get(name)) for name in CONTEXT]

    def batch(
        self, images: Array, first: int, stop: Callable[[], bool], pixels: bool = False
    ) -> tuple[Int, SharedCounts | None]:
        """Run images: see `chipsim.engine.protocol.Worker`."""
        potentials = np.empty((len(images), self.engine.tables.outputs), np.int64)
        counted = None if self.each is None else self.each.empty(first, len(images))
        if self.keeps:
            m = self.engine.mapping
            self.trains = np.zeros((m.steps, m.encoder_neurons + m.neurons, len(images)), np.uint8)
        for start in range(0, len(images), LANES * self.side):
            part = images[start : start + LANES * self.side]
            if len(part) > LANES:
                if not self._side_by_side(part, first + start, stop, pixels, potentials[start:]):
                    return potentials, None
                if counted is not None and self.each is not None:
                    for place, begin in enumerate(range(start, start + len(part), LANES)):
                        many = min(LANES, start + len(part) - begin)
                        self.each.put(counted, slice(begin, begin + many), place, self._sent(self.values[place]))
                continue
            trains = None if self.trains is None else self.trains[..., start : start + LANES]
            if not self._frames(part, first + start, stop, pixels, trains):
                return potentials, None
            potentials[start : start + LANES] = self.read.T[: len(part)]
            self.images += len(part)
            if counted is not None and self.each is not None:
                self.each.put(counted, slice(start, start + len(part)), 0, self.per_image)
        potentials += self.engine.reduced.offset
        potentials[:, self.engine.reduced.silent] = 0
        return potentials, counted

    def _side_by_side(
        self, images: Array, first: int, stop: Callable[[], bool], pixels: bool, potentials: npt.NDArray[np.int64]
    ) -> bool:
        """Run frames of one step, 64 after 64 through each core; False where somebody wants to stop."""
        if self.each is not None:
            self.each.counts[:] = 0
        t = self.engine.tables
        encoded = t.features + len(t.splits)
        starts = range(0, len(images), LANES)
        for place, start in reversed(list(enumerate(starts))):  # the encoder works at the first place
            part = images[start : start + LANES]
            self.presenter.present(part, first + start, pixels)(0, self.values[0])
            if place:
                self.masks[place], self.values[place, :encoded] = self.mask, self.values[0, :encoded]
        self.contexts[:, CONTEXT.index("cores")] = address(t.last)
        for begin, end in self.slices:
            if stop():
                return False
            self.engine.function["run"](self.context_of[0], begin, end, len(starts))
        for place, start in enumerate(starts):
            self.read[:] = 0
            self._read(0, place)
            many = min(LANES, len(images) - start)
            potentials[start : start + many] = self.read.T[:many]
        self.images += len(images)
        return True

    def _frames(
        self, images: Array, first: int, stop: Callable[[], bool], pixels: bool, trains: npt.NDArray[np.uint8] | None
    ) -> bool:
        """Run up to 64 frames, step by step; False where somebody wants to stop."""
        steps = self.engine.mapping.steps
        enter = self.presenter.present(images, first, pixels)
        if self.losses is not None:
            self.losses.draw(first)
        if self.engine.arrivals is not None:
            self.dropping.of(first)
        if self.each is not None:
            self.each.counts[0], self.per_image[:] = 0, 0
        self.read[:] = 0
        for begin in range(0, steps, self.block):
            count = min(self.block, steps - begin)
            if len(self.late):  # what was found in the step before
                self.values[0, self.late] = self.values[-1, self.late] if begin else 0
            for step in range(count):
                enter(begin + step, self.values[step])
                if self.losses is not None:
                    self.losses.lay(begin + step, step)
            if not self._cores(begin, count, stop):
                return False
            for step in range(count):
                self._finish(begin + step, step, trains)
        return True

    def _cores(self, begin: int, count: int, stop: Callable[[], bool]) -> bool:
        """Run all cores for some steps from ``begin`` on; False where somebody wants to stop."""
        engine, t, run = self.engine, self.engine.tables, self.engine.function["run"]
        self.numbers[:count] = begin + np.arange(count)
        final = begin + count == engine.mapping.steps
        self.contexts[:count, CONTEXT.index("cores")] = address(t.cores)
        if final:
            self.contexts[count - 1, CONTEXT.index("cores")] = address(t.last)
        together = count if count > 1 and engine.by_core else 1
        for step in range(0, count, together):
            for start, end in self.slices:
                if stop():
                    return False
                run(self.context_of[step], start, end, together)
        return True

    def _finish(self, step: int, place: int, trains: npt.NDArray[np.uint8] | None) -> None:
        """What a step gives besides potentials that are kept; its values are at a place of the block."""
        self._read(step, place)
        if trains is not None:
            values = self.engine.tables.merged.values
            trains[step, values.member] = self.values[place, self.engine.tables.slot, : trains.shape[2]]
        if self.each is not None:
            self.per_image += self._sent(self.values[place])

    def _read(self, step: int, place: int) -> None:
        """What the readout layer gives in a step."""
        of = self.engine.mapping.readout_of
        if of == "count":
            if step < self.engine.mapping.steps - 1 or not self.engine.late_readout:
                self.read += self.values[place:].reshape(-1, LANES)[self.engine.counted]
        elif of == "largest" and step:
            np.maximum(self.read, self.potentials[place], out=self.read)
        else:
            self.read[:] = self.potentials[place]

    def _sent(self, values: npt.NDArray[np.uint8]) -> Int:
        """Spikes of the encoder, and half the paper's SOPs, by image."""
        found = np.zeros((2, LANES), np.int64)
        for part in range(self.engine.counting.parts):
            self.sums[:] = 0
            given = self.sent_at, part, address(values), self.sums_at, self.sums_at + 4 * LANES
            self.engine.function["count_runs"](*given)
            found += self.sums
        return found
