"""Check a mapping against the rules of FORMAT.md; those for connections between cores are in `wiring`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.chip.routes import cut_off
from chipsim.mapping.program import CEILING, MARGIN, RELAY, UNREACHED, Mapping
from chipsim.mapping.rules import check_cores, first_of, refuse, repeats
from chipsim.mapping.states import check_states, check_steps
from chipsim.mapping.totals import Int, axon_synapses, layer_sums, neuron_sums
from chipsim.mapping.wiring import check_wiring

#: a frame whose sources, axons or neurons are more than this many is refused before anything is allocated for it
MOST = 1 << 31


def validate_mapping(mapping: Mapping) -> None:
    """Check every rule, if that was not done before on what cannot have changed since.

    Raises
    ------
    MappingError
        Names the core (or array) and the rule.
    """
    if not _is_validated(mapping):
        validated_synapses(mapping)


def validated_synapses(mapping: Mapping) -> Int:
    """Check every rule, and return the synapses of each distinct crossbar, int64 (K,), which are counted on the way."""
    _shapes(mapping)
    _offsets(mapping)
    _ranges(mapping)
    _cores(mapping)
    check_steps(mapping)
    synapses = _crossbars(mapping)
    check_states(mapping)
    _watched(mapping)
    _margins(mapping)
    check_wiring(mapping)
    _repeated(mapping, synapses)
    mapping.validated.clear()
    mapping.validated.update(mapping.arrays)
    return synapses


def _is_validated(m: Mapping) -> bool:
    """Whether the arrays are those that were validated, and nobody can have written to them."""
    same = len(m.validated) == len(m.arrays) and all(m.validated.get(name) is array for name, array in m.arrays.items())
    return same and all(map(_is_fixed, m.arrays.values()))


def _is_fixed(array: npt.NDArray[Any]) -> bool:
    """Whether nobody can write to an array: in the end it lies in bytes."""
    memory: object = array
    while isinstance(memory, np.ndarray):
        memory = memory.base
    return isinstance(memory, bytes)


def _shapes(m: Mapping) -> None:
    """Dtypes, and shapes that agree with one another."""
    dtypes = m.dtypes
    if set(m.arrays) != set(dtypes):
        refuse("arrays", f"are {sorted(m.arrays)}; expected: {sorted(dtypes)}", "map-rule")
    for name, dtype in dtypes.items():
        if str(m.arrays[name].dtype) != dtype:
            refuse(name, f"has dtype {m.arrays[name].dtype}; allowed: {dtype}", "map-rule")
    for name, values in (("mean", m.input.mean), ("std", m.input.std)):
        if len(values) not in {1, *m.input.shape[:1]}:
            channels = m.input.shape[0] if m.input.shape else 1
            text = f"{name} has {len(values)} values; allowed: 1, or one for each of {channels} channels (its first axis)"
            refuse("input", text, "map-rule", found=len(values), allowed=[1, channels])
    for entry in (m.encoder, *m.layers):  # in whole numbers without bound: an int64 could come round to a lawful size
        if math.prod(entry.shape) * max(entry.levels, 1) >= MOST:
            refuse(entry.name, f"has the shape {list(entry.shape)}; allowed: {MOST - 1} neurons", "map-rule")
    if m.encoder_onnx is None and math.prod(m.input.shape) != m.encoder_neurons:
        refuse(
            "input",
            f"has shape {list(m.input.shape)}; expected: one value for each of {m.encoder_neurons} spikes",
            "map-rule",
        )
    cores = m.core_layer.size
    sources = m.encoder_neurons + m.neuron_element.size
    if sources >= MOST:
        refuse("mapping", f"has {sources} sources; allowed: {MOST - 1}", "map-rule")
    axons, crossbars = m.axon_source.size, len(m.crossbar_shape)
    wanted: dict[str, tuple[int, ...]] = {
        "core_layer": (cores,),
        "core_position": (cores, 2),
        "core_fold": (cores,),
        "core_weight_bits": (cores,),
        "core_crossbar": (cores,),
        "axon_offset": (cores + 1,),
        "axon_source": (axons,),
        "neuron_offset": (cores + 1,),
        **dict.fromkeys([name for name in m.dtypes if name.startswith("neuron_") and name != "neuron_offset"], (m.neurons,)),
        "target_offset": (sources + 1,),
        "target_axon": (axons,),
        "target_delay": (axons,),
        "dense_fanout": (sources,),
        "crossbar_shape": (crossbars, 3),
        "crossbar_offset": (crossbars + 1,),
        "crossbar_bits": (m.crossbar_bits.size,),
    }
    for name, shape in wanted.items():
        if m.arrays[name].shape != shape:
            refuse(name, f"has shape {m.arrays[name].shape}; expected: {shape}", "map-rule")
    if not cores:
        refuse("mapping", "has no cores", "map-rule")


def _offsets(m: Mapping) -> None:
    ends = {
        "axon_offset": m.axon_source.size,
        "neuron_offset": m.neurons,
        "target_offset": m.target_axon.size,
        "crossbar_offset": m.crossbar_bits.size,
    }
    for name, end in ends.items():
        offset = m.arrays[name]
        if offset[0] != 0 or offset[-1] != end or (np.diff(offset) < 0).any():
            refuse(name, f"must be non-decreasing from 0 to {end}", "map-rule")


def _ranges(m: Mapping) -> None:
    chip = m.chip
    limits = {
        "core_layer": (0, len(m.layers) - 1),
        "core_crossbar": (0, len(m.crossbar_shape) - 1),
        "axon_source": (0, m.encoder_neurons + m.neurons - 1),
        "target_axon": (0, m.axon_source.size - 1),
        "target_delay": (1, chip.max_delay),
        "neuron_threshold": (chip.threshold_min, chip.threshold_max),
        "dense_fanout": (0, MOST),
        "neuron_element": (0, MOST),
    }
    for name, (low, high) in limits.items():
        array = m.arrays[name]
        if array.size and (array.min() < low or array.max() > high):
            bad = first_of((array < low) | (array > high))
            value = int(array[bad])
            refuse(
                _owner(m, name, bad),
                f"{name}[{bad}] is {value}; allowed: {low} to {high}",
                "map-rule",
                found=value,
                allowed=[low, high],
            )


def _owner(m: Mapping, array: str, index: int) -> str:
    """What an error of an entry of an array names: the core that has or sends it, or the host."""
    source = index
    if array.startswith("core_"):
        return f"core {index}"
    if array.startswith("axon_"):
        return f"core {int(np.searchsorted(m.axon_offset, index, 'right')) - 1}"
    if array.startswith("neuron_"):
        source = m.encoder_neurons + index
    elif array.startswith("target_"):
        source = int(np.searchsorted(m.target_offset, index, "right")) - 1
    if source < m.encoder_neurons:
        return "host"
    return f"core {int(np.searchsorted(m.neuron_offset, source - m.encoder_neurons, 'right')) - 1}"


def _cores(m: Mapping) -> None:
    chip = m.chip
    x, y = m.core_position.T
    outside = (x < 0) | (y < 0) | (x >= chip.grid[0]) | (y >= chip.grid[1])
    check_cores(outside, m.core_position, "position on the grid", "map-rule", list(chip.grid))
    place = y.astype(np.int64) * chip.grid[0] + x
    check_cores(repeats(place), m.core_position, "position in use", "map-rule", "one core per position")
    _alive(m)
    check_cores(~np.isin(m.core_fold, chip.folds), m.core_fold, "fold", "map-rule", list(chip.folds))
    check_cores(
        ~np.isin(m.core_weight_bits, chip.weight_bits), m.core_weight_bits, "weight bits", "map-rule", list(chip.weight_bits)
    )
    fold = m.core_fold.astype(np.int64)
    axons, neurons = np.diff(m.axon_offset), np.diff(m.neuron_offset)
    check_cores(axons > fold * chip.axons, axons, f"axons, {chip.axons} rows times fold", "map-rule", "fold * rows")
    columns = neurons * fold * m.core_weight_bits
    check_cores(columns > chip.columns, columns, "columns", "map-rule", chip.columns)
    check_cores(neurons == 0, neurons, "neurons", "map-rule", "at least one")


def _alive(m: Mapping) -> None:
    """No core stands where the chip has a dead one, or one that its dead links cut off."""
    chip = m.chip
    if not chip.dead_cores and not chip.dead_links:
        return
    cut = set(cut_off(chip)) if chip.dead_links else set()
    dead = set(chip.dead_cores)
    for core, (x, y) in enumerate(m.core_position.tolist()):
        if (x, y) in dead or (x, y) in cut:
            reason = "cut off by dead links" if (x, y) in cut else "dead"
            refuse(
                f"core {core}",
                f"a core of {m.layers[m.core_layer[core]].name} is at ({x}, {y}), which is {reason} on chip "
                f"{chip.name!r}; recompile the network with qsnnc compile --avoid FILE.yaml",
                "map-dead-core",
                found=[x, y],
                allowed="a core that works",
            )


def _holder(m: Mapping, crossbar: int) -> str:
    """What an error of a crossbar names: the first core that has it, or the crossbar where none has."""
    cores = np.flatnonzero(m.core_crossbar == crossbar)
    return f"core {cores[0]}" if len(cores) else f"crossbar {crossbar}"


def _crossbars(m: Mapping) -> Int:
    shape = m.crossbar_shape.astype(np.int64)
    bad = (shape[:, 0] < 0) | (shape[:, 1] < 1) | ~np.isin(shape[:, 2], m.chip.weight_bits)
    bad |= (shape[:, :2] >= 1 << 24).any(axis=1)
    if bad.any():
        k = first_of(bad)
        refuse(_holder(m, k), f"crossbar {k} has the invalid shape {shape[k].tolist()}", "map-rule")
    packed = (shape.prod(axis=1) + 7) // 8
    wrong = np.diff(m.crossbar_offset) != packed
    if wrong.any():
        k = first_of(wrong)
        refuse(_holder(m, k), f"crossbar {k} does not have the size that its shape implies", "map-rule")
    mine = shape[m.core_crossbar]
    has = np.stack([np.diff(m.axon_offset), np.diff(m.neuron_offset), m.core_weight_bits.astype(np.int64)], axis=1)
    check_cores((mine != has).any(axis=1), mine, "crossbar of its axons, neurons and weight bits", "map-rule", "equal")
    top, bottom = m.chip.potential_max, m.chip.potential_min
    synapses = np.zeros(len(shape), np.int64)
    for k in range(len(shape)):
        where = _holder(m, k)
        tail = int(shape[k].prod()) % 8
        if tail and m.crossbar_bits[m.crossbar_offset[k + 1] - 1] >> tail:
            refuse(where, f"crossbar {k} has non-zero bits after its last weight", "map-rule")
        weights = m.crossbar(k)
        synapses[k] = axon_synapses(weights).sum()
        smallest, largest = neuron_sums(weights)
        low, high = int(smallest.min()), int(largest.max())
        if high > top or low < bottom:  # in whole weights; with a neuron model fraction bits count too
            text = f"crossbar {k} reaches potentials {low} to {high}; allowed: {bottom} to {top}"
            refuse(where, text, "map-rule", found=[low, high], allowed=[bottom, top])
    return synapses


def _watched(m: Mapping) -> None:
    """What is watched can be exceeded, and only the neurons of a highest level have a ceiling."""
    known = {entry.name for entry in (m.encoder, *m.layers) if entry.levels and getattr(entry, "kind", "") != RELAY}
    for name in m.watched:
        if name not in known or m.watched.count(name) > 1:
            refuse("watched", f"names {name!r}; allowed: the encoder and layers with levels, once each", "map-rule")
    if m.watched and (m.stateful or m.steps > 1 or m.encoder_onnx is None):
        refuse("watched", "is for frames of one step, of levels that encoder.onnx tells", "map-rule")
    if not m.limited:
        return
    owner = np.repeat(m.core_layer, np.diff(m.neuron_offset))
    levels = np.array([entry.levels if entry.name in m.watched else 0 for entry in m.layers])[owner]
    there = m.arrays[CEILING] != UNREACHED
    top = (levels > 0) & (m.neuron_element % np.maximum(levels, 1) == levels - 1)
    bad = there & (~top | (m.arrays[CEILING] < m.neuron_threshold))
    if bad.any():
        neuron = first_of(bad)
        text = (
            f"{CEILING}[{neuron}] is {int(m.arrays[CEILING][neuron])}; allowed: {UNREACHED}, or in a watched layer at least "
        )
        refuse(_owner(m, CEILING, neuron), text + "the threshold of the neuron of a highest level", "map-rule")


def _margins(m: Mapping) -> None:
    """Only a tested mapping tells of float rounding; only what fires, and keeps no potential, has a margin."""
    if m.exactness == "certified" and m.tells_rounding:
        refuse("exactness", "is certified, and the file has margins or a slack; allowed: tested", "map-rule")
    if not m.uncertain:
        return
    if m.stateful or m.steps > 1:
        refuse(MARGIN, "is for frames of one step, of neurons without a neuron model", "map-rule")
    owner = np.repeat(m.core_layer, np.diff(m.neuron_offset))
    fires = np.array([entry.levels > 0 and entry.kind != RELAY for entry in m.layers])[owner]
    bad = (m.arrays[MARGIN] < 0) | ((m.arrays[MARGIN] > 0) & ~fires)
    if bad.any():
        neuron = first_of(bad)
        text = f"{MARGIN}[{neuron}] is {int(m.arrays[MARGIN][neuron])}; allowed: 0, or more if it fires and is no relay"
        refuse(_owner(m, MARGIN, neuron), text, "map-rule")


def _repeated(m: Mapping, synapses: Int) -> None:
    """What ``layers`` repeats from the arrays."""
    counts = {
        "cores": layer_sums(m, np.ones(m.cores, np.int64)),
        "neurons": layer_sums(m, np.diff(m.neuron_offset)),
        "synapses": layer_sums(m, synapses[m.core_crossbar]),
    }
    for number, entry in enumerate(m.layers):
        for name, values in counts.items():
            if getattr(entry, name) != values[number]:
                refuse(entry.name, f"has {name} {getattr(entry, name)}; the arrays give {values[number]}", "map-rule")
        gone = 0 if entry.kind == RELAY else math.prod(entry.shape) * max(entry.levels, 1) - entry.neurons
        if entry.removed != gone:
            refuse(entry.name, f"has removed {entry.removed}; the arrays give {gone}", "map-rule")
        mine = m.core_layer == number
        if (m.core_weight_bits[mine] != entry.weight_bits).any() or m.core_fold[mine].max(initial=0) != entry.fold:
            refuse(entry.name, "has another fold or weight_bits than its cores", "map-rule")
