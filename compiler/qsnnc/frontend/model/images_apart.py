"""See that each image of a batch is computed without the others, by running a model on several together and on each alone.

The chip computes one image at a time, and the host's parts run on any number of images. A model that takes the largest value
of a batch, turns its order around or loses its axis has other values there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chipsim.onnx_graphs import initial_values
from qsnnc.errors import ModelError
from qsnnc.frontend.model.batch_axis import free_shapes
from qsnnc.frontend.model.messages import label
from qsnnc.frontend.model.reference import Session, session

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

#: images that are run together, and of small ones, which often have the same scores
SEVERAL, MANY = 3, 16
#: values of a small image, and what a model may at most make of it
SMALL, MADE = 4096, 1 << 20
#: how often a difference has to show, each time on other images; float sums in another order may change a few values
DRAWS = 4
#: largest mean difference of an image's values that is put down to the order of float sums, of their range
ROUNDING = 0.02


def refuse_mixing(proto: onnx.ModelProto, run: Session) -> None:
    """Refuse a reference whose images are not computed one by one.

    Parameters
    ----------
    proto : ModelProto
        With one input and one output. If its batch is one image, nothing can be mixed.
    run : Session
        Of ``proto``.

    Raises
    ------
    ModelError
    """
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    if run.executor != "onnxruntime" or dims[0].dim_value == 1:
        return
    bad = _differs(proto, run)
    if bad == "shape":  # a reshape to one image, say
        freed = type(proto)()
        freed.CopyFrom(proto)
        free_shapes(freed.graph, initial_values(freed.graph), 1, "qsnnc.apart")
        bad = _differs(freed, session(freed))
    if bad in ("shape", "values"):
        raise _refusal(proto)


def refuse_mixing_host(part: onnx.ModelProto, run: Session) -> None:
    """Refuse a part of the host that cannot be run on several images at once, or mixes them.

    Raises
    ------
    ModelError
    """
    if _differs(part, run):
        raise _refusal(part)


def same_results(one: bytes, other: onnx.ModelProto) -> bool:
    """Return whether two models give one image the same values, but for rounding and axes of length one.

    Also if the first cannot be run: then that is what has to be told.
    """
    feed = {other.graph.input[0].name: drawn(other, 1, 0)}
    try:
        first = np.asarray(session(one).run(None, feed)[0])
    except ModelError:
        return True
    try:
        second = np.asarray(session(other).run(None, feed)[0])
    except ModelError:
        return False
    return first.size == second.size and not _far(first.reshape(1, -1), second.reshape(1, -1))


def drawn(proto: onnx.ModelProto, count: int, seed: int) -> Array:
    """Return random images for a model's input; floats lie between 0 and 1, and between 0 and 255."""
    from onnx import helper

    rng = np.random.default_rng(seed)
    typed = proto.graph.input[0].type.tensor_type
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(typed.elem_type))
    shape = (count, *(dim.dim_value for dim in typed.shape.dim[1:]))
    if dtype.kind == "f":
        return np.asarray(rng.uniform(0, 1, shape) * rng.choice([1, 255], shape), dtype)
    low = 0 if dtype.kind == "u" else -100
    return np.asarray(rng.integers(low, 128, shape), dtype)


def _differs(proto: onnx.ModelProto, run: Session) -> str:
    """Return what is other on several images than on each alone: ``run``, ``shape`` or ``values``; '' if nothing is."""
    for seed in range(DRAWS):
        bad = _difference(proto, lambda images: run.run(None, {proto.graph.input[0].name: images})[0], seed)
        if bad != "values":
            return bad
    return "values"


