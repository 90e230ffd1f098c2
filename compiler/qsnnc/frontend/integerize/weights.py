"""Quantize the weights of the chip's linear layers while the graph is visited, and record which ones changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from chipsim.errors import UsageError
from qsnnc.errors import ModelError
from qsnnc.frontend.linear.weight_bits import ChangedWeights, WeightBits, quantized, with_weights
from qsnnc.frontend.model.layer_names import Namer
from qsnnc.frontend.model.model import Model, Node
from qsnnc.frontend.model.operators import WEIGHTED

if TYPE_CHECKING:
    import onnx


class Weights:
    """The weights of the chip's linear layers, with as many bits as was asked for."""

    def __init__(self, model: Model, namer: Namer, bits: WeightBits) -> None:
        self._model = model
        self._namer = namer
        self._bits = bits
        self._read: dict[int, tuple[Model, Node]] = {}
        self._layers: list[str] = []
        self._names: set[str] = set()  # of them and their nodes
        self._changed: dict[str, ChangedWeights] = {}

    @property
    def changed(self) -> tuple[ChangedWeights, ...]:
        """The layers whose weights are other numbers than the file's, in order."""
        return tuple(self._changed.values())

    def refuse_unknown(self) -> None:
        """Refuse bits for a layer that the model does not have.

        Raises
        ------
        UsageError
        """
        namer = Namer()
        nodes = [node for node in self._model.nodes if node.op in WEIGHTED]
        layers = [namer.layer(node) for node in nodes]
        self._refuse({*layers, *(node.name for node in nodes)}, "no linear layer is called so", layers)

    def refuse_hosts(self) -> None:
        """Refuse bits for a layer that is not on the chip, once all layers were read.

        Raises
        ------
        UsageError
        """
        self._refuse(self._names, "the host computes it, with the weights of the file", self._layers)

    def _refuse(self, known: Collection[str], why: str, layers: Sequence[str]) -> None:
        unknown = next((name for name in self._bits.named if name not in known), None)
        if unknown is not None:
            allowed = f"layers whose weights can be quantized: {', '.join(layers) or 'none'}"
            raise UsageError(
                "--weight-bits",
                f"{unknown}: {why}; {allowed}",
                code="layer-unknown",
                found=unknown,
                allowed=list(layers),
            )

    def bits_of(self, node: Node) -> int | None:
        """Return how many bits a layer's weights may have; None: as many as the file's."""
        if node.name in self._model.integral:  # integers in the file
            return None
        return self._bits.of(self._namer.peek(node), node.name)

    def read(self, node: Node, name: str) -> tuple[Model, Node]:
        """Return a linear operator of the chip with the weights that it has there, and the model that holds them."""
        if id(node) not in self._read:
            self._names.update((name, node.name))
            self._layers.append(name)
            bits = self.bits_of(node)
            change = None if bits is None else quantized(self._model, node, name, bits)
            if change is not None:
                self._changed[name] = change
            self._read[id(node)] = (self._model, node) if change is None else with_weights(self._model, change)
        return self._read[id(node)]


def in_reference(model: Model, changes: Sequence[ChangedWeights]) -> Model:
    """Return the model whose reference has the changed weights.

    Raises
    ------
    ModelError
        The file has the weights inside an operator in another form.
    """
    if not changes:
        return model
    from onnx import numpy_helper

    proto = type(model.reference)()
    proto.CopyFrom(model.reference)
    for change in changes:
        _reader(proto, change).input[change.position] = change.tensor
        proto.graph.initializer.append(numpy_helper.from_array(change.weights, change.tensor))
    return replace(model, reference=proto)


def _reader(proto: onnx.ModelProto, change: ChangedWeights) -> onnx.NodeProto:
    """Return the reference's node that reads a layer's weights."""
    node = change.node
    exact: list[onnx.NodeProto] = [
        entry for entry in proto.graph.node if node.outputs[0] in entry.output and entry.op_type == node.op
    ]
    weights = node.inputs[change.position]
    readers = [entry for entry in proto.graph.node if weights in entry.input]
    found: list[onnx.NodeProto] = exact or [entry for entry in readers if entry.input[change.position] == weights]
    if len(found) != 1:
        raise ModelError(
            change.layer,
            f"its weights are part of an operator that computes {node.op} in another form, so they cannot be quantized; "
            "export the file with Conv, Gemm or MatMul",
            code="model-operator",
            node=node.name,
        )
    return found[0]
