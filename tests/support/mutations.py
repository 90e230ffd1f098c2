"""Change an ONNX file in one place: an attribute, a shape, a type or an edge, as damaged exporters and hands would."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Draw = np.random.Generator
INTEGERS = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 5, 7, 16, 255, 1 << 16, 1 << 31, 1 << 40, 2**63 - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.1, 1e-30, 1e30, -1e30, float("inf"), float("-inf"), float("nan"))
TEXTS = (b"", b"SAME_UPPER", b"VALID", b"linear", b"reflect", b"ROUND", b"\xff", b"x" * 1000)
SIZES = (-1, 0, 1, 2, 3, 4, 7, 8, 64, 1 << 20, 1 << 40)
TYPES = tuple(value for name, value in TensorProto.DataType.items() if name not in ("STRING", "COMPLEX64", "COMPLEX128"))
OPERATORS = (
    "Add Sub Mul Div Relu Round Clip Conv ConvTranspose Gemm MatMul MaxPool AveragePool GlobalAveragePool GlobalMaxPool Flatten "
    "Reshape Transpose Concat Slice Split Gather Pad Squeeze Unsqueeze ReduceSum ReduceMean ReduceMax QuantizeLinear "
    "DequantizeLinear QLinearConv Cast Floor Sign Sigmoid Softmax ArgMax Resize Expand Tile Identity Constant Shape Where "
    "Greater Pow LSTM Einsum NonZero TopK Quant DepthToSpace LpPool InstanceNormalization CumSum Max Min Sum Erf Gelu"
).split()


def mutated(model: onnx.ModelProto, seed: int) -> tuple[str, onnx.ModelProto]:
    """Return what was changed, and the changed model; one to three changes."""
    rng = np.random.default_rng(seed)
    out = onnx.ModelProto()
    out.CopyFrom(model)
    said = []
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        change = pick(rng, CHANGES)
        said.append(f"{change.__name__[1:]}: {change(out, rng)}")
    return "; ".join(said), out


def pick(rng: Draw, among: Sequence):
    return among[int(rng.integers(len(among)))] if len(among) else None


def _attribute(model: onnx.ModelProto, rng: Draw) -> str:
    """Another value of an attribute's own type."""
    node = pick(rng, [node for node in model.graph.node if node.attribute])
    if node is None:
        return "none"
    entry = pick(rng, node.attribute)
    if entry.type == onnx.AttributeProto.INT:
        entry.i = pick(rng, INTEGERS)
    elif entry.type == onnx.AttributeProto.FLOAT:
        entry.f = pick(rng, FLOATS)
    elif entry.type == onnx.AttributeProto.STRING:
        entry.s = pick(rng, TEXTS)
    elif entry.type == onnx.AttributeProto.INTS:
        kind = rng.integers(3)
        if kind == 0 and len(entry.ints):
            entry.ints[int(rng.integers(len(entry.ints)))] = pick(rng, INTEGERS)
        elif kind == 1 and len(entry.ints):
            entry.ints.pop()
        else:
            entry.ints.append(pick(rng, INTEGERS))
    elif entry.type == onnx.AttributeProto.TENSOR:
        _change_tensor(entry.t, rng)
    return f"{node.op_type}.{entry.name}"


def _other_attribute(model: onnx.ModelProto, rng: Draw) -> str:
    """An attribute less, of another type, or from another operator."""
    node = pick(rng, model.graph.node)
    kind = rng.integers(3)
    if kind == 0 and node.attribute:
        entry = pick(rng, node.attribute)
        node.attribute.remove(entry)
        return f"{node.op_type} without {entry.name}"
    names = "axis axes kernel_shape pads strides dilations group perm to alpha mode keepdims auto_pad transB value".split()
    name = pick(rng, [entry.name for entry in node.attribute] or names) if kind == 1 else pick(rng, names)
    for entry in [entry for entry in node.attribute if entry.name == name]:
        node.attribute.remove(entry)
    value = pick(rng, [3, 0.5, "text", [1, 2], [0.5], numpy_helper.from_array(np.ones(2, np.float32))])
    node.attribute.append(helper.make_attribute(name, value))
    return f"{node.op_type}.{name} = {value if not isinstance(value, TensorProto) else 'tensor'}"


