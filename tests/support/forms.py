"""Random networks in the forms of published files: the same numbers, or others that onnxruntime computes as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from chipsim.onnx_repair import repaired
from chipsim.qonnx_ops import rewrite

Draw = np.random.Generator
#: positions of inputs that stay float32 in a float16 network
SINGLE = {"Resize": (1, 2)}
#: operators that compute the same whatever the axes are
SHAPELESS = frozenset({"Clip", "Floor", "Mul", "Neg", "Relu", "Round", "QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True)
class Dressed:
    """A network in another form, and the network that onnxruntime can run to compute the same."""

    model: onnx.ModelProto
    plain: onnx.ModelProto


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    out = onnx.ModelProto()
    out.CopyFrom(model)
    return out


def _sparse(model: onnx.ModelProto, rng: Draw) -> Dressed:
    """Some of the weights are sparse, as initial values or as Constants, with flat indices or one a row."""
    out, kept = copied(model), []
    for tensor in list(out.graph.initializer):
        value = numpy_helper.to_array(tensor)
        if value.dtype != np.float32 or value.ndim < 2 or rng.random() < 0.3:
            kept.append(tensor)
            continue
        where = np.flatnonzero(value) if rng.random() < 0.5 else np.argwhere(value)
        values = helper.make_tensor(tensor.name, TensorProto.FLOAT, [len(where)], value[value != 0])
        indices = helper.make_tensor(f"{tensor.name}/where", TensorProto.INT64, where.shape, where.reshape(-1))
        sparse = helper.make_sparse_tensor(values, indices, value.shape)
        if rng.random() < 0.5:
            out.graph.sparse_initializer.append(sparse)
        else:
            out.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], sparse_value=sparse))
    del out.graph.initializer[:]
    out.graph.initializer.extend(kept)
    return Dressed(out, model)


def _spelt(model: onnx.ModelProto, rng: Draw) -> Dressed:
    """The standard's domain is spelt out, in the imports, at the nodes or both."""
    out = copied(model)
    out.opset_import[0].domain = str(rng.choice(["", "ai.onnx"]))
    for node in out.graph.node:
        if not node.domain:
            node.domain = str(rng.choice(["", "ai.onnx"]))
    return Dressed(out, model)


def _foreign(model: onnx.ModelProto, _: Draw) -> Dressed:
    """Quantizers of com.microsoft, which the file does not import."""
    out = copied(model)
    for node in out.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.domain = "com.microsoft"
    return Dressed(out, model)


def _quants(model: onnx.ModelProto, rng: Draw) -> Dressed:
    """Every scaling, rounding and clipping is a Quant, which the file does not import, with parameters of any type."""
    out = copied(model)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    readers = [name for node in model.graph.node for name in node.input]
    made = {node.output[0]: node for node in model.graph.node}
    for node in list(out.graph.node):
        chain = [node]
        while len(chain) < 3 and chain[-1].input and chain[-1].input[0] in made:
            chain.append(made[chain[-1].input[0]])
        if [entry.op_type for entry in chain] != ["Clip", "Round", "Mul"] or readers.count(chain[1].output[0]) != 1:
            continue
        low, high = (float(values[name]) for name in node.input[1:3])
        factor = values[chain[2].input[1]]
        bits = next((b for b in range(2, 9) if (low, high) == (-(2.0 ** (b - 1)), 2.0 ** (b - 1) - 1)), 0)
        bits = bits or next((b for b in range(1, 9) if (low, high) == (0.0, 2.0**b - 1)), 0)
        if not bits or factor.size != 1 or np.frexp(factor)[0] != 0.5:
            continue
        kinds = [np.float32, np.float64], [np.float32, np.int64, np.int8], [np.float32, np.int64, np.uint8]
        given = []
        for number, (value, among) in enumerate(zip((1 / float(factor), 0, bits), kinds, strict=True)):
            given.append(f"{node.name}/{number}")
            out.graph.initializer.append(
                numpy_helper.from_array(np.array(value, among[int(rng.integers(len(among)))]), given[-1])
            )
        quant = helper.make_node(
            "Quant", [chain[2].input[0], *given], [f"{node.name}/quant"], f"{node.name}/quant", domain="qonnx.custom_op.general",
            signed=int(low < 0), narrow=0, rounding_mode="ROUND",
        )  # fmt: skip
        up = helper.make_node("Mul", [f"{node.name}/quant", chain[2].input[1]], list(node.output), f"{node.name}/whole")
        at = list(out.graph.node).index(node)
        out.graph.node.remove(node)
        out.graph.node.insert(at, up)
        out.graph.node.insert(at, quant)
    return Dressed(out, model)


