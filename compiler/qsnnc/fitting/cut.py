"""Cut channels out of an ONNX graph: the weights that make them, those that read them, and the constants in between.

A channel whose values are zero contributes nothing to the layers that read it, as long as what stands in between keeps zero
zero; then the smaller graph computes the same scores. Where it cannot be followed (a residual sum, a depthwise convolution,
an addition behind the activation), nothing is cut and `CannotCut` says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chipsim.onnx_graphs import initial_values

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]
#: operators of one tensor and constants that treat each channel alone
PER_CHANNEL = frozenset(
    "Abs Add AveragePool BatchNormalization Cast Ceil Clip DequantizeLinear Div Dropout Floor GlobalAveragePool HardSigmoid "
    "Identity LeakyRelu MaxPool Mul Neg PRelu Quant QuantizeLinear Relu Round Sigmoid Sign Sub Tanh BipolarQuant".split()
)
#: those of them that keep zero zero, `Clip` where zero is in its range
ZERO = PER_CHANNEL - set("Add BatchNormalization BipolarQuant HardSigmoid Sigmoid Sub".split())
#: operators between a constant and the weights of a layer
OF_WEIGHTS = frozenset("Add Cast Clip DequantizeLinear Div Identity Mul Quant QuantizeLinear Round Sign Sub".split())


class CannotCut(Exception):
    """Some channels cannot be cut out; the text says what is in the way."""


class _Graph:
    """A copy of a model, and who makes and reads each of its tensors."""

    def __init__(self, proto: onnx.ModelProto, keep: Array, count: int) -> None:
        from onnx import numpy_helper

        self.proto = type(proto)()
        self.proto.CopyFrom(proto)
        del self.proto.graph.value_info[:]  # shapes change
        graph = self.proto.graph
        self.constants = initial_values(graph)
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self.maker = {name: node for node in graph.node for name in node.output}
        self.outputs = {each.name for each in graph.output}
        self.keep, self.count = keep, count

    def readers(self, tensor: str) -> list[tuple[onnx.NodeProto, int]]:
        """Return the nodes that read a tensor, with the position among their inputs."""
        if tensor in self.outputs:
            raise CannotCut(f"{tensor} is an output of the model")
        return [(node, at) for node in self.proto.graph.node for at, name in enumerate(node.input) if name == tensor]

    def replace(self, node: onnx.NodeProto, at: int, value: Array) -> None:
        """Give a node another constant; other readers keep the old one."""
        from onnx import numpy_helper

        name, number = f"{node.input[at]}/cut", 1
        while name in self.constants or name in self.maker:
            name, number = f"{node.input[at]}/cut/{number}", number + 1
        self.constants[name] = value
        self.proto.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        node.input[at] = name

    def cut_constant(self, node: onnx.NodeProto, at: int, axis: int, rank: int) -> None:
        """Cut a constant that is broadcast to a tensor of a rank, along an axis of that tensor."""
        value = self.constants[node.input[at]]
        own = axis - (rank - value.ndim)
        if _per_axis(node) is not None and value.ndim == 1:
            own = 0 if _per_axis(node) == axis else -1
        if own < 0 or value.shape[own] == 1:
            return
        self.replace(node, at, self.taken(value, own))

    def taken(self, value: Array, axis: int) -> Array:
        """Return the features of the channels that stay; a channel may be several features in a row."""
        size = value.shape[axis]
        if size % self.count:
            raise CannotCut(f"a constant of {size} features has no room for {self.count} channels")
        block = size // self.count
        found: Array = np.take(value, (self.keep[:, None] * block + np.arange(block)).reshape(-1), axis)
        return found

    def cut_weights(self, node: onnx.NodeProto, at: int, axis: int) -> None:
        """Cut the weights of a layer along an axis, through what quantizes them."""
        name = node.input[at]
        if name in self.constants:
            self.replace(node, at, self.taken(self.constants[name], axis))
            return
        maker = self.maker.get(name)
        if maker is None or maker.op_type not in OF_WEIGHTS or len(self.readers(name)) > 1:
            raise CannotCut(f"the weights of {node.name or node.op_type} are no constant that one layer reads")
        rank = self._rank_of_weights(maker)
        self.cut_weights(maker, 0, axis)
        for other in range(1, len(maker.input)):
            if maker.input[other]:
                self.cut_constant(maker, other, axis, rank)

    def _rank_of_weights(self, node: onnx.NodeProto) -> int:
        name = node.input[0]
        if name in self.constants:
            return int(self.constants[name].ndim)
        if name not in self.maker:
            raise CannotCut(f"{name} is no constant")
        return self._rank_of_weights(self.maker[name])


def cut(proto: onnx.ModelProto, tensor: str, rank: int, count: int, without: Sequence[int]) -> onnx.ModelProto:
    """Return a copy of a model without some channels of an activation.

    Parameters
    ----------
    tensor : str
        The activation, (N, channels, ...).
    rank : int
        Of the tensor, N included.
    count : int
        Channels that it has.
    without : sequence of int
        Those that go; zero must be their value in the network that is meant.

    Raises
    ------
    CannotCut
    """
    keep = np.array([channel for channel in range(count) if channel not in set(without)])
    graph = _Graph(proto, keep, count)
    _backwards(graph, tensor, rank)
    _forwards(graph, [(tensor, rank)])
    return graph.proto


def _backwards(graph: _Graph, tensor: str, rank: int) -> None:
    """Cut what makes a tensor, down to the weights of a layer."""
    node = graph.maker.get(tensor)
    if node is None:
        raise CannotCut(f"{tensor} is an input of the model")
    if node.op_type in ("Conv", "Gemm", "MatMul"):
        _refuse_groups(node)
        axis = 0 if node.op_type == "Conv" or _attribute(node, "transB", 0) else 1
        graph.cut_weights(node, 1, axis)
        if len(node.input) > 2 and node.input[2]:
            _cut_bias(graph, node)
        return
    source = _through(graph, node, rank)
    if len(graph.readers(source)) > 1:
        raise CannotCut(f"{source} is read elsewhere too")
    _backwards(graph, source, rank)


def _cut_bias(graph: _Graph, node: onnx.NodeProto) -> None:
    if node.input[2] in graph.constants:
        graph.cut_constant(node, 2, 1, 2)
    else:
        graph.cut_weights(node, 2, 0)


def _forwards(graph: _Graph, tensors: list[tuple[str, int]]) -> None:
    """Cut what reads some tensors, given with their ranks, up to the weights of the next layers."""
    while tensors:
        tensor, rank = tensors.pop()
        for node, at in graph.readers(tensor):
            if at == 0 and node.op_type in ("Conv", "Gemm", "MatMul"):
                _refuse_groups(node)
                if node.op_type == "Conv" or _attribute(node, "transB", 0):
                    graph.cut_weights(node, 1, 1)
                else:
                    graph.cut_weights(node, 1, 0)
            elif at == 0 and node.op_type in ("Flatten", "Reshape"):
                _flatten(graph, node)
                tensors.append((node.output[0], 2))  # each channel is several features in a row
            else:
                _keeps_zero(graph, node, at, tensor, rank)
                tensors.append((node.output[0], rank))


def _keeps_zero(graph: _Graph, node: onnx.NodeProto, at: int, tensor: str, rank: int) -> None:
    """Cut the constants of a node that reads the tensor and gives zero for zero."""
    if node.op_type not in ZERO or (node.op_type == "Div" and at != 0):
        raise CannotCut(f"{node.name or node.op_type} ({node.op_type}) reads {tensor}")
    if node.op_type == "Clip":
        low, high = _clip_range(graph, node)
        if not low <= 0 <= high:
            raise CannotCut(f"{node.name or 'Clip'} gives no zero")
    _through(graph, node, rank)


def _clip_range(graph: _Graph, node: onnx.NodeProto) -> tuple[float, float]:
    found = [_attribute(node, "min", -np.inf), _attribute(node, "max", np.inf)]
    for at, name in enumerate(node.input[1:3]):
        if name:
            if name not in graph.constants:
                raise CannotCut(f"the range of {node.name or 'Clip'} is no constant")
            found[at] = float(graph.constants[name].reshape(-1)[0])
    return found[0], found[1]


def _through(graph: _Graph, node: onnx.NodeProto, rank: int) -> str:
    """Cut the constants of an operator that treats channels alone; return the tensor that it reads."""
    if node.op_type not in PER_CHANNEL or len([name for name in node.output if name]) > 1:
        raise CannotCut(f"{node.name or node.op_type} ({node.op_type}) mixes channels")
    tensors = [name for name in node.input if name and name not in graph.constants]
    if len(tensors) != 1:
        raise CannotCut(f"{node.name or node.op_type} ({node.op_type}) joins {len(tensors)} tensors")
    for at, name in enumerate(node.input):
        if name in graph.constants:
            if node.op_type == "BatchNormalization":
                graph.replace(node, at, graph.taken(graph.constants[name], 0))
            elif node.op_type != "Clip":
                graph.cut_constant(node, at, 1, rank)
    return str(tensors[0])


def _flatten(graph: _Graph, node: onnx.NodeProto) -> None:
    """Accept what puts the features of an image in a row; a written number of features becomes the new one."""
    if node.op_type == "Flatten":
        if _attribute(node, "axis", 1) != 1:
            raise CannotCut(f"{node.name or 'Flatten'} has another axis than 1")
        return
    shape = graph.constants.get(node.input[1]) if len(node.input) > 1 else None
    if shape is None or len(shape) != 2:
        raise CannotCut(f"{node.name or 'Reshape'} makes another shape than (N, features)")
    features = int(shape[1])
    if features > 0:
        if features % graph.count:
            raise CannotCut(f"{node.name or 'Reshape'} mixes channels")
        graph.replace(node, 1, np.array([shape[0], features // graph.count * len(graph.keep)], shape.dtype))


def _refuse_groups(node: onnx.NodeProto) -> None:
    if _attribute(node, "group", 1) != 1 or _attribute(node, "transA", 0):
        raise CannotCut(f"{node.name or node.op_type} is a convolution in groups, or transposes its input")


def _per_axis(node: onnx.NodeProto) -> int | None:
    """Return the axis that scales of a quantizer belong to; None of another operator."""
    return int(_attribute(node, "axis", 1)) if node.op_type in ("QuantizeLinear", "DequantizeLinear") else None


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    from onnx import helper

    found = next((each for each in node.attribute if each.name == name), None)
    return default if found is None else helper.get_attribute_value(found)
