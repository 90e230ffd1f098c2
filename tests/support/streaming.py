"""A chip in stream order, an image a tick: it imports neither chipsim nor qsnnc, and knows nothing of frames.

In tick n the host sends frame n. Every core works in every tick, on whatever bits the bank of that tick holds: a ring of
max_delay + 1 banks of axon bits. No state is left from one tick to the next but the ring.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from support.format_reader import Program, weights


@dataclass
class Stream:
    """What left the chip in each tick."""

    fired: np.ndarray  # (ticks, sources): the host's among them
    potentials: np.ndarray  # (ticks, outputs): what the host reads in each tick


def stream(p: Program, frames: np.ndarray) -> Stream:
    """Send frames (count, encoder neurons) one a tick, and tick on until the last of them must have come out."""
    size, neurons = frames.shape[1], len(p.neuron_element)
    ticks = len(frames) + p.info["ticks"]
    banks = np.zeros((p.info["chip"]["max_delay"] + 1, len(p.axon_source)), bool)
    crossbars = [weights(p, core) for core in range(len(p.core_layer))]
    outputs = next(number for number, layer in enumerate(p.info["layers"]) if layer["levels"] == 0)
    entry_source = np.repeat(np.arange(size + neurons), np.diff(p.target_offset))
    fired = np.zeros((ticks, size + neurons), bool)
    read = np.zeros((ticks, int((np.repeat(p.core_layer, np.diff(p.neuron_offset)) == outputs).sum())), np.int64)
    for tick in range(ticks):
        bits = banks[tick % len(banks)]
        if tick < len(frames):
            fired[tick, :size] = frames[tick]
        for core, crossbar in enumerate(crossbars):
            mine = slice(int(p.neuron_offset[core]), int(p.neuron_offset[core + 1]))
            potential = bits[p.axon_offset[core] : p.axon_offset[core + 1]] @ crossbar
            if p.core_layer[core] == outputs:
                read[tick, p.neuron_element[mine]] = potential
            else:
                fired[tick, size:][mine] = potential >= p.neuron_threshold[mine]
        bits[:] = False
        sent = fired[tick, entry_source]
        arrival = (tick + p.target_delay[sent].astype(np.int64)) % len(banks)
        banks[arrival, p.target_axon[sent]] = True
    return Stream(fired, read)
