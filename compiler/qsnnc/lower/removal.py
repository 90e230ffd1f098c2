"""Remove neurons that need not be on the chip: those that never fire, always fire or are read by nothing.

Forwards, each feature's level is bounded over all inputs, so that a neuron whose threshold no potential reaches is dead and
one that every potential meets is constant. Backwards, a neuron stays if one that stays has a weight for it. What the
removed constant ones would have added is subtracted from the thresholds of their consumers. The readout layer has no
thresholds: a constant neuron that it reads stays. In a network with state nothing counts as constant; a neuron is dead if
it fires in no step.

A decision that float rounding can change is neither dead nor constant, for it is not in the model: what is left out is the
same there, and a comparison with the model misses none of its spikes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from chipsim.mapping.dynamics import Dynamics, potential_range
from chipsim.mapping.program import UNREACHED
from qsnnc.ir.cores import Removed
from qsnnc.ir.execute import convolve
from qsnnc.ir.layers import Connection, Int, Layer, LayerGraph, Population

Bool = npt.NDArray[np.bool_]
#: levels of a level-wise connection that are added at a time, as a batch
LEVELS = 256
#: places of a connection's inputs that are looked at together, if a group has not more
AT_ONCE = 1 << 24
#: outputs of a layer that are looked at first for what reads its inputs
OUTPUTS = 32


@dataclass(frozen=True, slots=True, eq=False)
class Survivors:
    """The neurons of a population that are kept, and their thresholds; both (channels, rows, columns, levels)."""

    kept: Bool
    thresholds: Int
    removed: Removed
    ceilings: Int | None = None  # of the neurons of the highest level, (channels, rows, columns); `UNREACHED` if none
    reach: tuple[Int, Int] | None = None  # potentials of what is kept, each (channels, rows, columns, levels or 1)


def thresholds_of(layer: Layer) -> Int:
    """Return the threshold of each neuron, int64 (channels, rows, columns, levels); zeros for the readout layer."""
    if layer.readout:
        return np.zeros((*layer.shape, 1), np.int64)
    return np.ascontiguousarray(layer.thresholds[layer.border].transpose(2, 0, 1, 3))


def ceilings_of(layer: Layer) -> Int | None:
    """Return the ceiling of each feature, int64 (channels, rows, columns), where the layer is limited."""
    return None if layer.ceiling is None else np.ascontiguousarray(layer.ceiling[layer.border].transpose(2, 0, 1))


def margins(layer: Layer) -> Int | None:
    """Return how close to the threshold of each element float rounding can change the decision, 0 where it cannot.

    With a margin m and a threshold T, a potential of at least T + m certainly fires and one below T - m certainly does not.
    """
    return _margins(layer).reshape(-1) if layer.uncertain else None


def _margins(layer: Layer) -> Int:
    """Return the margin of each neuron, int64 (channels, rows, columns, levels)."""
    within = layer.uncertain.margins(layer.thresholds.shape, UNREACHED - 1)
    return np.ascontiguousarray(within[layer.border].transpose(2, 0, 1, 3))


def _decisions(layer: Layer) -> tuple[Int, Int]:
    """Return the potentials from which each neuron may fire and from which it certainly does, in the model too."""
    thresholds = thresholds_of(layer)
    if not layer.uncertain:
        return thresholds, thresholds
    within = _margins(layer)
    return thresholds - within, thresholds + within


def keep_all(graph: LayerGraph) -> dict[str, Survivors]:
    """Keep every neuron of every layer."""
    found = {}
    for layer in graph.layers:
        thresholds = thresholds_of(layer)
        found[layer.name] = Survivors(np.ones(thresholds.shape, bool), thresholds, Removed(), ceilings_of(layer))
    return found


def survivors(
    graph: LayerGraph, whole: Collection[str] = (), bounds: dict[str, tuple[Int, Int]] | None = None
) -> dict[str, Survivors]:
    """Find the neurons that are needed; all scores, and the levels of kept neurons, stay the same.

    Parameters
    ----------
    whole : collection of str
        Layers whose features are kept or removed with all their neurons, as where a level is sent as one word.
    bounds : dict, optional
        `potential_bounds` of the same network, where they are known.
    """
    bounds = potential_bounds(graph) if bounds is None else bounds
    kept, constant = _read(graph, bounds, whole)
    found = {}
    for layer in graph.layers:
        thresholds, mine = thresholds_of(layer), kept[layer.name]
        low, high = bounds[layer.name]
        last = layer is graph.layers[-1]
        folded = np.zeros(thresholds.shape, np.int64)
        for link in layer.connections:
            gone = constant[link.source] & ~kept[link.source]
            if gone.any():
                folded += _sum(link, gone, layer)
        if last:
            assert not folded.any(), "the readout layer has no threshold to fold into"
            found[layer.name] = Survivors(mine, thresholds, Removed())
            continue
        may, must = _decisions(layer)
        never, always = may > high, must <= low
        gone = ~mine
        removed = Removed(int((never & gone).sum()), int((always & gone).sum()), int((gone & ~never & ~always).sum()))
        # one that always fires but stays need not keep a threshold far below what it ever meets
        left = np.where(always, low - (must - thresholds), thresholds) - folded
        found[layer.name] = Survivors(mine, left, removed, _left(layer, low, high, folded), (low - folded, high - folded))
    return found


def _left(layer: Layer, low: Int, high: Int, folded: Int) -> Int | None:
    """Return the ceilings that remain, as the thresholds do: also one that is always met is no lower than any potential."""
    ceilings = ceilings_of(layer)
    if ceilings is None:
        return None
    met = np.maximum(ceilings, low[..., -1]) - folded[..., -1]
    return np.where(ceilings > high[..., -1], UNREACHED, met)


def potential_bounds(graph: LayerGraph) -> dict[str, tuple[Int, Int]]:
    """Compute the smallest and largest potential of each neuron, (channels, rows, columns, levels or 1).

    They are over all inputs and, where float rounding can change a decision of the model, over both outcomes.
    """
    # whether each neuron fires on every input, and whether it fires on any
    fires: dict[str, tuple[Bool, Bool]] = {}
    source = graph.encoder
    shape = (*source.shape, source.levels)
    fires[source.name] = np.zeros(shape, bool), np.ones(shape, bool)
    bounds = {}
    stateful = any(layer.dynamics is not None for layer in graph.layers)
    for layer in graph.layers:
        size = (*layer.shape, max(layer.levels, 1))
        low, high = np.zeros(size, np.int64), np.zeros(size, np.int64)
        for link in layer.connections:
            always, ever = fires[link.source]
            rising = replace(link, weights=np.maximum(link.weights, 0))
            falling = replace(link, weights=np.minimum(link.weights, 0))
            low += _sum(rising, always, layer) + _sum(falling, ever, layer)
            high += _sum(rising, ever, layer) + _sum(falling, always, layer)
        if layer.dynamics is not None:
            low, high = _over_steps(layer, layer.dynamics, low, high, graph.steps)
        bounds[layer.name] = low, high
        if not layer.readout:
            may, must = _decisions(layer)
            # a constant neuron is taken off thresholds, which a potential that is kept does not come from alone
            fires[layer.name] = (must <= low) & (not stateful), may <= high
    return bounds


def _over_steps(layer: Layer, model: Dynamics, low: Int, high: Int, steps: int) -> tuple[Int, Int]:
    """Bound potentials over the steps of a frame, from the sums of weights of one: (channels, rows, columns, 1) each.

    The smallest is below the threshold, because whether a neuron fires in every step is not asked.
    """
    threshold = None if layer.readout else thresholds_of(layer)
    constants = tuple(values[layer.border].transpose(2, 0, 1)[..., None] for values in model.constants)
    found = potential_range(model, low, high, threshold, (constants[0], constants[1], constants[2]), steps)
    if threshold is None:
        return found.low, found.high
    never = np.minimum(found.high, threshold - 1)
    return np.minimum(found.low, threshold - 1), np.where(found.ever, found.high, never)


def _read(
    graph: LayerGraph, bounds: dict[str, tuple[Int, Int]], whole: Collection[str]
) -> tuple[dict[str, Bool], dict[str, Bool]]:
    """Find the neurons that are kept, from the last layer to the first, and those that always fire."""
    populations: dict[str, Population] = {entry.name: entry for entry in (graph.encoder, *graph.layers)}
    sizes = {name: (*entry.shape, max(entry.levels, 1)) for name, entry in populations.items()}
    read = {name: np.zeros(size, bool) for name, size in sizes.items()}
    read_out = {name: np.zeros(size, bool) for name, size in sizes.items()}
    kept = {graph.encoder.name: np.ones(sizes[graph.encoder.name], bool)}
    constant = {graph.encoder.name: np.zeros(sizes[graph.encoder.name], bool)}
    stateful = any(layer.dynamics is not None for layer in graph.layers)
    for layer in reversed(graph.layers):
        name = layer.name
        if layer is graph.layers[-1]:
            kept[name], constant[name] = np.ones(sizes[name], bool), np.zeros(sizes[name], bool)
        else:
            low, high = bounds[name]
            may, must = _decisions(layer)
            constant[name] = (must <= low) & (not stateful)
            needed = ~constant[name] | read_out[name]
            ceilings = ceilings_of(layer)
            if ceilings is not None:  # one that always fires is there to tell whether the model's level is beyond it
                needed[..., -1] |= ceilings <= high[..., -1]
            kept[name] = read[name] & (may <= high) & needed
            if name in whole:
                kept[name] = np.broadcast_to(kept[name].any(axis=-1, keepdims=True), sizes[name])
        for link in layer.connections:
            found = readers(link, kept[name], populations[link.source])
            read[link.source] |= found
            # neither a readout nor a largest level has thresholds that could take a constant neuron's part
            if layer is graph.layers[-1] or (link.level_wise and name in whole):
                read_out[link.source] |= found
    return kept, constant


def _sum(link: Connection, fired: Bool, layer: Layer) -> Int:
    """Compute what a connection adds for spikes (channels, rows, columns, levels), per neuron or per feature."""
    if link.level_wise:
        levels = [fired[..., first : first + LEVELS] for first in range(0, fired.shape[-1], LEVELS)]
        parts = [convolve(link, part.transpose(3, 0, 1, 2).astype(np.int64), layer.shape) for part in levels]
        return np.concatenate(parts).transpose(1, 2, 3, 0)
    return np.asarray(convolve(link, fired.sum(axis=-1)[None], layer.shape)[0][..., None])


def readers(link: Connection, kept: Bool, source: Population) -> Bool:
    """Find the neurons of the source that at least one of the kept neurons has a weight for."""
    channels, rows, columns, _ = kept.shape
    groups = kept if link.level_wise else np.asarray(kept.any(axis=-1, keepdims=True))
    taps = link.taps(source.shape[1:], (rows, columns))
    positions = source.shape[1] * source.shape[2]
    outputs, inputs = channels // link.groups, link.weights.shape[1]
    there = groups.reshape(link.groups, outputs, rows * columns, -1)
    weights = (link.weights != 0).reshape(link.groups, outputs, inputs, -1)
    if rows * columns == 1:  # each tap reads another position
        weights, taps = weights.reshape(link.groups, outputs, -1, 1), taps.reshape(-1, 1)
    found = np.zeros((link.groups, inputs, positions + 1, there.shape[-1]), bool)  # the last position: the padding
    step = max(1, AT_ONCE // (weights.shape[2] * there[0, 0].size))
    for first in range(0, link.groups, step):
        mine = slice(first, first + step)
        for tap in range(weights.shape[3]):  # at one tap, no two windows read the same position
            hit = any_of(weights[mine, :, :, tap], there[mine].reshape(-1, outputs, there[0, 0].size))
            found[mine][:, :, taps[:, tap]] |= hit.reshape(len(hit), inputs, -1, there.shape[-1])
    shape = (*source.shape, found.shape[-1])
    return np.broadcast_to(found[:, :, :positions].reshape(shape), (*source.shape, source.levels))


def any_of(weights: Bool, kept: Bool) -> Bool:
    """Return whether any output that is kept at a place has a weight for each input: (groups, inputs, places).

    Most often few outputs decide all that can be.
    """
    most = np.asarray(weights.any(axis=1))[:, :, None] & np.asarray(kept.any(axis=1))[:, None]
    outputs = weights.shape[1]
    if outputs == 1:
        return most
    found = np.zeros(most.shape, bool)
    first, size = 0, OUTPUTS
    while first < outputs and not np.array_equal(found, most):
        part = slice(first, first + size)
        count = weights[:, part].transpose(0, 2, 1).astype(np.float32) @ kept[:, part].astype(np.float32)
        np.logical_or(found, count, out=found)
        first, size = first + size, 2 * size
    return found
