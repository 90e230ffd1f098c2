"""Bring a published ONNX file into a form that onnxruntime accepts, without changing what it computes.

`repaired` supplies imports and a name that the file lacks, spells the standard's domain as ``""``, moves TensorFlow's fake
quantizers out of that domain, puts nodes in an order in which they can be run and makes sparse tensors dense;
`upgraded` raises the opset where a rewrite needs newer operators. Both the compiler and `chipsim compare` use them, so that
they speak of the same model. What is changed is reported to the logger ``chipsim``, which ``--verbose`` prints.
"""

from __future__ import annotations

import heapq
import logging
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chipsim.errors import InputError
from chipsim.onnx_graphs import all_nodes, reads

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

_log = logging.getLogger("chipsim")

#: the name of the standard's domain, and its other spelling
STANDARD, SPELT_OUT = "", "ai.onnx"
#: domains of QONNX operators
QONNX_DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
#: domain of QONNX's operators on tensors with their channels last
QONNX_CHANNELS_LAST = "qonnx.custom_op.channels_last"
#: tf2onnx's domain of operators that it leaves as TensorFlow has them, and those of them that `tensorflow_ops` rewrites
TENSORFLOW = "ai.onnx.converters.tensorflow"
#: domain of the quantizers of Sony's Model Compression Toolkit
MCT = "mct_quantizers"
FAKE_QUANTIZERS = frozenset({"FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel"})
#: version of a domain that a file uses without importing it
VERSIONS = {**dict.fromkeys((*QONNX_DOMAINS, QONNX_CHANNELS_LAST, TENSORFLOW, MCT), 1), "com.microsoft": 1}
#: IR version from which initializers need not be inputs
FREE_INITIALIZERS = 4
#: most bytes of a sparse tensor made dense
MOST_DENSE = 1 << 28


