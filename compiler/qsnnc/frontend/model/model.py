"""Define an ONNX graph as frozen data: nodes, constants and the shapes for one image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from chipsim.qonnx_ops import ORIGIN
from qsnnc.errors import ModelError
from qsnnc.frontend.model.messages import label
from qsnnc.frontend.model.operator_table import LINEAR

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

#: ONNX's numbers of float32, float16, and all float types (0: unknown)
SINGLE, HALF = 1, 10
FLOATS = (0, SINGLE, HALF, 11, 16)
#: those of integers narrower than a byte, which onnxruntime computes but does not return
NARROW = (21, 22, 25, 26)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operator with its attributes as Python values; ``proto`` is the original."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    proto: onnx.NodeProto

    @staticmethod
    def of(proto: onnx.NodeProto) -> Node:
        """Return a node of a graph."""
        from onnx import helper

        attributes = {entry.name: helper.get_attribute_value(entry) for entry in proto.attribute}
        linear = f"{proto.op_type} (linear)"
        op = linear if linear in LINEAR and attributes.get("mode") == b"linear" else proto.op_type
        return Node(label(proto), op, tuple(proto.input), tuple(proto.output), attributes, proto)

    def renamed(self, names: Mapping[str, str]) -> Node:
        """Return the same operator on renamed tensors; those that are not listed keep their names."""
        return self.between(
            tuple(names.get(name, name) for name in self.inputs), tuple(names.get(name, name) for name in self.outputs)
        )

    def between(self, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Node:
        """Return the same operator with other inputs and outputs."""
        proto = type(self.proto)()
        proto.CopyFrom(self.proto)
        del proto.input[:], proto.output[:]
        proto.input.extend(inputs)
        proto.output.extend(outputs)
        return replace(self, inputs=inputs, outputs=outputs, proto=proto)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A checked ONNX graph with one input and one output."""

    path: Path
    sha256: str
    input: str
    input_dtype: str  # numpy name
    output: str
    nodes: tuple[Node, ...]  # in topological order; nodes on constants are folded
    constants: Mapping[str, Array]
    shapes: Mapping[str, tuple[int, ...]]  # of one image, without the batch axis
    metadata: Mapping[str, str]
    opsets: Mapping[str, int]
    ir_version: int
    integral: frozenset[str]  # nodes that replace integer sums, which are exact whatever their size
    written: frozenset[str]  # tensors that the reference has as well
    kinds: Mapping[str, int]  # ONNX element type of every tensor where it is known
    reference: onnx.ModelProto  # what results are compared with: the file, QONNX operators rewritten
    merged: frozenset[str] = frozenset()  # whose first axis in the reference is the batch times rows of their own
    batch: int = 0  # images that the file takes at a time, 0 if any number
    batch_rows: int = 0  # rows of the file's batch if that is one image (`batch_as_image`), else 0

    def whole(self, name: str) -> bool:
        """Return whether an inner tensor has a type other than a float type; unknown types count as float."""
        return name != self.input and self.kinds.get(name, 1) not in FLOATS

    def returns(self, name: str) -> bool:
        """Return whether the reference has a tensor and can return it."""
        return name in self.written and self.kind(name) not in NARROW

    def kind(self, name: str) -> int:
        """Return the ONNX element type of a tensor; float32 if it is unknown."""
        return self.kinds.get(name) or SINGLE

    def subgraph(
        self, inputs: Mapping[str, tuple[int, tuple[int | str, ...]]], outputs: Iterable[str], nodes: Iterable[Node]
    ) -> onnx.ModelProto:
        """Build a model from some of the nodes.

        Parameters
        ----------
        inputs : dict
            Name to (ONNX element type, shape); a constant of that name is left out.
        outputs : iterable of str
        nodes : iterable of Node
            In topological order.
        """
        from onnx import ValueInfoProto, helper, numpy_helper

        protos = [node.proto for node in nodes]
        needed = {name for proto in protos for name in proto.input}
        constants = [
            numpy_helper.from_array(self.constants[n], n) for n in sorted((needed & self.constants.keys()) - inputs.keys())
        ]
        graph = helper.make_graph(
            protos,
            "part",
            [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
            [ValueInfoProto(name=name) for name in outputs],
            constants,
        )
        for node in graph.node:
            if node.doc_string.startswith(ORIGIN):
                node.ClearField("doc_string")
        opsets = [helper.make_opsetid(domain, version) for domain, version in self.opsets.items()]
        return helper.make_model(graph, opset_imports=opsets, ir_version=self.ir_version)


class Shapes(dict[str, tuple[int, ...]]):
    """Shapes of one image; looking up an unknown one raises `ModelError`."""

    def __missing__(self, name: str) -> tuple[int, ...]:
        raise ModelError(name, "its shape depends on the data; export with fixed shapes", code="model-shapes", node=name)


def downstream(nodes: Iterable[Node], start: str) -> list[Node]:
    """Return the nodes that depend on a tensor, in order."""
    reached = {start}
    kept = []
    for node in nodes:
        if reached.intersection(node.inputs):
            reached.update(node.outputs)
            kept.append(node)
    return kept
