"""Make the batch axis of a model dynamic, where it was exported with a fixed batch size.

A model exported with a batch of four has reshapes, sizes and constants for four images. The compiler works on one image,
and the reference is run on any number of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.frontend.model.batch_as_image import with_image_axis
from qsnnc.frontend.model.constant_folding import with_constants
from qsnnc.frontend.model.messages import label
from qsnnc.frontend.model.operators import ELEMENTWISE, facts

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Array = npt.NDArray[Any]


def free_batch(proto: onnx.ModelProto) -> int:
    """Let a model that was exported with a batch of several images take any number of images.

    If they are not exchangeable, because a constant differs between them, the whole batch becomes one image where that is
    possible.

    Parameters
    ----------
    proto : ModelProto
        With one input; changed in place.

    Returns
    -------
    int
        Rows of the batch if it became one image, else 0.

    Raises
    ------
    ModelError
        A constant differs from image to image, and the batch cannot be one image.
    """
    axis = proto.graph.input[0].type.tensor_type.shape.dim[0]
    batch = axis.dim_value if axis.HasField("dim_value") else 0
    if batch < 2:
        return 0
    constants, ranks = constants_for_images(proto), _ranks(proto)
    try:
        _free_elementwise(proto, constants, ranks, batch)
    except ModelError:
        if not with_image_axis(proto, _of_images(proto.graph), constants_for_images(proto), ranks):
            raise
        return batch
    axis.dim_param = "N"
    free_shapes(proto.graph, constants, batch, "qsnnc.batch")
    return 0


def free_squeezes(proto: onnx.ModelProto) -> list[str]:
    """Let a Squeeze without axes keep the batch axis even for one image; changes the model in place.

    Returns
    -------
    list of str
        The nodes that were changed.
    """
    from onnx import helper, shape_inference

    nodes = [node for node in proto.graph.node if squeezes_all(node)]
    if not nodes or not proto.graph.input[0].type.tensor_type.shape.dim:
        return []
    several = type(proto)()
    several.CopyFrom(proto)
    del several.graph.value_info[:]
    several.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2  # unlike any axis that is squeezed
    graph = shape_inference.infer_shapes(several, data_prop=True).graph
    shapes = {v.name: v.type.tensor_type.shape.dim for v in (*graph.input, *graph.value_info)}
    moving, made = _of_images(proto.graph), _Made(proto.graph, "qsnnc.squeezed")
    old = any(not entry.domain and entry.version < 13 for entry in proto.opset_import)
    changed: list[str] = []
    for node in nodes:
        sizes = [dim.dim_value for dim in shapes.get(node.input[0], ())]
        if node.input[0] in moving and sizes[:1] == [2] and all(sizes):
            axes = [axis for axis, size in enumerate(sizes) if size == 1]
            if not axes:  # an empty list would again mean all axes
                node.op_type = "Identity"
            elif old:
                node.attribute.append(helper.make_attribute("axes", axes))
            else:
                node.input[1:] = [made.constant(np.array(axes, np.int64))]
            changed.append(label(node))
    return changed


def squeezes_all(node: onnx.NodeProto) -> bool:
    """Return whether a node is a Squeeze without axes."""
    return node.op_type == "Squeeze" and not node.attribute and not any(node.input[1:])


def free_reshapes(graph: onnx.GraphProto, constants: Mapping[str, Array], batch: int, mark: str) -> None:
    """Let reshapes to a fixed batch keep the actual batch; added tensors have names that begin with ``mark``."""
    from onnx import numpy_helper

    for number, node in enumerate(graph.node):
        asked = constants.get(node.input[1]) if node.op_type == "Reshape" and len(node.input) > 1 else None
        shape = [] if asked is None else asked.reshape(-1).tolist()
        if shape and shape[0] == batch:
            keep = 0 if -1 in shape[1:] else -1
            if keep == 0:  # torch writes allowzero = 1 even where nothing is zero
                for entry in [entry for entry in node.attribute if entry.name == "allowzero"]:
                    node.attribute.remove(entry)
            free = np.array([keep, *shape[1:]], np.int64)
        elif len(shape) > 1 and shape[0] > batch and shape[0] % batch == 0 and min(shape[1:]) > 0:  # rows of all images
            free = np.array([-1, *shape[1:]], np.int64)
        else:
            continue
        node.input[1] = f"{mark}_{number}"
        graph.initializer.append(numpy_helper.from_array(free, node.input[1]))


def free_shapes(graph: onnx.GraphProto, constants: Mapping[str, Array], batch: int, mark: str) -> None:
    """Let reshapes, sizes and constants that are concatenated with images follow the actual batch.

    Parameters
    ----------
    graph : GraphProto
        With one input whose first axis is the batch; changed in place.
    constants : dict
        Known constants, by name.
    batch : int
        Batch size that the graph was exported with.
    mark : str
        Prefix of the names of added tensors.
    """
    free_reshapes(graph, constants, batch, mark)
    moving, made = _of_images(graph), _Made(graph, mark)
    for node in list(graph.node):
        at = facts(node.op_type).shape_input
        known = at is not None and at < len(node.input) and node.input[0] in moving
        asked = constants.get(node.input[at]) if known else None
        if asked is not None and asked.ndim == 1 and len(asked) and asked[0] == batch:
            node.input[at] = made.shape(asked[1:])
        elif node.op_type == "Concat" and moving.intersection(node.input):
            _free_concat(node, constants, batch, made)
        made.nodes.append(node)
    made.write()


def _free_concat(node: onnx.NodeProto, constants: Mapping[str, Array], batch: int, made: _Made) -> None:
    """Expand the constants of a Concat to the actual batch."""
    axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 0)
    for number, name in enumerate(node.input):
        value = constants.get(name)
        if value is not None and value.ndim > 1 and len(value) == batch and axis not in (0, -value.ndim):
            node.input[number] = made.node("Expand", made.constant(_one(node, value)), made.shape(value.shape[1:]))


def _ranks(proto: onnx.ModelProto) -> dict[str, int]:
    """Return the numbers of axes of the tensors, where they can be inferred."""
    from onnx import shape_inference

    del proto.graph.value_info[:]  # what the file says there may be wrong, and is for one batch size
    values = shape_inference.infer_shapes(proto).graph
    return {v.name: len(v.type.tensor_type.shape.dim) for v in (*values.input, *values.value_info, *values.output)}


def _free_elementwise(proto: onnx.ModelProto, constants: Mapping[str, Array], ranks: Mapping[str, int], batch: int) -> None:
    """Replace constants that are repeated for every image of the batch by one copy that broadcasts."""
    graph = proto.graph
    moving, made = _of_images(graph), _Made(graph, "qsnnc.image")
    for node in list(graph.node):
        rank = max((ranks.get(name, 0) for name in node.input if name in moving), default=0)
        broadcasts = node.op_type in ELEMENTWISE or (node.op_type == "Gemm" and node.input[0] in moving)
        for number, name in enumerate(node.input if broadcasts else ()):
            value = constants.get(name) if node.op_type != "Gemm" or number == 2 else None
            if value is not None and value.ndim == rank > 1 and len(value) == batch:
                node.input[number] = made.constant(_one(node, value))
        made.nodes.append(node)
    made.write()


def _one(node: onnx.NodeProto, value: Array) -> Array:
    """Return a constant's part for one image, which must be the same for all.

    Raises
    ------
    ModelError
        The constant differs from image to image.
    """
    if (value != value[:1]).any():
        raise ModelError(
            node.name or node.op_type,
            f"{node.op_type} has a constant that differs between the {len(value)} images of the batch; export with a batch "
            "of one, or, if the rows are parts of one image, with an axis for the batch before them",
            code="batch-moved",
            node=node.name,
        )
    return value[:1]


def _of_images(graph: onnx.GraphProto) -> set[str]:
    """Return the tensors that depend on the input."""
    found = {graph.input[0].name}
    for node in graph.node:
        if found.intersection(node.input):
            found.update(name for name in node.output if name)
    return found


def constants_for_images(proto: onnx.ModelProto) -> dict[str, Array]:
    """Return the constants that nodes on images read, including those that the graph computes."""
    from onnx import numpy_helper

    moving = _of_images(proto.graph)
    read = {name for node in proto.graph.node if moving.intersection(node.input) for name in node.input} - moving
    with contextlib.suppress(ModelError):  # reported when the model is read
        proto = with_constants(proto, read)
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer if tensor.name in read}


class _Made:
    """Constants and nodes to be added to a graph, the nodes in order with the existing ones."""

    def __init__(self, graph: onnx.GraphProto, mark: str) -> None:
        self.graph, self.mark, self.count = graph, mark, 0
        self.nodes: list[onnx.NodeProto] = []
        self.batch = ""

    def name(self) -> str:
        """Return an unused name."""
        self.count += 1
        return f"{self.mark}_made_{self.count}"

    def constant(self, value: Array) -> str:
        """Add an initializer and return its name."""
        from onnx import numpy_helper

        name = self.name()
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return its output."""
        from onnx import helper

        out = self.name()
        self.nodes.append(helper.make_node(op, inputs, [out], name=out, **attributes))
        return out

    def shape(self, rest: Sequence[int] | Array) -> str:
        """Return a tensor that holds the shape (batch, *rest)."""
        if not self.batch:
            whole = self.node("Shape", self.graph.input[0].name)
            self.batch = self.node("Gather", whole, self.constant(np.zeros(1, np.int64)), axis=0)
        return self.node("Concat", self.batch, self.constant(np.array(rest, np.int64)), axis=0)

    def write(self) -> None:
        """Replace the nodes of the graph."""
        nodes = list(self.nodes)
        del self.graph.node[:]
        self.graph.node.extend(nodes)
