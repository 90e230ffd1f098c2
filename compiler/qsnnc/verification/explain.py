"""Differences between levels: where the first one is, and whether float rounding explains it.

A neuron's decision is open where the layer has a `Doubt` about its threshold T and the potential p lies so close that the
error of the float sum, ``bound`` potentials at most, can carry it across: T - 1 - bound <= p <= T + bound. A difference is
explained if every neuron between the two levels is open, or if the feature reads, with a weight, an open neuron of a layer
that the ONNX graph has no tensor of, whose levels are our own therefore; by nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qsnnc.ir.execute import potentials
from qsnnc.ir.layers import Doubt, Int, Layer, LayerGraph, Population

#: differences of a layer that are looked at one by one
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first level or score of a layer that differs: first of all one that no float rounding explains.

    ``attributed``: the potential lies inside the float error bound of each threshold between the two levels.
    """

    layer: str
    node: str  # that computes the tensor
    tensor: str
    sample: int
    channel: int
    element: int
    expected: float
    found: float
    attributed: bool
    differences: int  # in the batch where it was found

    def __str__(self) -> str:
        why = "inside the float error bound" if self.attributed else "outside every float error bound: a defect"
        return (
            f"{self.layer}: sample {self.sample}, channel {self.channel}, feature {self.element}: the model (node "
            f"{self.node}, tensor {self.tensor}) has {self.expected:g}, the integer network {self.found:g}; {why}"
        )


class Doubts:
    """A layer graph's open decisions, ready to be asked for."""

    def __init__(self, graph: LayerGraph) -> None:
        self._graph = graph
        self._bounds: dict[str, dict[tuple[int, int], list[Doubt]]] = {}
        self._last: tuple[tuple[str, int], Int] | None = None  # potentials of one layer for one sample

    def first(self, entry: Population, given: dict[str, Int], found: Int, expected: Int) -> tuple[Int, bool]:
        """The first difference that is not explained, else the first; (sample, channel, row, column), and if it is.

        Parameters
        ----------
        given : dict
            Levels of the layer's sources, as it was executed with.
        found, expected : ndarray, int64, (N, channels, rows, columns)
        """
        self._last = None
        wrong = np.argwhere(found != expected)
        for where in wrong[:MOST]:
            if not self._explained(entry, given, where, found, expected):
                return where, False
        return wrong[0], len(wrong) <= MOST

    def _explained(self, entry: Population, given: dict[str, Int], where: Int, found: Int, expected: Int) -> bool:
        low, high = sorted((int(found[tuple(where)]), int(expected[tuple(where)])))
        sample, channel, row, column = where.tolist()
        if not isinstance(entry, Layer) or entry.readout:
            return False
        if self._reads_open(entry, given, sample, channel, row, column):
            return True
        if entry.doubts:
            potential = int(self._potentials(entry, given, sample)[0, channel, row, column])
            return all(self._open(entry, channel, row, column, level, potential) for level in range(low, high))
        return all(self._open_below(entry, given, sample, channel, row, column, level) for level in range(low, high))

    def _open_below(
        self, pool: Layer, given: dict[str, Int], sample: int, channel: int, row: int, column: int, level: int
    ) -> bool:
        """Whether a pool reads, from a layer that the ONNX graph has no tensor of, a neuron whose decision is open."""
        for link in pool.connections:
            source = self._graph.population(link.source)
            if not (link.level_wise and isinstance(source, Layer) and not source.tensor):
                continue
            potential = self._potentials(source, given, sample)
            taps = link.taps(source.shape[1:], pool.shape[1:])[row * pool.shape[2] + column]
            for position in taps[taps >= 0].tolist():
                up, across = divmod(position, source.shape[2])
                if self._open(source, channel, up, across, level, int(potential[0, channel, up, across])):
                    return True
        return False

    def _reads_open(self, layer: Layer, given: dict[str, Int], sample: int, channel: int, row: int, column: int) -> bool:
        """Whether a feature reads an open neuron of a layer whose levels nothing is held against."""
        for link in layer.connections:
            source = self._graph.population(link.source)
            if link.level_wise or not isinstance(source, Layer) or source.tensor or not source.doubts:
                continue
            taps = link.taps(source.shape[1:], layer.shape[1:])[row * layer.shape[2] + column]
            kernel = link.weights[channel].reshape(link.weights.shape[1], -1)
            first = channel // (layer.shape[0] // link.groups) * link.weights.shape[1]
            potential = self._potentials(source, given, sample)[0]
            for at, tap in np.argwhere(kernel):
                if taps[tap] >= 0:
                    up, across = divmod(int(taps[tap]), source.shape[2])
                    own = int(potential[first + at, up, across])
                    if any(self._open(source, int(first + at), up, across, n, own) for n in range(source.levels)):
                        return True
        return False

    def _potentials(self, layer: Layer, given: dict[str, Int], sample: int) -> Int:
        key = layer.name, sample
        if self._last is None or self._last[0] != key:
            own = {link.source: given[link.source][sample : sample + 1] for link in layer.connections}
            self._last = key, potentials(layer, own)
        return self._last[1]

    def _open(self, layer: Layer, channel: int, row: int, column: int, level: int, potential: int) -> bool:
        if layer.name not in self._bounds:
            known: dict[tuple[int, int], list[Doubt]] = {}
            for doubt in layer.doubts:
                known.setdefault((doubt.border_class, doubt.channel), []).append(doubt)
            self._bounds[layer.name] = known
        border = int(layer.border[row, column])
        doubts = self._bounds[layer.name].get((border, channel), [])
        bound = next((doubt.bound for doubt in doubts if doubt.level <= level < doubt.level + doubt.count), None)
        threshold = int(layer.thresholds[border, channel, level])
        return bound is not None and threshold - 1 - bound <= potential <= threshold + bound
