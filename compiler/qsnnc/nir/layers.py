"""The driver of this package: from a NIR file to the layer graph, and what rounding weights does to the spikes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from qsnnc.ir.execute import execute_steps, read_out
from qsnnc.ir.layers import LayerGraph
from qsnnc.nir.integerize import Integerized, Interpreted, integerize, interpret
from qsnnc.nir.network import Metadata, Network
from qsnnc.nir.options import NirOptions
from qsnnc.nir.reference import trains

PixelRule = tuple[str, tuple[float, ...], tuple[float, ...]]

#: random frames on which the effect of rounding is measured, if there are no others
RANDOM_FRAMES = 32
#: probability of a spike in a random frame
RATE = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class SpikingNetwork:
    """A NIR file, what it means, and its layer graph."""

    meaning: Interpreted
    integers: Integerized

    @property
    def graph(self) -> LayerGraph:
        """The layer graph."""
        return self.integers.graph


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the spikes of the integer network are those of the file in floats."""

    frames: int
    layers: dict[str, float]  # share of equal entries of each layer's trains (potentials: within 1e-6 of the largest)
    predictions: float  # share of equal predictions
    model: float | None = None  # accuracy of the floats and of the integers; None without labels
    integer: float | None = None
    differences: dict[str, int] = field(default_factory=dict)  # entries that differ

    @property
    def equal(self) -> bool:
        """Whether every spike is equal."""
        return not any(self.differences.values())


def read_spiking(
    network: Network, options: NirOptions, pixels: Callable[[Metadata], PixelRule] | None = None
) -> SpikingNetwork:
    """Interpret a NIR network as a layer graph.

    Parameters
    ----------
    pixels : callable, optional
        From the file's metadata to the rule for uint8 pixels: its name, mean and standard deviation; by default x / 255.

    Raises
    ------
    ModelError
        Its meaning was not stated, or it cannot be put on an integer grid.
    """
    meaning = interpret(network, options)
    found = integerize(meaning)
    graph = found.graph
    if pixels is not None:
        name, mean, std = pixels(meaning.flat.network.metadata)
        graph = replace(graph, input=replace(graph.input, pixels=name, mean=mean, std=std))
    return SpikingNetwork(meaning, replace(found, graph=graph))


def random_frames(network: SpikingNetwork, count: int = RANDOM_FRAMES, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Return random spikes of what enters the chip, uint8 (N, steps, *shape)."""
    frame = network.meaning.frame
    shape = (count, frame.steps, *frame.population.tensor_shape)
    return (np.random.default_rng(seed).random(shape) < RATE).astype(np.uint8)


def agreement(
    network: SpikingNetwork, frames: npt.NDArray[np.integer], labels: npt.NDArray[np.int64] | None = None, batch: int = 16
) -> Agreement:
    """Compare the integer network with the floats of the file, layer by layer, on frames of what enters the chip.

    Parameters
    ----------
    frames : integer ndarray, (N, steps, *shape)
    labels : ndarray, int64, (N,), optional
    """
    graph = network.graph
    different = dict.fromkeys((layer.name for layer in graph.layers), 0)
    entries = dict(different)
    own: list[npt.NDArray[np.int64]] = []
    other: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(frames), batch):
        part = frames[start : start + batch]
        floats, integers = trains(network.meaning, part), execute_steps(graph, part)
        for layer in graph.layers:
            found = network.integers.scaled(layer, integers[layer.name].reshape(len(part), graph.steps, -1))
            wanted = floats[layer.name].reshape(found.shape)
            close = np.abs(found - wanted) <= (1e-6 * np.abs(wanted).max(initial=0.0) if layer.readout else 0.0)
            different[layer.name] += int((~close).sum())
            entries[layer.name] += close.size
        last = floats[graph.layers[-1].name].reshape(len(part), graph.steps, -1)
        scores = {"count": last.sum(axis=1), "last": last[:, -1], "largest": last.max(axis=1)}[graph.readout_of]
        own.append(scores.argmax(axis=1))
        other.append(network.integers.scaled(graph.layers[-1], read_out(graph, integers)).argmax(axis=1))
    model, integer = (np.concatenate(each) if each else np.zeros(0, np.int64) for each in (own, other))
    share = {name: 1.0 - different[name] / max(1, entries[name]) for name in different}
    same = float((model == integer).mean()) if len(model) else 1.0
    first, second = (None if labels is None else float((each == labels).mean()) for each in (model, integer))
    return Agreement(len(frames), share, same, first, second, different)
