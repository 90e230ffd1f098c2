"""The ONNX model that a mapping was compiled from, run by onnxruntime with its inner tensors as outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim import paths
from chipsim.engine.host import reference_session
from chipsim.engine.protocol import Compiled
from chipsim.errors import InputError
from chipsim.integer_kernels import of_one_signedness
from chipsim.onnx_repair import inlined, keep_needed, keep_read, repaired
from chipsim.onnx_unrolled import unrolled
from chipsim.qonnx_ops import rewrite
from chipsim.quoting import quote

#: bytes of an ONNX file: protobuf's limit
MOST_MODEL = (1 << 31) - 1


def reference_outputs(
    mapping: Compiled, path: Path, tensors: list[str], wish: str = ""
) -> Callable[[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
    """The ONNX model with the layers' tensors as outputs, onnxruntime with optimisation off.

    ``wish`` is another tensor, the last of the outputs if the model has it.
    """
    import onnx

    content = paths.read(path, MOST_MODEL, "file-unreadable")
    if hashlib.sha256(content).hexdigest() != mapping.model_sha256:
        raise InputError(
            str(path),
            "is not the model that the mapping was compiled from: its SHA-256 differs; pass that model, or compile this one",
            code="model-differs",
            found=hashlib.sha256(content).hexdigest(),
            allowed=mapping.model_sha256,
        )
    proto = inlined(repaired(_whole(path, content)))
    keep_needed(proto.graph, [value.name for value in proto.graph.output if value.name == mapping.output_tensor])
    proto, problems = unrolled(proto)
    if problems:
        raise problems[0]
    _cut(proto.graph, mapping, [mapping.output_tensor, *tensors, wish])
    proto = of_one_signedness(rewrite(proto))
    there = {value.name for value in proto.graph.output}
    made = {name for node in proto.graph.node for name in node.output}
    missing = [name for name in tensors if name not in made]
    if missing:
        raise InputError(str(path), f"has no tensor {missing[0]!r}, which the mapping refers to", code="model-differs")
    tensors = [*tensors, wish] if wish in made else tensors
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(tensors) if name not in there)
    wanted = [mapping.output_tensor, *tensors]
    name = mapping.input.name
    axes = next(value for value in proto.graph.input if value.name == name).type.tensor_type.shape.dim
    if len(axes) == len(mapping.input.shape):  # a whole batch of the file is one image
        return _one_by_one(reference_session(proto.SerializeToString(), str(path)), str(path), name, wanted)
    axis = axes[0]
    size = axis.dim_value if axis.HasField("dim_value") else 0
    if size <= 0:
        axis.dim_param = "N"
    runner = reference_session(proto.SerializeToString(), str(path))

    def parts(images: npt.NDArray[Any], step: int) -> list[npt.NDArray[Any]]:
        """So many images at a time, the last ones filled up."""
        found = []
        for first in range(0, len(images), step):
            part = images[first : first + step]
            filled = np.concatenate([part, np.repeat(part[:1], step - len(part), axis=0)])
            given = runner.run(wanted, {name: filled})
            # a Squeeze of all axes takes the batch of one image away
            given = [value if value.shape[:1] == (step,) else value.reshape(step, -1) for value in given]
            found.append([value[: len(part)] for value in given])
        return [np.concatenate(columns) for columns in zip(*found, strict=True)]

    def call(images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        try:
            return parts(images, size if size > 0 else len(images))
        except Exception as error:  # noqa: BLE001  # onnxruntime raises several types of its own
            if size > 0 or len(images) == 1:
                raise _not_run(str(path), error) from None
        return parts(images, 1)  # a reshape to one image, say

    return call


def _cut(graph: Any, mapping: Compiled, wanted: list[str]) -> None:
    """Remove what the compiler leaves out too: nodes, outputs and inputs that the compiled output does not need."""
    keep_needed(graph, wanted)
    for value in [value for value in graph.output if value.name not in wanted]:
        graph.output.remove(value)
    keep_read(graph, [mapping.input.name])


def _one_by_one(
    runner: Any, path: str, name: str, wanted: list[str]
) -> Callable[[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
    """Run a file whose tensors have no axis for the images, image by image."""

    def call(images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        try:
            found = [runner.run(wanted, {name: image}) for image in images]
        except Exception as error:  # noqa: BLE001  # onnxruntime raises several types of its own
            raise _not_run(path, error) from None
        return [np.stack(values) for values in zip(*found, strict=True)]

    return call


def _not_run(path: str, error: Exception) -> InputError:
    return InputError(path, f"onnxruntime cannot run it ({quote(error)})", code="reference-refuses")


def _whole(path: Path, content: bytes) -> Any:
    """Parse a model and load its external data."""
    import onnx

    try:
        proto = onnx.load_model_from_string(content)
        onnx.load_external_data_for_model(proto, str(path.parent))
    except Exception as error:  # noqa: BLE001  # onnx raises several types
        text = f"its external data cannot be read ({' '.join(str(error).split())[:160]})"
        raise InputError(str(path), text, code="model-external") from None
    return proto
