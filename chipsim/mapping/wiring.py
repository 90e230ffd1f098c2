"""Check the rules of FORMAT.md for connections between cores: target tables, ticks, elements, relays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from chipsim.mapping.program import HANDED_OVER, RELAY, Layer, Mapping, Population
from chipsim.mapping.rules import check_cores, first_of, refuse, repeats

#: sent in no tick, whatever the delay
NEVER = -256


def check_wiring(m: Mapping) -> None:
    """Check every rule of this file; shapes, offsets and ranges were checked before."""
    _readout(m)
    _targets(m)
    _time(m)
    _elements(m)
    _relays(m)
    _output(m)


def _sources(m: Mapping) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Tick in which each source sends the spikes of the first step (-1: never), and the layer of each neuron."""
    layer = np.repeat(m.core_layer, np.diff(m.neuron_offset)).astype(np.int64)
    ticks = np.array([entry.sent_tick if number != m.readout else -1 for number, entry in enumerate(m.layers)])
    return np.concatenate([np.full(m.encoder_neurons, m.encoder.tick), ticks[layer]]), layer


def _targets(m: Mapping) -> None:
    """Every axon has one source; the table of a core holds its neurons' entries."""
    seen = np.zeros(m.axon_source.size, bool)
    seen[m.target_axon] = True
    if not seen.all():  # as many entries as axons: then some axon has several
        hits = np.bincount(m.target_axon, minlength=m.axon_source.size)
        axon = first_of(hits != 1)
        core = _core_of_axon(m, axon)
        refuse(
            f"core {core}",
            f"axon {axon - int(m.axon_offset[core])} has {int(hits[axon])} sources in the target tables; allowed: 1",
            "map-rule",
            found=int(hits[axon]),
            allowed=1,
        )
    source = np.repeat(np.arange(len(m.target_offset) - 1, dtype=np.int32), np.diff(m.target_offset))
    wrong = first_of(m.axon_source[m.target_axon] != source)
    if wrong >= 0:
        axon = int(m.target_axon[wrong])
        core = _core_of_axon(m, axon)
        refuse(
            f"core {core}",
            f"axon {axon - int(m.axon_offset[core])} is a target of a source other than its own",
            "map-rule",
        )
    entries = np.diff(m.target_offset[m.encoder_neurons + m.neuron_offset])
    check_cores(entries > m.chip.targets, entries, "target table entries", "map-rule", m.chip.targets)
    per_neuron = np.diff(m.target_offset)[m.encoder_neurons :]
    fan_out = np.zeros(m.cores, np.int64)
    np.maximum.at(fan_out, np.repeat(np.arange(m.cores), np.diff(m.neuron_offset)), per_neuron)
    check_cores(fan_out > m.chip.max_fan_out, fan_out, "fan-out of a neuron", "map-rule", m.chip.max_fan_out)


def _core_of_axon(m: Mapping, axon: int) -> int:
    return int(np.searchsorted(m.axon_offset, axon, "right")) - 1


def _time(m: Mapping) -> None:
    """All axons of a core carry a step of the frame in the tick in which its layer does that step."""
    fires, _ = _sources(m)
    names = [entry.name for entry in (m.encoder, *m.layers)]
    if len(set(names)) != len(names):
        refuse("layers", "contain a name twice", "map-rule")
    if m.encoder.levels < 1 or m.encoder.tick != 0 or any(entry.tick < 1 for entry in m.layers):
        refuse(
            "layers", "the encoder must fire in tick 0 and have at least one level; every layer must fire later", "map-rule"
        )
    if m.ticks != 1 + max(entry.tick for entry in m.layers):
        refuse("ticks", f"is {m.ticks}; expected: 1 + the largest tick of a layer", "map-rule")
    fires = np.where(fires < 0, NEVER, fires).astype(np.int32)
    at = np.repeat(fires, np.diff(m.target_offset))
    due_of = np.array([entry.tick for entry in m.layers], np.int32)[m.core_layer]
    due = np.repeat(due_of, np.diff(m.axon_offset))[m.target_axon]
    bad = at + m.target_delay != due
    if bad.any():
        entry = first_of(bad)
        source = int(np.searchsorted(m.target_offset, entry, "right")) - 1
        core = int(np.searchsorted(m.axon_offset, m.target_axon[entry], "right")) - 1
        refuse(
            f"core {core}",
            f"source {source} is read out, and sends no spikes"
            if at[entry] == NEVER
            else f"a spike of source {source} arrives in tick {at[entry]} + {m.target_delay[entry]}, "
            f"the layer's frame is due in tick {due[entry]}",
            "map-rule",
        )


def _readout(m: Mapping) -> None:
    """One layer is the readout: the one with 0 levels or, where spikes are counted, the last."""
    silent = [entry.levels == 0 for entry in m.layers].count(True)
    if m.readout_of == "count" and (silent or m.layers[-1].levels != 1):
        refuse("layers", "where spikes are counted, the last layer has levels 1 and none has levels 0", "map-rule")
    if m.readout_of != "count" and silent != 1:
        refuse("layers", "exactly one layer must be the readout (levels 0)", "map-rule")


