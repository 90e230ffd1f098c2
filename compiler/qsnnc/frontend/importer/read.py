"""Read an ONNX file as nodes, constants and shapes: constants folded, batch of one, nothing interpreted yet."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chipsim.errors import InputError
from chipsim.integer_kernels import of_one_signedness
from chipsim.onnx_graphs import initial_values
from chipsim.qonnx_ops import rewrite
from qsnnc.errors import ModelError, together
from qsnnc.frontend.decompose.half_precision import with_explicit_casts
from qsnnc.frontend.decompose.integer_ops import decompose
from qsnnc.frontend.importer.check import MOST_VALUES, load
from qsnnc.frontend.importer.clip_activations import clip
from qsnnc.frontend.importer.deduplicate import merged
from qsnnc.frontend.importer.determinism import refuse_nondeterministic
from qsnnc.frontend.importer.parse import opened
from qsnnc.frontend.model.batch_axis import free_batch, free_squeezes, squeezes_all
from qsnnc.frontend.model.constant_folding import evaluated
from qsnnc.frontend.model.images_apart import refuse_mixing, same_results
from qsnnc.frontend.model.lost_axis import with_batch_axis
from qsnnc.frontend.model.merged_rows import rows_apart
from qsnnc.frontend.model.messages import first_line, names_of_file, refuse
from qsnnc.frontend.model.model import Model, Node, Shapes, downstream
from qsnnc.frontend.model.operators import WEIGHTED
from qsnnc.frontend.model.reference import session, with_kernels
from qsnnc.frontend.model.scalar_axis import with_axes

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

#: element type and shape of tensors
Inputs = dict[str, tuple[int, tuple[int | str, ...]]]
#: values of a weight from which on shapes are inferred without it
LARGE = 1 << 16
#: operators that divide by their second input
DIVIDING = frozenset({"Div", "QuantizeLinear"})


def read_onnx(
    source: str | PathLike[str] | onnx.ModelProto, output: str | None = None, limits: Mapping[str, float] | None = None
) -> Model:
    """Read, check and normalise an ONNX model.

    Parameters
    ----------
    source : path or ModelProto
    output : str, optional
        Name of the output to compile; required if there are several.
    limits : dict, optional
        Largest value of a tensor, by name: a Clip is inserted there.

    Raises
    ------
    ModelError
        The file is missing, is not a valid ONNX model, or does not have one input and one output of fixed shape.
    UsageError
        There is no output of that name.
    """
    path, content = opened(source)
    forms = _normalised(load(path, content, output), path, limits or {})
    with names_of_file(forms.reference.graph.node, forms.decomposed.graph.node):
        model = _with_shapes(_as_data(forms, path, hashlib.sha256(content).hexdigest()))
        apart = rows_apart(model)
        model = model if apart is model else _with_shapes(apart)
        if model.output in model.constants:
            text = f"the output {model.output!r} is the same for every image: it depends on nothing but the input's shape"
            raise refuse(path, text, "model-ends", found=model.output)
        _refuse_added(model)
        _refuse_empty(model)
        _refuse_nan(model)
        _try_run(model)
    return merged(with_axes(model))


@dataclass(frozen=True, slots=True)
class _Forms:
    """A model in two forms that compute the same."""

    reference: onnx.ModelProto  # standard operators as the file has them: what onnxruntime executes
    decomposed: onnx.ModelProto  # integer operators rewritten as float ones: what is compiled
    integral: frozenset[str]  # nodes of the second whose sums are integers
    batch: int  # images that the file takes at a time, 0 if any number
    batch_rows: int  # of the file's batch if that is one image, else 0
    made: frozenset[str]  # tensors of both that the file does not have


def _normalised(loaded: onnx.ModelProto, path: Path, limits: Mapping[str, float]) -> _Forms:
    """Rewrite foreign operators, free the batch axis, and insert the limits."""
    from onnx.shape_inference import InferenceError

    try:
        standard = rewrite(loaded)
        refuse_nondeterministic(standard)
        file = frozenset(_outputs(standard))
        standard = _with_batch_axis(standard)
        made = frozenset(_outputs(standard)) - file
        _free_squeezes(standard)
        batch = max(0, standard.graph.input[0].type.tensor_type.shape.dim[0].dim_value)
        rows = free_batch(standard)
        reference = clip(of_one_signedness(standard), limits)
        proto, integral = decompose(with_explicit_casts(with_kernels(clip(standard, limits))))
    except InputError as error:
        found = error.fields["found"]
        raise ModelError(error.subject, error.message, code=error.code, node=error.subject, found=found) from None
    except InferenceError as error:
        raise refuse(path, f"shapes are inconsistent: {first_line(error)}", "model-shapes") from None
    except (IndexError, KeyError, TypeError, ValueError) as error:  # operators of other domains are not checked by onnx
        text = f"has a non-standard operator with missing inputs or inconsistent shapes ({first_line(error)})"
        raise refuse(path, text, "model-invalid") from None
    return _Forms(reference, proto, integral, batch, rows, made)


def _outputs(model: onnx.ModelProto) -> Iterator[str]:
    """Iterate over the tensors that the nodes of a model compute."""
    return (name for node in model.graph.node for name in node.output)


def _with_batch_axis(standard: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model in which tensors of a file of one image have a batch axis, if that computes the same."""
    dims = standard.graph.input[0].type.tensor_type.shape.dim
    if not dims or dims[0].dim_value != 1:
        return standard
    lifted = with_batch_axis(standard)
    return lifted if lifted is standard or same_results(standard.SerializeToString(), lifted) else standard


