"""Parse an ONNX file and load its external data; check that every tensor is complete, and nothing else."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from chipsim import paths
from chipsim.errors import InputError
from chipsim.onnx_graphs import all_nodes, subgraphs
from qsnnc.frontend.model.messages import first_line, refuse

if TYPE_CHECKING:
    import onnx

#: protobuf's size limit
MOST_BYTES = (1 << 31) - 1


def opened(source: str | PathLike[str] | onnx.ModelProto) -> tuple[Path, bytes]:
    """Return the path of a model, used in errors and to find external data, and the bytes of the file.

    The path of a model in memory is ``model``.

    Raises
    ------
    ModelError
        The file is missing or too large, or the model in memory has tensors whose data was not loaded.
    TypeError
        The source is neither a path nor a model.
    """
    if isinstance(source, str | PathLike):
        return Path(source), _read(Path(source))
    import onnx

    if not isinstance(source, onnx.ModelProto):
        raise TypeError(f"expected a path or an onnx.ModelProto, got {type(source).__name__}")
    path = Path("model")
    outside = next((tensor.name for tensor in _tensors(source) if tensor.data_location == onnx.TensorProto.EXTERNAL), None)
    if outside is not None:
        text = f"the data of tensor {outside!r} is in another file; load the model with its external data, or pass its path"
        raise refuse(path, text, "model-external", found=outside)
    try:
        return path, bytes(source.SerializeToString())
    except Exception as error:  # noqa: BLE001  # protobuf's exceptions differ between versions
        raise refuse(path, f"cannot be serialized: {first_line(error)}; at most 2 GB are supported", "model-large") from None


def parse(path: Path, content: bytes) -> onnx.ModelProto:
    """Parse the bytes of a model and read its external data.

    Raises
    ------
    ModelError
        It is damaged or too large, or a tensor's data does not match its shape.
    """
    import onnx

    try:
        proto = onnx.load_model_from_string(content)
    except Exception as error:  # noqa: BLE001  # protobuf and onnx raise different types
        raise refuse(path, f"is not a readable ONNX model ({first_line(error)})", "model-corrupt") from None
    if not proto.graph.node:
        raise refuse(path, "is not a readable ONNX model (it has no graph)", "model-corrupt")
    if not all(isinstance(text, str) for text in _texts(proto)):  # protobuf returns invalid UTF-8 as bytes
        raise refuse(path, "is not a readable ONNX model (a name is not valid UTF-8)", "model-corrupt")
    outside = _load_external(proto, path)
    _check_tensors(proto, path)
    if len(content) + outside > MOST_BYTES:
        raise refuse(path, "has more than 2 GB of weights; at most 2 GB are supported", "model-large")
    return proto


def _read(path: Path) -> bytes:
    if paths.look(path).size > MOST_BYTES:
        raise refuse(path, "is larger than 2 GB, the limit of an ONNX file; store weights as external data", "model-large")
    try:
        content = paths.read(path, MOST_BYTES, "file-unreadable")
    except InputError as error:
        raise refuse(path, error.message, error.code) from None
    if not content:
        raise refuse(path, "is empty; an ONNX model is needed", "model-corrupt")
    return content


def external_files(path: str) -> list[str]:
    """Paths of the files that hold a model's external data; none where the model cannot be read."""
    import onnx

    if not paths.is_stored(path):
        return []
    try:
        content = _read(Path(path))
        if b"location" not in content:  # the key that no external data can do without
            return []
        proto = onnx.load_model_from_string(content)
        return sorted(
            {
                str(Path(path).parent / entry.value)
                for tensor in _tensors(proto)
                for entry in tensor.external_data
                if entry.key == "location" and isinstance(entry.value, str)
            }
        )
    except Exception:  # noqa: BLE001  # protobuf's, or our own: who reads the model says what is wrong with it
        return []


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Iterate over initializers and tensors in attributes, dense or sparse, of all graphs and of functions."""
    for graph in _graphs(proto):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in _nodes(proto):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("sparse_tensor"):
                yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
            yield from attribute.tensors


def _nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Iterate over the nodes of the main graph, of functions and of their subgraphs."""
    for nodes in (proto.graph.node, *(function.node for function in proto.functions)):
        yield from all_nodes(nodes)


