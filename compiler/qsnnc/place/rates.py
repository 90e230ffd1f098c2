"""Measure how often each neuron fires on calibration images, by executing the layer graph in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.errors import InputError
from chipsim.mapping.pixels import NO_LEVEL, prepare
from qsnnc.ir.cores import CoreGraph
from qsnnc.ir.execute import execute_steps
from qsnnc.ir.layers import Int, LayerGraph, Population

F64 = npt.NDArray[np.float64]
#: features of all populations and images of a batch together
MOST_FEATURES = 1 << 24


def firing_rates(
    graph: LayerGraph, cores: CoreGraph, encode: Callable[[npt.NDArray[Any]], Int], images: npt.NDArray[Any], name: str
) -> F64:
    """Compute how often each source fires in a frame, on average over the images: in one step the share of the images.

    Parameters
    ----------
    encode : callable
        The encoder: levels of a batch of images of the model's dtype.
    images : ndarray, (N, ...)
        Of the model's dtype, or uint8 pixels.
    name : str
        What errors call the images.

    Returns
    -------
    ndarray, float64, (sources,)
        In the order of the core graph: the encoder's elements, then the neurons core by core. Neuron i of a feature fires
        iff the level is above i.

    Raises
    ------
    InputError
        Images of the wrong shape or dtype, or none.
    """
    if not len(images):
        raise InputError(name, "has no images; at least one is needed for calibration", code="data-no-images")
    layers = [entry.layer for entry in cores.layers]  # the graph's, and the relays before their readers
    populations: list[Population] = [graph.encoder, *(layer for layer in layers if not layer.readout)]
    fired = {entry.name: np.zeros((entry.features, entry.levels), np.int64) for entry in populations}
    relayed = replace(graph, layers=tuple(layers))
    size = max(1, MOST_FEATURES // graph.steps // sum(entry.features for entry in (graph.encoder, *layers)))
    for first in range(0, len(images), size):
        part = np.asarray(images[first : first + size])
        batch = prepare(part, graph.input, name, graph.steps, range(first, first + len(part)))
        found = encode(batch)
        if found.dtype.kind == "i" and (found == NO_LEVEL).any():
            raise InputError(name, "holds values that are not whole pixels; use uint8 images", code="data-not-pixels")
        trains = execute_steps(relayed, found.reshape(len(batch), -1, *graph.encoder.shape))
        for entry in populations:
            fired[entry.name] += _above(trains[entry.name].reshape(-1, *entry.shape), entry.levels)
    none = np.zeros(cores.layers[-1].layer.neurons, np.int64)  # readout neurons do not fire
    of_layer = [none if layer.readout else fired[layer.name].reshape(-1) for layer in layers]
    base = np.concatenate([[0], np.cumsum([len(counts) for counts in of_layer])])
    owner = np.repeat(cores.core_layer, np.diff(cores.neuron_offset))
    inner = np.concatenate(of_layer)[base[owner] + cores.neuron_element]
    return np.asarray(np.concatenate([fired[graph.encoder.name].reshape(-1), inner]) / len(images))


def _above(levels: Int, most: int) -> Int:
    """Count the images on which each feature's level is above 0, 1, ... most - 1: (features, most)."""
    flat = levels.reshape(len(levels), -1)
    return np.stack([(flat > level).sum(axis=0) for level in range(most)], axis=1)
