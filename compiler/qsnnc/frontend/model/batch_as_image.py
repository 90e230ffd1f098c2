"""Take the whole batch of a file as one image, where a constant differs between the rows of a fixed batch.

Such rows are not exchangeable: the file is a function of all of them. They become rows of one image behind a batch axis of
their own, which is what the file would have said had it been exported with one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from qsnnc.frontend.model.operators import ELEMENTWISE

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Array = npt.NDArray[Any]

#: operators whose attribute `axis` counts from the batch, with its default
AXIS = {"QuantizeLinear": 1, "DequantizeLinear": 1, "Softmax": -1, "LogSoftmax": -1, "ArgMax": 0, "ArgMin": 0, "Concat": 1}


def with_image_axis(
    proto: onnx.ModelProto, moving: set[str], constants: Mapping[str, Array], ranks: Mapping[str, int]
) -> bool:
    """Put a batch axis in front of a network of matrices.

    Parameters
    ----------
    proto : ModelProto
        With one input of shape (rows, columns); changed in place if that is possible, else unchanged.
    moving : set of str
        Tensors that depend on the input.
    constants : dict
        Known constants, by name.
    ranks : dict
        Numbers of axes, by tensor.

    Returns
    -------
    bool
        Whether every operator has such a form.
    """
    nodes: list[onnx.NodeProto] = []
    opset = next((entry.version for entry in proto.opset_import if not entry.domain), 0)
    for node in proto.graph.node:
        if not moving.intersection(node.input):
            nodes.append(node)
            continue
        of_rows = all(ranks.get(name) == 2 for name in (*node.input, *node.output) if name in moving)
        changed = behind_an_axis(node, moving, constants, opset) if of_rows else None
        if changed is None:
            return False
        nodes += changed
    graph = proto.graph
    _prepend(graph.input[0])
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    return True


def _prepend(value: onnx.ValueInfoProto) -> None:
    """Give an input a free first axis."""
    shape = value.type.tensor_type.shape
    sizes = [dim.dim_value for dim in shape.dim]
    del shape.dim[:]
    shape.dim.add().dim_param = "N"
    for size in sizes:
        shape.dim.add().dim_value = size


def behind_an_axis(
    node: onnx.NodeProto, moving: set[str], constants: Mapping[str, Array], opset: int
) -> list[onnx.NodeProto] | None:
    """Return the nodes that compute the same behind one more axis; None if the operator has no such form."""
    from onnx import helper

    if node.domain:
        return None
    given = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    op = node.op_type
    if op == "Gemm":
        return _product(node, given, moving, constants)
    if op == "MatMul":
        return [node] if node.input[0] in moving and node.input[1] not in moving else None
    if op in AXIS and not (op.endswith("Softmax") and opset < 13) and given.get("keepdims", 1):
        axis = given.get("axis", AXIS[op])
        out = type(node)()
        out.CopyFrom(node)
        kept = [entry for entry in node.attribute if entry.name != "axis"]
        del out.attribute[:]
        out.attribute.extend(kept)
        per_tensor = op.endswith("Linear") and opset < 13 and "axis" not in given  # the attribute did not exist
        if not per_tensor:
            out.attribute.append(helper.make_attribute("axis", axis + 1 if axis >= 0 else axis))
        return [out]
    return [node] if op in ELEMENTWISE and op not in AXIS else None  # they broadcast from the last axis


def _product(
    node: onnx.NodeProto, given: Mapping[str, Any], moving: set[str], constants: Mapping[str, Array]
) -> list[onnx.NodeProto] | None:
    """Return a Gemm as a MatMul, scaled, and an Add."""
    from onnx import helper

    weights = constants.get(node.input[1])
    added = node.input[2] if len(node.input) > 2 else ""
    offset = constants.get(added)
    if weights is None or given.get("transA", 0) or node.input[0] not in moving or (added and offset is None):
        return None
    if weights.dtype.kind != "f":
        return None
    label = node.name or node.output[0]
    out, nodes = node.output[0], []

    def constant(value: Array, what: str) -> str:
        from onnx import numpy_helper

        name = f"{out}/{what}"
        tensor = numpy_helper.from_array(np.ascontiguousarray(value), name)
        nodes.append(helper.make_node("Constant", [], [name], name=f"{label}/{what}", value=tensor))
        return name

    alpha, beta = (np.asarray(given.get(name, 1.0), weights.dtype) for name in ("alpha", "beta"))
    matrix = (weights.T if given.get("transB", 0) else weights) * alpha
    right = constant(matrix, "weights")
    left = f"{out}/product" if offset is not None else out
    nodes.append(helper.make_node("MatMul", [node.input[0], right], [left], name=label))
    if offset is not None:
        nodes.append(helper.make_node("Add", [left, constant(offset * beta, "C")], [out], name=f"{label}/C"))
    return nodes
