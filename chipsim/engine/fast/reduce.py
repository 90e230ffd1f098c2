"""Remove faulty axons from a mapping: their bits are constant and become part of the thresholds.

An axon that holds 0 goes. One that holds 1 goes too: its row is taken off its core's thresholds and put on its read-out
potentials, or where potentials are kept it is added to the biases; its event and its synapses count once in each step.
Everything else about a mapping stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.engine.count import sops_per_spike
from chipsim.faults import NEVER, WORKS, Damage
from chipsim.faults.damage import with_arrays
from chipsim.mapping import Mapping, pack_crossbar

Int = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """The mapping that remains, and the constant counts of each image."""

    mapping: Mapping
    sent: Int  # (sources,): packets that a spike sends, arriving or not
    core_events: Int  # (cores,), per image
    core_sops: Int  # (cores,), per image
    offset: Int  # (outputs,): potential that is there without a spike
    silent: npt.NDArray[np.bool_]  # (outputs,): potentials that are read as 0


def reduce(damage: Damage, *, keep: bool = False) -> Reduced:
    """Remove the axons whose bits are constant; with ``keep`` they stay, and are to be without a bit."""
    m = damage.mapping
    sent = np.diff(m.target_offset)
    cores, outputs = np.zeros(m.cores, np.int64), np.zeros(len(damage.silent), np.int64)
    if (damage.held == WORKS).all():
        return Reduced(m, sent, cores, cores, outputs, damage.silent)
    core_of = np.repeat(np.arange(m.cores), np.diff(m.axon_offset))
    on = np.flatnonzero(damage.held == 1)
    events = np.bincount(core_of[on], minlength=m.cores)
    sops = np.bincount(core_of[on], sops_per_spike(m)[on], m.cores).astype(np.int64)
    constant = _constant(damage)
    constant, changes = _into_biases(m, constant)
    readout = np.array([e.levels == 0 for e in m.layers])[m.core_layer]
    read = np.flatnonzero(readout[np.repeat(np.arange(m.cores), np.diff(m.neuron_offset))])
    outputs[m.neuron_element[read]] = constant[read]
    threshold = m.neuron_threshold - constant
    threshold = np.clip(threshold, -(1 << 31), NEVER)  # beyond what any potential reaches: the same spikes
    never = m.neuron_threshold == NEVER
    threshold[never | (constant == 0)] = m.neuron_threshold[never | (constant == 0)]
    changed = with_arrays(m, neuron_threshold=threshold.astype(np.int32), **changes)
    kept = changed if keep else _without(changed, damage.held == WORKS)
    return Reduced(kept, sent, events * m.steps, sops * m.steps, outputs, damage.silent)


def _into_biases(m: Mapping, constant: Int) -> tuple[Int, dict[str, npt.NDArray[np.int32]]]:
    """Add constant potentials to the biases of neurons that have one; return what is left for the others."""
    if not m.stateful:
        return constant, {}
    layer = np.repeat(m.core_layer, np.diff(m.neuron_offset))
    bits = np.array([e.neuron.fraction_bits if e.neuron else -1 for e in m.layers])[layer]
    kept = bits >= 0
    bias = m.neuron_bias + np.where(kept, constant << np.maximum(bits, 0), 0)
    return np.where(kept, 0, constant), {"neuron_bias": bias.astype(np.int32)}


def _constant(damage: Damage) -> Int:
    """Potential that axons which hold 1 give each neuron, (N,)."""
    m = damage.mapping
    constant = np.zeros(m.neurons, np.int64)
    for core in range(m.cores):
        on = damage.held[m.axon_offset[core] : m.axon_offset[core + 1]] == 1
        if on.any():
            weights = m.crossbar(int(m.core_crossbar[core]))[on]
            constant[m.neuron_offset[core] : m.neuron_offset[core + 1]] = weights.sum(axis=0, dtype=np.int64)
    return constant


def _without(m: Mapping, keep: npt.NDArray[np.bool_]) -> Mapping:
    """Leave axons out, with their rows and the target entries that drive them."""
    number = np.cumsum(keep) - 1
    entry = keep[m.target_axon]
    kept = np.concatenate([[0], np.cumsum(keep)])
    packed: list[npt.NDArray[np.uint8]] = []
    shapes: list[tuple[int, ...]] = []
    known: dict[tuple[int, bytes], int] = {}
    index = np.empty_like(m.core_crossbar)
    for core in range(m.cores):
        mine = keep[m.axon_offset[core] : m.axon_offset[core + 1]]
        key = (int(m.core_crossbar[core]), mine.tobytes())
        if key not in known:
            known[key] = len(packed)
            bits = int(m.core_weight_bits[core])
            packed.append(_kept_bits(m, key[0], mine))
            shapes.append((int(mine.sum()), int(m.crossbar_shape[key[0], 1]), bits))
        index[core] = known[key]
    return with_arrays(
        m,
        axon_source=m.axon_source[keep],
        axon_offset=kept[m.axon_offset],
        target_axon=number[m.target_axon[entry]].astype(np.int32),
        target_delay=m.target_delay[entry],
        target_offset=np.concatenate([[0], np.cumsum(entry)])[m.target_offset],
        core_crossbar=index,
        crossbar_shape=np.array(shapes, np.int32).reshape(-1, 3),
        crossbar_offset=np.concatenate([[0], np.cumsum([len(part) for part in packed])]).astype(np.int64),
        crossbar_bits=np.concatenate(packed),
    )


def _kept_bits(m: Mapping, k: int, keep: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Packed weights of a crossbar without some of its rows."""
    _, neurons, bits = (int(v) for v in m.crossbar_shape[k])
    content = m.crossbar_bits[m.crossbar_offset[k] : m.crossbar_offset[k + 1]]
    if keep.all():
        return np.asarray(content)
    if neurons * bits % 8 == 0:  # rows are whole bytes
        return np.ascontiguousarray(content.reshape(len(keep), -1)[keep]).reshape(-1)
    return pack_crossbar(np.ascontiguousarray(m.crossbar(k)[keep]), bits)
