"""Whether float rounding of the model explains where it and the chip differ: the rule of `qsnnc verify`, on the cores.

Each layer is executed on the spikes that the model itself has before it, so that a difference shows up in the layer that
causes it. A neuron with margin m and threshold T fires for certain from T + m on and may fire from T - m on (FORMAT.md). A
difference is explained if and only if the model's spikes lie between the two. Where the model has no tensor of a layer's
levels, what is certain and what may be are both passed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.engine.machine import LATCHED, Bank, Int, Machine, Spikes
from chipsim.mapping import Layer, Mapping, Population
from chipsim.mapping.program import MARGIN

Bool = npt.NDArray[np.bool_]
#: the spikes as they are executed, those that are certain, and those that may be
OWN, CERTAIN, POSSIBLE = range(3)


@dataclass(frozen=True, slots=True, eq=False)
class Apart:
    """Where the neurons of a population differ from the model, (neurons, images) each."""

    entry: Population
    wrong: Bool
    unexplained: Bool
    features: int  # features of all images with a neuron that differs
    unexplained_features: int
    largest: float  # the largest difference of a feature, in the unit of the model's tensor


@dataclass(frozen=True, slots=True, eq=False)
class ByLayer:
    """What the layers of a chip do on the spikes that the model has before each of them."""

    spikes: Spikes  # (sources, images): what each neuron sent
    given: Spikes  # (sources, images): what its readers were given
    apart: tuple[Apart, ...]  # populations that differ, in their order
    potentials: Int  # (images, outputs) that are read out
    open: Bool  # (images,): whether uncertain decisions can change these


def execute_by_layer(
    machine: Machine, encoder_spikes: Spikes, watched: Sequence[tuple[Population, Int]], sources: Sequence[tuple[Int, Int]]
) -> ByLayer:
    """Execute each layer on the spikes that the model has before it, and compare what it sends.

    Parameters
    ----------
    encoder_spikes : ndarray, uint8, (E, images)
    watched : sequence of (Population, levels)
        Populations with a tensor of the model, and the levels that it has there, int64 (images, features).
    sources : sequence of (source, element)
        Of each of them: the numbers of its neurons as sources, and the element that each is.
    """
    m, images = machine.mapping, encoder_spikes.shape[1]
    sent = np.zeros((3, machine.sources, images), np.uint8)
    sent[:, : m.encoder_neurons] = encoder_spikes
    given = sent.copy()
    known = set()
    for (entry, levels), (source, element) in zip(watched, sources, strict=True):
        feature, i = np.divmod(element, entry.levels)
        given[:, source] = levels.T[feature] > i[:, None]
        known.add(entry.name)
    potentials = np.zeros((3, images, m.outputs), np.int64)
    for number in sorted(range(len(m.layers)), key=lambda number: m.layers[number].tick):
        layer = m.layers[number]
        for bank in machine.banks:
            if m.core_layer[bank.cores[0]] == number:
                _work(machine, bank, given, sent, potentials)
        if layer.levels and layer.name not in known:
            own = m.encoder_neurons + np.flatnonzero(np.repeat(m.core_layer, np.diff(m.neuron_offset)) == number)
            given[:, own] = _ordered(layer, m, own, sent[:, own])
    found = (_apart(entry, *each, sent, given) for (entry, _), each in zip(watched, sources, strict=True))
    return ByLayer(
        sent[OWN],
        given[OWN],
        tuple(entry for entry in found if entry.features),
        potentials[OWN],
        (potentials[CERTAIN] != potentials[POSSIBLE]).any(axis=1),
    )


def _work(machine: Machine, bank: Bank, given: Spikes, sent: Spikes, potentials: Int) -> None:
    """Execute the cores of a bank, some of them at a time; potentials become those of both ends of their range."""
    m, images = machine.mapping, given.shape[2]
    rising, falling = np.maximum(bank.weights, 0), np.minimum(bank.weights, 0)
    share = max(1, LATCHED // max(1, 3 * bank.axon.shape[1] * images))
    for start in range(0, len(bank.cores), share):
        part = slice(start, start + share)
        bits = given[:, machine.latches.source[bank.axon[part]]].astype(bank.weights.dtype)
        found = np.matmul(bank.weights, bits[OWN])
        ends = [found, found, found]
        if (bits[CERTAIN] != bits[POSSIBLE]).any():
            ends[CERTAIN] = np.matmul(rising, bits[CERTAIN]) + np.matmul(falling, bits[POSSIBLE])
            ends[POSSIBLE] = np.matmul(rising, bits[POSSIBLE]) + np.matmul(falling, bits[CERTAIN])
        neurons = bank.first_neuron[part, None] + np.arange(len(bank.column))
        margin = m.arrays[MARGIN][neurons].astype(np.int64) if m.uncertain else np.zeros(neurons.shape, np.int64)
        for end, away in ((OWN, 0 * margin), (CERTAIN, margin), (POSSIBLE, -margin)):
            potential = ends[end][:, bank.column]
            if bank.silent:
                outputs = m.neuron_element[neurons].reshape(-1)
                potentials[end][:, outputs] = potential.reshape(-1, images).T
            else:
                sent[end, m.encoder_neurons + neurons] = potential >= (bank.threshold[part] + away)[..., None]


def _ordered(layer: Layer, m: Mapping, own: Int, sent: Spikes) -> Spikes:
    """Return the spikes of a layer where a feature that has reached a level has certainly reached those below it."""
    feature, i = np.divmod(m.neuron_element[own - m.encoder_neurons].astype(np.int64), layer.levels)
    features, images = int(feature.max(initial=0)) + 1, sent.shape[2]
    reached = np.zeros((features, images), np.int64)
    np.maximum.at(reached, feature, np.where(sent[CERTAIN], i[:, None] + 1, 0))
    limit = np.full((features, images), layer.levels, np.int64)
    np.minimum.at(limit, feature, np.where(sent[POSSIBLE], layer.levels, i[:, None]))
    return np.stack([sent[OWN], i[:, None] < reached[feature], i[:, None] < limit[feature]]).astype(np.uint8)


def _apart(entry: Population, source: Int, element: Int, sent: Spikes, given: Spikes) -> Apart:
    """Compare what a population sent with what the model has."""
    own, low, high = sent[:, source]
    right = given[OWN, source]
    wrong = own != right
    unexplained = wrong & ((right < low) | (right > high))
    feature = element // entry.levels
    difference = np.zeros((int(feature.max(initial=0)) + 1, wrong.shape[1]), np.int64)
    np.add.at(difference, feature, own.astype(np.int64) - right)
    differs, beyond = np.zeros((2, *difference.shape), bool)
    np.logical_or.at(differs, feature, wrong)
    np.logical_or.at(beyond, feature, unexplained)
    largest = abs(entry.scale) * float(np.abs(difference).max(initial=0))
    return Apart(entry, wrong, unexplained, int(differs.sum()), int(beyond.sum()), largest)
