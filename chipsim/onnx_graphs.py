"""What the graph of an ONNX model holds: its nodes, those of subgraphs among them, and its initial values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    import onnx


def initial_values(graph: onnx.GraphProto) -> dict[str, npt.NDArray[Any]]:
    """Return the initial values of a graph by their names."""
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Iterate over the graphs in a node's attributes."""
    for entry in node.attribute:
        if entry.HasField("g"):
            yield entry.g
        yield from entry.graphs


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Iterate over the tensors that a node reads: its inputs, and those outside its subgraphs that these read."""
    yield from node.input
    for graph in subgraphs(node):
        own = {value.name for value in (*graph.input, *graph.initializer)}
        own.update(sparse.values.name for sparse in graph.sparse_initializer)
        for inner in graph.node:
            yield from (name for name in reads(inner) if name and name not in own)
            own.update(inner.output)
        yield from (value.name for value in graph.output if value.name not in own)


def all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Iterate over nodes and those of their subgraphs."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from all_nodes(graph.node)


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Iterate over a graph and its subgraphs."""
    yield graph
    for node in all_nodes(graph.node):
        yield from subgraphs(node)


def has_half_precision(model: onnx.ModelProto) -> bool:
    """Return whether a model has float16 tensors: its input, an initializer, a constant, or the result of a Cast."""
    from onnx import TensorProto

    half = TensorProto.FLOAT16
    if any(value.type.tensor_type.elem_type == half for value in model.graph.input):
        return True
    initial = (tensor for graph in all_graphs(model.graph) for tensor in graph.initializer)
    return any(tensor.data_type == half for tensor in initial) or half in _attribute_types(model)


def _attribute_types(model: onnx.ModelProto) -> Iterator[int]:
    """Iterate over the element types that attributes name or hold."""
    for node in all_nodes(model.graph.node):
        for entry in node.attribute:
            if entry.name in ("to", "dtype", "output_dtype"):
                yield entry.i
            elif entry.HasField("t"):
                yield entry.t.data_type