def _biases(model: onnx.ModelProto, rng: Draw) -> Dressed:
    """The C of every Gemm in another shape that broadcasts."""
    out = copied(model)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    dtype = helper.tensor_dtype_to_np_dtype(model.graph.input[0].type.tensor_type.elem_type)
    for node in out.graph.node:
        if node.op_type != "Gemm":
            continue
        if len(node.input) > 2:
            value = values[node.input[2]].reshape(1, -1)
        else:
            value = np.zeros([(), (1,), (1, 1)][int(rng.integers(3))], dtype)
            node.input.append("")
        node.input[2] = f"{node.name}/C"
        out.graph.initializer.append(numpy_helper.from_array(value, node.input[2]))
    return Dressed(out, model)


def _half(model: onnx.ModelProto, _: Draw) -> Dressed:
    """Everything in float16, if it holds the network's numbers."""
    out = copied(model)
    wide = {node.input[i] for node in model.graph.node for i in SINGLE.get(node.op_type, ()) if i < len(node.input)}
    for tensor in out.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and tensor.name not in wide:
            if (value.astype(np.float16) != value).any():
                return Dressed(model, model)
            tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), tensor.name))
    for value in (*out.graph.input, *out.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return Dressed(out, out)


def _unclipped(model: onnx.ModelProto, rng: Draw) -> Dressed:
    """Rounding without the clip behind it, but for the first."""
    out = copied(model)
    clips = [node for node in out.graph.node if node.op_type == "Clip" and node.input[0].startswith("round")]
    for node in clips[1:]:
        if rng.random() < 0.5:
            node.op_type = "Identity"
            del node.input[1:]
    return Dressed(out, out)


def _channels_last(model: onnx.ModelProto, _: Draw) -> Dressed:
    """An image with its channel last, moved before or after the first quantizer."""
    out = copied(model)
    dims = out.graph.input[0].type.tensor_type.shape.dim
    sizes = [dim.dim_value for dim in dims][1:]
    for dim, size in zip(list(dims)[1:], [*sizes[1:], sizes[0]], strict=True):
        dim.dim_value = size
    for node in out.graph.node:
        node.input[:] = ["image/first" if name == "image" else name for name in node.input]
    out.graph.node.insert(0, helper.make_node("Transpose", ["image"], ["image/first"], "move", perm=[0, 3, 1, 2]))
    return Dressed(out, out)


def _float_end(model: onnx.ModelProto, rng: Draw) -> Dressed:
    """A classifier whose weights lie on no grid, which the host computes."""
    out = copied(model)
    for tensor in out.graph.initializer:
        if tensor.name in ("head.weight", "head.bias"):
            value = numpy_helper.to_array(tensor)
            value = value + rng.normal(0, 0.05, value.shape).astype(value.dtype)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return Dressed(out, out)


def _controlled(model: onnx.ModelProto, rng: Draw) -> Dressed:
    """Some nodes stand in a branch of an If that is taken, or in the body of a Loop."""
    out = copied(model)
    inferred = shape_inference.infer_shapes(rewrite(repaired(model))).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)}
    channels = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    for name, value in (("whole", channels), ("second", [1]), ("rounds", int(rng.integers(1, 4)))):
        out.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), f"control/{name}"))
    out.graph.initializer.append(numpy_helper.from_array(np.array(True), "control/true"))
    for kind in {*kinds.values(), TensorProto.FLOAT}:
        out.graph.initializer.append(helper.make_tensor(f"control/zero_{kind}", kind, [], [0]))
    asked = [
        helper.make_node("Shape", ["image"], ["control/shape"], "control/shape"),
        helper.make_node("Gather", ["control/shape", "control/second"], ["control/size"], "control/size"),
        helper.make_node("Equal", ["control/size", "control/whole"], ["control/same"], "control/same"),
    ]
    del out.graph.node[:]
    out.graph.node.extend(asked)
    for node in model.graph.node:
        inside = node.op_type != "Constant" and rng.random() < 0.6
        out.graph.node.append(_inside(node, kinds, rng) if inside else node)
    return Dressed(out, model)


