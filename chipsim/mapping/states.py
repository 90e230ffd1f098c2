"""Check the rules of FORMAT.md for frames of several steps: input, readout, neuron models, and the potentials they reach."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chipsim.mapping.dynamics import Int, NeuronModel, potential_range, unsupported
from chipsim.mapping.program import RELAY, STATE_ARRAYS, Layer, Mapping
from chipsim.mapping.rules import check_cores, first_of, refuse
from chipsim.mapping.totals import neuron_sums


def check_steps(m: Mapping) -> None:
    """Check what is read in and out in the steps of a frame, and each neuron model."""
    if m.steps > 1 and m.readout_of == "potential":
        refuse("output", f"is of 'potential' in a frame of {m.steps} steps; allowed: last, largest, count", "map-rule")
    if m.steps > 1 and m.input.code == "image":
        allowed = "direct, computed, spikes, bernoulli, regular"
        refuse("input", f"has code 'image' in a frame of {m.steps} steps; allowed: {allowed}", "map-rule")
    hosted = m.input.code in ("image", "direct", "computed")
    if (m.encoder_onnx is not None and not hosted) or (m.encoder_onnx is None and m.input.code in ("direct", "computed")):
        refuse("input", f"has code {m.input.code!r} and {'an' if m.encoder_onnx else 'no'} encoder.onnx", "map-rule")
    if m.encoder.levels != 1 and (not hosted or m.input.code == "computed"):
        refuse(m.encoder.name, f"has {m.encoder.levels} levels; spikes have 1", "map-rule")
    for number, entry in enumerate(m.layers):
        if entry.neuron is not None:
            _model(m, number, entry, entry.neuron)


def _model(m: Mapping, number: int, entry: Layer, model: NeuronModel) -> None:
    if entry.levels > 1 or entry.kind == RELAY:
        refuse(entry.name, "has a neuron model, and more than one level or is a relay", "map-rule")
    if entry.levels == 0 and (model.reset != "none" or model.delay):
        refuse(entry.name, "is read out and never fires; its neuron model has a reset or a delay", "map-rule")
    k, places = model.leak
    if k > 1 << places:
        refuse(entry.name, f"has a leak of {k} / 2^{places}; allowed: at most 1", "map-rule")
    mine = _neurons(m, number)
    amount, start, bias = constants(m, mine)
    for key, found, allowed in unsupported(model, (amount, start, bias), m.chip.neuron):
        cores = np.flatnonzero(m.core_layer == number)
        text = f"layer {entry.name} has {key} {found}; chip {m.chip.name!r} allows {allowed}"
        refuse(f"core {cores[0]}" if len(cores) else entry.name, text, "map-rule", found=found, allowed=allowed)


def check_states(m: Mapping) -> None:
    """Check the constants of neurons, and that their potentials fit the chip in every step."""
    plain = np.repeat(np.array([entry.neuron is None for entry in m.layers])[m.core_layer], np.diff(m.neuron_offset))
    for name in STATE_ARRAYS if m.stateful else ():
        wrong = plain & (m.arrays[name] != 0)
        if wrong.any():
            refuse(f"core {_core_of(m, first_of(wrong))}", f"{name} is not 0 without a neuron model", "map-rule")
    for number, entry in enumerate(m.layers):
        if entry.neuron is not None:
            _potentials(m, number)


def _potentials(m: Mapping, number: int) -> None:
    low, high = reached(m, number)
    bottom, top = (np.zeros(m.cores, np.int64) for _ in range(2))
    core = np.repeat(np.arange(m.cores), np.diff(m.neuron_offset))[_neurons(m, number)]
    np.minimum.at(bottom, core, low)
    np.maximum.at(top, core, high)
    bad = (bottom < m.chip.potential_min) | (top > m.chip.potential_max)
    check_cores(
        bad, np.stack([bottom, top], axis=1), f"potentials of {m.steps} steps", "map-rule",
        [m.chip.potential_min, m.chip.potential_max],
    )  # fmt: skip


def reached(m: Mapping, number: int) -> tuple[Int, Int]:
    """Return the smallest and largest potential, in any step, of each neuron of a layer with a neuron model."""
    entry, mine = m.layers[number], _neurons(m, number)
    assert entry.neuron is not None
    threshold = m.neuron_threshold[mine].astype(np.int64) if entry.levels else None
    found = potential_range(entry.neuron, *sums(m, number), threshold, constants(m, mine), m.steps)
    return found.low, found.high


def sums(m: Mapping, number: int) -> tuple[Int, Int]:
    """Return the smallest and largest sum of weights that a step can add to each neuron of a layer, in their order."""
    none = np.zeros(0, np.int64)
    parts: dict[int, tuple[Int, Int]] = {}
    cores = np.flatnonzero(m.core_layer == number)
    for k in np.unique(m.core_crossbar[cores]).tolist():
        parts[k] = neuron_sums(m.crossbar(k))
    low, high = zip((none, none), *(parts[k] for k in m.core_crossbar[cores].tolist()), strict=True)
    return np.concatenate(low), np.concatenate(high)


def constants(m: Mapping, neurons: npt.NDArray[np.bool_] | slice) -> tuple[Int, Int, Int]:
    """Return amount, start and bias of some neurons."""
    amount, start, bias = (m.arrays[name][neurons].astype(np.int64) for name in STATE_ARRAYS)
    return amount, start, bias


def _neurons(m: Mapping, number: int) -> npt.NDArray[np.bool_]:
    return np.asarray(np.repeat(m.core_layer == number, np.diff(m.neuron_offset)))


def _core_of(m: Mapping, neuron: int) -> int:
    return int(np.searchsorted(m.neuron_offset, neuron, "right")) - 1
