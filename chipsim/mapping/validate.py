"""The rules of FORMAT.md, each checked on the whole mapping at once."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from chipsim.chip.routes import cut_off
from chipsim.errors import MappingError
from chipsim.mapping.program import ARRAYS, RELAY, Layer, Mapping, Population
from chipsim.mapping.totals import crossbar_synapses, layer_sums

#: a frame whose sources, axons or neurons are more than this many is refused before anything is allocated for it
MOST = 1 << 31


def refuse(subject: str, text: str, code: str, *, found: object = None, allowed: object = None) -> NoReturn:
    """Raise the error of a broken rule."""
    raise MappingError(subject, text, code=code, found=found, allowed=allowed)


def validate_mapping(mapping: Mapping) -> None:
    """Check every rule.

    Raises
    ------
    MappingError
        Names the core (or array) and the rule.
    """
    _shapes(mapping)
    _offsets(mapping)
    _ranges(mapping)
    _cores(mapping)
    _crossbars(mapping)
    _targets(mapping)
    _time(mapping)
    _elements(mapping)
    _relays(mapping)
    _repeated(mapping)


def _shapes(m: Mapping) -> None:
    """Dtypes, and shapes that agree with one another."""
    if set(m.arrays) != set(ARRAYS):
        refuse("arrays", f"are {sorted(m.arrays)}; needed: {sorted(ARRAYS)}", "map-arrays")
    for name, dtype in ARRAYS.items():
        if str(m.arrays[name].dtype) != dtype:
            refuse(name, f"has dtype {m.arrays[name].dtype}; allowed: {dtype}", "map-dtype")
    for entry in (m.encoder, *m.layers):  # in whole numbers without bound: an int64 could come round to a lawful size
        if math.prod(entry.shape) * max(entry.levels, 1) >= MOST:
            refuse(entry.name, f"has the shape {list(entry.shape)}; allowed: {MOST - 1} neurons", "map-size")
    if m.encoder_onnx is None and math.prod(m.input.shape) != m.encoder_neurons:
        refuse(
            "input",
            f"has shape {list(m.input.shape)}; needed: one value for each of {m.encoder_neurons} spikes",
            "map-input",
        )
    cores = m.core_layer.size
    sources = m.encoder_neurons + m.neuron_element.size
    if sources >= MOST:
        refuse("mapping", f"has {sources} sources; allowed: {MOST - 1}", "map-size")
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
        "neuron_element": (m.neurons,),
        "neuron_threshold": (m.neurons,),
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
            refuse(name, f"has shape {m.arrays[name].shape}; needed: {shape}", "map-shape")
    if not cores:
        refuse("mapping", "has no cores", "map-shape")


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
            refuse(name, f"must rise from 0 to {end}", "map-offset")


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
        bad = np.flatnonzero((m.arrays[name] < low) | (m.arrays[name] > high))
        if len(bad):
            value = int(m.arrays[name][bad[0]])
            refuse(
                f"{name}[{bad[0]}]", f"is {value}; allowed: {low} to {high}", "map-range", found=value, allowed=[low, high]
            )


def _first(bad: npt.NDArray[np.bool_]) -> int:
    found = np.flatnonzero(bad)
    return int(found[0]) if len(found) else -1


def _check(bad: npt.NDArray[np.bool_], found: npt.NDArray[Any], rule: str, code: str, allowed: object) -> None:
    core = _first(bad)
    if core >= 0:
        value = np.asarray(found)[core].tolist()
        refuse(f"core {core}", f"{rule}: found {value}, allowed {allowed}", code, found=value, allowed=allowed)


def _cores(m: Mapping) -> None:
    chip = m.chip
    x, y = m.core_position.T
    outside = (x < 0) | (y < 0) | (x >= chip.grid[0]) | (y >= chip.grid[1])
    _check(outside, m.core_position, "position on the grid", "map-position", list(chip.grid))
    place = y.astype(np.int64) * chip.grid[0] + x
    _, first = np.unique(place, return_index=True)
    twice = np.ones(m.cores, bool)
    twice[first] = False
    _check(twice, m.core_position, "position of its own", "map-position", "one core a position")
    _alive(m)
    _check(~np.isin(m.core_fold, chip.folds), m.core_fold, "fold", "map-fold", list(chip.folds))
    _check(
        ~np.isin(m.core_weight_bits, chip.weight_bits), m.core_weight_bits, "weight bits", "map-bits", list(chip.weight_bits)
    )
    fold = m.core_fold.astype(np.int64)
    axons, neurons = np.diff(m.axon_offset), np.diff(m.neuron_offset)
    _check(axons > fold * chip.axons, axons, f"axons, {chip.axons} rows times fold", "map-axons", "fold * rows")
    columns = neurons * fold * m.core_weight_bits
    _check(columns > chip.columns, columns, "columns", "map-columns", chip.columns)
    _check(neurons == 0, neurons, "neurons", "map-empty", "at least one")


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
                f"a core of {m.layers[m.core_layer[core]].name} stands at ({x}, {y}), which is {reason} on chip "
                f"{chip.name!r}; compile it for that chip: qsnnc compile --avoid FILE.yaml",
                "map-dead-core",
                found=[x, y],
                allowed="a core that works",
            )


def _crossbars(m: Mapping) -> None:
    shape = m.crossbar_shape.astype(np.int64)
    bad = (shape[:, 0] < 0) | (shape[:, 1] < 1) | ~np.isin(shape[:, 2], m.chip.weight_bits)
    bad |= (shape[:, :2] >= 1 << 24).any(axis=1)
    if bad.any():
        refuse(f"crossbar {_first(bad)}", f"has the impossible shape {shape[_first(bad)].tolist()}", "map-crossbar")
    packed = (shape.prod(axis=1) + 7) // 8
    wrong = np.diff(m.crossbar_offset) != packed
    if wrong.any():
        refuse(f"crossbar {_first(wrong)}", "has not the bytes that its shape needs", "map-crossbar")
    mine = shape[m.core_crossbar]
    has = np.stack([np.diff(m.axon_offset), np.diff(m.neuron_offset), m.core_weight_bits.astype(np.int64)], axis=1)
    _check((mine != has).any(axis=1), mine, "crossbar of its axons, neurons and weight bits", "map-crossbar", "equal")
    top, bottom = m.chip.potential_max, m.chip.potential_min
    for k in range(len(shape)):
        tail = int(shape[k].prod()) % 8
        if tail and m.crossbar_bits[m.crossbar_offset[k + 1] - 1] >> tail:
            refuse(f"crossbar {k}", "has bits after its last weight", "map-crossbar")
        weights = m.crossbar(k).astype(np.int64)
        high, low = int(np.maximum(weights, 0).sum(axis=0).max()), int(np.minimum(weights, 0).sum(axis=0).min())
        if high > top or low < bottom:
            refuse(f"crossbar {k}", f"reaches potentials {low} to {high}; allowed: {bottom} to {top}", "map-potential")


def _sources(m: Mapping) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Tick in which each source fires (-1: never), and the layer of each neuron."""
    layer = np.repeat(m.core_layer, np.diff(m.neuron_offset)).astype(np.int64)
    ticks = np.array([entry.tick if entry.levels else -1 for entry in m.layers])
    return np.concatenate([np.full(m.encoder_neurons, m.encoder.tick), ticks[layer]]), layer


