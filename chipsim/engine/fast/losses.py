"""Which spikes of the layers on the chip are sent, where noise loses some: `chipsim.faults.damage.Noise` in machine code."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.callables import Kernels
from chipsim.engine.fast.draw_kernel import NUMBERS
from chipsim.engine.fast.layout import LANES
from chipsim.engine.fast.loaded import Loaded
from chipsim.engine.fast.memory import address, aligned
from chipsim.faults.draws import stream

Bytes = npt.NDArray[np.uint8]


class Losses:
    """What is sent of the neurons that fire, in 64 images at most; one thread's memory."""

    def __init__(self, engine: Loaded) -> None:
        self.function = engine.function
        steps, neurons = engine.mapping.steps, engine.damage.mapping.neurons
        first = np.zeros(neurons, np.int64)  # row of each neuron in step 0; row 0: what always gets through
        stride = np.zeros(neurons, np.int64)  # rows to its next step
        self.drawn: list[tuple[tuple[float, int, int], npt.NDArray[np.uint32]]] = []
        rows = 1
        for noise in engine.damage.noise:
            elements = int(noise.element.max(initial=-1)) + 1
            count = -(-steps * elements // NUMBERS) * NUMBERS
            first[noise.neuron], stride[noise.neuron] = rows + noise.element, elements
            places = np.arange(rows, rows + count, dtype=np.uint32)
            self.drawn.append(((noise.rate, noise.seed, stream(f"noise {noise.layer}")), places))
            rows += count
        self.sent = aligned((rows, LANES), np.uint8)
        self.sent[:] = 255
        self.laid = aligned((engine.tables.block, len(engine.tables.thresholds), LANES), np.uint8)  # for the kernels
        self.first, self.stride = first[engine.fired], stride[engine.fired]
        self.delays, self.last = engine.delays, steps - 1

    def draw(self, first: int, images: int) -> None:
        """Draw for all steps of some images of the data set."""
        for numbers, places in self.drawn:
            mark_sent(self.function, numbers, range(first, first + images), places, self.sent)

    def lay(self, step: int, place: int) -> None:
        """Put what is sent of the spikes that are found in a step, ones or 0, into a place of the block."""
        late = np.minimum(step + self.delays, self.last)
        np.take(self.sent, np.asarray(self.first + late * self.stride, np.int64), axis=0, out=self.laid[place])


def mark_sent(
    function: Kernels, numbers: tuple[float, int, int], images: range, places: npt.NDArray[np.uint32], out: Bytes
) -> None:
    """Mark in rows ``places`` of ``out`` which numbers are not below a rate; ``numbers``: rate, seed and stream."""
    rate, seed, kind = numbers
    limit = math.ceil(float(np.float32(rate)) * (1 << 24))
    function["draw"](seed, kind, images.start, len(images), len(places), limit, address(places), address(out))
