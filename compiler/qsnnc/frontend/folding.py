"""Constants that a file computes, where an operator's spelling must know them: weights quantized inside the graph, say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qsnnc.frontend.reference import evaluate

if TYPE_CHECKING:
    import onnx


def with_constants(model: onnx.ModelProto, wanted: Iterable[str]) -> onnx.ModelProto:
    """Return the model with what is computed of constants alone, and leads to a wanted tensor, as initializers.

    Raises
    ------
    ModelError
        The reference does not run what computes them.
    """
    import onnx
    from onnx import ValueInfoProto, helper, numpy_helper

    nodes = _of_constants(model, set(wanted))
    if not nodes:
        return model
    read = {name for node in nodes for name in node.input}
    outputs = [name for node in nodes for name in node.output if name]
    given = [tensor for tensor in model.graph.initializer if tensor.name in read]
    part = helper.make_graph(nodes, "constants", [], [ValueInfoProto(name=name) for name in outputs], given)
    values = evaluate(helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version))
    out = onnx.ModelProto()
    out.CopyFrom(model)
    gone = set(outputs)
    kept = [node for node in model.graph.node if not gone.intersection(node.output)]
    out.graph.ClearField("node")
    out.graph.node.extend(kept)
    out.graph.initializer.extend(map(numpy_helper.from_array, values, outputs))
    return out


def _of_constants(model: onnx.ModelProto, wanted: set[str]) -> list[onnx.NodeProto]:
    """The nodes that compute wanted tensors from constants alone, in order."""
    constant = {tensor.name for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        inner = any(entry.HasField("g") or entry.graphs for entry in node.attribute)
        if not inner and not node.op_type.startswith("Random") and constant.issuperset(filter(None, node.input)):
            constant.update(node.output)
            found.append(node)
    needed = []
    for node in reversed(found):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            needed.append(node)
    return needed[::-1]
