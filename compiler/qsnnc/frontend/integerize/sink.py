"""Where finished layers go: each under a name of its own, in the order in which they are computed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from qsnnc.frontend.model.layer_names import Namer
from qsnnc.ir.layers import Layer, Population


class LayerSink:
    """Takes layers and gives them names; nothing that was added is taken back.

    Parameters
    ----------
    namer : Namer
        Whose names are taken already.
    written : collection of str
        The tensors that stand in the file; a layer that computes any other is said to compute none.
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
        """A layer's name: the wish, unless a layer was called so already."""
        name = self.namer.text(wish) if wish in self._names else wish
        self._names.add(name)
        return name

    def add(self, layer: Layer) -> None:
        """Append a layer."""
        assert all(layer.name != other.name for other in self._layers), layer.name
        known = not layer.tensor or layer.tensor in self._written
        self._layers.append(layer if known else replace(layer, tensor=""))

    def is_last(self, population: Population) -> bool:
        """Whether a population is the layer that was added last."""
        return bool(self._layers) and population is self._layers[-1]

    def computes(self, tensor: str, shape: tuple[int, ...]) -> Layer:
        """Say which tensor of the file the layer added last computes; return that layer."""
        self._layers[-1] = replace(self._layers[-1], tensor=tensor, tensor_shape=shape)
        return self._layers[-1]
