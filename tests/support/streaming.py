"""A chip in stream order, a frame after every so many ticks as it has steps: it imports neither chipsim nor qsnnc.

In tick n the host sends step n mod T of frame n div T. Every core works in every tick, on whatever bits the bank of that
tick holds: a ring of max_delay + 1 banks of axon bits. What is left from one tick to the next is the ring, and the potentials
of neurons with a model; a core sets those to their start every T ticks, and holds its spikes back in its last step where
they are sent with a delay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from support.format_reader import Program, step_of, weights


@dataclass
class Stream:
    """What left the chip in each tick."""

    fired: np.ndarray  # (ticks, sources): the host's among them
    potentials: np.ndarray  # (ticks, outputs): what the host reads in each tick; of a readout that fires, its spikes


def stream(p: Program, frames: np.ndarray) -> Stream:
    """Send frames (count, steps, encoder neurons) a step a tick, and tick on until the last of them must have come out."""
    count, steps, size = frames.shape
    neurons, layers = len(p.neuron_element), p.info["layers"]
    ticks = count * steps + p.info["ticks"]
    banks = np.zeros((p.info["chip"]["max_delay"] + 1, len(p.axon_source)), bool)
    crossbars = [weights(p, core) for core in range(len(p.core_layer))]
    silent = [number for number, layer in enumerate(layers) if layer["levels"] == 0]
    outputs = silent[0] if silent else len(layers) - 1
    entry_source = np.repeat(np.arange(size + neurons), np.diff(p.target_offset))
    fired = np.zeros((ticks, size + neurons), bool)
    read = np.zeros((ticks, int((np.repeat(p.core_layer, np.diff(p.neuron_offset)) == outputs).sum())), np.int64)
    left: list[int | None] = [None] * neurons
    for tick in range(ticks):
        bits = banks[tick % len(banks)]
        if tick < count * steps:
            fired[tick, :size] = frames[tick // steps, tick % steps]
        for core, crossbar in enumerate(crossbars):
            layer, step = layers[p.core_layer[core]], (tick - layers[p.core_layer[core]]["tick"]) % steps
            totals = bits[p.axon_offset[core] : p.axon_offset[core + 1]] @ crossbar
            for number, total in enumerate(totals.tolist(), int(p.neuron_offset[core])):
                if step == 0:
                    left[number] = None
                spike, value = step_of(p, layer, number, total, left)
                held = step == steps - 1 and (layer.get("neuron") or {"delay": 0})["delay"]
                fired[tick, size + number] = spike and not held and layer["levels"] > 0
                if p.core_layer[core] == outputs:
                    read[tick, p.neuron_element[number]] = fired[tick, size + number] if layer["levels"] else value
        bits[:] = False
        sent = fired[tick, entry_source]
        arrival = (tick + p.target_delay[sent].astype(np.int64)) % len(banks)
        banks[arrival, p.target_axon[sent]] = True
    return Stream(fired, read)