def _elements(m: Mapping) -> None:
    """Each neuron is one element of its layer, no two are the same, and a read-out is complete."""
    _, layer = _sources(m)
    sizes = np.array([int(np.prod(entry.shape, dtype=np.float64)) * max(entry.levels, 1) for entry in m.layers])
    core_of = np.repeat(np.arange(m.cores), np.diff(m.neuron_offset))
    beyond = m.neuron_element >= sizes[layer]
    if beyond.any():
        refuse(f"core {core_of[first_of(beyond)]}", "a neuron's element lies outside its layer", "map-rule")
    key = layer * int(sizes.max()) + m.neuron_element
    twice = first_of(repeats(key))
    if twice >= 0:
        refuse(f"core {core_of[twice]}", "a neuron's element is on another core already", "map-rule")
    entry, mine = m.layers[m.readout], layer == m.readout
    if int(mine.sum()) != sizes[m.readout]:
        refuse(entry.name, f"has {int(mine.sum())} readout neurons; expected: {sizes[m.readout]}", "map-rule")
    if entry.levels == 0 and m.neuron_threshold[mine].any():
        refuse(entry.name, "a readout neuron has a threshold", "map-rule")
    if np.diff(m.target_offset)[m.encoder_neurons :][mine].any():
        refuse(entry.name, "a readout neuron has targets", "map-rule")


def _relays(m: Mapping) -> None:
    """A relay repeats a population neuron by neuron and does nothing else: its spikes are left out of the counts."""
    population, element = _population_of_sources(m)
    for number, entry in enumerate(m.layers):
        if entry.kind != RELAY:
            continue
        if number == m.readout or entry.removed:
            refuse(entry.name, "is a relay that is the readout or has removed neurons", "map-rule")
        if entry.tensor:
            refuse(entry.name, f"is a relay, and its tensor is {entry.tensor!r}; allowed: ''", "map-rule")
        cores = np.flatnonzero(m.core_layer == number)
        pairs = {k: _paired(m.crossbar(k), int(cores[m.core_crossbar[cores] == k][0])) for k in set(m.core_crossbar[cores])}
        for core in cores.tolist():
            _relay_core(m, core, pairs[m.core_crossbar[core]], population, element)


def _paired(weights: npt.NDArray[np.int8], core: int) -> npt.NDArray[np.int64]:
    """The one axon of each neuron of a relay's crossbar."""
    paired = weights.shape[0] == weights.shape[1] and ((weights == 0) | (weights == 1)).all()
    if not paired or (weights.sum(axis=0) != 1).any() or (weights.sum(axis=1) != 1).any():
        refuse(f"core {core}", "each relay neuron must have one axon of its own, of weight 1", "map-rule")
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
        refuse(f"core {core}", "a relay's threshold must be 1", "map-rule")
    if m.dense_fanout[m.encoder_neurons :][neurons].any():
        refuse(f"core {core}", "a relay must have dense_fanout 0; its source carries the count", "map-rule")
    sources = m.axon_source[m.axon_offset[core] : m.axon_offset[core + 1]][axon]
    mine = m.layers[m.core_layer[core]]
    populations: tuple[Population | Layer, ...] = (m.encoder, *m.layers)
    others = [populations[index] for index in np.unique(population[sources])]
    if len(others) != 1 or (others[0].shape, others[0].levels) != (mine.shape, mine.levels):
        refuse(f"core {core}", "a relay's sources must be one population of the same shape and levels", "map-rule")
    if (element[sources] != m.neuron_element[neurons]).any():
        refuse(f"core {core}", "a relay neuron must repeat the source neuron of the same element number", "map-rule")


def _output(m: Mapping) -> None:
    """An output layer hands over levels: each neuron adds up spikes of one feature, each once; they are no SOPs."""
    population, element = _population_of_sources(m)
    levels = np.array([entry.levels for entry in (m.encoder, *m.layers)])
    feature = element // np.maximum(levels[population], 1)
    for number, entry in enumerate(m.layers):
        if entry.kind not in HANDED_OVER:
            continue
        if entry.levels:
            refuse(entry.name, "is an output layer that is not the readout", "map-rule")
        for core in np.flatnonzero(m.core_layer == number).tolist():
            weights = m.crossbar(int(m.core_crossbar[core]))
            if ((weights != 0) & (weights != 1)).any() or (weights.sum(axis=1, dtype=np.int64) > 1).any():
                refuse(f"core {core}", "each axon of an output layer must have at most one synapse, of weight 1", "map-rule")
            axon, neuron = np.nonzero(weights)
            sources = m.axon_source[m.axon_offset[core] + axon]
            key = population[sources] * (int(feature.max(initial=0)) + 1) + feature[sources]
            low, high = np.full(weights.shape[1], key.max(initial=0)), np.zeros(weights.shape[1], np.int64)
            np.minimum.at(low, neuron, key)
            np.maximum.at(high, neuron, key)
            if (low < high)[np.unique(neuron)].any():
                refuse(f"core {core}", "a neuron of an output layer must read one feature", "map-rule")


def _population_of_sources(m: Mapping) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Population of each source (0: the encoder, else 1 + its layer), and which of its elements the source is."""
    _, layer = _sources(m)
    own = np.arange(m.encoder_neurons)
    return np.concatenate([np.zeros_like(own), 1 + layer]), np.concatenate([own, m.neuron_element.astype(np.int64)])