def _free_squeezes(standard: onnx.ModelProto) -> None:
    """Let a Squeeze without axes keep the batch axis, and refuse operators that need the tensor without it."""
    dims = standard.graph.input[0].type.tensor_type.shape.dim
    one = bool(dims) and dims[0].dim_value == 1 and any(map(squeezes_all, standard.graph.node))
    given = standard.SerializeToString() if one else b""
    changed = free_squeezes(standard)
    if changed and one and not same_results(given, standard):
        text = "Squeeze removes the batch axis, and an operator behind it counts its axes without it; squeeze axes by their "
        raise ModelError(changed[0], f"{text}numbers, and not axis 0", code="batch-moved", node=changed[0])


def _as_data(forms: _Forms, path: Path, sha256: str) -> Model:
    """Turn the graph into a `Model` without shapes."""
    from onnx import helper

    proto, graph = forms.decomposed, forms.decomposed.graph
    (value,) = graph.input
    try:
        constants = initial_values(graph)
    except Exception as error:  # noqa: BLE001
        raise refuse(path, f"an initializer cannot be read: {first_line(error)}", "model-corrupt") from None
    return Model(
        path=path,
        sha256=sha256,
        input=value.name,
        input_dtype=str(np.dtype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))),
        output=graph.output[0].name,
        nodes=tuple(map(Node.of, graph.node)),
        constants=constants,
        shapes={value.name: _axes(value)},
        metadata={entry.key: entry.value for entry in proto.metadata_props},
        opsets={entry.domain: entry.version for entry in proto.opset_import},
        ir_version=proto.ir_version,
        integral=forms.integral,
        written=frozenset(_outputs(forms.reference)) - forms.made,
        kinds={value.name: value.type.tensor_type.elem_type},
        reference=forms.reference,
        batch=forms.batch,
        batch_rows=forms.batch_rows,
    )


def _with_shapes(model: Model) -> Model:
    """Infer the shapes of one image and fold constants, until neither finds anything new."""
    outer: Inputs = {model.input: (model.kinds[model.input], (1, *model.shapes[model.input]))}
    count = -1
    while count != len(model.nodes):  # a new constant may be the shape of a reshape
        count = len(model.nodes)
        shapes, kinds, empty = _infer(model.subgraph(outer | _without_data(model), [model.output], model.nodes), model)
        model = _as_constants(_without_empty(model, set(empty)), empty, kinds)
        shapes = Shapes({**model.shapes, **{name: shape for name, shape in shapes.items() if all(n > 0 for n in shape)}})
        known = MappingProxyType({**model.kinds, **kinds})
        model = _fold_constants(replace(model, shapes=MappingProxyType(shapes), kinds=known), kinds)
    return model


def _without_data(model: Model) -> Inputs:
    """Return the kinds and shapes of constants that are large weights: their values have no influence on any shape."""
    from onnx import helper

    large = {name: value for name, value in model.constants.items() if value.dtype.kind == "f" and value.size > LARGE}
    return {name: (helper.np_dtype_to_tensor_dtype(value.dtype), value.shape) for name, value in large.items()}


def _without_empty(model: Model, empty: set[str]) -> Model:
    """Drop operands without elements from every Concat that has others; ``empty`` are known not to have any."""
    empty = empty | {name for name, value in model.constants.items() if not value.size}
    nodes = []
    for node in model.nodes:
        kept = tuple(name for name in node.inputs if name not in empty) if node.op == "Concat" else node.inputs
        nodes.append(node.between(kept, node.outputs) if kept and kept != node.inputs else node)
    return replace(model, nodes=tuple(nodes))


def _as_constants(model: Model, empty: Mapping[str, tuple[int, ...]], kinds: Mapping[str, int]) -> Model:
    """Take tensors without elements for constants, whatever the image: a sum over nothing is then one as well.

    A layer without outputs is not one, and is refused by `_refuse_empty`.
    """
    from onnx import helper

    layers = {name for node in model.nodes if node.op in WEIGHTED for name in node.outputs}
    read = {model.output, *(name for node in model.nodes for name in node.inputs)} - layers
    known = {
        name: np.zeros(shape, helper.tensor_dtype_to_np_dtype(kinds[name]))
        for name, shape in empty.items()
        if name in read and min(shape) == 0 and kinds.get(name)
    }
    nodes = []
    for node in model.nodes:
        left = tuple(f"{name}/empty" if name in known else name for name in node.outputs)
        if left == node.outputs:
            nodes.append(node)
        elif any(name and name not in known for name in node.outputs):
            nodes.append(node.between(node.inputs, left))
    return replace(model, nodes=tuple(nodes), constants={**model.constants, **known}) if known else model


