"""The places where chip and model differ: levels of a population, and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.engine.protocol import Compiled
from chipsim.mapping import Layer, Mapping, Population

#: a tested (not certified) mapping may miss a score by this, relative to the largest
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where chip and model differ."""

    image: int
    layer: str
    element: int  # feature of the layer's tensor; for scores the index of the output
    expected: float  # level, or score
    found: float
    core: int | None = None
    neuron: int | None = None  # in its core
    potential: int | None = None
    threshold: int | None = None
    exceeds: bool = False  # whether the model has a level beyond the layer's highest (--levels)

    def __str__(self) -> str:
        place = f"{self.layer}: image {self.image}, feature {self.element}"
        if self.exceeds:
            return f"{place}: the model has level {self.expected:g}, and --levels left {self.found:g} as the highest"
        place += f": the model has {self.expected:g}, the chip {self.found:g}"
        if self.core is None:
            return place
        return f"{place} (core {self.core}, neuron {self.neuron}, potential {self.potential}, threshold {self.threshold})"


def levels_differ(
    mapping: Mapping,
    spikes: npt.NDArray[np.uint8],
    entry: Population,
    tensor: npt.NDArray[Any],
    first: int,
) -> Difference | None:
    """First level of a population that differs from the tensor."""
    expected = levels_of(entry, tensor)
    beyond = exceeding(entry, expected, first)
    if beyond is not None:  # the neurons of the highest level fire as they should; the layers behind differ
        return beyond
    source, element = sources_of(mapping, entry)
    feature, i = element // entry.levels, element % entry.levels
    # neuron by neuron: one that the compiler removed, dead or constant, is not there to compare
    bad = spikes[source] != (expected.T[feature] > i[:, None])
    if not bad.any():
        return None
    return difference_at(mapping, entry, bad, spikes, spikes, expected, first)


def levels_of(entry: Population, tensor: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the levels of a population in a tensor, (images, features)."""
    values = tensor.reshape(len(tensor), -1).astype(np.float64)
    return np.round(values / entry.scale - entry.zero_point).astype(np.int64)


def difference_at(
    mapping: Mapping,
    entry: Population,
    bad: npt.NDArray[np.bool_],
    spikes: npt.NDArray[np.uint8],
    given: npt.NDArray[np.uint8],
    expected: npt.NDArray[np.int64],
    first: int,
) -> Difference:
    """Describe the first of the neurons of a population (neurons, images) that are wrong.

    Parameters
    ----------
    spikes, given : ndarray, uint8, (sources, images)
        What each source sent, and what its readers were given.
    expected : ndarray, int64, (images, features)
    """
    source, element = sources_of(mapping, entry)
    feature, i = element // entry.levels, element % entry.levels
    image = int(np.flatnonzero(bad.any(axis=0))[0])
    candidates = np.flatnonzero(bad[:, image])
    at = int(candidates[np.argmin(element[candidates])])
    level = int(expected[image, feature[at]])
    mine = feature == feature[at]
    found = (
        int(spikes[source[mine], image].sum()) + level - int((i[mine] < level).sum())
    )  # removed ones as the model has them
    if not isinstance(entry, Layer):
        return Difference(first + image, entry.name, int(feature[at]), float(level), float(found))
    wrong = int(source[at])
    neuron = wrong - mapping.encoder_neurons
    core = int(np.searchsorted(mapping.neuron_offset, neuron, side="right")) - 1
    inside = neuron - int(mapping.neuron_offset[core])
    axons = slice(int(mapping.axon_offset[core]), int(mapping.axon_offset[core + 1]))
    weights = mapping.crossbar(int(mapping.core_crossbar[core]))[:, inside].astype(np.int64)
    potential = int(weights @ given[mapping.axon_source[axons], image].astype(np.int64))
    return Difference(
        first + image,
        entry.name,
        int(feature[at]),
        float(level),
        float(found),
        core,
        inside,
        potential,
        int(mapping.neuron_threshold[neuron]),
    )


def exceeding(entry: Population, expected: npt.NDArray[np.int64], first: int) -> Difference | None:
    """First level (images, features) that is beyond a population's highest."""
    beyond = np.argwhere(expected > entry.levels)
    if not len(beyond):
        return None
    image, place = beyond[0].tolist()
    return Difference(first + image, entry.name, place, float(expected[image, place]), float(entry.levels), exceeds=True)


def sources_of(mapping: Mapping, entry: Population) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sources of a population, and the element that each is."""
    if not isinstance(entry, Layer):
        own = np.arange(mapping.encoder_neurons)
        return own, own
    owner = np.repeat(mapping.core_layer, np.diff(mapping.neuron_offset))
    own = np.flatnonzero(owner == mapping.layers.index(entry))
    return own + mapping.encoder_neurons, mapping.neuron_element[own].astype(np.int64)


def scores_differ(
    mapping: Compiled, found: npt.NDArray[Any], expected: npt.NDArray[Any], first: int
) -> tuple[float, Difference | None]:
    """Largest error, and the first score beyond what is allowed."""
    a, b = found.reshape(len(found), -1).astype(np.float64), expected.reshape(len(expected), -1).astype(np.float64)
    error, wrong = score_errors(mapping, a, b)
    bad = np.argwhere(wrong)
    largest = float(error.max(initial=0.0))
    if not len(bad):
        return largest, None
    image, output = bad[0].tolist()
    return largest, Difference(
        first + image, mapping.output_tensor, output, float(b[image, output]), float(a[image, output])
    )


def score_errors(
    mapping: Compiled, found: npt.NDArray[np.float64], expected: npt.NDArray[np.float64], slack: float = 0.0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the error of each score (images, scores), and which are beyond what is allowed; a NaN equals only a NaN.

    ``slack`` is what float rounding may add to those of a tested mapping.
    """
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(found - expected))
    allowed = 0.0
    if mapping.exactness != "certified":
        allowed = np.maximum(slack, TOLERANCE * np.maximum(1.0, np.abs(expected).max(axis=1, keepdims=True)))
    return error, ~(error <= allowed)
