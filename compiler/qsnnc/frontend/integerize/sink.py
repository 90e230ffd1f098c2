"""Collect finished layers in the order in which they are computed, each under a unique name."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from qsnnc.frontend.model.layer_names import Namer
from qsnnc.ir.layers import Layer, Population


class LayerSink:
    """Collects layers and gives them names; a layer is never removed.

    Parameters
    ----------
    namer : Namer
        Tracks the names in use.
    written : collection of str
        The tensors of the file; a layer that computes any other is recorded as computing none.
    """

    def __init__(self, namer: Namer, written: Collection[str]) -> None:
        self.namer = namer
        self._written = written
        self._layers: list[Layer] = []
        self._names: set[str] = set()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers so far, in topological order."""
        return tuple(self._layers)

    def free_name(self, wish: str) -> str:
        """Return ``wish``, or a variation of it if a layer has that name."""
        name = self.namer.text(wish) if wish in self._names else wish
        self._names.add(name)
        return name

    def add(self, layer: Layer) -> None:
        """Append a layer."""
        assert all(layer.name != other.name for other in self._layers), layer.name
        known = not layer.tensor or layer.tensor in self._written
        self._layers.append(layer if known else replace(layer, tensor=""))

    def is_last(self, population: Population) -> bool:
        """Return whether a population is the layer that was added last."""
        return bool(self._layers) and population is self._layers[-1]

    def computes(self, tensor: str, shape: tuple[int, ...]) -> Layer:
        """Record which tensor of the file the last layer computes; return that layer."""
        self._layers[-1] = replace(self._layers[-1], tensor=tensor, tensor_shape=shape)
        return self._layers[-1]