def _axes(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Return the shape of one image."""
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)[1:]


def _refuse_added(model: Model) -> None:
    """Refuse an input or output that is called as the other end of the host's part that it is an end of."""
    for what, name, added in (("input", model.input, "levels"), ("output", model.output, "potentials")):
        if name == added:
            text = f"its {what} is called {name!r}, as what the host hands over; rename it"
            raise refuse(model.path, text, "model-ends", found=name)


def _refuse_empty(model: Model) -> None:
    """Refuse weights without elements: such a layer has no inputs or no outputs."""
    for node in model.nodes:
        for name in node.inputs if node.op in WEIGHTED else ():
            value = model.constants.get(name)
            if value is not None and not value.size:
                text = f"its constant {name!r} has shape {value.shape}, without elements; a layer needs inputs and outputs"
                raise ModelError(node.name, text, code="model-shapes", node=node.name, found=list(value.shape))


def _refuse_nan(model: Model) -> None:
    """Refuse NaN constants, infinite ones except as bounds (Clip, Min, Max), and division by zero."""
    found = []
    for node in model.nodes:
        for name, factor in node.attributes.items():
            if node.op in WEIGHTED and isinstance(factor, float) and not math.isfinite(factor):
                text = f"its attribute {name} is {factor}; finite numbers are needed: train or export again"
                found.append(ModelError(node.name, text, code="model-not-finite", node=node.name, found=str(factor)))
        for position, name in enumerate(node.inputs):
            value = model.constants.get(name)
            what = _invalid(value, node, position) if value is not None and value.dtype.kind == "f" else ""
            if what:
                text = f"its constant {name!r} contains {what}; finite numbers are needed: train or export again"
                found.append(
                    ModelError(
                        node.name, text, code="model-not-finite", node=node.name, found=what, allowed="finite numbers"
                    )
                )
    if found:
        raise together(found)


def _invalid(value: Array, node: Node, position: int) -> str:
    """Return what is invalid in a weight, scale or variance; '' if nothing is."""
    if node.op == "BatchNormalization" and position == 4 and (value < 0).any():
        return "negative variances"
    if node.op in DIVIDING and position == 1 and not value.all():
        return "zero, by which it divides"
    if np.isfinite(value).all():
        return ""
    if np.isnan(value).any():
        return "NaN"
    return "infinity" if node.op in WEIGHTED or node.op == "BatchNormalization" else ""


def _try_run(model: Model) -> None:
    """Run the reference once: shape inference does not find every inconsistency."""
    blank = np.zeros((1, *model.shapes[model.input]), np.dtype(model.input_dtype))
    run = session(model.reference, evaluator=True)
    run.run([model.output], {model.input: blank})
    refuse_mixing(model.reference, run)


def _infer(
    proto: onnx.ModelProto, model: Model
) -> tuple[Mapping[str, tuple[int, ...]], dict[str, int], Mapping[str, tuple[int, ...]]]:
    """Infer the shapes of one image and the ONNX element types of all tensors where possible.

    Also the whole shapes of those without elements, -1 where a size is unknown.
    """
    from onnx import shape_inference

    try:
        inferred = shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    except Exception as error:  # noqa: BLE001  # onnx raises several types of its own
        raise refuse(model.path, f"shapes are inconsistent: {first_line(error)}", "model-shapes") from None
    values = [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]
    values = [value for value in values if value.name not in model.constants]
    for value in values:  # before it is allocated
        size = math.prod(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        if size > MOST_VALUES:
            text = f"would have {size:,} values; at most {MOST_VALUES:,} are supported"
            raise ModelError(value.name, text, code="model-shapes", node=value.name, found=size, allowed=MOST_VALUES)
    shapes = {value.name: _axes(value) for value in values if value.type.tensor_type.HasField("shape")}
    dims = {value.name: value.type.tensor_type.shape.dim for value in values}
    sizes = {name: tuple(d.dim_value if d.HasField("dim_value") else -1 for d in known) for name, known in dims.items()}
    empty = {name: shape for name, shape in sizes.items() if 0 in shape}
    return shapes, {value.name: value.type.tensor_type.elem_type for value in values}, empty


def _fold_constants(model: Model, kinds: Mapping[str, int]) -> Model:
    """Evaluate every node whose inputs are all constants with the reference; shapes are those of one image."""
    from onnx import helper

    known = {}
    # only tensors that depend on the images have a batch axis
    of_images = {model.input, *(name for node in downstream(model.nodes, model.input) for name in node.outputs)}
    for node in model.nodes:
        data = node.op == "Shape" and node.inputs[0] in of_images
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
    values = evaluated(model.subgraph({}, outputs, folded))
    return replace(
        model,
        nodes=tuple(kept),
        constants={**model.constants, **dict(zip(outputs, values, strict=True))},
    )