def _targets(m: Mapping) -> None:
    """Every axon has one source; the table of a core holds its neurons' entries."""
    hits = np.bincount(m.target_axon, minlength=m.axon_source.size)
    core_of = np.repeat(np.arange(m.cores), np.diff(m.axon_offset))
    wrong = np.flatnonzero(hits != 1)
    if len(wrong):
        axon, core = int(wrong[0]), int(core_of[wrong[0]])
        refuse(
            f"core {core}",
            f"axon {axon - int(m.axon_offset[core])} has {int(hits[axon])} sources in the target tables; allowed: 1",
            "map-sources",
            found=int(hits[axon]),
            allowed=1,
        )
    source = np.repeat(np.arange(len(m.target_offset) - 1), np.diff(m.target_offset))
    wrong = np.flatnonzero(m.axon_source[m.target_axon] != source)
    if len(wrong):
        axon = int(m.target_axon[wrong[0]])
        core = int(core_of[axon])
        refuse(
            f"core {core}",
            f"axon {axon - int(m.axon_offset[core])} is the target of another source than its own",
            "map-sources",
        )
    entries = np.diff(m.target_offset[m.encoder_neurons + m.neuron_offset])
    _check(entries > m.chip.targets, entries, "target table entries", "map-targets", m.chip.targets)


