"""Execute a mapping tick by tick, as a data sheet would describe it; a batch has one frame per column.

    for tick in frame:
        for cores that have a step of the frame to do:
            latch()       an axon holds the bit that its source sent `delay` ticks ago
            integrate()   potential = what is left of it + sum of the weights of the axons that hold a bit
            fire()        a neuron spikes iff potential >= threshold, and is reset
            route()       the target table sends each spike to its axons

A core at tick d does step t of a frame in tick d + t; its potentials are set to their start in tick d. The ring of axon bits
is kept as the spikes of each source, step by step: the reader has proved that what an axon's source sent as step t arrives
when the axon's core does step t. A layer without a neuron model has no potential left from the step before, and in a frame
of one step nothing outlives the frame.

Where something of the chip is broken (`chipsim.faults`), an axon may hold another bit than the one that was sent, a fired
spike may be lost before its core sends it, and a potential that leaves its bits wraps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.faults import NO_LUCK, WORKS, Damage, Luck, unharmed, wrap
from chipsim.mapping import Mapping
from chipsim.mapping.dynamics import NeuronModel
from chipsim.mapping.program import STATE_ARRAYS

Spikes = npt.NDArray[np.uint8]
Int = npt.NDArray[np.int64]

#: axon bits that are held as floats at a time
LATCHED = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """Cores of one layer that hold the same crossbar.

    ``weights`` is (distinct columns, axons): neurons with equal columns share a sum, ``column`` says which one each neuron
    has. Its dtype is a float that holds every partial sum exactly.
    """

    tick: int  # of the first step
    cores: Int  # (cores,)
    axon: Int  # (cores, axons): numbered over all cores
    weights: npt.NDArray[np.floating]
    column: Int  # (neurons,)
    threshold: Int  # (cores, neurons)
    first_neuron: Int  # (cores,): number of the core's first neuron
    silent: bool  # its neurons never fire: they are read out
    readout: bool
    wrapped: int  # bits of the potential, where a broken weight may take it beyond them; else 0
    neuron: NeuronModel | None
    constants: tuple[Int, ...]  # amount, start and bias, (cores, neurons, 1) each; none without a neuron model

    @property
    def delay(self) -> int:
        """How many steps after it was found a spike is read."""
        return self.neuron.delay if self.neuron else 0

    def start(self, images: int) -> Int | None:
        """Potentials before the first step, int64 (cores, neurons, images); None without a neuron model."""
        if self.neuron is None:
            return None
        return np.repeat(self.constants[1], images, axis=2)

    def latch(self, part: slice, spikes: Spikes, latches: Latches, luck: Luck, step: int) -> npt.NDArray[np.floating]:
        """Axon bits (cores, axons, images) of some of the cores."""
        return latches.bits(self.axon[part], spikes, luck, step).astype(self.weights.dtype)

    def integrate(self, part: slice, bits: npt.NDArray[np.floating], left: Int | None) -> npt.NDArray[Any]:
        """Potentials, whole numbers: (cores, distinct columns, images), or with a neuron model (cores, neurons, images)."""
        potential: npt.NDArray[Any] = np.asarray(np.matmul(self.weights, bits))
        if self.neuron is not None and left is not None:
            total = potential[:, self.column].astype(np.int64)
            potential = self.neuron.integrate(left[part], total, self.constants[2][part])
        if self.wrapped:
            return wrap(potential.astype(np.int64), self.wrapped).astype(potential.dtype)
        return potential

    def fire(self, part: slice, potential: npt.NDArray[Any], left: Int | None) -> npt.NDArray[np.bool_]:
        """Spikes (cores, neurons, images): fires when potential >= threshold; potentials that are kept are reset."""
        if self.neuron is None or left is None:
            return np.asarray(potential[:, self.column] >= self.threshold[part][..., None])
        fired = np.asarray(potential >= self.threshold[part][..., None])
        left[part] = self.neuron.settle(potential, fired, self.constants[0][part])
        if self.wrapped:  # what is subtracted may take it beyond its bits again
            left[part] = wrap(left[part], self.wrapped)
        return fired

    def read(self, part: slice, potential: npt.NDArray[Any], left: Int | None) -> Int:
        """Potentials (cores, neurons, images) that are read out."""
        if left is None:
            return np.asarray(potential[:, self.column].astype(np.int64))
        left[part] = potential
        return potential


@dataclass(frozen=True, slots=True, eq=False)
class Latches:
    """The axon bits that result from the spikes of their sources."""

    source: npt.NDArray[np.int32]  # (axons,)
    held: npt.NDArray[np.int8] | None  # (axons,): `WORKS` or the bit that never changes; None: all work

    def bits(self, axons: Int | slice, spikes: Spikes, luck: Luck, step: int = 0) -> Spikes:
        """Bits of some axons in a step, uint8 (*axons, images), from the spikes of all sources in it (sources, images)."""
        bits = spikes[self.source[axons]]
        if luck.arrive is not None:
            bits = bits & luck.arrive[step][axons]
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
        """Run a batch of frames of one step: `run` without the axis of the steps."""
        spikes, potentials = self.run(encoder_spikes[None], luck)
        return spikes[0], potentials

    def run(self, encoder_spikes: Spikes, luck: Luck | None = None) -> tuple[Spikes, Int]:
        """Run all ticks of a batch of frames.

        Parameters
        ----------
        encoder_spikes : ndarray, uint8, (steps, E, images)
        luck : Luck, optional
            What is lost in these images; nothing without it.

        Returns
        -------
        spikes : ndarray, uint8, (steps, E + N, images)
            What each source sent, in the step in which it is read.
        potentials : ndarray, int64, (images, outputs)
            What is read from the readout layer, ordered by element: potentials, or counts of spikes.
        """
        m = self.mapping
        assert encoder_spikes.shape[:2] == (m.steps, m.encoder_neurons), "a frame for this mapping"
        images, luck = encoder_spikes.shape[2], luck or NO_LUCK
        spikes = np.zeros((m.steps, self.sources, images), np.uint8)
        spikes[:, : m.encoder_neurons] = encoder_spikes
        potentials = np.zeros((images, m.outputs), np.int64)
        left = [bank.start(images) for bank in self.banks]
        for tick in range(m.frame_ticks):
            for bank, mine in zip(self.banks, left, strict=True):
                if 0 <= tick - bank.tick < m.steps:
                    self._work(bank, tick - bank.tick, mine, spikes, potentials, luck)
        potentials[:, self.damage.silent] = 0
        return spikes, potentials

    def _work(self, bank: Bank, step: int, left: Int | None, spikes: Spikes, potentials: Int, luck: Luck) -> None:
        """One step of the cores of a bank, some of them at a time."""
        m = self.mapping
        images, sent = spikes.shape[2], step + bank.delay
        share = max(1, LATCHED // max(1, bank.axon.shape[1] * images))
        for start in range(0, len(bank.cores), share):
            part = slice(start, start + share)
            potential = bank.integrate(part, bank.latch(part, spikes[step], self.latches, luck, step), left)
            neurons = bank.first_neuron[part, None] + np.arange(len(bank.column))
            outputs = m.neuron_element[neurons].reshape(-1)
            if bank.silent:
                found = bank.read(part, potential, left).reshape(-1, images).T
                before = potentials[:, outputs] if m.readout_of == "largest" and step else found
                potentials[:, outputs] = np.maximum(found, before)
                continue
            fired = bank.fire(part, potential, left)
            if sent == m.steps:  # found in the last step, and sent with a delay: by nobody
                continue
            fired = fired if luck.sent is None else fired & luck.sent[sent][neurons]
            spikes[sent, m.encoder_neurons + neurons] = fired
            if bank.readout:
                potentials[:, outputs] += fired.reshape(-1, images).T


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
                silent=layer.levels == 0,
                readout=int(mapping.core_layer[cores[0]]) == mapping.readout,
                wrapped=mapping.chip.potential_bits if wraps[cores[0]] else 0,
                neuron=layer.neuron,
                constants=_constants(mapping, cores, neurons) if layer.neuron else (),
            )
        )
    banks.sort(key=lambda bank: bank.tick)
    held = damage.held if (damage.held != WORKS).any() else None
    latches = Latches(source_of_axon, held)
    return Machine(mapping, damage, latches, tuple(banks), mapping.encoder_neurons + mapping.neurons)


def _constants(m: Mapping, cores: Int, neurons: int) -> tuple[Int, ...]:
    """Amount, start and bias of the neurons of some cores, (cores, neurons, 1) each."""
    mine = m.neuron_offset[cores, None] + np.arange(neurons)
    return tuple(m.arrays[name][mine].astype(np.int64)[..., None] for name in STATE_ARRAYS)
