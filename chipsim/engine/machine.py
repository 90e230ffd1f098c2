"""Execute a mapping tick by tick, as a data sheet would describe it; a batch has one frame per column.

    for tick in frame:
        for cores whose frame is due:
            latch()       an axon holds the bit that its source sent `delay` ticks ago
            integrate()   potential = sum of the weights of the axons that hold a bit
            fire()        a neuron spikes iff potential >= threshold
            route()       the target table sends each spike to its axons

A core evaluates a frame once and is reset after it, and a source fires in one tick of a frame, so the ring of axon bits is
kept as the spikes of each source: the reader has proved that tick + delay is the tick in which the axon's core is due.

Where something of the chip is broken (`chipsim.faults`), an axon may hold another bit than the one that was sent, a fired
spike may be lost before its core sends it, and a potential that leaves its bits wraps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.faults import NO_LUCK, WORKS, Damage, Luck, unharmed, wrap
from chipsim.mapping import Mapping

Spikes = npt.NDArray[np.uint8]
Int = npt.NDArray[np.int64]

#: axon bits that are held as floats at a time
LATCHED = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """Cores of one tick that hold the same crossbar.

    ``weights`` is (distinct columns, axons): neurons with equal columns share a potential, ``column`` says which one each
    neuron has. Its dtype is a float that holds every partial sum exactly.
    """

    tick: int
    cores: Int  # (cores,)
    axon: Int  # (cores, axons): numbered over all cores
    weights: npt.NDArray[np.floating]
    column: Int  # (neurons,)
    threshold: Int  # (cores, neurons)
    first_neuron: Int  # (cores,): number of the core's first neuron
    readout: bool
    wrapped: int  # bits of the potential, where a broken weight may take it beyond them; else 0

    def latch(self, part: slice, spikes: Spikes, latches: Latches, luck: Luck) -> npt.NDArray[np.floating]:
        """Axon bits (cores, axons, images) of some of the cores."""
        return latches.bits(self.axon[part], spikes, luck).astype(self.weights.dtype)

    def integrate(self, bits: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Potentials (cores, distinct columns, images), whole numbers."""
        potential = np.asarray(np.matmul(self.weights, bits))
        if self.wrapped:
            return wrap(potential.astype(np.int64), self.wrapped).astype(potential.dtype)
        return potential

    def fire(self, part: slice, potential: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        """Spikes (cores, neurons, images): fires when potential >= threshold."""
        return np.asarray(potential[:, self.column] >= self.threshold[part][..., None])


@dataclass(frozen=True, slots=True, eq=False)
class Latches:
    """The axon bits that result from the spikes of their sources."""

    source: npt.NDArray[np.int32]  # (axons,)
    held: npt.NDArray[np.int8] | None  # (axons,): `WORKS` or the bit that never changes; None: all work

    def bits(self, axons: Int | slice, spikes: Spikes, luck: Luck) -> Spikes:
        """Bits of some axons, uint8 (*axons, images)."""
        bits = spikes[self.source[axons]]
        if luck.arrive is not None:
            bits = bits & luck.arrive[axons]
        if self.held is not None:
            held = self.held[axons][..., None]
            bits = np.where(held == WORKS, bits, held.astype(np.uint8))
        return bits


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """A chip with a mapping loaded."""

    mapping: Mapping
    damage: Damage
    latches: Latches
    banks: tuple[Bank, ...]  # in the order of their ticks
    sources: int

    def step(self, encoder_spikes: Spikes, luck: Luck | None = None) -> tuple[Spikes, Int]:
        """Run all ticks of a batch of frames.

        Parameters
        ----------
        encoder_spikes : ndarray, uint8, (E, images)
        luck : Luck, optional
            What is lost in these images; nothing without it.

        Returns
        -------
        spikes : ndarray, uint8, (E + N, images)
            What each source sent.
        potentials : ndarray, int64, (images, outputs)
            The read-out layer's, ordered by element.
        """
        images = encoder_spikes.shape[1]
        luck = luck or NO_LUCK
        spikes = np.zeros((self.sources, images), np.uint8)
        spikes[: len(encoder_spikes)] = encoder_spikes
        elements = self.mapping.neuron_element
        outputs = sum(len(bank.cores) * len(bank.column) for bank in self.banks if bank.readout)
        potentials = np.zeros((images, outputs), np.int64)
        encoder = self.mapping.encoder_neurons
        for bank in self.banks:
            share = max(1, LATCHED // max(1, bank.axon.shape[1] * images))
            for start in range(0, len(bank.cores), share):
                part = slice(start, start + share)
                potential = bank.integrate(bank.latch(part, spikes, self.latches, luck))
                neurons = bank.first_neuron[part, None] + np.arange(len(bank.column))
                if bank.readout:
                    potentials[:, elements[neurons].reshape(-1)] = (
                        potential[:, bank.column].reshape(-1, images).T.astype(np.int64)
                    )
                else:
                    fired = bank.fire(part, potential)
                    spikes[encoder + neurons] = fired if luck.sent is None else fired & luck.sent[neurons]
        potentials[:, self.damage.silent] = 0
        return spikes, potentials


def load(mapping: Mapping | Damage) -> Machine:
    """Load a mapping: group the cores that hold the same crossbar and fire in the same tick."""
    damage = mapping if isinstance(mapping, Damage) else unharmed(mapping)
    mapping, wraps = damage.mapping, damage.wraps
    source_of_axon = np.empty(len(mapping.axon_source), np.int32)
    source_of_axon[mapping.target_axon] = np.repeat(  # the target tables drive the axons
        np.arange(len(mapping.target_offset) - 1, dtype=np.int32), np.diff(mapping.target_offset)
    )
    key = mapping.core_layer.astype(np.int64) * len(mapping.crossbar_shape) + mapping.core_crossbar
    banks = []
    for value in np.unique(key):
        cores = np.flatnonzero(key == value)
        layer = mapping.layers[mapping.core_layer[cores[0]]]
        crossbar = mapping.crossbar(int(mapping.core_crossbar[cores[0]]))
        columns, column = np.unique(crossbar, axis=1, return_inverse=True)
        largest = int(np.abs(columns.astype(np.int64)).sum(axis=0).max())
        axons, neurons = crossbar.shape
        thresholds = mapping.neuron_threshold[mapping.neuron_offset[cores, None] + np.arange(neurons)]
        banks.append(
            Bank(
                tick=layer.tick,
                cores=cores,
                axon=mapping.axon_offset[cores, None] + np.arange(axons),
                weights=np.ascontiguousarray(columns.T, np.float32 if largest < 1 << 24 else np.float64),
                column=column.reshape(-1).astype(np.int64),
                threshold=thresholds.astype(np.int64),
                first_neuron=mapping.neuron_offset[cores],
                readout=layer.levels == 0,
                wrapped=mapping.chip.potential_bits if wraps[cores[0]] else 0,
            )
        )
    banks.sort(key=lambda bank: bank.tick)
    held = damage.held if (damage.held != WORKS).any() else None
    latches = Latches(source_of_axon, held)
    return Machine(mapping, damage, latches, tuple(banks), mapping.encoder_neurons + mapping.neurons)