def _difference(proto: onnx.ModelProto, run: Callable[[Array], Array], seed: int) -> str:
    images = drawn(proto, SEVERAL, seed)
    small = images[0].size <= SMALL
    if small:
        images = drawn(proto, MANY, seed)
    try:
        first = np.asarray(run(images[:1]))
        small &= first.size <= MADE
        images = images if small else images[:SEVERAL]
        compared = range(MANY) if small else (0, SEVERAL - 1)
        alone = [first, *(np.asarray(run(images[i : i + 1])) for i in compared[1:])]
    except ModelError:  # these are no images that it takes
        return ""
    if any(each.shape[:1] != (1,) for each in alone):
        return "shape"
    try:
        together = np.asarray(run(images))
    except ModelError:
        return "run"
    if together.shape != (len(images), *alone[0].shape[1:]):
        return "shape"
    far = sum(_far(together[i : i + 1], each) for i, each in zip(compared, alone, strict=True))
    return "values" if far > len(compared) // MANY else ""  # of many, one may be rounding


def _far(one: Array, other: Array) -> bool:
    """Return whether an image's values are others, beyond rounding."""
    if one.dtype.kind not in "fiub":
        return not np.array_equal(one, other)
    first, second = (each.astype(np.float64) for each in (one, other))
    equal = (first == second) | (np.isnan(first) & np.isnan(second))
    if equal.all():
        return False
    if not (np.isfinite(first[~equal]).all() and np.isfinite(second[~equal]).all()):
        return True
    finite = second[np.isfinite(second)]
    spread = max(float(np.ptp(finite)), 0.05 * float(np.abs(finite).max()))
    return float(np.where(equal, 0, np.abs(first - second)).mean()) > ROUNDING * spread


def _refusal(proto: onnx.ModelProto) -> ModelError:
    """Return the error, with the first node that mixes images or moves their axis."""
    node, what = _first(proto)
    name = node.op_type if node is not None else "an operator"
    return ModelError(
        label(node) if node is not None else proto.graph.output[0].name,
        f"{name} {what}; keep axis 0, the batch, and compute each image without the others",
        code="batch-moved",
        node=label(node) if node is not None else None,
    )


def _first(proto: onnx.ModelProto) -> tuple[onnx.NodeProto | None, str]:
    """Return the first node that mixes images or moves their axis, and what it does."""
    given = proto.graph.input[0].name
    moving, nodes = {given}, []
    for node in proto.graph.node:
        if moving.intersection(node.input):
            moving.update(name for name in node.output if name)
            nodes.append(node)
    images = drawn(proto, SEVERAL, 0)
    low, high, found = 0, len(nodes), None  # so many of the nodes run on several images
    while low < high:
        middle = (low + high + 1) // 2
        try:
            run = session(_up_to(proto, nodes[:middle]))
            found = [run.run(None, {given: each}) for each in (images, images[-1:])]
            low = middle
        except ModelError:
            high = middle - 1
    for node, many, one in zip(nodes[:low], *(found or ((), ())), strict=True):
        if not (isinstance(many, np.ndarray) and isinstance(one, np.ndarray)):
            continue
        if not one.ndim or many.shape != (SEVERAL * one.shape[0], *one.shape[1:]):
            return node, f"moves the batch axis: {SEVERAL} images have shape {many.shape} behind it, and one {one.shape}"
        if _far(many[-one.shape[0] :], one):
            return node, "mixes the images of a batch"
    if low < len(nodes):
        return nodes[low], "cannot be run on several images at once"
    last = nodes[-1] if nodes else None
    if found and found[1][-1].shape[:1] != (1,):
        return last, f"moves the batch axis: one image has shape {found[1][-1].shape} behind it"
    return last, "mixes the images of a batch"


def _up_to(proto: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    """Return a model that ends with the last of some of its nodes, with an output of each."""
    out = with_outputs(proto, [node.output[0] for node in nodes])
    last = next(number for number, node in enumerate(proto.graph.node) if node == nodes[-1])
    del out.graph.node[last + 1 :]
    return out


def with_outputs(proto: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """Return a model with other outputs."""
    import onnx

    out = type(proto)()
    out.CopyFrom(proto)
    del out.graph.output[:]
    out.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return out