def _time(m: Mapping) -> None:
    """All axons of a core carry the frame in the tick of its layer."""
    fires, _ = _sources(m)
    names = [entry.name for entry in (m.encoder, *m.layers)]
    if len(set(names)) != len(names):
        refuse("layers", "have a name twice", "map-layers")
    if m.encoder.levels < 1 or m.encoder.tick != 0 or any(entry.tick < 1 for entry in m.layers):
        refuse("layers", "the encoder fires in tick 0 and has levels; every layer fires later", "map-ticks")
    if m.ticks != 1 + max(entry.tick for entry in m.layers):
        refuse("ticks", f"is {m.ticks}; needed: 1 + the largest tick of a layer", "map-ticks")
    at = np.repeat(fires, np.diff(m.target_offset))
    due_of = np.array([entry.tick for entry in m.layers])[m.core_layer]
    due = np.repeat(due_of, np.diff(m.axon_offset))[m.target_axon]
    bad = (at < 0) | (at + m.target_delay != due)
    if bad.any():
        entry = _first(bad)
        source = int(np.searchsorted(m.target_offset, entry, "right")) - 1
        core = int(np.searchsorted(m.axon_offset, m.target_axon[entry], "right")) - 1
        refuse(
            f"core {core}",
            f"a spike of source {source} arrives in tick {at[entry]} + {m.target_delay[entry]}, "
            f"the layer's frame is due in tick {due[entry]}",
            "map-ticks",
        )


def _elements(m: Mapping) -> None:
    """Each neuron is one element of its layer, no two are the same, and a read-out is complete."""
    if [entry.levels == 0 for entry in m.layers].count(True) != 1:
        refuse("layers", "exactly one layer is read out (levels 0)", "map-readout")
    _, layer = _sources(m)
    sizes = np.array([int(np.prod(entry.shape, dtype=np.float64)) * max(entry.levels, 1) for entry in m.layers])
    core_of = np.repeat(np.arange(m.cores), np.diff(m.neuron_offset))
    beyond = m.neuron_element >= sizes[layer]
    if beyond.any():
        refuse(f"core {core_of[_first(beyond)]}", "a neuron's element lies outside its layer", "map-element")
    key = layer * int(sizes.max()) + m.neuron_element
    _, first = np.unique(key, return_index=True)
    if len(first) != len(key):
        twice = np.ones(len(key), bool)
        twice[first] = False
        refuse(f"core {core_of[_first(twice)]}", "a neuron's element stands on another core already", "map-element")
    for number, entry in enumerate(m.layers):
        if entry.levels:
            continue
        mine = layer == number
        if int(mine.sum()) != sizes[number]:
            refuse(entry.name, f"has {int(mine.sum())} read-out neurons; needed: {sizes[number]}", "map-readout")
        if m.neuron_threshold[mine].any():
            refuse(entry.name, "a read-out neuron has a threshold", "map-readout")
        if np.diff(m.target_offset)[m.encoder_neurons :][mine].any():
            refuse(entry.name, "a read-out neuron has targets", "map-readout")


