"""Find the images for which the model has a level beyond the highest that the user left an activation (``--levels``).

The chip does the same with such an image as with one at the highest level, so that its scores may differ from the model's.
What the model has is told by the potential of the neuron of the highest level, and for the encoder by encoder.onnx itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.engine.host import Array, Host
from chipsim.mapping import Mapping
from chipsim.mapping.program import CEILING, UNREACHED

Bool = npt.NDArray[np.bool_]
#: potentials that are held at a time
AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Neurons of one core that have a ceiling."""

    layer: int  # which of the watched populations
    sources: npt.NDArray[np.int32]  # (axons,)
    weights: npt.NDArray[np.floating]  # (neurons, axons): a float type that holds every partial sum exactly
    ceiling: npt.NDArray[np.floating]  # (neurons, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """The watched populations of a mapping."""

    names: tuple[str, ...]
    host: Host
    groups: tuple[_Group, ...]

    @property
    def needs_spikes(self) -> bool:
        """Whether it is asked for the spikes of all sources."""
        return bool(self.groups)

    def exceeded(self, images: Array, spikes: npt.NDArray[np.uint8] | None) -> Bool:
        """Return which populations exceed their limit in which images, (images, populations).

        Parameters
        ----------
        images : ndarray
            As `chipsim.mapping.pixels.prepare` returns them.
        spikes : ndarray, uint8, (sources, images)
            What each source sent; None if `needs_spikes` is false.
        """
        found = np.zeros((len(images), len(self.names)), bool)
        encoder = self.host.mapping.encoder
        if encoder.name in self.names:
            levels = self.host.levels(images).reshape(len(images), -1)
            found[:, self.names.index(encoder.name)] = (levels > encoder.levels).any(axis=1)
        for group in self.groups:
            assert spikes is not None
            step = max(1, AT_ONCE // sum(group.weights.shape))
            for first in range(0, len(images), step):
                part = slice(first, first + step)
                bits = spikes[group.sources, part].astype(group.weights.dtype)
                found[part, group.layer] |= (group.weights @ bits >= group.ceiling).any(axis=0)
        return found


def watch(host: Host) -> Watch | None:
    """Return what a run has to look at; None if no population was limited."""
    m = host.mapping
    if not m.watched:
        return None
    return Watch(m.watched, host, tuple(_groups(m)) if m.limited else ())


def _groups(m: Mapping) -> list[_Group]:
    found = []
    for core in range(m.cores):
        neurons = slice(int(m.neuron_offset[core]), int(m.neuron_offset[core + 1]))
        ceiling = m.arrays[CEILING][neurons]
        mine = np.flatnonzero(ceiling != UNREACHED)
        if len(mine):
            axons = slice(int(m.axon_offset[core]), int(m.axon_offset[core + 1]))
            weights = m.crossbar(int(m.core_crossbar[core]))[:, mine].astype(np.int64)
            dtype = np.dtype(np.float32 if np.abs(weights).sum(axis=0).max(initial=0) < 1 << 24 else np.float64)
            layer = m.watched.index(m.layers[m.core_layer[core]].name)
            limits: npt.NDArray[np.floating] = ceiling[mine, None].astype(np.float64)  # any int32, exactly
            found.append(_Group(layer, m.axon_source[axons], np.ascontiguousarray(weights.T, dtype), limits))
    return found