def _change_tensor(tensor: TensorProto, rng: Draw) -> None:
    """Another value, type or shape; sometimes one that does not match the data."""
    kind = rng.integers(5)
    if kind == 0 and tensor.dims:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = pick(rng, SIZES)
        return
    if kind == 1:
        tensor.data_type = pick(rng, TYPES)
        return
    try:
        value = numpy_helper.to_array(tensor)
    except Exception:  # noqa: BLE001  # a tensor that an earlier change broke
        return
    name = tensor.name
    if kind == 2:
        shapes = [(), (1,), (0,), (1, *value.shape), (value.size,), (*value.shape, 1), value.shape[::-1], value.shape[1:]]
        value = np.resize(value, pick(rng, shapes))
    elif kind == 3:
        with np.errstate(all="ignore"):
            value = value.astype(
                pick(rng, [np.float16, np.float64, np.float32, np.int64, np.int32, np.int8, np.uint8, bool])
            )
    elif value.size and value.dtype.kind in "iuf":
        value = value.copy()
        at = int(rng.integers(value.size)) if rng.integers(2) else slice(None)
        with np.errstate(all="ignore"):
            value.reshape(-1)[at] = np.asarray(pick(rng, FLOATS[:8])).astype(value.dtype)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name))


def _tensor(model: onnx.ModelProto, rng: Draw) -> str:
    tensor = pick(rng, model.graph.initializer)
    if tensor is None:
        return "none"
    _change_tensor(tensor, rng)
    return tensor.name


def _value(model: onnx.ModelProto, rng: Draw) -> str:
    """The type or shape that the file gives for its input, its output or a tensor."""
    value = pick(rng, [*model.graph.input, *model.graph.output, *model.graph.value_info])
    if value is None:
        return "none"
    kind, typed = rng.integers(4), value.type.tensor_type
    if kind == 0:
        typed.elem_type = pick(rng, TYPES)
    elif kind == 1 and typed.shape.dim:
        typed.shape.dim[int(rng.integers(len(typed.shape.dim)))].dim_value = pick(rng, SIZES)
    elif kind == 2:
        typed.shape.dim.add().dim_value = pick(rng, SIZES)
    else:
        typed.ClearField("shape")
    return value.name


def _edge(model: onnx.ModelProto, rng: Draw) -> str:
    """An input that reads another tensor, none, or one more."""
    graph = model.graph
    names = [value.name for value in (*graph.input, *graph.initializer)] + [n for node in graph.node for n in node.output]
    node = pick(rng, graph.node)
    other = str(pick(rng, names))
    kind = rng.integers(5)
    if kind == 0 and len(node.input) > 1:
        node.input[0], node.input[1] = node.input[1], node.input[0]
    elif kind == 1 and node.input:
        node.input[int(rng.integers(len(node.input)))] = ""
    elif kind == 2:
        node.input.append(other)
    elif kind == 3 and node.input:
        node.input.pop()
    elif node.input:
        node.input[int(rng.integers(len(node.input)))] = other
    return f"{node.op_type} {list(node.input)}"


def _node(model: onnx.ModelProto, rng: Draw) -> str:
    """A node less, one twice, another operator, or two in the other order."""
    nodes = model.graph.node
    node = pick(rng, nodes)
    kind = rng.integers(4)
    if kind == 0 and len(nodes) > 1:
        for reader in nodes:
            for number, name in enumerate(reader.input):
                if node.output and node.input and name == node.output[0]:
                    reader.input[number] = node.input[0]
        nodes.remove(node)
    elif kind == 1:
        twin = nodes.add()
        twin.CopyFrom(node)
        twin.output[:] = [f"{name}/twin" for name in node.output]
    elif kind == 2:
        node.op_type = str(pick(rng, OPERATORS))
    else:
        node.output[:] = list(node.output)[::-1] if len(node.output) > 1 else [*node.output, "more"]
    return node.op_type


def _file(model: onnx.ModelProto, rng: Draw) -> str:
    """The opset, the domain of a node, or the outputs."""
    kind = rng.integers(4)
    if kind == 0 and model.opset_import:
        entry = pick(rng, model.opset_import)
        entry.version = int(rng.integers(7, 29))
        return f"{entry.domain!r} {entry.version}"
    if kind == 1:
        node = pick(rng, model.graph.node)
        node.domain = str(pick(rng, ["com.microsoft", "qonnx.custom_op.general", "ai.onnx", "ai.onnx.ml", "mine", ""]))
        return f"{node.domain}:{node.op_type}"
    if kind == 2:
        node = pick(rng, model.graph.node)
        model.graph.output[0].name = node.output[0]
        model.graph.output[0].type.tensor_type.ClearField("shape")
        return f"output {node.output[0]}"
    model.ir_version = int(pick(rng, [3, 4, 7, 8, 10, 11]))
    return f"IR {model.ir_version}"


CHANGES: tuple[Callable[[onnx.ModelProto, Draw], str], ...] = (
    _attribute, _attribute, _other_attribute, _tensor, _tensor, _value, _edge, _edge, _node, _file,
)  # fmt: skip
