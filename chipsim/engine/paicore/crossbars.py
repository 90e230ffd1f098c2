"""Words as crossbars, for the fast engine: a crossbar at each place where the weight vectors of a core are applied.

The records of a core say at which places of the input map each weight vector stands. A place with all its vectors is a small
crossbar: its axons are the inputs that somebody writes, its columns the neurons there. Crossbars of equal content are held
once. A value of several bits is so many sources as it can be large, of which the first ``value`` fire (thermometer); a
maximum is, for each of them, whether any input has it.

The limits of the chip that a `Mapping` names do not matter here, and no rule of its format is checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from chipsim.chip import load_chip
from chipsim.engine.paicore.cores import Core
from chipsim.engine.paicore.counters import Links
from chipsim.engine.paicore.host import Host
from chipsim.engine.paicore.machine import look_up
from chipsim.faults import NEVER
from chipsim.mapping import Layer, Mapping, Population, pack_crossbar
from chipsim.paicore.fields import Int
from chipsim.paicore.program import THERMOMETER, Program

LOWEST = -(1 << 31)
WEIGHT_BITS = 8


class NoCrossbars(ValueError):
    """Words that have no crossbars, and why."""


@dataclass(frozen=True, slots=True, eq=False)
class Crossbars:
    """A mapping that does what the words do, and how its sources are those of the program."""

    mapping: Mapping
    origin: Int  # (sources of the mapping,): encoder input, or E + neuron
    lowest: npt.NDArray[np.bool_]  # (sources of the mapping,): fires for every value that is not 0
    several: npt.NDArray[np.bool_]  # (sources of the mapping,): others of the same origin stand beside it
    offset: Int  # (outputs,): leak of the potentials that are read out, which is in none of the mapping's


@dataclass(frozen=True, slots=True, eq=False)
class _Neurons:
    """Neurons of a core in the order of their places, and from which potential each value is reached."""

    neuron: Int  # (n,): number in the core
    place: Int  # (n,): over all banks of the core
    vector: Int  # (n,): in the bank
    thresholds: Int  # (n, levels): potential without leak, or largest input, from which a value is above 0, 1, 2 ..


@dataclass(slots=True)
class _Places:
    """What is collected place by place."""

    sources: list[Int] = field(default_factory=list)  # of the axons
    crossbar: list[int] = field(default_factory=list)
    weights: list[npt.NDArray[np.int8]] = field(default_factory=list)  # of each distinct crossbar, (axons, neurons)
    known: dict[tuple[object, ...], int] = field(default_factory=dict)


def find_crossbars(program: Program, cores: tuple[Core, ...], host: Host, links: Links) -> Crossbars:
    """Write the places of all cores out.

    Raises
    ------
    NoCrossbars
        An activation table that falls, or weights of one input that add up to more than 8 bits.
    """
    encoder = program.encoder_inputs
    before = encoder + np.concatenate([[0], np.cumsum([core.neurons for core in cores])])
    neurons = [_neurons(core) for core in cores]
    order = np.concatenate([np.arange(encoder), *(before[k] + found.neuron for k, found in enumerate(neurons))])
    levels = np.ones(int(before[-1]), np.int64)
    if program.encoder.code != THERMOMETER:
        levels[:encoder] = program.encoder.levels
    for number, found in enumerate(neurons):
        levels[before[number] : before[number + 1]] = found.thresholds.shape[1]
    first = np.empty(len(levels), np.int64)
    first[order] = np.cumsum(levels[order]) - levels[order]
    places = _Places()
    for number, core in enumerate(cores):
        _collect(core, neurons[number], _senders(number, cores, host, before), levels, first, places)
    origin = np.repeat(order, levels[order])
    kinds = _kinds(program, links, levels)[origin]
    mapping = _mapping(program, cores, neurons, places, kinds)
    lowest = np.zeros(len(origin), bool)
    lowest[first] = True
    return Crossbars(mapping, origin, lowest, levels[origin] > 1, _leaks(program, cores))


def _neurons(core: Core) -> _Neurons:
    """Sort the neurons of a core by place, then by vector."""
    charges = np.array([len(bank.weights) * len(bank.elements) for bank in core.banks])
    counts = np.array([len(bank.elements) for bank in core.banks])
    bank = np.searchsorted(np.cumsum(charges), core.charge, side="right")
    inside = core.charge - (np.cumsum(charges) - charges)[bank]
    place = inside % counts[bank] + (np.cumsum(counts) - counts)[bank]
    vector = inside // counts[bank]
    if core.registers["snn_ann"]:
        thresholds = _steps(core)[None] - core.leak[:, None]
    else:
        thresholds = (core.threshold - core.leak)[:, None]
    thresholds[core.host] = NEVER
    order = np.lexsort((np.arange(core.neurons), vector, place))
    return _Neurons(order, place[order], vector[order], np.clip(thresholds, LOWEST, NEVER)[order])


def _steps(core: Core) -> Int:
    """Return the potential from which the activation table gives more than 0, 1, 2 .., int64 (levels,), at least one."""
    reachable = core.thresholds[core.thresholds <= _highest(core)]  # entries that are not used have a threshold beyond
    at = np.unique(np.concatenate([reachable, [LOWEST]]))
    value = look_up(core, at[:, None])[:, 0].astype(np.int64)
    if (np.diff(value) < 0).any():
        raise NoCrossbars("an activation table falls")
    reached = [at[value > level][0] for level in range(int(value[-1]))]
    return np.array(reached or [NEVER], np.int64)


def _highest(core: Core) -> int:
    """Return a potential that no neuron of a core goes beyond."""
    largest = (1 << core.input_width) - 1
    if not core.registers["max_pooling"]:
        largest *= max(int(np.maximum(bank.weights, 0).sum(axis=1).max(initial=0)) for bank in core.banks)
    return largest + int(core.leak.max())


def _senders(number: int, cores: tuple[Core, ...], host: Host, before: Int) -> Int:
    """Return the source that writes each input of a core, int64 (inputs,); -1: nobody does."""
    core = cores[number]
    found = np.full(core.step_inputs, -1, np.int64)
    for entry in host.deliveries:
        if number in entry.cores:
            found[entry.addresses // core.input_width] = entry.sources
    for other, sender in enumerate(cores):
        for target in sender.targets:
            if target.core == number:
                found[target.inputs] = before[other] + target.neurons
    return found


def _collect(core: Core, neurons: _Neurons, senders: Int, levels: Int, first: Int, places: _Places) -> None:
    """Add the places of a core."""
    edges = np.searchsorted(neurons.place, np.arange(sum(len(bank.elements) for bank in core.banks) + 1))
    largest = bool(core.registers["max_pooling"])
    number = 0
    for bank in core.banks:
        for elements in bank.elements:
            own = slice(edges[number], edges[number + 1])
            number += 1
            sender = senders[elements]
            fed = sender >= 0
            copies = levels[sender[fed]]
            vector, thresholds = neurons.vector[own], neurons.thresholds[own]
            key = (id(bank), fed.tobytes(), copies.tobytes(), vector.tobytes(), thresholds.tobytes() if largest else b"")
            if key not in places.known:
                write = _largest if largest else _sum
                places.known[key] = len(places.weights)
                places.weights.append(write(bank.weights[vector][:, fed], copies, thresholds))
            places.crossbar.append(places.known[key])
            rank = np.arange(copies.sum()) - np.repeat(np.cumsum(copies) - copies, copies)
            places.sources.append(np.repeat(first[sender[fed]], copies) + rank)


def _sum(weights: Int, copies: Int, thresholds: Int) -> npt.NDArray[np.int8]:
    """Crossbar of sums, of weights (neurons, inputs): an axon for each level of an input, a column for each of a neuron."""
    if weights.size and (weights.min() < -128 or weights.max() > 127):
        raise NoCrossbars("an input stands twice in a weight vector, with more than 8 bits in sum")
    found = np.repeat(np.repeat(weights.T, copies, axis=0), thresholds.shape[1], axis=1)
    return np.ascontiguousarray(found, np.int8)


def _largest(weights: Int, copies: Int, thresholds: Int) -> npt.NDArray[np.int8]:
    """Crossbar of maxima: a neuron's level is reached where any of its inputs reaches the level's threshold."""
    rank = np.arange(copies.sum()) - np.repeat(np.cumsum(copies) - copies, copies)
    reads = np.repeat(weights.T != 0, copies, axis=0)  # (axons, neurons)
    found = reads[:, :, None] & (rank[:, None, None] == thresholds[None] - 1)
    return np.ascontiguousarray(found.reshape(len(rank), thresholds.size), np.int8)


def _kinds(program: Program, links: Links, levels: Int) -> Int:
    """Number sources so that those with one number go the same ways and count the same, int64 (E + N,).

    The fast engine adds up sources that nobody tells apart; it tells these apart by the paper's fan-out.
    """
    ways = np.zeros((len(levels), len(program.cores)), np.int64)
    ways[links.source, links.core] = 1 + links.synapses
    owner = np.concatenate([np.zeros(program.encoder_inputs, np.int64), links.neuron_core + 1])
    alone = np.where(levels > 1, np.arange(len(levels)) + 1, 0)
    columns = np.column_stack([owner, links.frames, program.dense_fanout, alone, ways])
    return np.asarray(np.unique(columns, axis=0, return_inverse=True)[1].reshape(-1) + 1, np.int64)


def _leaks(program: Program, cores: tuple[Core, ...]) -> Int:
    found = np.zeros(int(np.prod(program.layers[-1].shape, dtype=np.int64)), np.int64)
    for core in cores:
        found[outputs_of(program, core)] = core.leak[core.host]
    return found


def outputs_of(program: Program, core: Core) -> Int:
    """Return which output each potential is that a core sends to the host."""
    return (core.address[core.host] - program.output.base) // 32


def _mapping(program: Program, cores: tuple[Core, ...], neurons: list[_Neurons], places: _Places, kinds: Int) -> Mapping:
    """Put the arrays of a mapping together."""
    sizes = [
        np.bincount(found.place, minlength=sum(len(bank.elements) for bank in core.banks)) * found.thresholds.shape[1]
        for core, found in zip(cores, neurons, strict=True)
    ]
    moments = sorted({(core.registers["tick_start"], len(core.host) > 0) for core in cores})
    element, threshold = [], []
    for core, found in zip(cores, neurons, strict=True):
        numbers = np.zeros(core.neurons, np.int64)
        numbers[core.host] = outputs_of(program, core)
        element.append(np.repeat(numbers[found.neuron], found.thresholds.shape[1]))
        limits = found.thresholds
        threshold.append((np.minimum(limits, 1) if core.registers["max_pooling"] else limits).reshape(-1))
    source = np.concatenate(places.sources)
    order = np.argsort(source, kind="stable")
    packed = [pack_crossbar(weights, WEIGHT_BITS) for weights in places.weights]
    arrays = {
        "core_layer": np.concatenate(
            [
                np.full(len(size), moments.index((core.registers["tick_start"], len(core.host) > 0)), np.int32)
                for core, size in zip(cores, sizes, strict=True)
            ]
        ),
        "core_crossbar": np.array(places.crossbar, np.int32),
        "axon_offset": _offsets([len(entry) for entry in places.sources]),
        "axon_source": source.astype(np.int32),
        "neuron_offset": _offsets(np.concatenate(sizes)),
        "neuron_element": np.concatenate(element).astype(np.int32),
        "neuron_threshold": np.concatenate(threshold).astype(np.int32),
        "target_offset": _offsets(np.bincount(source, minlength=len(kinds))),
        "target_axon": order.astype(np.int32),
        "dense_fanout": kinds.astype(np.int32),
        "crossbar_shape": np.array([(*weights.shape, WEIGHT_BITS) for weights in places.weights], np.int32),
        "crossbar_offset": _offsets([len(part) for part in packed]),
        "crossbar_bits": np.concatenate(packed),
    }
    spec = program.encoder
    return Mapping(
        model_sha256=program.model_sha256,
        exactness=program.exactness,
        generator=program.generator,
        chip=load_chip("xbar1152"),
        input=program.input,
        encoder=Population(spec.name, spec.tensor, spec.shape, spec.levels, spec.scale, spec.zero_point, 0),
        layers=tuple(_layer(program, tick, read) for tick, read in moments),
        output_tensor=program.output.tensor,
        output_shape=program.output.shape,
        ticks=program.steps + 1,
        arrays=arrays,
        encoder_onnx=program.encoder_onnx,
        readout_onnx=program.readout_onnx,
    )


def _layer(program: Program, tick: int, read: bool) -> Layer:
    """Cores that run in one step; an engine asks no more of a layer than when it runs and whether it is read out."""
    return Layer(
        name=f"step {tick}", tensor="", shape=program.layers[-1].shape if read else (1,), levels=0 if read else 1,
        scale=1.0, zero_point=0.0, tick=tick, kind="", weight_bits=WEIGHT_BITS, fan_in=0, fold=1, neurons=0, removed=0,
        synapses=0, cores=0, bound=0, limiting="",
    )  # fmt: skip


def _offsets(sizes: Int | list[int]) -> Int:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
