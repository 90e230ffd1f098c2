"""Check a parsed model and reduce it to one input and one output, before anything is interpreted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chipsim.codes import Code
from chipsim.errors import InputError, UsageError
from chipsim.onnx_graphs import all_nodes, subgraphs
from chipsim.onnx_repair import inlined, keep_needed, keep_read, opset_of, repaired
from chipsim.onnx_unrolled import unrolled
from chipsim.qonnx_ops import DOMAINS
from qsnnc.errors import ModelError, together
from qsnnc.frontend.importer.parse import parse
from qsnnc.frontend.model.messages import first_line, label, refuse
from qsnnc.frontend.model.operator_table import MICROSOFT
from qsnnc.frontend.model.operators import REFUSED

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Array = npt.NDArray[Any]

#: supported opsets
OPSETS = range(7, 29)
#: most values of one tensor for one image; each would be at least one neuron
MOST_VALUES = 1 << 27
#: types of an input
INPUT_TYPES = "float16 float32 float64 int8 uint8 int16 uint16 int32 uint32 int64 uint64".split()
#: domain of operators in a processor's own layout
MICROSOFT_BLOCKED = "com.microsoft.nchwc"


def load(path: Path, content: bytes, output: str | None = None) -> onnx.ModelProto:
    """Parse an ONNX file with its external data, inline its functions and drop the nodes that the output does not need.

    Parameters
    ----------
    path : Path
    content : bytes
        Of the file at ``path``.
    output : str, optional
        Name of the output to compile; required if there are several.

    Returns
    -------
    model : ModelProto
        With one input, whose batch axis is dynamic or fixed, and one output.

    Raises
    ------
    ModelError
        The model is not supported; reports all problems of one kind at once.
    UsageError
        There is no output of that name.
    """
    try:
        proto = repaired(parse(path, content))
    except InputError as error:
        raise ModelError(error.subject, error.message, code=error.code, node=error.subject) from None
    if proto.functions:
        _check(proto, path)
        proto = _inlined(proto, path)
    _choose_output(proto, path, output)
    given = _inputs(proto.graph)
    keep_needed(proto.graph, [proto.graph.output[0].name])
    proto = _unrolled(proto, path)
    keep_read(proto.graph)
    refuse_unknown(proto, path)
    _check(proto, path)
    _one_input(proto, path, given)
    proto.graph.output[0].type.tensor_type.ClearField("shape")  # inferred again
    proto.ir_version = max(proto.ir_version, 4)  # before version 4, initializers had to be inputs
    return proto


def _check(proto: onnx.ModelProto, path: Path) -> None:
    """Refuse a model that violates the ONNX standard."""
    import onnx

    for value in proto.graph.output:
        if value.type.WhichOneof("value") == "tensor_type":  # the checker requires a shape, which exporters may omit
            value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(proto)
    except Exception as error:  # noqa: BLE001
        raise refuse(path, f"violates the ONNX standard: {first_line(error)}", "model-invalid") from None


def _inlined(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Inline local functions."""
    bodies = {(function.domain, function.name): function for function in proto.functions}
    calls = {key: {(n.domain, n.op_type) for n in all_nodes(body.node)} & bodies.keys() for key, body in bodies.items()}
    while calls:  # remove functions that call none of the remaining ones
        leaves = [key for key, called in calls.items() if not called & calls.keys()]
        if not leaves:
            _, name = next(iter(calls))
            raise refuse(path, f"function {name!r} calls itself; export without recursion", "model-invalid")
        for key in leaves:
            del calls[key]
    try:
        return inlined(proto)
    except Exception as error:  # noqa: BLE001  # ImportError before onnx 1.15
        name = proto.functions[0].name
        raise refuse(path, f"function {name!r} cannot be inlined ({first_line(error)})", "model-invalid") from None


