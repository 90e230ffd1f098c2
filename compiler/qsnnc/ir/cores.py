"""The core graph: cores with their axons, crossbars, thresholds and targets, before placement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from qsnnc.errors import Limit
from qsnnc.ir.layers import Int, Layer

if TYPE_CHECKING:
    import networkx


@dataclass(frozen=True, slots=True)
class Removed:
    """How many neurons of a layer were removed, by reason."""

    dead: int = 0
    constant: int = 0
    unread: int = 0

    @property
    def neurons(self) -> int:
        """Total number of removed neurons."""
        return self.dead + self.constant + self.unread


@dataclass(frozen=True, slots=True, eq=False)
class CoreLayer:
    """A layer as it is laid out on cores: what it needs, the cores it takes, and what limits it."""

    layer: Layer
    tick: int
    weight_bits: int
    fan_in: int
    fold: int
    neurons: int
    removed: Removed
    zero_rows: int  # axons left out because all weights of a core's row are zero
    cores: int  # the lower bound, where the layer was not laid out
    synapses: int
    bound: int
    limiting: Limit


@dataclass(frozen=True, slots=True, eq=False)
class CoreGraph:
    """Cores in the order of the layers.

    Sources are numbered as in the ``.map``: the encoder's elements, then neurons core by core.
    """

    layers: tuple[CoreLayer, ...]
    encoder_neurons: int
    core_layer: npt.NDArray[np.int32]  # (cores,)
    core_fold: npt.NDArray[np.int32]
    core_crossbar: npt.NDArray[np.int32]
    axon_offset: Int  # (cores + 1,)
    axon_source: npt.NDArray[np.int32]
    neuron_offset: Int  # (cores + 1,)
    neuron_element: npt.NDArray[np.int32]
    neuron_threshold: npt.NDArray[np.int32]
    neuron_constants: tuple[npt.NDArray[np.int32], ...]  # amount, start and bias, (neurons,) each; zeros without a model
    crossbars: tuple[npt.NDArray[np.int8], ...]  # (axons, neurons) each

    @property
    def cores(self) -> int:
        """Number of cores."""
        return len(self.core_layer)

    def traffic(self) -> tuple[Int, Int, Int]:
        """Count target entries between pairs of cores.

        Returns
        -------
        sender, receiver, entries : ndarray, int64
            One row per pair of connected cores; sender -1 is the host.
        """
        neuron_core = np.repeat(np.arange(self.cores), np.diff(self.neuron_offset))
        owner = np.concatenate([np.full(self.encoder_neurons, -1), neuron_core])
        sender = owner[self.axon_source]
        receiver = np.repeat(np.arange(self.cores), np.diff(self.axon_offset))
        pair, entries = np.unique((sender + 1) * self.cores + receiver, return_counts=True)
        return pair // self.cores - 1, pair % self.cores, entries

    def to_networkx(self) -> networkx.DiGraph[int]:
        """Return a graph with cores as nodes (-1 is the host) and target entries as edge weights."""
        import networkx

        graph: networkx.DiGraph[int] = networkx.DiGraph()
        for core in range(self.cores):
            graph.add_node(core, layer=self.layers[self.core_layer[core]].layer.name)
        for sender, receiver, entries in zip(*(part.tolist() for part in self.traffic()), strict=True):
            graph.add_edge(sender, receiver, entries=entries)
        return graph


def verify_cores(graph: CoreGraph, chip: ChipSpec) -> None:
    """Assert that every core keeps every limit of the chip; a violation is an internal error."""
    bits = np.array([entry.weight_bits for entry in graph.layers])[graph.core_layer]
    axons, neurons = np.diff(graph.axon_offset), np.diff(graph.neuron_offset)
    assert (axons <= graph.core_fold * chip.axons).all(), "axons"
    assert (neurons * graph.core_fold * bits <= chip.columns).all(), "columns"
    assert np.isin(graph.core_fold, chip.folds).all(), "fold"
    shapes = np.array([crossbar.shape for crossbar in graph.crossbars])[graph.core_crossbar]
    assert (shapes == np.stack([axons, neurons], axis=1)).all(), "crossbars"
    entries = np.bincount(graph.axon_source, minlength=graph.encoder_neurons + len(graph.neuron_element))
    assert (entries[graph.encoder_neurons :] <= chip.max_fan_out).all(), "fan-out"
    running = np.concatenate([[0], np.cumsum(entries[graph.encoder_neurons :])])
    per_core = np.diff(running[graph.neuron_offset])
    assert (per_core <= chip.targets).all(), "targets"
    assert graph.cores <= chip.cores, "cores"
    first = graph.neuron_offset[np.searchsorted(graph.core_layer, np.arange(len(graph.layers) + 1))]
    assert (np.diff(graph.core_layer) >= 0).all(), "cores in the order of the layers"
    for number, entry in enumerate(graph.layers):
        elements = graph.neuron_element[first[number] : first[number + 1]]
        assert ((elements >= 0) & (elements < entry.layer.neurons)).all(), entry.layer.name
        assert int(np.bincount(elements).max(initial=0)) <= 1, f"{entry.layer.name}: every neuron once"
        assert len(elements) == entry.neurons, f"{entry.layer.name}: every neuron once"
