"""Which spikes of the layers on the chip are sent, where noise loses some: `chipsim.faults.damage.Noise` in machine code."""

from __future__ import annotations

import numpy as np

from chipsim.engine.fast.draw_kernel import GROUPS, KEYS, LIMIT, RECORD, ROUNDS, WEYL, WORDS
from chipsim.engine.fast.layout import LANES
from chipsim.engine.fast.loaded import Loaded
from chipsim.engine.fast.memory import address, aligned
from chipsim.faults.draws import TOGETHER, digits_of, stream


class Drawing:
    """A record that the kernels draw from (`chipsim.engine.fast.draw_kernel`): numbers of a seed and a stream."""

    def __init__(self, rate: float = 0.0, seed: int = 0, kind: int = 0, places: int = 0) -> None:
        digits = digits_of(rate)
        self.record = aligned((WORDS,), np.uint64)
        self.record[LIMIT : LIMIT + len(digits)] = list(digits)
        needed = len(digits.rstrip(b"\xff")) or min(len(digits), 1)  # what is equal so far is lost, whatever follows
        self._set(stream=kind, digits=needed, places=places)
        steps = np.arange(ROUNDS, dtype=np.uint64)[:, None] * np.array(WEYL, np.uint64)
        self.keys = np.repeat((steps + np.array([seed, 0], np.uint64))[None], GROUPS, axis=0)

    def of(self, first: int, images: int) -> None:
        """Draw for some images, 64 at most, from now on."""
        groups = np.arange(GROUPS, dtype=np.uint64) + np.uint64(first // TOGETHER)
        keys = self.keys.copy()
        keys[..., 1] += groups[:, None]
        self.record[KEYS : KEYS + keys.size] = keys.reshape(-1)
        offset = first % TOGETHER
        self._set(offset=offset, groups=-(-(offset + images) // TOGETHER))

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
        self.laid = aligned((engine.tables.block, len(engine.tables.thresholds), LANES), np.uint8)  # for the kernels
        self.first, self.stride = first[engine.fired], stride[engine.fired]
        self.delays, self.last = engine.delays, steps - 1

    def draw(self, first: int, images: int) -> None:
        """Draw for all steps of some images of the data set."""
        for drawing, lines in self.drawn:
            drawing.of(first, images)
            self.function["draw"](address(drawing.record), len(lines), address(lines))

    def lay(self, step: int, place: int) -> None:
        """Put what is sent of the spikes that are found in a step, ones or 0, into a place of the block."""
        late = np.minimum(step + self.delays, self.last)
        np.take(self.sent, np.asarray(self.first + late * self.stride, np.int64), axis=0, out=self.laid[place])