def repaired(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with complete imports and dense tensors; the model itself if nothing had to be done.

    Parameters
    ----------
    model : ModelProto
        With all external data loaded; it is not changed.

    Raises
    ------
    InputError
        A sparse tensor is inconsistent, or would be larger than `MOST_DENSE` bytes.
    """
    order = _order(model.graph)
    foreign = _renames(model) or any(_misplaced(model))
    if not (foreign or _missing(model) or any(_sparse(model)) or order or _plain(model)):
        return model
    out = type(model)()
    out.CopyFrom(model)
    _spell_standard(out)
    if order:
        del out.graph.node[:]
        out.graph.node.extend(model.graph.node[number] for number in order)
        _log.info("the nodes are put in the order in which they can be run")
    for what in _plain(model):
        if what == "graph name":
            out.graph.name = "graph"
        else:
            out.ir_version = FREE_INITIALIZERS
        _log.info("the file's %s is supplied", what)
    for node in _misplaced(out):
        node.domain = TENSORFLOW
        _log.info("%s is an operator of TensorFlow's: %s", node.name or node.output[0], node.op_type)
    for imports, domain in _missing(out):
        entry = imports.add()
        entry.domain, entry.version = domain, VERSIONS[domain]
        _log.info("the import of domain %r, which the file lacks, is supplied: version %d", domain, entry.version)
    _make_dense(out)
    return out


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the bodies of its own functions in place of their calls; none of them may call itself."""
    if not model.functions:
        return model
    from onnx import inliner

    return inliner.inline_local_functions(model)


def keep_needed(graph: onnx.GraphProto, outputs: Iterable[str]) -> None:
    """Remove nodes that no value of some names needs, in place; those that stay get names of their own.

    Whatever is wrong with the others does no harm then. onnxruntime requires that no two nodes share a name.
    """
    needed, kept = set(outputs), []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(reads(node))
    kept.reverse()
    if len(kept) < len(graph.node):
        del graph.node[:]
        graph.node.extend(kept)
    taken: set[str] = set()
    for number, node in enumerate(graph.node):
        if node.name in taken:
            node.name = f"{node.name}/{number}"
        if node.name:
            taken.add(node.name)


def keep_read(graph: onnx.GraphProto, keep: Iterable[str] = ()) -> None:
    """Remove inputs that no node reads, in place; initial values that are inputs too, without a word."""
    read = {name for node in graph.node for name in reads(node)}.union(keep)
    initial = {tensor.name for tensor in graph.initializer}
    for value in [value for value in graph.input if value.name not in read]:
        graph.input.remove(value)
        if value.name not in initial:
            _log.info("the input %r is left out: nothing that the output needs reads it", value.name)


def _plain(model: onnx.ModelProto) -> list[str]:
    """Return what the standard demands, and onnxruntime does not: the graph's name, and weights among the inputs in IR 3."""
    inputs = {value.name for value in model.graph.input}
    free = any(tensor.name not in inputs for tensor in model.graph.initializer)
    old = free and model.ir_version == FREE_INITIALIZERS - 1
    return ["graph name"] * (not model.graph.name) + ["IR version, which lets weights be no inputs,"] * old


def _order(graph: onnx.GraphProto) -> list[int]:
    """Return the numbers of the nodes in an order in which they can be run; [] if they are in one, or there is none."""
    made = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
    needs = [{made[name] for name in reads(node) if name in made} for node in graph.node]
    if all(number > max(before, default=-1) for number, before in enumerate(needs)):
        return []
    readers: list[list[int]] = [[] for _ in needs]
    for number, before in enumerate(needs):
        for one in before:
            readers[one].append(number)
    left = [len(before) for before in needs]
    ready, order = [number for number, count in enumerate(left) if not count], []
    heapq.heapify(ready)
    while ready:
        number = heapq.heappop(ready)
        order.append(number)
        for reader in readers[number]:
            left[reader] -= 1
            if not left[reader]:
                heapq.heappush(ready, reader)
    return order if len(order) == len(needs) else []


def _bodies(model: onnx.ModelProto) -> Iterator[tuple[Any, Iterable[onnx.NodeProto]]]:
    """Iterate over the imports and the nodes, also those of subgraphs, of the main graph and of each function."""
    yield model.opset_import, list(all_nodes(model.graph.node))
    for function in model.functions:
        yield function.opset_import, list(all_nodes(function.node))


def _renames(model: onnx.ModelProto) -> bool:
    return any(entry.domain == SPELT_OUT for imports, nodes in _bodies(model) for entry in (*imports, *nodes))


def _misplaced(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Iterate over fake quantizers of TensorFlow's in the standard's domain."""
    for _, nodes in _bodies(model):
        yield from (node for node in nodes if node.domain in (STANDARD, SPELT_OUT) and node.op_type in FAKE_QUANTIZERS)


def _missing(model: onnx.ModelProto) -> list[tuple[Any, str]]:
    """Return each list of imports that lacks a known domain of its nodes, with the domain."""
    return [
        (imports, domain)
        for imports, nodes in _bodies(model)
        for domain in sorted({node.domain for node in nodes} & VERSIONS.keys() - {entry.domain for entry in imports})
    ]


def _spell_standard(model: onnx.ModelProto) -> None:
    """Spell the standard's domain as the empty string, everywhere."""
    for imports, nodes in _bodies(model):
        versions = [entry.version for entry in imports if entry.domain == STANDARD]
        for entry in [entry for entry in imports if entry.domain == SPELT_OUT]:
            if versions:
                imports.remove(entry)
            else:
                entry.domain = STANDARD
        for node in nodes:
            if node.domain == SPELT_OUT:
                node.domain = STANDARD


def _sparse(model: onnx.ModelProto) -> Iterator[onnx.SparseTensorProto]:
    """Iterate over sparse initializers and the sparse values of Constant nodes."""
    yield from model.graph.sparse_initializer
    for _, nodes in _bodies(model):
        for node in nodes:
            yield from (entry.sparse_tensor for entry in node.attribute if entry.HasField("sparse_tensor"))


def _make_dense(model: onnx.ModelProto) -> None:
    """Replace sparse tensors by dense ones, in place."""
    from onnx import helper

    for sparse in model.graph.sparse_initializer:
        model.graph.initializer.append(dense(sparse, sparse.values.name))
    model.graph.ClearField("sparse_initializer")
    for _, nodes in _bodies(model):
        for node in nodes:
            for number, entry in enumerate(node.attribute):
                if entry.name == "sparse_value" and entry.HasField("sparse_tensor"):
                    value = dense(entry.sparse_tensor, node.output[0] if node.output else node.name)
                    node.attribute[number].CopyFrom(helper.make_attribute("value", value))


def dense(sparse: onnx.SparseTensorProto, name: str) -> onnx.TensorProto:
    """Return a sparse tensor as a dense one.

    Raises
    ------
    InputError
        Its indices do not match its shape or values, or it would be larger than `MOST_DENSE` bytes.
    """
    from onnx import numpy_helper

    dims = tuple(sparse.dims)
    try:
        values = numpy_helper.to_array(sparse.values).reshape(-1)
        indices = numpy_helper.to_array(sparse.indices).astype(np.int64)
    except Exception as error:  # noqa: BLE001  # onnx and numpy raise several types
        reason = " ".join(str(error).split())[:120]
        raise InputError(name, f"is a sparse tensor that cannot be read ({reason})", code="model-corrupt") from None
    size = math.prod(dims) * values.dtype.itemsize
    if any(n < 0 for n in dims) or size > MOST_DENSE:
        raise InputError(
            name,
            f"is a sparse tensor of shape {dims}, {size:,} bytes as a dense one; at most {MOST_DENSE:,} are supported",
            code="model-corrupt",
            found=size,
            allowed=MOST_DENSE,
        )
    if indices.ndim == 2 and indices.shape[1] == len(dims):
        inside = ((indices >= 0) & (indices < np.array(dims, np.int64))).all()
        flat = np.ravel_multi_index(tuple(indices.T), dims) if inside and len(indices) else np.zeros(0, np.int64)
    else:
        flat = indices.reshape(-1)
        inside = ((flat >= 0) & (flat < math.prod(dims))).all()
    if not inside or len(flat) != len(values):
        raise InputError(
            name,
            f"is a sparse tensor whose {len(indices)} indices do not match its {len(values)} values and shape {dims}; "
            "export it again",
            code="model-corrupt",
        )
    full = np.zeros(math.prod(dims), values.dtype)
    full[flat] = values
    _log.info("the sparse tensor %r of shape %s is stored as a dense one", name, dims)
    return numpy_helper.from_array(full.reshape(dims), name)


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard's operators that a model uses; 0 if it imports none."""
    return next((entry.version for entry in model.opset_import if entry.domain in (STANDARD, SPELT_OUT)), 0)


def upgraded(model: onnx.ModelProto, opset: int, because: str) -> onnx.ModelProto:
    """Return the model in a newer opset, converted by onnx's version converter; the model itself if it is new enough.

    Parameters
    ----------
    because : str
        The operator that needs the newer opset, for messages.

    Raises
    ------
    InputError
        The converter does not support one of the model's operators.
    """
    found = opset_of(model)
    if found >= opset:
        return model
    from onnx import version_converter

    given = type(model)()
    given.CopyFrom(model)
    given.ir_version = max(given.ir_version, 4)  # before version 4, initializers had to be inputs
    try:
        out = version_converter.convert_version(given, opset)
    except Exception as error:  # noqa: BLE001  # onnx raises several types
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            because,
            f"is not supported in opset {found}, and onnx cannot convert the model to opset {opset} ({reason}); export it "
            f"with opset {opset} or newer",
            code="model-opset",
            found=found,
            allowed=opset,
        ) from None
    if found < RESIZE_CHANGED <= opset:
        _resize_as_before(out)
    _log.info("the model is converted from opset %d to %d, which %s needs", found, opset, because)
    return out


#: the opset whose Resize samples at other positions by default; the converter leaves its attributes as they are
RESIZE_CHANGED = 11


def _resize_as_before(model: onnx.ModelProto) -> None:
    """Let every Resize sample as in opset 10: down to the next position, or up to it where it makes the tensor smaller."""
    from onnx import helper, numpy_helper

    known = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Resize" and node.domain == STANDARD:
            given = {entry.name for entry in node.attribute}
            scales = numpy_helper.to_array(known[node.input[2]]) if node.input[2] in known else np.ones(1)
            nearest = "ceil" if (scales < 1).any() else "floor"
            for name, value in (("coordinate_transformation_mode", "asymmetric"), ("nearest_mode", nearest)):
                if name not in given:
                    node.attribute.append(helper.make_attribute(name, value))