def _unrolled(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Take subgraphs out, and what is needed for nothing else."""
    if not any(map(any, map(subgraphs, proto.graph.node))):
        return proto
    _check(proto, path)
    try:
        proto, problems = unrolled(proto)
    except (IndexError, KeyError, TypeError, ValueError) as error:  # the checker does not compare a node with its subgraph
        text = f"has an operator whose inputs or outputs are not those of its subgraph ({first_line(error)})"
        raise refuse(path, text, "model-invalid") from None
    if problems:
        fields = [(error.subject, error.message, error.code, error.fields["found"]) for error in problems]
        raise together([ModelError(name, text, code=code, node=name, found=found) for name, text, code, found in fields])
    keep_needed(proto.graph, [proto.graph.output[0].name])
    return proto


def _choose_output(proto: onnx.ModelProto, path: Path, wanted: str | None) -> None:
    graph = proto.graph
    names = [value.name for value in graph.output]
    listed = ", ".join(map(repr, names))
    if wanted is not None and wanted not in names:
        raise UsageError(
            "--output", f"{wanted!r} is not an output of {path}; allowed: {', '.join(names) or 'it has none'}",
            code="output-unknown", found=wanted, allowed=names,
        )  # fmt: skip
    if len(names) != 1 and wanted is None:
        text = f"has {len(names)} outputs ({listed}); choose one with --output NAME" if names else "has no output"
        raise refuse(path, f"the graph {text}", "model-ends", found=names, allowed=1)
    chosen = wanted or names[0]
    if all(chosen not in node.output for node in graph.node):
        raise refuse(path, f"no node computes the output {chosen!r}", "model-ends", found=chosen)
    kept = next(value for value in graph.output if value.name == chosen)
    if kept.type.WhichOneof("value") not in (None, "tensor_type"):
        raise refuse(path, f"the output {chosen!r} is not a tensor", "model-ends", found=chosen)
    del graph.output[:]
    graph.output.append(kept)


def _inputs(graph: onnx.GraphProto) -> list[str]:
    """Return the inputs that are no initial values."""
    initial = {tensor.name for tensor in graph.initializer}
    return [value.name for value in graph.input if value.name not in initial]


def _one_input(proto: onnx.ModelProto, path: Path, given: list[str]) -> None:
    """Require one numeric input whose axes are fixed except for the batch; ``given`` are those of the file."""
    graph = proto.graph
    names = _inputs(graph)
    if len(names) > 1:
        text = f"has {len(names)} inputs ({', '.join(map(repr, names))}); one is supported: make the others initializers"
        raise refuse(path, f"the graph {text}", "model-ends", found=names, allowed=1)
    if not given:
        raise refuse(path, "the graph has no input; one image input is needed", "model-ends", found=[], allowed=1)
    if not names:
        listed = f"input{'s' * (len(given) > 1)} {', '.join(map(repr, given))}"
        text = f"the output {graph.output[0].name!r} does not depend on the {listed}"
        raise refuse(path, text, "model-ends", found=given)
    for value in [value for value in graph.input if value.name != names[0]]:  # initial values
        graph.input.remove(value)
    _free_batch(proto, path)


def _free_batch(proto: onnx.ModelProto, path: Path) -> None:
    """Refuse an input that is not numeric or has an axis, other than the batch, without a fixed size."""
    from onnx import TensorProto, helper

    (value,) = proto.graph.input
    kind = value.type.tensor_type.elem_type
    if value.type.WhichOneof("value") != "tensor_type":
        raise refuse(path, f"input {value.name!r} is not a tensor", "model-input")
    try:
        dtype = helper.tensor_dtype_to_np_dtype(kind)
    except Exception:  # noqa: BLE001  # an element type unknown to onnx
        dtype = None
    if dtype is None or dtype.name not in INPUT_TYPES:
        found = TensorProto.DataType.Name(kind).lower() if kind in TensorProto.DataType.values() else "unknown"
        allowed = "floats of 16 to 64 bits and integers of 8 to 64"
        text = f"input {value.name!r} has element type {found}; allowed: {allowed}"
        raise refuse(path, text, "model-input", found=found, allowed=allowed)
    dims = value.type.tensor_type.shape.dim
    if not dims:
        raise refuse(path, f"input {value.name!r} has no batch axis and no shape; export it as (N, ...)", "model-shapes")
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in dims)
    rest = [size if isinstance(size, int) else 0 for size in shape[1:]]
    if any(size <= 0 for size in rest):
        shown = ", ".join(map(str, shape))
        text = f"input {value.name!r} has shape ({shown}); every axis but the first, the batch, needs a fixed size"
        raise refuse(path, text, "model-shapes", found=[str(size) for size in shape])
    if math.prod(rest) > MOST_VALUES:
        text = f"input {value.name!r} has {math.prod(rest):,} values per image; at most {MOST_VALUES:,} are supported"
        raise refuse(path, text, "model-shapes", found=math.prod(rest), allowed=MOST_VALUES)
    if not isinstance(shape[0], int) or shape[0] < 1:
        dims[0].dim_param = "N"


def refuse_unknown(proto: onnx.ModelProto, path: Path) -> None:
    """Refuse unknown operators, attributes and opsets, reporting all of them at once."""
    version = opset_of(proto)
    if version not in OPSETS:
        raise refuse(
            path, f"uses opset {version or 'none'}; {OPSETS.start} to {OPSETS.stop - 1} are supported", "model-opset",
            found=version, allowed=[OPSETS.start, OPSETS.stop - 1],
        )  # fmt: skip
    found = [error for node in proto.graph.node if (error := _unknown(node, version)) is not None]
    if found:
        raise together(found)


def _advice(op: str) -> str:
    """Return what to do about an operator that the standard's opset of the file lacks."""
    import onnx

    if not onnx.defs.has(op):
        return "export with standard ONNX operators"
    history = onnx.defs.get_all_schemas_with_history()
    first = min(schema.since_version for schema in history if schema.name == op and not schema.domain)
    return f"it came with opset {first}: export to that or a newer one"


def _unknown(node: onnx.NodeProto, version: int) -> ModelError | None:
    """Return the error for a node whose operator or attribute is unknown; None if it is supported."""
    import onnx

    name, op = label(node), node.op_type

    def error(text: str, code: Code, found: object) -> ModelError:
        return ModelError(name, text, code=code, node=name, found=found)

    if any(subgraphs(node)):
        return error(f"{op} has a subgraph, which is not supported; export without control flow", "model-subgraph", op)
    if op in REFUSED:
        return error(f"{op}: {REFUSED[op]}", "not-static", op)
    if node.domain.startswith(MICROSOFT_BLOCKED):
        text = f"{op} is in the blocked layout that onnxruntime's optimisation writes for one kind of processor; save the "
        text += "model before optimisation, or optimised at level extended (ORT_ENABLE_EXTENDED)"
        return error(text, "model-operator", op)
    if node.domain not in ("", *DOMAINS, MICROSOFT):
        return error(
            f"operator {node.domain}:{op} is not supported; export with standard ONNX operators", "model-operator", op
        )
    if node.domain:
        return None  # their attributes are checked when they are rewritten
    try:
        schema = onnx.defs.get_schema(op, version, "")
    except onnx.defs.SchemaError:
        return error(f"operator {op} is unknown in opset {version}; {_advice(op)}", "model-operator", op)
    for entry in node.attribute:
        if entry.name not in schema.attributes:
            known = ", ".join(sorted(schema.attributes)) or "none"
            return error(f"{op} has no attribute {entry.name!r}; allowed: {known}", "model-attribute", entry.name)
    return None
