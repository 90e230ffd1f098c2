"""Write activations with fewer levels, and without some channels, into an ONNX graph.

After an activation of values scale * (level + zero point) come standard operators that map its level q to

    k = min(max(floor((q + DELTA) / step + 1 / 2), low), high)

and give scale * step * k, or that plus the lowest value where zero is not among the levels. With step 1 the activation is
only clipped. `DELTA` is less than a level, so that float rounding of q decides nothing; a channel that is left out is
multiplied by zero, so that none of its neurons changes and the compiler removes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chipsim.onnx_repair import opset_of
from qsnnc.frontend.model.reference import session
from qsnnc.ir.layers import Population

if TYPE_CHECKING:
    import onnx

#: added to a level before it is divided: steps are multiples of 1/2, so that no level lies closer to a decision than 0.05
DELTA = 0.3
#: onnxruntime's names of types other than float32
TYPES = {
    "tensor(uint8)": "uint8", "tensor(int8)": "int8", "tensor(uint16)": "uint16", "tensor(int16)": "int16",
    "tensor(int32)": "int32", "tensor(float16)": "float16", "tensor(double)": "float64",
}  # fmt: skip
#: suffix of an activation's name before its change
BEFORE = "/before-fit"


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What becomes of an activation."""

    levels: int  # the largest level
    step: float = 1.0  # a multiple of 1/2: how many of the old levels one takes
    low: int = 0  # k of the lowest level
    without: tuple[int, ...] = ()  # channels that are left out

    @property
    def is_clip(self) -> bool:
        """Whether it is what ``--levels`` does."""
        return self.step == 1 and not self.low and not self.without


def narrowed(entry: Population, levels: int, step: float = 1.0, without: tuple[int, ...] = ()) -> Narrowed:
    """Return an activation with fewer levels; where it has negative values, about as many of them as positive ones."""
    lowest = int(np.round(entry.zero_point / step)) if around_zero(entry) else 0
    low = lowest if levels * step >= entry.levels else max(lowest, -((levels + 1) // 2))
    return Narrowed(levels, step, low, without)


def around_zero(entry: Population) -> bool:
    """Return whether zero is one of an activation's values."""
    return float(entry.zero_point).is_integer() and -entry.levels <= entry.zero_point <= 0


def can_drop(entry: Population) -> bool:
    """Return whether channels of an activation can be left out: zero is a level, and the tensor's first axis is theirs."""
    return around_zero(entry) and bool(entry.tensor) and entry.tensor_shape[:1] == entry.shape[:1]


def narrowed_levels(entry: Population, change: Narrowed) -> npt.NDArray[np.float64]:
    """Return what becomes of each level, in old levels; channels are not left out."""
    zero = entry.zero_point if around_zero(entry) else 0.0
    level = np.arange(entry.levels + 1) + zero
    k = np.clip(np.floor((level + DELTA) / change.step + 0.5), change.low, change.low + change.levels)
    return np.asarray(k * change.step - zero, np.float64)


def edited(proto: onnx.ModelProto, changes: Iterable[tuple[Population, Narrowed]]) -> onnx.ModelProto:
    """Return a copy of a model in which some activations are narrowed.

    Parameters
    ----------
    proto : ModelProto
        Holds the tensor of each of the populations.
    changes : sequence of (Population, Narrowed)
    """
    out = type(proto)()
    out.CopyFrom(proto)
    by_tensor = {entry.tensor: (entry, change) for entry, change in changes}
    kinds = element_types(proto, list(by_tensor))
    del out.graph.node[:]
    for node in proto.graph.node:
        out.graph.node.append(node)
        for position, name in enumerate(node.output):
            if name in by_tensor:
                out.graph.node[-1].output[position] = name + BEFORE
                _append(out, name, *by_tensor[name], kinds[name])
    return out


def element_types(proto: onnx.ModelProto, tensors: Sequence[str]) -> dict[str, int]:
    """Return the ONNX element type of some tensors: as inferred, or as onnxruntime has it (operators of other domains)."""
    import onnx
    from onnx import helper, shape_inference

    bare = type(proto)()
    bare.CopyFrom(proto)
    del bare.graph.value_info[:]  # what the file says there may be wrong
    inferred = shape_inference.infer_shapes(bare).graph
    known = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)}
    missing = [name for name in tensors if not known.get(name)]
    if missing:
        probe = type(proto)()
        probe.CopyFrom(proto)
        probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in missing)
        for value in session(probe).get_outputs():
            known[value.name] = helper.np_dtype_to_tensor_dtype(np.dtype(TYPES.get(value.type, "float32")))
    return {name: known[name] for name in tensors}


def _append(proto: onnx.ModelProto, name: str, entry: Population, change: Narrowed, kind: int) -> None:
    """Append the operators that narrow one tensor."""
    from onnx import TensorProto, helper, numpy_helper

    lowest = 0.0 if around_zero(entry) else entry.scale * entry.zero_point
    low, high = float(change.low), float(change.low + change.levels)
    here = name + BEFORE
    count = 0

    def add(op: str, *values: float | npt.NDArray[np.float32], **attributes: Any) -> None:
        nonlocal here, count
        count += 1
        names = [f"{name}/fit/{count}.{number}" for number in range(len(values))]
        proto.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(v, np.float32), n) for v, n in zip(values, names, strict=True)
        )
        after = f"{name}/fit/{count}"
        proto.graph.node.append(helper.make_node(op, [here, *names], [after], name=f"{after}/{op}", **attributes))
        here = after

    if kind != TensorProto.FLOAT:
        add("Cast", to=TensorProto.FLOAT)
    if lowest:
        add("Sub", lowest)
    add("Mul", 1 / (entry.scale * change.step))
    add("Add", DELTA / change.step + 0.5)
    add("Floor")
    if opset_of(proto) < 11:
        add("Clip", min=low, max=high)
    else:
        add("Clip", low, high)
    if change.without:
        kept = np.ones((1, *entry.tensor_shape[:1], *[1] * (len(entry.tensor_shape) - 1)), np.float32)
        kept[:, list(change.without)] = 0
        add("Mul", kept)
    add("Mul", entry.scale * change.step)
    if lowest:
        add("Add", lowest)
    if kind != TensorProto.FLOAT:
        add("Cast", to=kind)
    proto.graph.node[-1].output[0] = name
