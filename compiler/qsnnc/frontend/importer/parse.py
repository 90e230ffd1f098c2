"""The bytes of an ONNX file, and of the files beside it, as a model whose every tensor is there: nothing else is checked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from qsnnc.frontend.model.messages import first_line, refuse

if TYPE_CHECKING:
    import onnx

#: protobuf's own limit
MOST_BYTES = (1 << 31) - 1


def opened(source: str | PathLike[str] | onnx.ModelProto) -> tuple[Path, bytes]:
    """Return the path of a model, for errors and for files beside it, and the bytes of the file.

    A model in memory is called ``model``.

    Raises
    ------
    ModelError
        The file is missing or too large; or the model in memory has tensors whose data was not loaded.
    TypeError
        Neither a path nor a model.
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
    except Exception as error:  # noqa: BLE001  # protobuf's own, and not the same in all its versions
        raise refuse(
            path, f"cannot be serialized: {first_line(error)}; at most 2 GB can be compiled", "model-large"
        ) from None


def parse(path: Path, content: bytes) -> onnx.ModelProto:
    """Parse the bytes of a model, and read its external data.

    Raises
    ------
    ModelError
        It is damaged or too large, or a tensor's data is not what its shape says.
    """
    import onnx

    try:
        proto = onnx.load_model_from_string(content)
    except Exception as error:  # noqa: BLE001  # protobuf and onnx each raise their own
        raise refuse(path, f"is not a readable ONNX model ({first_line(error)})", "model-corrupt") from None
    if not proto.graph.node:
        raise refuse(path, "is not a readable ONNX model (no graph in it)", "model-corrupt")
    if not all(isinstance(text, str) for text in _texts(proto)):  # protobuf hands over as bytes what is no UTF-8
        raise refuse(path, "is not a readable ONNX model (a name in it is no UTF-8)", "model-corrupt")
    _load_external(proto, path)
    _check_tensors(proto, path)
    return proto


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero in the name
        raise refuse(path, f"cannot be read: {getattr(error, 'strerror', None) or error}", "model-unreadable") from None
    if not content:
        raise refuse(path, "is empty; an ONNX model is needed", "model-corrupt")
    if len(content) > MOST_BYTES:
        raise refuse(path, "is larger than 2 GB, which no ONNX file can be; keep weights as external data", "model-large")
    return content


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Initializers and the tensors of attributes, of the main graph and of functions."""
    yield from proto.graph.initializer
    for nodes in (proto.graph.node, *(function.node for function in proto.functions)):
        for node in nodes:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def _texts(proto: onnx.ModelProto) -> Iterator[object]:
    """Every name that is read."""
    for entry in proto.opset_import:
        yield entry.domain
    for entry in proto.metadata_props:
        yield from (entry.key, entry.value)
    graph = proto.graph
    for value in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
        yield value.name
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for tensor in _tensors(proto):
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    for nodes in (graph.node, *(function.node for function in proto.functions)):
        for node in nodes:
            yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
            yield from (attribute.name for attribute in node.attribute)
    for function in proto.functions:
        yield from (function.name, function.domain, *function.input, *function.output)


def _load_external(proto: onnx.ModelProto, path: Path) -> None:
    """Read weights that lie in files beside the model, after looking whether they are all there."""
    import onnx

    total = 0
    for tensor in _tensors(proto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            total += _external_size(tensor, path)
    if total > MOST_BYTES:
        raise refuse(path, f"has {total / 1e9:.1f} GB of weights; at most 2 GB can be compiled", "model-large", found=total)
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
    except Exception as error:  # noqa: BLE001
        raise refuse(path, f"its external data cannot be read ({first_line(error)})", "model-external") from None


def _external_size(tensor: onnx.TensorProto, path: Path) -> int:
    """Bytes of a tensor in another file."""
    where = {entry.key: entry.value for entry in tensor.external_data}
    place = where.get("location", "")
    inside = Path(place)
    if not place or inside.is_absolute() or ".." in inside.parts:
        text = f"the data of tensor {tensor.name!r} lies in {place!r}; it must be a file beside the model"
        raise refuse(path, text, "model-external", found=place)
    try:
        size = (path.parent / inside).stat().st_size
        offset = int(where.get("offset", 0))
        length = int(where.get("length", size - offset))
    except OSError:
        raise refuse(
            path, f"the data of tensor {tensor.name!r} lies in {place!r}, which is not there; keep both files together",
            "model-external", found=place,
        ) from None  # fmt: skip
    except ValueError:
        raise refuse(path, f"tensor {tensor.name!r} has no readable place in {place!r}", "model-external") from None
    if offset < 0 or length < 0 or offset + length > size:
        raise refuse(
            path, f"{place!r} is cut short: tensor {tensor.name!r} ends at byte {offset + length:,}, the file at {size:,}",
            "model-external", found=size, allowed=offset + length,
        )  # fmt: skip
    return length


def _check_tensors(proto: onnx.ModelProto, path: Path) -> None:
    """Whether every tensor holds numbers, as many as its shape says and no more than protobuf can hold."""
    import onnx

    if proto.graph.sparse_initializer:
        name = proto.graph.sparse_initializer[0].values.name
        raise refuse(path, f"initializer {name!r} is sparse; store it dense", "model-sparse")
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.STRING:
            raise refuse(path, f"initializer {tensor.name!r} holds text; numbers are needed", "model-text")
        if math.prod(tensor.dims) > MOST_BYTES:
            raise refuse(path, f"initializer {tensor.name!r} claims shape {tuple(tensor.dims)}", "model-corrupt")
    if proto.ByteSize() > MOST_BYTES:
        raise refuse(path, "has more than 2 GB of weights; at most 2 GB can be compiled", "model-large")