def _graphs(proto: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """Iterate over the main graph and all subgraphs."""
    yield proto.graph
    for node in _nodes(proto):
        yield from subgraphs(node)


def _texts(proto: onnx.ModelProto) -> Iterator[object]:
    """Iterate over all names that are used."""
    for entry in proto.opset_import:
        yield entry.domain
    for entry in proto.metadata_props:
        yield from (entry.key, entry.value)
    for graph in _graphs(proto):
        for value in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
            yield value.name
        for value in (*graph.input, *graph.output, *graph.value_info):
            yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for tensor in _tensors(proto):
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    for node in _nodes(proto):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    for function in proto.functions:
        yield from (function.name, function.domain, *function.input, *function.output)


def _load_external(proto: onnx.ModelProto, path: Path) -> int:
    """Read weights from files beside the model, after checking that all are complete; return their bytes."""
    import onnx

    total = 0
    for tensor in _tensors(proto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            total += _external_size(tensor, path)
    if total > MOST_BYTES:
        raise refuse(path, f"has {total / 1e9:.1f} GB of weights; at most 2 GB are supported", "model-large", found=total)
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
    except Exception as error:  # noqa: BLE001
        raise refuse(path, f"its external data cannot be read ({first_line(error)})", "model-external") from None
    return total


def _external_size(tensor: onnx.TensorProto, path: Path) -> int:
    """Return the size in bytes of a tensor in another file, after checking that it is there."""
    where = {entry.key: entry.value for entry in tensor.external_data}
    place = where.get("location", "")
    inside = Path(place)
    if not place or inside.is_absolute() or ".." in inside.parts:
        text = f"the data of tensor {tensor.name!r} is in {place!r}; it must be in the folder of the model"
        raise refuse(path, text, "model-external", found=place)
    found = paths.look(path.parent / inside)
    if found.kind != "file":
        fault = "does not exist" if found.kind == "nothing" else "is no regular file"
        raise refuse(
            path, f"the data of tensor {tensor.name!r} is in {place!r}, which {fault}; keep both files together",
            "model-external", found=place,
        )  # fmt: skip
    try:
        size, offset = found.size, int(where.get("offset", 0))
        length = int(where.get("length", size - offset))
    except ValueError:
        raise refuse(
            path, f"the offset or length of tensor {tensor.name!r} in {place!r} cannot be read", "model-external"
        ) from None
    if offset < 0 or length < 0:
        text = f"the data of tensor {tensor.name!r} in {place!r} has offset {offset:,} and length {length:,}; save it again"
        raise refuse(path, text, "model-external", found=min(offset, length), allowed=0)
    if offset + length > size:
        raise refuse(
            path, f"{place!r} is truncated: tensor {tensor.name!r} ends at byte {offset + length:,}, the file at {size:,}",
            "model-external", found=size, allowed=offset + length,
        )  # fmt: skip
    return length


def _check_tensors(proto: onnx.ModelProto, path: Path) -> None:
    """Refuse a tensor that is not numeric, does not match its shape, or is larger than protobuf permits."""
    import onnx

    for tensor in itertools.chain.from_iterable(graph.initializer for graph in _graphs(proto)):
        if tensor.data_type == onnx.TensorProto.STRING:
            raise refuse(path, f"initializer {tensor.name!r} holds text; numbers are needed", "model-corrupt")
        if math.prod(tensor.dims) > MOST_BYTES:
            raise refuse(path, f"initializer {tensor.name!r} has the invalid shape {tuple(tensor.dims)}", "model-corrupt")
