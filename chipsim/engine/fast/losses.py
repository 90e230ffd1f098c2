"""Which spikes of the layers on the chip are sent, where noise loses some: `chipsim.faults.damage.Noise` in machine code."""

from __future__ import annotations

import numpy as np

from chipsim.engine.fast.draw_kernel import KEYS, LIMIT, RECORD, SIZE
from chipsim.engine.fast.layout import LANES
from chipsim.engine.fast.loaded import Loaded
from chipsim.engine.fast.memory import address, aligned
from chipsim.engine.fast.philox_kernel import ROUNDS, WEYL
from chipsim.faults.draws import FIRST, TOGETHER, digits_of, stream


class Drawing:
    """A record that the kernels draw from (`chipsim.engine.fast.draw_kernel`): numbers of a seed and a stream."""

    def __init__(self, rate: float = 0.0, seed: int = 0, kind: int = 0, places: int = 0) -> None:
        self.record = aligned((SIZE,), np.uint64)
        digits = digits_of(rate)
        if digits:
            ones = [(1 << 64) - 1 if digits[0] >> bit & 1 else 0 for bit in reversed(range(FIRST))]
            limit = [*ones, *digits[1:]]
            self.record[LIMIT : LIMIT + len(limit)] = limit
        self._set(digits=len(digits), places=places)
        steps = np.arange(ROUNDS, dtype=np.uint64)[:, None] * np.array(WEYL, np.uint64)
        self.record[KEYS : KEYS + 2 * ROUNDS] = (steps + np.array([seed, kind], np.uint64)).reshape(-1)

    def of(self, first: int) -> None:
        """Draw for 64 images from now on, of which this is the first."""
        self._set(group=first // TOGETHER, offset=first % TOGETHER)

    def _set(self, **values: int) -> None:
        for name, value in values.items():
            self.record[RECORD.index(name)] = value


class Losses:
    """What is sent of the neurons that fire, in 64 images at most; one thread's memory."""

    def __init__(self, engine: Loaded) -> None:
        self.function = engine.function
        steps, neurons = engine.mapping.steps, engine.damage.mapping.neurons
        first = np.zeros(neurons, np.int64)  # row of each neuron in step 0; row 0: what always gets through
        stride = np.zeros(neurons, np.int64)  # rows to its next step
        drawn: list[tuple[Drawing, slice]] = []
        rows = 1
        for noise in engine.damage.noise:
            elements = int(noise.element.max(initial=-1)) + 1
            first[noise.neuron], stride[noise.neuron] = rows + noise.element, elements
            drawn.append(
                (Drawing(noise.rate, noise.seed, stream(f"noise {noise.layer}")), slice(rows, rows + steps * elements))
            )
            rows += steps * elements
        self.sent = aligned((rows, LANES), np.uint8)
        self.sent[:] = 255
        self.drawn = [(drawing, self.sent[own]) for drawing, own in drawn]
        t = engine.tables
        self.laid = aligned((max(t.block, t.side), len(t.thresholds), LANES), np.uint8)  # for the kernels
        self.first, self.stride = first[engine.fired], stride[engine.fired]
        self.delays, self.last = engine.delays, steps - 1

    def draw(self, first: int) -> None:
        """Draw for all steps of 64 images of the data set."""
        for drawing, lines in self.drawn:
            drawing.of(first)
            self.function["draw"](address(drawing.record), len(lines), address(lines))

    def lay(self, step: int, place: int) -> None:
        """Put what is sent of the spikes that are found in a step, ones or 0, into a place of the block."""
        late = np.minimum(step + self.delays, self.last)
        np.take(self.sent, np.asarray(self.first + late * self.stride, np.int64), axis=0, out=self.laid[place])