def _relays(m: Mapping) -> None:
    """A relay repeats a population neuron by neuron and does nothing else: its spikes are left out of the counts."""
    population, element = _population_of_sources(m)
    for number, entry in enumerate(m.layers):
        if entry.kind != RELAY:
            continue
        if entry.levels == 0 or entry.removed:
            refuse(entry.name, "is a relay that is read out, or that says that it removed neurons", "map-relay")
        cores = np.flatnonzero(m.core_layer == number)
        pairs = {k: _paired(m.crossbar(k), int(cores[m.core_crossbar[cores] == k][0])) for k in set(m.core_crossbar[cores])}
        for core in cores.tolist():
            _relay_core(m, core, pairs[m.core_crossbar[core]], population, element)


def _paired(weights: npt.NDArray[np.int8], core: int) -> npt.NDArray[np.int64]:
    """The one axon of each neuron of a relay's crossbar."""
    paired = weights.shape[0] == weights.shape[1] and ((weights == 0) | (weights == 1)).all()
    if not paired or (weights.sum(axis=0) != 1).any() or (weights.sum(axis=1) != 1).any():
        refuse(f"core {core}", "a relay has one axon of its own, of weight 1", "map-relay")
    return np.asarray(weights.argmax(axis=0))


def _relay_core(
    m: Mapping,
    core: int,
    axon: npt.NDArray[np.int64],
    population: npt.NDArray[np.int64],
    element: npt.NDArray[np.int64],
) -> None:
    """Threshold 1, and the source is the neuron of the same number of a population like this one."""
    neurons = slice(int(m.neuron_offset[core]), int(m.neuron_offset[core + 1]))
    if (m.neuron_threshold[neurons] != 1).any():
        refuse(f"core {core}", "a relay's threshold is 1", "map-relay")
    if m.dense_fanout[m.encoder_neurons :][neurons].any():
        refuse(f"core {core}", "a relay has a dense fan-out; its source has it", "map-relay")
    sources = m.axon_source[m.axon_offset[core] : m.axon_offset[core + 1]][axon]
    mine = m.layers[m.core_layer[core]]
    populations: tuple[Population | Layer, ...] = (m.encoder, *m.layers)
    others = [populations[index] for index in np.unique(population[sources])]
    if len(others) != 1 or (others[0].shape, others[0].levels) != (mine.shape, mine.levels):
        refuse(f"core {core}", "a relay's sources are one population of its own shape and levels", "map-relay")
    if (element[sources] != m.neuron_element[neurons]).any():
        refuse(f"core {core}", "a relay repeats another neuron than the one of its own number", "map-relay")


def _population_of_sources(m: Mapping) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Population of each source (0: the encoder, else 1 + its layer), and which of its elements the source is."""
    _, layer = _sources(m)
    own = np.arange(m.encoder_neurons)
    return np.concatenate([np.zeros_like(own), 1 + layer]), np.concatenate([own, m.neuron_element.astype(np.int64)])


def _repeated(m: Mapping) -> None:
    """What ``layers`` repeats from the arrays."""
    counts = {
        "cores": layer_sums(m, np.ones(m.cores, np.int64)),
        "neurons": layer_sums(m, np.diff(m.neuron_offset)),
        "synapses": layer_sums(m, crossbar_synapses(m)[m.core_crossbar]),
    }
    for number, entry in enumerate(m.layers):
        for name, values in counts.items():
            if getattr(entry, name) != values[number]:
                refuse(
                    entry.name, f"says {name} {getattr(entry, name)}; the arrays hold {values[number]}", "map-contradiction"
                )
        mine = m.core_layer == number
        if (m.core_weight_bits[mine] != entry.weight_bits).any() or m.core_fold[mine].max(initial=0) != entry.fold:
            refuse(entry.name, "says another fold or width than its cores have", "map-contradiction")
