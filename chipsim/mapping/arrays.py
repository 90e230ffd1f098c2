"""From cores with their weights and sources to the arrays of a mapping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.mapping.program import STATE_ARRAYS, pack_crossbar

Int = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class CorePlan:
    """One core; sources are numbered as in FORMAT.md."""

    layer: int
    position: tuple[int, int]
    fold: int
    weight_bits: int
    weights: Int  # (axons, neurons)
    sources: Int  # (axons,)
    elements: Int  # (neurons,)
    thresholds: Int  # (neurons,)
    constants: tuple[Int, Int, Int]  # (neurons,) each: amount, start and bias
    dense_fanout: Int  # (neurons,)


def pack(
    cores: Sequence[CorePlan], input_fanout: Int, ticks: Sequence[int], delays: Sequence[int], *, stateful: bool
) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a mapping; each distinct crossbar is stored once.

    Parameters
    ----------
    input_fanout : ndarray, (E,)
        ``dense_fanout`` of the encoder's neurons.
    ticks : sequence of int
        Tick of the encoder, then of each layer.
    delays : sequence of int
        How many steps later each of them sends its spikes.
    stateful : bool
        Whether there is a neuron model.
    """
    layer = np.array([core.layer for core in cores])
    neurons = np.array([len(core.elements) for core in cores])
    axons = np.array([len(core.sources) for core in cores])
    sends = np.array(ticks) - np.array(delays)
    fires = np.concatenate([np.full(len(input_fanout), sends[0]), np.repeat(sends[layer + 1], neurons)])
    source = np.concatenate([core.sources for core in cores])
    axon = np.argsort(source, kind="stable")  # targets, source by source
    due = np.repeat(np.array(ticks)[layer + 1], axons)
    crossbars: dict[tuple[bytes, tuple[int, ...], int], int] = {}
    index = [
        crossbars.setdefault((core.weights.astype(np.int8).tobytes(), core.weights.shape, core.weight_bits), len(crossbars))
        for core in cores
    ]
    packed = [pack_crossbar(np.frombuffer(content, np.int8).reshape(shape), bits) for content, shape, bits in crossbars]
    found = {
        "core_layer": layer.astype(np.int32),
        "core_position": np.array([core.position for core in cores], np.int32),
        "core_fold": np.array([core.fold for core in cores], np.int32),
        "core_weight_bits": np.array([core.weight_bits for core in cores], np.int32),
        "core_crossbar": np.array(index, np.int32),
        "axon_offset": _offsets(axons),
        "axon_source": source.astype(np.int32),
        "neuron_offset": _offsets(neurons),
        "neuron_element": np.concatenate([core.elements for core in cores]).astype(np.int32),
        "neuron_threshold": np.concatenate([core.thresholds for core in cores]).astype(np.int32),
        "target_offset": _offsets(np.bincount(source, minlength=len(fires))),
        "target_axon": axon.astype(np.int32),
        "target_delay": (due[axon] - fires[source[axon]]).astype(np.uint8),
        "dense_fanout": np.concatenate([input_fanout, *(core.dense_fanout for core in cores)]).astype(np.int32),
        "crossbar_shape": np.array([(*shape, bits) for _, shape, bits in crossbars], np.int32),
        "crossbar_offset": _offsets([len(part) for part in packed]),
        "crossbar_bits": np.concatenate(packed),
    }
    for name, each in zip(STATE_ARRAYS, zip(*(core.constants for core in cores), strict=True), strict=True):
        if stateful:
            found[name] = np.concatenate(each).astype(np.int32)
    return found


def _offsets(sizes: Sequence[int] | Int) -> Int:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
