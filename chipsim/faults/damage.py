"""A mapping with the faults of its chip applied: broken cores, axons, neurons and weights."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from chipsim.faults.draws import F32, below, draw, stream
from chipsim.mapping import Mapping

Int = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: threshold of a neuron that never fires; no potential reaches it, however wide
NEVER: Final = (1 << 31) - 1
#: what an axon holds: what arrives, or always 0 or 1
WORKS: Final = -1
#: router in front of the dead link on a packet's way: there is none
THROUGH: Final = -1


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """Loss of a layer's spikes before fan-out, with one draw per (seed, element, image)."""

    layer: str
    rate: float
    seed: int
    neuron: Int  # (neurons,): numbered over all cores
    element: Int  # (neurons,): which element of the layer each is

    def lost(self, image: int) -> Bools:
        """Return which neurons' spikes are lost in an image, (neurons,)."""
        drawn = draw(self.seed, stream(f"noise {self.layer}"), int(self.element.max(initial=-1)) + 1, image=image)
        return below(drawn, self.rate)[self.element]


@dataclass(frozen=True, slots=True, eq=False)
class Luck:
    """The spikes and packets that are lost in some images of a data set."""

    sent: Bools | None = None  # (N, images): which neurons' spikes are sent; None: all
    arrive: Bools | None = None  # (axons, images): which packets arrive; None: all


NO_LUCK: Final = Luck()


@dataclass(frozen=True, slots=True)
class Dropped:
    """Loss of packets, with one draw per (seed, axon, image); an axon is one entry of its source's target table."""

    rate: float
    seed: int
    axons: int

    def drawn(self, image: int) -> F32:
        """One number for each axon."""
        return draw(self.seed, stream("dropped_packets"), self.axons, image=image)

    def arrive(self, first: int, images: int) -> Bools:
        """Return which packets arrive, (axons, images)."""
        out = np.empty((images, self.axons), bool)
        for row in range(images):
            out[row] = ~below(self.drawn(first + row), self.rate)
        return np.ascontiguousarray(out.T)


@dataclass(frozen=True, slots=True, eq=False)
class Damage:
    """A mapping on a faulty chip.

    ``mapping`` has the crossbars and thresholds as they are there, so it need not keep the rules of its format: a threshold
    may be `NEVER`, a potential may leave its bits and then wraps.
    """

    mapping: Mapping
    held: npt.NDArray[np.int8]  # (axons,): `WORKS`, or the bit that the axon holds in every frame
    silent: Bools  # (outputs,): potentials that are read as 0
    dead: Bools  # (cores,): cores that do nothing
    stopped: Int  # (axons,): router in front of the dead link that an axon's packets would cross; -1: they get through
    cut: Int  # (cores,): the same of the potentials of a core
    encoder_noise: tuple[float, int] | None = None  # rate, seed
    noise: tuple[Noise, ...] = ()  # of layers on the chip
    dropped: Dropped | None = None
    summary: Dict[str, Any] = field(default_factory=dict)

    def luck(self, first: int, images: int) -> Luck:
        """Draw what is lost in the images of a data set from ``first`` on."""
        if not self.noise and self.dropped is None:
            return NO_LUCK
        arrive = None if self.dropped is None else self.dropped.arrive(first, images)
        return Luck(self.sent(first, images) if self.noise else None, arrive)

    def sent(self, first: int, images: int) -> Bools:
        """Return which neurons' spikes are sent, (N, images), after noise of the layers on the chip."""
        out = np.ones((images, self.mapping.neurons), bool)
        for row in range(images):
            for noise in self.noise:
                out[row, noise.neuron[noise.lost(first + row)]] = False
        return np.ascontiguousarray(out.T)

    @property
    def wraps(self) -> Bools:
        """Cores in which a sum may leave the potential's bits, (cores,)."""
        m, shape = self.mapping, self.mapping.crossbar_shape.astype(np.int64)
        if (shape[:, 0] << shape[:, 2] <= m.chip.potential_max).all():  # beyond doubt
            return np.zeros(m.cores, bool)
        high, low = (np.zeros(m.cores, np.int64) for _ in range(2))
        for k in range(len(m.crossbar_shape)):
            weights = m.crossbar(k).astype(np.int64)
            mine = m.core_crossbar == k
            high[mine] = np.maximum(weights, 0).sum(axis=0).max(initial=0)
            low[mine] = np.minimum(weights, 0).sum(axis=0).min(initial=0)
        return np.asarray((high > m.chip.potential_max) | (low < m.chip.potential_min))


def unharmed(mapping: Mapping) -> Damage:
    """Return a mapping on a chip without faults."""
    outputs = next(int(np.prod(e.shape, dtype=np.int64)) for e in mapping.layers if e.levels == 0)
    axons, cores = len(mapping.axon_source), mapping.cores
    return Damage(
        mapping, np.full(axons, WORKS, np.int8), np.zeros(outputs, bool), np.zeros(cores, bool),
        np.full(axons, THROUGH, np.int64), np.full(cores, THROUGH, np.int64),
    )  # fmt: skip


def with_arrays(mapping: Mapping, **arrays: npt.NDArray[Any]) -> Mapping:
    """Return the mapping with some of its arrays changed."""
    return replace(mapping, arrays={**mapping.arrays, **arrays})


def wrap(potential: Int, bits: int) -> Int:
    """Wrap sums to two's complement of ``bits`` bits, as an adder without saturation does."""
    half = 1 << (bits - 1)
    return np.asarray(((potential + half) & ((1 << bits) - 1)) - half)
