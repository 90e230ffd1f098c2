"""A mapping with the faults of its chip applied: broken cores, axons, neurons and weights."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from chipsim.faults.draws import lost, stream
from chipsim.mapping import Mapping
from chipsim.mapping.states import reached, sums

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
    """Loss of a layer's spikes before fan-out, with one draw per (seed, step, element, image)."""

    layer: str
    rate: float
    seed: int
    neuron: Int  # (neurons,): numbered over all cores
    element: Int  # (neurons,): which element of the layer each is

    def lost(self, images: Sequence[int], steps: int = 1) -> Bools:
        """Return which neurons' spikes are lost in the steps of some images, (steps, neurons, images)."""
        elements = int(self.element.max(initial=-1)) + 1
        found = lost(self.seed, stream(f"noise {self.layer}"), steps * elements, self.rate, images)
        return found.reshape(steps, elements, len(images))[:, self.element]


@dataclass(frozen=True, slots=True, eq=False)
class Luck:
    """The spikes and packets that are lost in some images of a data set."""

    sent: Bools | None = None  # (steps, N, images): which neurons' spikes are sent; None: all
    arrive: Bools | None = None  # (steps, axons, images): which packets arrive; None: all


NO_LUCK: Final = Luck()


@dataclass(frozen=True, slots=True)
class Dropped:
    """Loss of packets, with one draw per (seed, step, axon, image); an axon is one entry of its source's target table."""

    rate: float
    seed: int
    axons: int
    steps: int = 1

    def arrive(self, images: Sequence[int]) -> Bools:
        """Return which packets arrive in some images, (steps, axons, images)."""
        found = lost(self.seed, stream("dropped_packets"), self.steps * self.axons, self.rate, images)
        return ~found.reshape(self.steps, self.axons, len(images))


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
    healthy: Mapping | None = None  # with the weights as they were, where bits of some are stuck

    def luck(self, images: Sequence[int]) -> Luck:
        """Draw what is lost in some images, given by their numbers in the data set."""
        if not self.noise and self.dropped is None:
            return NO_LUCK
        arrive = None if self.dropped is None else self.dropped.arrive(images)
        return Luck(self.sent(images) if self.noise else None, arrive)

    def sent(self, images: Sequence[int]) -> Bools:
        """Return which neurons' spikes are sent, (steps, N, images), after noise of the layers on the chip."""
        out = np.ones((self.mapping.steps, self.mapping.neurons, len(images)), bool)
        for noise in self.noise:
            out[:, noise.neuron] &= ~noise.lost(images, self.mapping.steps)
        return out

    @property
    def wraps(self) -> Bools:
        """Cores in which a sum may leave the potential's bits, (cores,)."""
        m, shape = self.mapping, self.mapping.crossbar_shape.astype(np.int64)
        if m.stateful:
            return self._wraps_over_steps()
        if (shape[:, 0] << shape[:, 2] <= m.chip.potential_max).all():  # beyond doubt
            return np.zeros(m.cores, bool)
        high, low = (np.zeros(m.cores, np.int64) for _ in range(2))
        for k in range(len(m.crossbar_shape)):
            weights = m.crossbar(k).astype(np.int64)
            mine = m.core_crossbar == k
            high[mine] = np.maximum(weights, 0).sum(axis=0).max(initial=0)
            low[mine] = np.minimum(weights, 0).sum(axis=0).min(initial=0)
        return np.asarray((high > m.chip.potential_max) | (low < m.chip.potential_min))

    def _wraps_over_steps(self) -> Bools:
        """The same where potentials are kept: a neuron that never fires is never reset."""
        m = self.mapping
        out = np.zeros(m.cores, bool)
        for number, entry in enumerate(m.layers):
            low, high = reached(m, number) if entry.neuron else sums(m, number)
            core = np.repeat(np.arange(m.cores), np.diff(m.neuron_offset) * (m.core_layer == number))
            np.logical_or.at(out, core, (high > m.chip.potential_max) | (low < m.chip.potential_min))
        return out


def unharmed(mapping: Mapping) -> Damage:
    """Return a mapping on a chip without faults."""
    axons, cores = len(mapping.axon_source), mapping.cores
    return Damage(
        mapping, np.full(axons, WORKS, np.int8), np.zeros(mapping.outputs, bool), np.zeros(cores, bool),
        np.full(axons, THROUGH, np.int64), np.full(cores, THROUGH, np.int64),
    )  # fmt: skip


def with_arrays(mapping: Mapping, **arrays: npt.NDArray[Any]) -> Mapping:
    """Return the mapping with some of its arrays changed."""
    return replace(mapping, arrays={**mapping.arrays, **arrays})


def wrap(potential: Int, bits: int) -> Int:
    """Wrap sums to two's complement of ``bits`` bits, as an adder without saturation does."""
    half = 1 << (bits - 1)
    return np.asarray(((potential + half) & ((1 << bits) - 1)) - half)
