"""Evaluate constants that the graph computes and a rewrite needs to know, for example weights quantized in the graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from qsnnc.frontend.model.reference import session

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

#: types that onnxruntime supports but does not return, and the domain whose DequantizeLinear converts them in any opset
NARROW = {"int4": "com.microsoft", "uint4": "com.microsoft", "int2": "", "uint2": ""}


def with_constants(model: onnx.ModelProto, wanted: Iterable[str]) -> onnx.ModelProto:
    """Return the model with all constants that a wanted tensor depends on evaluated to initializers.

    Raises
    ------
    ModelError
        The reference cannot run the nodes that compute them.
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
    values = evaluated(helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version))
    out = onnx.ModelProto()
    out.CopyFrom(model)
    gone = set(outputs)
    kept = [node for node in model.graph.node if not gone.intersection(node.output)]
    out.graph.ClearField("node")
    out.graph.node.extend(kept)
    out.graph.initializer.extend(map(numpy_helper.from_array, values, outputs))
    return out


def evaluated(model: onnx.ModelProto) -> list[npt.NDArray[Any]]:
    """Run a model that has no input; its outputs may be integers narrower than a byte.

    Parameters
    ----------
    model : ModelProto
        Changed in place if it has outputs of such a type.

    Raises
    ------
    ModelError
        The reference cannot run it.
    """
    import ml_dtypes
    from onnx import TensorProto, helper

    run = session(model)
    kinds = {output.name: output.type.removeprefix("tensor(").removesuffix(")") for output in run.get_outputs()}
    narrow = {output.name: kinds[output.name] for output in model.graph.output if kinds[output.name] in NARROW}
    if not narrow:
        return run.run(None, {})
    if all(entry.domain != "com.microsoft" for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.initializer.append(helper.make_tensor("qsnnc.one", TensorProto.FLOAT, [], [1.0]))
    for output in model.graph.output:
        if name := narrow.get(output.name):
            whole = f"{output.name}/qsnnc.whole"
            inputs = [output.name, "qsnnc.one"]
            model.graph.node.append(helper.make_node("DequantizeLinear", inputs, [whole], domain=NARROW[name]))
            output.CopyFrom(helper.make_tensor_value_info(whole, TensorProto.FLOAT, None))
    types = [getattr(ml_dtypes, kinds[name]) if name in narrow else None for name in kinds]
    values = session(model).run(None, {})
    return [value if kind is None else value.astype(kind) for value, kind in zip(values, types, strict=True)]


def _of_constants(model: onnx.ModelProto, wanted: set[str]) -> list[onnx.NodeProto]:
    """Return the nodes that compute wanted tensors from constants alone, in order."""
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
