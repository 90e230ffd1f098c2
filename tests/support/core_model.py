"""A tick in a core, cycle by cycle, written from the page that describes it; it imports nothing of chipsim.timing.

Slow and literal: a core has a bank of bits, counters and a table, and a clock that ticks.
"""

from __future__ import annotations

import numpy as np

from chipsim.mapping import Mapping


def bank(m: Mapping, core: int, fired: np.ndarray) -> list[int]:
    """Axon bits of a core, one for each row of each segment, as its spikes set them along the target tables."""
    bits = [0] * (int(m.core_fold[core]) * m.chip.axons)
    first, last = int(m.axon_offset[core]), int(m.axon_offset[core + 1])
    for source in np.flatnonzero(fired):
        for entry in range(m.target_offset[source], m.target_offset[source + 1]):
            axon = int(m.target_axon[entry])
            if first <= axon < last:
                bits[axon - first] = 1
    return bits


def read_cycles(m: Mapping, core: int, fired: np.ndarray, held: np.ndarray | None = None) -> int:
    """T_in; ``held`` is what each axon of the core holds on a faulty chip, whatever was sent."""
    t, bits = m.chip.timing, bank(m, core, fired)
    if held is not None:
        bits[: len(held)] = held.tolist()
    if t.input == "row_parallel":
        return sum(max(1, sum(bits[start : start + t.word_bits])) for start in range(0, len(bits), t.word_bits))
    weights = m.crossbar(int(m.core_crossbar[core]))
    operations = sum(int(np.count_nonzero(weights[axon])) for axon in np.flatnonzero(bits))
    cycles = 0
    while operations > 0:
        operations -= t.synapses_per_cycle
        cycles += 1
    return cycles


def run_core(m: Mapping, core: int, fired: np.ndarray) -> tuple[int, int, list[tuple[int, list[int]]]]:
    """T_in, T_core, and (cycle, entries) of each packet: one, with multicast all of its spike; of a potential none."""
    t = m.chip.timing
    reading = read_cycles(m, core, fired)
    readout = m.layers[m.core_layer[core]].levels == 0
    clock = t.start_cycles + reading
    waiting: list[tuple[int, list[int]]] = []  # cycle from which a packet may be looked up, entries
    columns = int(m.core_fold[core]) * int(m.core_weight_bits[core])
    for neuron in range(int(m.neuron_offset[core]), int(m.neuron_offset[core + 1])):
        left = columns
        while left > 0:  # merged so many a cycle
            left -= t.columns_per_cycle
            clock += 1
        source = m.encoder_neurons + neuron
        if readout:
            waiting.append((clock, []))
        elif fired[source]:
            entries = list(range(m.target_offset[source], m.target_offset[source + 1]))
            if t.multicast and entries:
                waiting.append((clock, entries))
            else:
                waiting += [(clock, [entry]) for entry in entries]
    packets: list[tuple[int, list[int]]] = []
    cycle, free = 0, 0
    while waiting:  # the table, a look a cycle
        if cycle >= free and waiting[0][0] <= cycle:
            packets.append((cycle, waiting.pop(0)[1]))
            free = cycle + (1 if readout else t.lookup_cycles)
        cycle += 1
    return reading, clock, packets
