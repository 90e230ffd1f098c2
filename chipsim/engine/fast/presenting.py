"""Present images to a chip: what the encoder sends, 64 images at a time, where one worker's cores find it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast import dot_kernel
from chipsim.engine.fast.callables import Kernels
from chipsim.engine.fast.dots import DotTables
from chipsim.engine.fast.encoding import Encoding
from chipsim.engine.fast.layout import CONTEXT, LANES
from chipsim.engine.fast.loaded import Loaded
from chipsim.engine.fast.losses import Drawing
from chipsim.engine.fast.memory import address, aligned
from chipsim.engine.fast.pixels import PixelTables, as_bytes
from chipsim.engine.fast.plane_kernel import BLOCKS
from chipsim.engine.host import Array, lose

#: puts the encoder's values of a step into place and counts them
Enter = Callable[[int, npt.NDArray[np.uint8]], None]


def mark(mask: npt.NDArray[np.uint8], images: int) -> None:
    """Set a mask of 64 images to 255 where there is one, else to 0."""
    mask[:images], mask[images:] = 255, 0


class Presenter:
    """What one worker runs the encoder with."""

    def __init__(
        self,
        engine: Loaded,
        noise: float,
        seed: int,
        values: npt.NDArray[np.uint8],
        place: npt.NDArray[np.uint8],
        shared: dict[str, Any],
    ) -> None:
        """Take the worker's memory.

        Parameters
        ----------
        noise, seed
            How many spikes of the encoder are lost, and the seed of the draw.
        values : ndarray, uint8, (slots, 64)
            Where its values go in the first step.
        place : ndarray, uint8, (pixels, 64)
            Where pixels go, which lie at a fixed distance from the values.
        shared : dict
            ``rows`` and ``accumulators`` that cores of pixels may use; ``mask``, uint8, (64,): 255 where there is an image,
            else 0; ``totals``, int64: what is counted, slot by slot.
        """
        self.engine, self.noise, self.seed, self.values = engine, noise, seed, values
        self.mask, self.totals = shared["mask"], shared["totals"]
        m = engine.mapping
        # otherwise the host says which of the encoder's neurons fire
        self.graded = not (
            m.input.code not in ("image", "direct")
            or m.encoder.levels > 255
            or (m.encoder_onnx is None and m.encoder.levels > 1)
        )
        self.dots, self.pixels = None, None
        if engine.dots is not None and self.graded and (not noise or m.steps == 1):
            self.dots = Dots(engine, engine.dots, values, shared, noise, seed)
        if engine.pixels is not None:
            lost = Drawing(noise, seed) if noise else None
            self.pixels = Pixels(engine.pixels, engine.function, values, place, shared, lost)

    @cached_property
    def encoding(self) -> Encoding:
        """What runs the encoder where it does not run as cores of pixels."""
        engine = self.engine
        return Encoding(engine.mapping, engine.tables.features, engine.encoder, engine.function, self.values)

    def into_planes(self, images: Array, first: int, pixels: bool, planes: int) -> bool:
        """Put what is sent of up to 512 images into planes, at an address, and count it; False where it takes bytes."""
        return self.dots is not None and self.dots.run(images, pixels, first, planes)

    def present(self, images: Array, first: int, pixels: bool) -> Enter:
        """Return what puts the encoder's values of a step into place and counts them, for up to 64 images from ``first``.

        ``pixels``: they hold nothing but whole numbers from 0 to 255.
        """
        mark(self.mask, len(images))
        m, t, values = self.engine.mapping, self.engine.tables, self.engine.tables.merged.values
        call, parts, count = self.engine.function, len(t.splits), m.encoder_neurons // m.encoder.levels
        filled = t.features + parts  # slots of the encoder

        def tally(place: npt.NDArray[np.uint8]) -> None:
            call["tally"](*map(address, (place, self.mask, count, self.totals)))
            call["tally"](*map(address, (place[t.features :], self.mask, parts, self.totals[t.features :])))

        exact = self.pixels if self.dots is None else self.dots
        if self.noise and m.steps == 1 and self.graded and exact is not None and exact.run(images, pixels, first):
            return lambda step, place: None  # in place, and counted
        if self.noise or not self.graded:
            frames = self.engine.host.frames(images.astype(m.input.dtype, copy=False))
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
                place[:filled] = self.values[:filled]
                tally(place)
                return
            if exact is not None and exact.run(images, pixels, first):
                return
            self.encoding.run(images, pixels)
            split = (t.splits, parts, place, place, self.mask, self.totals, t.split_thresholds)
            call["split"](*map(address, split))
            call["tally"](*map(address, (place, self.mask, count, self.totals)))

        return encode


class Dots:
    """Runs the encoder by `dot_kernel`, for 64 images after 64."""

    def __init__(
        self,
        engine: Loaded,
        tables: DotTables,
        values: npt.NDArray[np.uint8],
        shared: dict[str, Any],
        noise: float,
        seed: int,
    ) -> None:
        count = 1 if engine.planes is None else BLOCKS
        self.lay, self.kernel = engine.function["lay"], engine.function[tables.kernel(losing=noise > 0)]
        self.blocks, self.slots = len(tables.blocks), tables.slots
        self.images, self.rows = aligned((LANES, tables.slots), np.uint8), aligned((count, tables.slots, LANES), np.uint8)
        self.masks = aligned((count, LANES), np.uint8)
        self.lost = [Drawing(noise, seed) for _ in range(count)] if noise else []
        self.held = {name: getattr(tables, name) for name in dot_kernel.CONTEXT if hasattr(tables, name)}
        self.held |= {"totals": shared["totals"], "values": values}
        self.held["lines"] = aligned((len(tables.sources),), np.uint64) if noise else None
        self.held["packed"] = aligned((tables.steps * dot_kernel.STEP,), np.uint8)
        self.contexts = np.array([self._context(place) for place in range(count)], np.int64)

    def _context(self, place: int) -> list[int]:
        own = {"pixels": self.rows[place], "mask": self.masks[place]}
        if self.lost:
            own["drawing"] = self.lost[place].record
        return [address((self.held | own).get(name)) for name in dot_kernel.CONTEXT]

    def run(self, images: Array, pixels: bool, first: int, planes: int = 0) -> bool:
        """Put what is sent into values, of up to 64 images, or into planes at an address; False where not all are pixels."""
        starts = range(0, len(images), LANES)
        for place, start in enumerate(starts):
            part = images[start : start + LANES]
            if not as_bytes(part, pixels, self.images):
                return False
            mark(self.masks[place], len(part))
            if self.lost:
                self.lost[place].of(first + start)
            self.lay(address(self.images), self.slots, address(self.rows[place]))
        place_of = planes + LANES // 8 * np.arange(len(starts)) if planes else 0
        self.contexts[: len(starts), dot_kernel.CONTEXT.index("planes")] = place_of
        self.kernel(address(self.contexts), len(starts), 0, self.blocks)
        return True


class Pixels:
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
        self.held = own
        self.context = np.array([[address(own.get(name)) for name in CONTEXT]], np.int64)
        self.laid = (address(self.images), len(place), address(place))
        self.all = (address(self.context), 0, len(tables.cores), 1)

    def run(self, images: Array, pixels: bool, first: int) -> bool:
        """Put the values of up to 64 images from ``first`` on into place and count them; False where not all are pixels.

        With noise, what is lost is lost as by `chipsim.engine.host.lose`.
        """
        if not as_bytes(images, pixels, self.images):
            return False
        if self.lost is not None:
            self.lost.of(first)
        self.function["lay"](*self.laid)
        self.function["run"](*self.all)
        return True
