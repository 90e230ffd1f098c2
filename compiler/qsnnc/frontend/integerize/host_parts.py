"""Decide what the host computes: the layers before the chip's first activation, and the last linear layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from qsnnc.errors import ModelError
from qsnnc.frontend.integerize.analysis import Analysis
from qsnnc.frontend.integerize.weights import Weights
from qsnnc.frontend.linear.weight_bits import WeightBits, on_grid
from qsnnc.frontend.model.layer_names import Namer
from qsnnc.frontend.model.model import Model, Node
from qsnnc.frontend.model.operators import ELEMENTWISE, WEIGHTED
from qsnnc.frontend.model.outcomes import WeightsNotQuantized

#: where the last linear layer is computed; auto: on the chip if its weights are integers of at most 8 bits times a scale
Readout = Literal["auto", "host", "chip"]


@dataclass(frozen=True, slots=True)
class Boundaries:
    """Where the chip's part of a network begins and ends, and how many bits its weights may have."""

    image_on_chip: bool = False  # the image itself is the chip's input, so that the first linear operator is a layer
    encoder: str | None = None  # the layer whose activations the host hands over; None: the first activations
    readout: Readout = "auto"
    bits: WeightBits = field(default_factory=WeightBits)


class HostParts:
    """The nodes that the host computes because of `Boundaries`, not because they cannot be on the chip."""

    def __init__(self, model: Model, chosen: Boundaries, analysis: Analysis, weights: Weights) -> None:
        self._model = model
        self._chosen = chosen
        self._analysis = analysis
        self._weights = weights
        self._before = frozenset(map(id, _before(model, chosen.encoder))) if chosen.encoder else frozenset()

    def is_before(self, node: Node) -> bool:
        """Return whether a node comes before the activations that the host was told to hand over."""
        return id(node) in self._before

    def is_last(self, node: Node) -> bool:
        """Return whether a node is a linear layer on which no other depends, and the host computes it."""
        return self._ends(node) and self.has_readout

    @cached_property
    def has_readout(self) -> bool:
        """Whether the host computes the last linear layers."""
        if self._chosen.readout != "auto":
            return self._chosen.readout == "host"
        return any(not self._fits(node) for node in self._model.nodes if self._ends(node))

    def is_behind_chip(self, node: Node) -> bool:
        """Return whether the host computes every linear layer that depends on a node."""
        return self.has_readout and self._feeds_chip.isdisjoint(node.outputs)

    @cached_property
    def _feeds_chip(self) -> frozenset[str]:
        """Tensors that a linear layer on the chip depends on."""
        found: set[str] = set()
        for node in reversed(self._model.nodes):
            if (node.op in WEIGHTED and not self._ends(node)) or not found.isdisjoint(node.outputs):
                found.update(name for name in node.inputs if name)
        return frozenset(found)

    def refusal(self, node: Node, error: ModelError) -> ModelError:
        """Return an error about weights, with the host as the way out where that is one."""
        if not isinstance(error, WeightsNotQuantized) or not self._ends(node):
            return error
        text = f"{error.message}, or leave the layer to the host with --readout host"
        return WeightsNotQuantized(error.subject, text, **error.fields)

    def _ends(self, node: Node) -> bool:
        return node.op in WEIGHTED and not any(map(self._analysis.feeds_weights, node.outputs))

    def _fits(self, node: Node) -> bool:
        integers = node.name in self._model.integral  # exact whatever their size, which float sums on the host are not
        return integers or self._weights.bits_of(node) is not None or on_grid(self._model, node)


def linear_layers(model: Model) -> dict[str, Node]:
    """Return the linear operators that another one depends on, by the names of their layers."""
    namer = Namer()
    named = {namer.layer(node): node for node in model.nodes if node.op in WEIGHTED}
    return {name: node for name, node in named.items() if any(_weighted_readers(model, node))}


def first_layer(model: Model) -> str | None:
    """Return the linear layer through which everything that depends on the image goes first; None if there is none."""
    for name, node in linear_layers(model).items():
        before = {id(entry) for entry in _ancestors(model, node)}
        reached = {model.input}
        for entry in model.nodes:
            if entry is not node and reached.intersection(entry.inputs):
                reached.update(entry.outputs)
                if id(entry) not in before or entry.op in WEIGHTED:
                    return None
        return name
    return None


def _weighted_readers(model: Model, node: Node) -> Iterator[Node]:
    reached = set(node.outputs)
    for entry in model.nodes:
        if reached.intersection(entry.inputs):
            reached.update(entry.outputs)
            if entry.op in WEIGHTED:
                yield entry


def _before(model: Model, name: str) -> list[Node]:
    """Return the nodes up to the linear operator of a layer; the name may be that of the layer, a node or a tensor.

    Raises
    ------
    UsageError
        The name is unknown, or no linear layer follows.
    """
    from chipsim.errors import UsageError

    layers = linear_layers(model)
    if name in layers:
        return _ancestors(model, layers[name])
    producer = {output: node for node in model.nodes for output in node.outputs}
    found = producer.get(name) or next((node for node in model.nodes if node.name == name), None)
    while found is not None and found.op in ELEMENTWISE:
        data = [entry for entry in found.inputs if entry and entry not in model.constants]
        if data == [model.input]:
            return []  # the quantizer of the input
        found = producer.get(data[0]) if len(data) == 1 else None
    if found is not None and any(found is node for node in layers.values()):
        return _ancestors(model, found)
    raise UsageError(
        "--encoder",
        f"unknown layer {name!r}; expected host, chip, or a layer that another one follows: {', '.join(layers) or 'none'}",
        code="option-value",
        found=name,
        allowed=["host", "chip", *layers],
    )


def _ancestors(model: Model, end: Node) -> list[Node]:
    """Return a node and all that it depends on, in order."""
    needed: set[str] = set(end.outputs)
    found = []
    for node in reversed(model.nodes):
        if needed.intersection(node.outputs):
            found.append(node)
            needed.update(name for name in node.inputs if name)
    return found[::-1]
