"""An ONNX file as a list of nodes, constants and shapes; constants folded, batch of one, nothing interpreted yet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chipsim.errors import InputError
from chipsim.standard import rewrite
from qsnnc.errors import ModelError
from qsnnc.frontend.spell import spell

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

#: opsets that were tried; the attribute tables of `onnx` cover more
OPSETS = range(7, 29)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operator with its attributes as Python values; ``proto`` is the original."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    proto: onnx.NodeProto


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A checked ONNX graph with one input and one output."""

    path: Path
    sha256: str
    input: str
    input_dtype: str  # a numpy name
    output: str
    nodes: tuple[Node, ...]  # in topological order; nodes of constants only are folded away
    constants: Mapping[str, Array]
    shapes: Mapping[str, tuple[int, ...]]  # of one image: the batch axis left out
    metadata: Mapping[str, str]
    opsets: Mapping[str, int]
    ir_version: int
    origins: Mapping[str, str]  # of a constant that was folded: the initializer that it was made from
    integral: frozenset[str]  # nodes that stand for sums of integers, exact whatever their size
    written: frozenset[str]  # tensors that the reference has, too

    def subgraph(
        self, inputs: Mapping[str, tuple[int, tuple[int | str, ...]]], outputs: Iterable[str], nodes: Iterable[Node]
    ) -> onnx.ModelProto:
        """Build a model of some of the nodes.

        Parameters
        ----------
        inputs : dict
            Name to (ONNX element type, shape).
        outputs : iterable of str
        nodes : iterable of Node
            In topological order.
        """
        from onnx import ValueInfoProto, helper, numpy_helper

        protos = [node.proto for node in nodes]
        needed = {name for proto in protos for name in proto.input}
        constants = [numpy_helper.from_array(self.constants[n], n) for n in sorted(needed & self.constants.keys())]
        graph = helper.make_graph(
            protos,
            "part",
            [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
            [ValueInfoProto(name=name) for name in outputs],
            constants,
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in self.opsets.items()]
        return helper.make_model(graph, opset_imports=opsets, ir_version=self.ir_version)


def session(model: onnx.ModelProto | bytes) -> Any:
    """Return an onnxruntime session with every graph optimisation off: the reference."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def read_onnx(path: str | Path) -> Model:
    """Read, check and normalise an ONNX file.

    Raises
    ------
    ModelError
        The file is missing, is no ONNX, breaks the standard, or has no single input and output of known shape.
    """
    import onnx
    from onnx import helper

    path = Path(path)
    proto, content = _load(path)
    try:
        proto = rewrite(proto)
        written = frozenset(name for node in proto.graph.node for name in node.output)
        proto, integral = spell(proto)
    except InputError as error:
        raise ModelError(error.subject, error.message, code=error.code, node=error.subject) from None
    _refuse_unknown(proto, path)
    graph = proto.graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initializers]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise _refuse(
            path,
            f"the graph has {len(inputs)} inputs and {len(graph.output)} outputs; one of each can be compiled",
            "model-ends",
        )
    _set_batch_to_one(inputs[0], path)
    for value in graph.output:
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.ClearField("shape")
    shapes, kinds = _infer(proto, path)
    try:
        constants = {name: onnx.numpy_helper.to_array(tensor) for name, tensor in initializers.items()}
    except Exception as error:  # noqa: BLE001
        raise _refuse(path, f"an initializer cannot be read: {error}", "model-corrupt") from None
    nodes = [_node(node) for node in graph.node]
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    model = Model(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        input=inputs[0].name,
        input_dtype=str(np.dtype(helper.tensor_dtype_to_np_dtype(inputs[0].type.tensor_type.elem_type))),
        output=graph.output[0].name,
        nodes=tuple(nodes),
        constants=constants,
        shapes=shapes,
        metadata={entry.key: entry.value for entry in proto.metadata_props},
        opsets=opsets,
        ir_version=proto.ir_version,
        origins={},
        integral=integral,
        written=written,
    )
    while True:
        folded = _fold_constants(model, kinds)
        if len(folded.nodes) == len(model.nodes):
            return folded
        # what is constant now may fix the shape of a reshape
        outer = {inputs[0].name: (inputs[0].type.tensor_type.elem_type, (1, *model.shapes[model.input]))}
        shapes, kinds = _infer(folded.subgraph(outer, [model.output], folded.nodes), path)
        model = replace(folded, shapes=MappingProxyType({**folded.shapes, **shapes}))


def _infer(proto: onnx.ModelProto, path: Path) -> tuple[Mapping[str, tuple[int, ...]], dict[str, int]]:
    """Shapes of one image, and ONNX element types, of every tensor that can be told."""
    from onnx import shape_inference

    try:
        inferred = shape_inference.infer_shapes(proto, data_prop=True)
    except Exception as error:  # noqa: BLE001  # onnx raises several types of its own
        raise _refuse(path, f"shapes do not agree: {error}", "model-shapes") from None
    values = [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]
    shapes = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)[1:]
        for value in values
        if value.type.tensor_type.HasField("shape")
    }
    return MappingProxyType(shapes), {value.name: value.type.tensor_type.elem_type for value in values}


def _load(path: Path) -> tuple[onnx.ModelProto, bytes]:
    import onnx

    try:
        content = path.read_bytes()
    except OSError as error:
        raise _refuse(path, f"cannot be read: {error.strerror}", "model-unreadable") from None
    try:
        proto = onnx.load_model_from_string(content)
        if not proto.graph.node:
            raise ValueError("no graph in it")
        onnx.load_external_data_for_model(proto, str(path.parent))
    except Exception as error:  # noqa: BLE001  # protobuf, onnx and the file system each raise their own
        reason = " ".join(str(error).split())[:120]
        raise _refuse(path, f"is not a readable ONNX model ({reason})", "model-corrupt") from None
    try:
        onnx.checker.check_model(proto)
    except Exception as error:  # noqa: BLE001
        reason = " ".join(str(error).split("==> Context")[0].split())[:160]
        raise _refuse(path, f"breaks the ONNX standard: {reason}", "model-invalid") from None
    return proto, content


def _refuse(path: Path, text: str, code: str) -> ModelError:
    return ModelError(str(path), text, code=code)


def _refuse_unknown(proto: onnx.ModelProto, path: Path) -> None:
    """Refuse operators, attributes and opsets that nobody here knows: nothing is ignored."""
    import onnx

    version = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), None)
    if version is None or version not in OPSETS:
        raise _refuse(path, f"uses opset {version}; {OPSETS.start} to {OPSETS.stop - 1} are supported", "model-opset")
    for node in proto.graph.node:
        label = node.name or node.output[0]
        if node.domain not in ("", "ai.onnx"):
            raise ModelError(
                label,
                f"operator {node.domain}:{node.op_type} is not supported; export with standard ONNX operators",
                code="model-operator",
                node=label,
            )
        try:
            schema = onnx.defs.get_schema(node.op_type, version, "")
        except onnx.defs.SchemaError:
            raise ModelError(
                label, f"operator {node.op_type} is unknown in opset {version}", code="model-operator", node=label
            ) from None
        for attribute in node.attribute:
            if attribute.name not in schema.attributes:
                raise ModelError(
                    label, f"{node.op_type} has no attribute {attribute.name!r}", code="model-attribute", node=label
                )
            if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
                raise ModelError(
                    label,
                    f"{node.op_type} holds a sub-graph; only plain graphs can be compiled",
                    code="model-subgraph",
                    node=label,
                )


def _set_batch_to_one(value: onnx.ValueInfoProto, path: Path) -> None:
    """Fix the batch axis to one; every other axis must be known."""
    tensor = value.type.tensor_type
    dims = tensor.shape.dim
    if not dims or any(dim.dim_value <= 0 for dim in dims[1:]):
        raise _refuse(path, f"input {value.name!r} needs a batch axis and fixed other axes", "model-shapes")
    if dims[0].dim_value > 1:
        raise _refuse(
            path, f"input {value.name!r} has a fixed batch of {dims[0].dim_value}; export it as 1 or dynamic", "model-shapes"
        )
    dims[0].dim_value = 1


def _node(proto: onnx.NodeProto) -> Node:
    from onnx import helper

    attributes = {entry.name: helper.get_attribute_value(entry) for entry in proto.attribute}
    return Node(proto.name or proto.output[0], proto.op_type, tuple(proto.input), tuple(proto.output), attributes, proto)


def _fold_constants(model: Model, kinds: Mapping[str, int]) -> Model:
    """Evaluate, with the reference, every node whose inputs are all constants; shapes are those of one image."""
    from onnx import helper

    known = {}
    for node in model.nodes:
        data = node.op == "Shape" and node.inputs[0] not in model.constants
        shape = model.shapes.get(node.inputs[0]) if data else None
        if shape is not None and all(size > 0 for size in shape):
            bounds = slice(node.attributes.get("start", 0), node.attributes.get("end"))
            known[node.outputs[0]] = np.array((1, *shape)[bounds], np.int64)
        if node.op == "CastLike" and node.inputs[0] in model.constants and kinds.get(node.inputs[1]):
            dtype = helper.tensor_dtype_to_np_dtype(kinds[node.inputs[1]])
            known[node.outputs[0]] = model.constants[node.inputs[0]].astype(dtype)
    rest = tuple(node for node in model.nodes if node.outputs[0] not in known)
    model = replace(model, nodes=rest, constants={**model.constants, **known})
    constant = set(model.constants)
    folded: list[Node] = []
    kept: list[Node] = []
    for node in model.nodes:
        if node.op.startswith("Random") or any(name and name not in constant for name in node.inputs):
            kept.append(node)
        else:
            folded.append(node)
            constant.update(node.outputs)
    if not folded:
        return model
    outputs = [name for node in folded for name in node.outputs if name]
    try:
        values = session(model.subgraph({}, outputs, folded)).run(outputs, {})
    except Exception as error:  # noqa: BLE001  # onnxruntime raises several types of its own
        raise _refuse(
            model.path, f"its constants cannot be computed: {' '.join(str(error).split())[:160]}", "model-invalid"
        ) from None
    return replace(
        model,
        nodes=tuple(kept),
        constants={**model.constants, **dict(zip(outputs, values, strict=True))},
        origins=_origins(model, folded),
    )


def _origins(model: Model, folded: list[Node]) -> dict[str, str]:
    """Name the initializer with at least two axes that each folded constant was made from, if there is one."""
    origins: dict[str, str] = {}
    for node in folded:
        for name in node.inputs:
            origin = origins.get(name) or (name if name in model.constants and model.constants[name].ndim >= 2 else None)
            if origin:
                origins.update(dict.fromkeys(node.outputs, origin))
                break
    return origins
