"""Find the first difference between levels, and whether float rounding explains it.

A neuron's decision is uncertain if its threshold T is uncertain (a `Uncertain` of the layer) and the potential p is so close
that the error of the float sum, at most ``bound`` potentials, can carry it across: T - 1 - bound <= p <= T + bound. With
uncertain decisions a feature has a range of levels. Where the file has a tensor of a layer's levels, the layers behind it
are given those; where it has none, the range is propagated through them. A difference is explained if and only if the
model's level lies in the range.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from qsnnc.ir.execute import fire, potentials, run
from qsnnc.ir.layers import Int, Layer, LayerGraph, Population

#: a bound beyond every potential
ANY = 2.0**60
#: potentials of a layer that has one per level, over the images taken at a time
MOST_POTENTIALS = 1 << 24
Range = tuple[Int, Int]  # the smallest and the largest level or potential of each feature, (1, channels, rows, columns)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A level or score of a layer that differs: the first that rounding does not explain, else the first.

    ``attributed``: rounding at an uncertain threshold explains it.
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
        why = "within the float error bound" if self.attributed else "beyond the float error bound: a defect"
        return (
            f"{self.layer}: image {self.sample}, channel {self.channel}, feature {self.element}: the model (node "
            f"{self.node}, tensor {self.tensor}) has {self.expected:g}, the integer network {self.found:g}; {why}"
        )


class Uncertainty:
    """The uncertain decisions of a layer graph."""

    def __init__(self, graph: LayerGraph) -> None:
        self._graph = graph
        apart = (layer.neurons for layer in graph.layers if any(link.level_wise for link in layer.connections))
        self._most = max(1, MOST_POTENTIALS // max(apart, default=1))

    def unexplained(self, entry: Population, given: dict[str, Int], found: Int, expected: Int) -> npt.NDArray[np.bool_]:
        """Find the differences that rounding does not explain, bool (N, channels, rows, columns).

        Parameters
        ----------
        given : dict
            Levels of every population before the layer, as it was executed with.
        found, expected : ndarray, int64, (N, channels, rows, columns)
        """
        wrong = np.asarray(found != expected)
        for part in self._parts(np.asarray(wrong.reshape(len(wrong), -1).any(axis=1))):
            low, high = self._levels(entry, _only(given, part) | {entry.name: found[part]}, {})
            right = expected[part]
            wrong[part] &= (right < low) | (right > high)
        return wrong

    def are_open(self, layer: Layer, given: dict[str, Int], images: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return the images, of those given by bool (N,), of which uncertain decisions can change a layer's potentials."""
        found = np.zeros(len(images), bool)
        for part in self._parts(images):
            low, high = self._potentials(layer, _only(given, part), {})
            found[part] = (low != high).reshape(len(part), -1).any(axis=1)
        return found

    def _parts(self, images: npt.NDArray[np.bool_]) -> Iterator[Int]:
        """List the numbers of the images chosen, as many at a time as fit."""
        chosen = np.flatnonzero(images)
        return (chosen[first : first + self._most] for first in range(0, len(chosen), self._most))

    def _levels(self, entry: Population, given: dict[str, Int], known: dict[str, Range]) -> Range:
        """Compute the range of a population's levels."""
        if not isinstance(entry, Layer):
            return given[entry.name], given[entry.name]
        any_of = all(link.level_wise and (link.weights >= 0).all() for link in entry.connections)
        if any_of and not entry.uncertain:  # a max pool: rises with every level that it reads
            sources = self._sources(entry, given, known)
            return tuple(run(entry, {name: ends[i] for name, ends in sources.items()}) for i in (0, 1))  # type: ignore[return-value]
        certain, possible = _limits(entry)
        low, high = self._potentials(entry, given, known)
        return fire(replace(entry, thresholds=certain), low), fire(replace(entry, thresholds=possible), high)

    def _sources(self, layer: Layer, given: dict[str, Int], known: dict[str, Range]) -> dict[str, Range]:
        """Compute the ranges of a layer's sources; where the model's own levels are given, a single value."""
        for name in {link.source for link in layer.connections} - known.keys():
            source = self._graph.population(name)
            known[name] = (given[name], given[name]) if source.tensor else self._levels(source, given, known)
        return {link.source: known[link.source] for link in layer.connections}

    def _potentials(self, layer: Layer, given: dict[str, Int], known: dict[str, Range]) -> Range:
        """Compute the range of a layer's potentials."""
        sources = self._sources(layer, given, known)
        lows, highs = ({name: ends[i] for name, ends in sources.items()} for i in (0, 1))
        if all((lows[name] == highs[name]).all() for name in sources):
            point = potentials(layer, lows)
            return point, point
        rising, falling = (
            replace(layer, connections=tuple(replace(link, weights=clip(link.weights, 0)) for link in layer.connections))
            for clip in (np.maximum, np.minimum)
        )
        return (
            potentials(rising, lows) + potentials(falling, highs),
            potentials(rising, highs) + potentials(falling, lows),
        )


def _only(levels: dict[str, Int], images: Int) -> dict[str, Int]:
    return {name: array[images] for name, array in levels.items()}


def _limits(layer: Layer) -> Range:
    """Compute the potentials from which each neuron certainly fires, and from which it may; of the thresholds' shape."""
    certain, possible = layer.thresholds.copy(), layer.thresholds.copy()
    margin = layer.uncertain.margins(certain.shape, ANY)
    certain += margin
    possible -= margin
    # a feature that has reached a level has reached those below it
    certain = np.minimum.accumulate(certain[..., ::-1], axis=-1)[..., ::-1]
    return certain, np.maximum.accumulate(possible, axis=-1)
