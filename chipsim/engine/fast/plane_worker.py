"""One worker that holds 512 images at a time, one bit each: see `chipsim.engine.fast.planes`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.image_counts import CountsByImage, Each
from chipsim.engine.fast.layout import LANES
from chipsim.engine.fast.lines import Int, shares
from chipsim.engine.fast.loaded import Loaded
from chipsim.engine.fast.memory import address, aligned
from chipsim.engine.fast.plane_kernel import BLOCKS, CONTEXT
from chipsim.engine.fast.plane_tables import PlaneTables
from chipsim.engine.fast.planes import IMAGES, PLANE
from chipsim.engine.fast.presenting import Presenter
from chipsim.engine.fast.tiles import COLUMNS
from chipsim.engine.fast.worker import SLICE
from chipsim.engine.host import Array
from chipsim.engine.shared_counts import SharedCounts


class PlaneWorker(CountsByImage):
    """One thread's memory: planes of all values, lines and sums of a core, and counters."""

    trains: npt.NDArray[np.uint8] | None = None
    takes_bytes = True

    def __init__(self, engine: Loaded, planes: PlaneTables, noise: float, seed: int, per_image: bool) -> None:
        self.engine, self.tables = engine, planes
        t, p, function = engine.tables, engine.pixels, engine.function
        encoded = t.features + len(t.splits)
        held = aligned((encoded + (0 if p is None else p.slots), LANES), np.uint8)
        self.values = held[:encoded]  # of the encoder, for 64 images
        self.mask = aligned((LANES,), np.uint8)
        self.totals = np.zeros(2 * t.slots, np.int64)
        self.images = 0
        most_rows, most_accumulators = (0, 0) if p is None else (p.most_rows, p.most_accumulators)
        shared = {
            "rows": aligned((most_rows + 1, LANES), np.uint8),
            "accumulators": aligned((most_accumulators + COLUMNS, LANES), np.int32),
            "mask": self.mask,
            "totals": self.totals,
        }
        self.presenter = Presenter(engine, noise, seed, self.values, held[encoded:], shared)
        counts = engine.plane_counts if per_image else None
        self.counts, self.each = counts, Each(engine, BLOCKS) if per_image else None
        cores = planes.cores if counts is None else counts.cores
        programs = planes.programs if counts is None else counts.programs
        sums = planes.accumulators if counts is None else max(planes.accumulators, counts.accumulators)
        self.planes = aligned((planes.planes + (0 if counts is None else counts.planes), PLANE), np.uint8)
        self.sums = aligned((1 + sums, PLANE), np.uint8)  # behind zeros
        self.lines = aligned((planes.lines, PLANE), np.uint8)
        self.present = aligned((PLANE,), np.uint8)
        self.potentials = aligned((BLOCKS, t.outputs, LANES), np.int32)
        each = None if self.each is None else self.each.counts
        kind = 0 if self.each is None else 4 * LANES * self.each.filled
        self.held = {
            "planes": self.planes, "lines": self.lines, "accumulators": self.sums, "present": self.present,
            "totals": self.totals, "cores": planes.of_kernels(function, cores), "latched": planes.latched,
            "programs": programs, "fires": planes.fires, "levels": planes.levels,
            "potentials": self.potentials, "apart": self.potentials[0].nbytes,
            "counts": each, "counts_apart": 3 * kind, "count_of_kind": kind,
        }  # fmt: skip
        self.context = np.array([address(self.held[name]) for name in CONTEXT], np.int64)
        self.slices = shares(t.cost * BLOCKS, SLICE)

    def batch(
        self, images: Array, first: int, stop: Callable[[], bool], pixels: bool = False
    ) -> tuple[Int, SharedCounts | None]:
        """Run images: see `chipsim.engine.protocol.Worker`."""
        engine, outputs = self.engine, self.engine.tables.outputs
        potentials = np.empty((len(images), outputs), np.int64)
        counted = None if self.each is None else self.each.empty(first, len(images))
        for start in range(0, len(images), IMAGES):
            part = images[start : start + IMAGES]
            self._enter(part, first + start, pixels)
            for begin, end in self.slices:
                if stop():
                    return potentials, None
                engine.function["planes"](address(self.context), begin, end)
            self.images += len(part)
            found = self.potentials.swapaxes(1, 2).reshape(-1, outputs)
            potentials[start : start + len(part)] = found[: len(part)]
            if counted is not None:
                self._count(counted, start, len(part))
        potentials += engine.reduced.offset
        potentials[:, engine.reduced.silent] = 0
        return potentials, counted

    def _enter(self, images: Array, first: int, pixels: bool) -> None:
        """Put what the encoder sends of up to 512 images into planes, 64 after 64."""
        self.present[:] = np.packbits(np.arange(IMAGES) < len(images), bitorder="little")
        records = self.tables.slices
        if self.presenter.into_planes(images, first, pixels, address(self.planes)):
            return
        for block, start in enumerate(range(0, len(images), LANES)):
            part = images[start : start + LANES]
            self.presenter.present(part, first + start, pixels)(0, self.values)
            given = address(self.values), address(records), len(records), address(self.planes), block
            self.engine.function["slices"](*given)

    def _count(self, counted: SharedCounts, start: int, images: int) -> None:
        """Put the counts of images where they belong, 64 after 64."""
        assert self.counts is not None
        assert self.each is not None
        sent, made = self.counts.sent, self.sums[1:]
        given = map(address, (sent.words, self.planes, self.planes, made, None))
        kernel = self.engine.function[f"add{sent.width}"]
        kernel(*given, sent.columns, sent.positions, PLANE * sent.stride, 0)
        planes = made[: sent.columns * sent.stride].reshape(sent.columns, sent.stride, PLANE)
        bits = np.unpackbits(planes[:, : sent.bits], axis=2, bitorder="little").reshape(-1, IMAGES)
        found = (self.counts.sent_weights @ bits.astype(np.float64)).astype(np.int64)  # exact below 2**53
        for place, begin in enumerate(range(0, images, LANES)):
            many = min(LANES, images - begin)
            which = slice(start + begin, start + begin + many)
            self.each.put(counted, which, place, found[:, begin : begin + many])
