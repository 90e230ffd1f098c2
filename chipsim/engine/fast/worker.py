"""One worker of the fast engine: its memory, and a batch from pixels to potentials."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.engine.count import ImageCounts
from chipsim.engine.fast.callables import Kernels
from chipsim.engine.fast.encoding import Encoding
from chipsim.engine.fast.layout import CONTEXT, LANES, SQUARE
from chipsim.engine.fast.loaded import Loaded
from chipsim.engine.fast.losses import Drawing, Losses
from chipsim.engine.fast.memory import address, aligned
from chipsim.engine.fast.merge import Int
from chipsim.engine.fast.pixels import PixelTables, as_bytes
from chipsim.engine.fast.tiles import COLUMNS
from chipsim.engine.host import Array, lose
from chipsim.faults.draws import stream

#: vector additions between two looks at whether somebody wants to stop; some ten milliseconds
SLICE = 1 << 25

#: fields of the context for counts of each image
PER_CORE = ("core_spikes", "core_sops", "core_events")


class FastWorker:
    """One thread's memory: values, latched rows and accumulators of 64 images, and its counters."""

    def __init__(self, engine: Loaded, noise: float, seed: int, per_image: bool, trains: bool = False) -> None:
        self.engine, self.noise, self.seed = engine, noise, seed
        t, m = engine.tables, engine.mapping
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
        self.rows = aligned((t.side, most_rows + 1, LANES), np.uint8)  # row 0 stays zero
        self.accumulators = aligned((most_accumulators + COLUMNS, LANES), np.int32)  # tiles reach beyond
        filled = -(-m.cores // SQUARE) * SQUARE
        self.per_core = aligned((t.side, 3, filled, LANES), np.int32) if per_image else None
        self.always = aligned((3, filled), np.int32)  # what each core counts in every image
        self.always[1:, : m.cores] = engine.reduced.core_sops, engine.reduced.core_events
        self.losses = Losses(engine) if engine.damage.noise else None
        self.shared: dict[str, Any] = {
            "rows": self.rows[0], "accumulators": self.accumulators, "mask": self.mask, "totals": self.totals,
            "row_offset": t.row_offset, "fires": t.fires, "thresholds": t.thresholds, "lists": t.lists, "tables": t.tables,
            "state": aligned((len(t.kept.get("start", ())), LANES), np.int32), **t.kept,
        }  # fmt: skip
        if self.per_core is not None:
            self.shared |= zip(PER_CORE, self.per_core[0], strict=True)
            counting = engine.counting
            self.shared |= {"row_runs": counting.rows.table, "spike_runs": counting.spikes.table}
            self.shared["row_quads"] = counting.quads.cores
            self.shared["no_counts"] = aligned((LANES,), np.int32)
            self.sums = aligned((2, LANES), np.int32)
            self.sums_at, self.sent_at = address(self.sums), address(engine.counting.sent.table)
            self.per_core_at, self.always_at = address(self.per_core), address(self.always)
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
        self.slices = _slices(t.cost * places)
        self.pixels = None
        if p is not None:
            lost = Drawing(noise, seed) if noise else None
            self.pixels = _Pixels(p, engine.function, self.values[0], held[t.all_slots :], self.shared, lost)

    @cached_property
    def encoding(self) -> Encoding:
        """What runs the encoder where it does not run as cores of pixels."""
        engine = self.engine
        return Encoding(engine.mapping, engine.tables.features, engine.encoder, engine.function, self.values[0])

    def _context(self, step: int) -> list[int]:
        """Addresses of what a step of a block works on, or some of the images side by side."""
        own = {"cores": self.engine.tables.cores, "values": self.values[step], "potentials": self.potentials[step]}
        if self.side > 1:
            own |= {"mask": self.masks[step], "rows": self.rows[step]}
            if self.per_core is not None:
                own |= zip(PER_CORE, self.per_core[step], strict=True)
        own |= {
            "kernels": self.called,
            "step": self.numbers[step:],
            **dict.fromkeys(("taken", "counted"), self.values[step]),
        }
        own["sent"] = None if self.losses is None else self.losses.laid[step]
        return [address((self.shared | own | self.arrival).get(name)) for name in CONTEXT]

    def batch(
        self, images: Array, first: int, stop: Callable[[], bool], pixels: bool = False
    ) -> tuple[Int, ImageCounts | None]:
        """Run images: see `chipsim.engine.protocol.Worker`."""
        potentials = np.empty((len(images), self.engine.tables.outputs), np.int64)
        counted = None if self.per_core is None else self._uncounted(len(images))
        if self.keeps:
            m = self.engine.mapping
            self.trains = np.zeros((m.steps, m.encoder_neurons + m.neurons, len(images)), np.uint8)
        for start in range(0, len(images), LANES * self.side):
            part = images[start : start + LANES * self.side]
            if len(part) > LANES:
                if not self._side_by_side(part, first + start, stop, pixels, potentials[start:]):
                    return potentials, None
                if counted is not None:
                    for place, begin in enumerate(range(start, start + len(part), LANES)):
                        many = min(LANES, start + len(part) - begin)
                        self._count(counted, slice(begin, begin + many), place, self._sent(self.values[place]))
                continue
            self._present(len(part))
            trains = None if self.trains is None else self.trains[..., start : start + LANES]
            if not self._frames(part, first + start, stop, pixels, trains):
                return potentials, None
            potentials[start : start + LANES] = self.read.T[: len(part)]
            self.images += len(part)
            if counted is not None:
                self._count(counted, slice(start, start + len(part)), 0, self.per_image)
        potentials += self.engine.reduced.offset
        potentials[:, self.engine.reduced.silent] = 0
        return potentials, counted

    def _present(self, images: int) -> None:
        self.mask[:images], self.mask[images:] = 255, 0

    def _side_by_side(
        self, images: Array, first: int, stop: Callable[[], bool], pixels: bool, potentials: npt.NDArray[np.int64]
    ) -> bool:
        """Run frames of one step, 64 after 64 through each core; False where somebody wants to stop."""
        if self.per_core is not None:
            self.per_core[:] = 0
        t = self.engine.tables
        encoded = t.features + len(t.splits)
        starts = range(0, len(images), LANES)
        for place, start in reversed(list(enumerate(starts))):  # the encoder works at the first place
            part = images[start : start + LANES]
            self._present(len(part))
            self._encoded(part, first + start, pixels)(0, self.values[0])
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
        enter = self._encoded(images, first, pixels)
        if self.losses is not None:
            self.losses.draw(first, len(images))
        if self.engine.arrivals is not None:
            self.dropping.of(first, len(images))
        if self.per_core is not None:
            self.per_core[0], self.per_image[:] = 0, 0
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
        self.contexts[count - 1, CONTEXT.index("cores")] = address(t.last if final else t.cores)
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
        if self.per_core is not None:
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

    def _encoded(self, images: Array, first: int, pixels: bool) -> Callable[[int, npt.NDArray[np.uint8]], None]:
        """Return what puts the encoder's values of a step into place and counts them."""
        m, t, values = self.engine.mapping, self.engine.tables, self.engine.tables.merged.values
        call, parts, count = self.engine.function, len(t.splits), m.encoder_neurons // m.encoder.levels
        filled = t.features + parts  # slots of the encoder

        def tally(place: npt.NDArray[np.uint8]) -> None:
            call["tally"](*map(address, (place, self.mask, count, self.totals)))
            call["tally"](*map(address, (place[t.features :], self.mask, parts, self.totals[t.features :])))

        own = m.input.code not in ("image", "direct")
        if self.noise and m.steps == 1 and self.pixels is not None and self.pixels.run(images, pixels, first):
            return lambda step, place: None  # in place, and counted
        if self.noise or own or m.encoder.levels > 255 or (m.encoder_onnx is None and m.encoder.levels > 1):
            frames = self.engine.host.frames(images)
            if self.noise:
                frames = lose(frames, range(first, first + len(images)), self.noise, self.seed)

            def enter(step: int, place: npt.NDArray[np.uint8]) -> None:
                if m.encoder.levels == 1:
                    place[:count, : len(images)] = frames[step]
                else:
                    member, offset = values.member[: values.offset[values.encoder]], values.offset[: values.encoder]
                    place[t.slot[: values.encoder], : len(images)] = np.add.reduceat(frames[step][member], offset)
                tally(place)

            return enter

        def encode(step: int, place: npt.NDArray[np.uint8]) -> None:
            if step:  # the same levels again
                place[:filled] = self.values[0, :filled]
                tally(place)
                return
            if self.pixels is not None and self.pixels.run(images, pixels):
                return
            self.encoding.run(images, pixels)
            split = (t.splits, parts, place, place, self.mask, self.totals, t.split_thresholds)
            call["split"](*map(address, split))
            call["tally"](*map(address, (place, self.mask, count, self.totals)))

        return encode

    def _uncounted(self, images: int) -> ImageCounts:
        cores = self.engine.mapping.cores
        each = (np.empty((images, cores), np.int32) for _ in range(3))
        return ImageCounts(np.empty(images, np.int64), np.empty(images, np.int64), *each)

    def _count(self, counted: ImageCounts, which: slice, place: int, sent: Int) -> None:
        """Put the counts of images, which lie at a place side by side, where they belong."""
        assert self.per_core is not None
        images, cores = which.stop - which.start, self.engine.mapping.cores
        counted.encoder_spikes[which], counted.paper_sops[which] = sent[0, :images], 2 * sent[1, :images]
        made = (counted.spikes[which], counted.sops[which], counted.events[which])
        by_image, size = self.engine.function["by_image"], 4 * self.always.shape[1]
        rows, always = self.per_core_at + 3 * LANES * size * place, self.always_at
        for number, out in enumerate(made):
            by_image(rows + LANES * size * number, cores, images, always + size * number, address(out))

    def _sent(self, values: npt.NDArray[np.uint8]) -> Int:
        """Spikes of the encoder, and half the paper's SOPs, by image."""
        counting = self.engine.counting
        self.sums[:] = 0
        self.engine.function["count_runs"](self.sent_at, 0, address(values), self.sums_at, self.sums_at + 4 * LANES)
        found = self.sums.astype(np.int64)
        if counting.wide:
            t = self.engine.tables
            found[1] = (counting.fanout.astype(np.float64) @ values.reshape(-1, LANES)[t.slot].astype(np.float64)).astype(
                np.int64
            )
        return found


class _Pixels:
    """Runs the encoder as cores of pixels."""

    def __init__(
        self,
        tables: PixelTables,
        function: Kernels,
        values: npt.NDArray[np.uint8],
        place: npt.NDArray[np.uint8],
        shared: dict[str, Any],
        lost: Drawing | None,
    ) -> None:
        self.tables, self.function = tables, function
        self.images = aligned((LANES, len(place)), np.uint8)
        own = {name: shared[name] for name in ("rows", "accumulators", "mask", "totals")} | {"values": values}
        own |= {"taken": values, "lists": tables.found.words, "tables": tables.found.tables}
        own |= {name: getattr(tables, name) for name in ("cores", "row_offset", "fires", "thresholds")}
        self.lost = lost
        if lost is not None:
            own |= {"drawing": lost.record, "places": tables.sources}
        self.called = function.called(tables.cores, "fire" if lost is None else "fire_lost", counted=False)
        own["kernels"] = self.called
        self.context = np.array([[address(own.get(name)) for name in CONTEXT]], np.int64)
        self.laid = (address(self.images), len(place), address(place))
        self.all = (address(self.context), 0, len(tables.cores), 1)

    def run(self, images: Array, pixels: bool, first: int = 0) -> bool:
        """Put the values of up to 64 images from ``first`` on into place and count them; False where not all are pixels.

        With noise, what is lost is lost as by `chipsim.engine.host.lose`.
        """
        if not as_bytes(images, pixels, self.images):
            return False
        if self.lost is not None:
            self.lost.of(first, len(images))
        self.function["lay"](*self.laid)
        self.function["run"](*self.all)
        return True


def _slices(cost: Int) -> list[tuple[int, int]]:
    """Ranges of cores, each of about `SLICE`."""
    number = (np.cumsum(cost) - cost) // SLICE
    edges = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(cost)]
    return list(pairwise(edges))