def _inside(node: onnx.NodeProto, kinds: dict[str, int], rng: Draw) -> onnx.NodeProto:
    """A node in a branch that is taken, or in a body that is run one to three times."""
    inner, ends, others = onnx.NodeProto(), [], []
    inner.CopyFrom(node)
    for number, name in enumerate(node.output):
        kind = kinds.get(name, TensorProto.FLOAT)
        inner.output[number] = f"{name}/inner"
        ends.append(helper.make_tensor_value_info(f"{name}/inner", kind, None))
        others.append(helper.make_tensor_value_info(f"{name}/other", kind, None))
    if rng.random() < 0.5:
        zeros = [
            helper.make_node(
                "Constant",
                [],
                [end.name],
                end.name,
                value=helper.make_tensor("zero", end.type.tensor_type.elem_type, [], [0]),
            )
            for end in others
        ]
        taken, never = helper.make_graph([inner], "taken", [], ends), helper.make_graph(zeros, "never", [], others)
        condition = str(rng.choice(["control/true", "control/same"]))
        return helper.make_node("If", [condition], list(node.output), node.name, then_branch=taken, else_branch=never)
    given = [
        helper.make_tensor_value_info(f"{node.name}/number", TensorProto.INT64, []),
        helper.make_tensor_value_info(f"{node.name}/on", TensorProto.BOOL, []),
    ]
    on = helper.make_tensor_value_info(f"{node.name}/still", TensorProto.BOOL, [])
    again = helper.make_node("Identity", [given[1].name], [on.name], on.name)
    body = helper.make_graph([again, inner], "body", [*given, *others], [on, *ends])
    zeros = [f"control/zero_{end.type.tensor_type.elem_type}" for end in others]
    return helper.make_node("Loop", ["control/rounds", "", *zeros], list(node.output), node.name, body=body)


def _alone(model: onnx.ModelProto, rng: Draw) -> Dressed:
    """A file of one image; some operators, and the output, without an axis for the batch."""
    out = copied(model)
    out.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    out.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    out.graph.output[0].type.tensor_type.ClearField("shape")
    for name, value in (("first", [0]), ("one", 0)):
        out.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), f"alone/{name}"))
    known = {tensor.name for tensor in out.graph.initializer}
    made = {name for node in model.graph.node for name in node.output}
    del out.graph.node[:]
    for node in model.graph.node:
        data = [name for name in node.input if name in made and name not in known]
        if node.op_type not in SHAPELESS or len(data) != 1 or rng.random() < 0.4:
            out.graph.node.append(node)
            continue
        name, inner = f"{node.name}/alone", onnx.NodeProto()
        inner.CopyFrom(node)
        inner.input[:] = [f"{name}/in" if each == data[0] else each for each in node.input]
        inner.output[0] = f"{name}/out"
        out.graph.node.extend([_without_batch(data[0], f"{name}/in", rng), inner])
        out.graph.node.append(
            helper.make_node("Unsqueeze", [f"{name}/out", "alone/first"], list(node.output), f"{name}/back")
        )
    end = out.graph.output[0].name
    out.graph.node.append(_without_batch(end, "alone/output", rng))
    out.graph.output[0].name = "alone/output"
    return Dressed(out, model)


def _without_batch(name: str, output: str, rng: Draw) -> onnx.NodeProto:
    if rng.random() < 0.5:
        return helper.make_node("Squeeze", [name, "alone/first"], [output], output)
    return helper.make_node("Gather", [name, "alone/one"], [output], output, axis=0)


FORMS: dict[str, Callable[[onnx.ModelProto, Draw], Dressed]] = {
    "sparse": _sparse,
    "spelt": _spelt,
    "foreign": _foreign,
    "quants": _quants,
    "biases": _biases,
    "half": _half,
    "unclipped": _unclipped,
    "channels last": _channels_last,
    "float end": _float_end,
    "controlled": _controlled,
    "alone": _alone,
}
#: those that make another network; the others write the same one differently
OTHER_NUMBERS = ("half", "unclipped", "channels last", "float end")
#: a network of one form cannot be written in another, or is another one there: before com.microsoft's quantizers,
#: onnxruntime rounds no float16 sum to float16, and it rounds every one that a subgraph or a Squeeze reads
APART: tuple[set[str], ...] = ({"half", "quants"}, {"half", "foreign"}, {"half", "controlled"}, {"half", "alone"})


def dressed(model: onnx.ModelProto, forms: Sequence[str], seed: int) -> Dressed:
    """Return a network in other forms: first those that make another network of it, then those that only write it."""
    rng = np.random.default_rng(seed)
    found = Dressed(model, model)
    for form in sorted(forms, key=lambda form: form not in OTHER_NUMBERS):
        new = FORMS[form](found.model, rng)
        found = new if form in OTHER_NUMBERS else Dressed(new.model, found.plain)
    return found
