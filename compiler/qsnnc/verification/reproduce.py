"""Cut the first difference out of a model: the nodes from the last equal activations to it, as ONNX, and one sample."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chipsim.files import stream_atomically, write_atomically, write_npz
from qsnnc.frontend.model.reference import session

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

#: in the npz, beside the inputs by their own names
EXPECTED, FOUND = "qsnnc.expected", "qsnnc.found"


@dataclass(frozen=True, slots=True)
class Reproduction:
    """Where a reproduction was written, and whether running it gives the model's value bit for bit."""

    model: str  # the ONNX file
    data: str  # the npz file
    inputs: tuple[str, ...]
    output: str
    nodes: int
    same: bool

    def __str__(self) -> str:
        how = "gives" if self.same else "does not give (float32 sums depend on their order)"
        return (
            f"{self.model}: {self.nodes} nodes from {', '.join(self.inputs)} to {self.output}; {self.data} holds their "
            f"input, the model's value, which running the file alone {how}, and the integer network's value"
        )


def names(model: str | Path) -> tuple[str, str]:
    """Names of the two files of a model's reproduction."""
    return f"{Path(model).stem}.repro.onnx", f"{Path(model).stem}.repro.npz"


def reproduce(
    reference: onnx.ModelProto,
    output: str,
    values: Mapping[str, Array],
    found: Array,
    place: Path,
) -> Reproduction:
    """Write the nodes between the last equal activations and the first different one, with one sample.

    Parameters
    ----------
    reference : ModelProto
        The model that the integer network was compared with.
    output : str
        The tensor that differs.
    values : dict
        The reference's values of one sample: the input, every activation that was compared, and the output itself.
    found : ndarray
        The integer network's value of the output, in its shape and dtype.
    place : Path
        The files are named ``place`` + ``.onnx`` and ``.npz``.

    Raises
    ------
    InputError
        A file cannot be written.
    """
    stops = {name for name in values if name != output}
    part, inputs = cut(reference, stops, output, values)
    content = part.SerializeToString(deterministic=True)
    feeds = {name: values[name] for name in inputs}
    (again,) = session(content).run([output], feeds)
    same = bool(np.array_equal(again, values[output]))
    model, npz = Path(f"{place}.onnx"), Path(f"{place}.npz")
    write_atomically(model, content)
    arrays = {**feeds, EXPECTED: values[output], FOUND: found}
    stream_atomically(npz, lambda file: write_npz(file, arrays, zipfile.ZIP_DEFLATED))
    return Reproduction(str(model), str(npz), tuple(inputs), output, len(part.graph.node), same)


def cut(
    model: onnx.ModelProto, stops: set[str], output: str, values: Mapping[str, Array]
) -> tuple[onnx.ModelProto, list[str]]:
    """Return the nodes that compute ``output`` from the ``stops`` as a model, and the names of the stops that they read."""
    import onnx
    from onnx import helper

    needed, kept = {output}, []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output) - stops:
            kept.append(node)
            needed.update(name for name in node.input if name)
    kept.reverse()
    made = {name for node in kept for name in node.output}
    constants = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    known = {tensor.name for tensor in constants}
    inputs = sorted(name for name in needed & stops if name not in made | known)
    described = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(values[name].dtype), values[name].shape)
        for name in inputs
    ]
    graph = helper.make_graph(kept, "reproduction", described, [onnx.ValueInfoProto(name=output)], constants)
    out = helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    graph_output = out.graph.output[0]
    graph_output.CopyFrom(
        helper.make_tensor_value_info(output, helper.np_dtype_to_tensor_dtype(values[output].dtype), values[output].shape)
    )
    return out, inputs
