"""Trace operators that only move values: the reference moves element indices, which tells where each feature went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.linear.tensors import Quantized, together
from qsnnc.frontend.model.model import Model, Node
from qsnnc.frontend.model.operators import IDENTITY, facts
from qsnnc.frontend.model.reference import session
from qsnnc.ir.layers import Int


def move(model: Model, node: Node, tensors: Sequence[Quantized | None], *, filled: float | None = None) -> list[Quantized]:
    """Return the outputs of a node as levels; ``tensors`` are its data inputs in order, None for a constant of a Concat.

    ``filled`` replaces the value that a Pad fills in.

    Raises
    ------
    ModelError
        The node moves the batch axis, or an index or shape input is not constant.
    """
    if node.op in IDENTITY:
        assert tensors[0] is not None
        return [tensors[0]]
    given = [tensor or _constants(model, name) for tensor, name in zip(tensors, _data(node), strict=True)]
    parts, fixed, indices = together(given)
    extra: dict[str, npt.NDArray[np.int64]] = {}
    if fills(node):
        value = pad_value(model, node) if filled is None else filled
        held = np.flatnonzero(fixed == value)
        if not len(held):
            fixed = np.append(fixed, value)
        extra["value"] = np.array(-1 - (held[0] if len(held) else len(fixed) - 1), np.int64)
    outputs = [name for name in node.outputs if name]
    moved = _run(model, node, indices, outputs, extra)
    return [Quantized(parts, index, fixed) for index in moved]


def fills(node: Node) -> bool:
    """Return whether an operator is a Pad that fills in a constant."""
    return node.op == "Pad" and node.attributes.get("mode", b"constant") == b"constant"


def moved_index(model: Model, node: Node, index: Int, output: str) -> Int:
    """Return the output's element indices of a node with one data input; -1 where a Pad fills in."""
    if node.op in IDENTITY:
        return index
    outputs = [name for name in node.outputs if name]
    extra = {"value": np.array(-1, np.int64)} if fills(node) else {}
    return _run(model, node, [index], outputs, extra)[outputs.index(output)]


def _data(node: Node) -> tuple[str, ...]:
    return node.inputs if node.op == "Concat" else node.inputs[:1]


def _constants(model: Model, name: str) -> Quantized:
    """Return a constant operand of a Concat, for one image."""
    if name not in model.constants:
        raise ModelError(name, "is neither quantized nor constant", code="activation-not-quantized", node=name)
    value = model.constants[name].astype(np.float64)
    if not value.ndim or value.shape[0] != 1:
        raise ModelError(
            name,
            f"is a constant of shape {value.shape}; its first axis, the batch, must have size 1",
            code="batch-moved",
            node=name,
        )
    fixed, inverse = np.unique(value[0], return_inverse=True)
    return Quantized((), (-1 - inverse.reshape(value.shape[1:])).astype(np.int64), fixed)


def pad_value(model: Model, node: Node) -> float:
    """Return the constant that a Pad fills in."""
    if len(node.inputs) > 2 and node.inputs[2]:
        if node.inputs[2] not in model.constants:
            raise ModelError(
                node.name, "the value that Pad fills in must be a constant", code="weights-not-constant", node=node.name
            )
        return float(model.constants[node.inputs[2]].reshape(()))
    return float(node.attributes.get("value", 0.0))


def _run(
    model: Model, node: Node, indices: Sequence[Int], outputs: list[str], extra: dict[str, npt.NDArray[np.int64]]
) -> list[Int]:
    """Run a node with the reference on element indices, with a batch of one."""
    from onnx import helper, numpy_helper

    _refuse_mixture(node)
    dtype = np.dtype(facts(node.op).index_type)
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    names = [f"qsnnc.{number}" for number in range(len(indices))]
    inputs = list(node.inputs)
    for number, name in enumerate(names):
        inputs[number] = name
    for name in inputs[len(names) :]:
        if name and name not in model.constants:
            raise ModelError(
                node.name,
                f"{node.op}: its input {name!r} depends on the data; it must be a constant",
                code="weights-not-constant",
                node=node.name,
            )
    if "value" in extra:
        inputs = [*inputs, "", ""][:3] if len(inputs) < 3 else inputs
        inputs[2] = "qsnnc.value"
    attributes = {name: value for name, value in node.attributes.items() if not (node.op == "Pad" and name == "value")}
    if node.op == "Pad" and "pads" in attributes:  # opset 10 and before: an attribute; indices need an input
        return [_pad(index[None], attributes, int(extra.get("value", np.array(0))))[0] for index in indices]
    plain = helper.make_node(node.op, inputs, outputs, **attributes)
    shapes = [(1, *index.shape) for index in indices]
    part = model.subgraph(
        {name: (kind, shape) for name, shape in zip(names, shapes, strict=True)},
        outputs,
        [replace(node, inputs=tuple(inputs), outputs=tuple(outputs), proto=plain)],
    )
    if "value" in extra:
        part.graph.initializer.append(numpy_helper.from_array(extra["value"].astype(dtype), "qsnnc.value"))
    try:
        found = session(part).run(outputs, {n: i[None].astype(dtype) for n, i in zip(names, indices, strict=True)})
    except ModelError as error:
        reason = " ".join(str(error).split())[-160:]
        raise ModelError(
            node.name, f"{node.op} cannot be run on one image: {reason}", code="batch-moved", node=node.name
        ) from None
    for moved in found:
        if not moved.ndim or moved.shape[0] != 1:
            raise ModelError(
                node.name,
                f"{node.op} moves the batch axis: one image of shape {shapes[0]} becomes {tuple(moved.shape)}; keep axis 0",
                code="batch-moved",
                node=node.name,
            )
    return [np.asarray(moved[0], np.int64) for moved in found]


def mixes(node: Node) -> bool:
    """Return whether a Resize interpolates, otherwise than linearly."""
    return facts(node.op).interpolates and node.attributes.get("mode", b"nearest") != b"nearest"


def _refuse_mixture(node: Node) -> None:
    """Refuse a Resize that interpolates otherwise than linearly."""
    if mixes(node):
        mode = node.attributes["mode"].decode()
        raise ModelError(
            node.name,
            f"{node.op} in mode {mode!r} interpolates; use nearest or linear, or a ConvTranspose with the weights of {mode}",
            code="model-attribute",
            node=node.name,
            found=mode,
            allowed="nearest, linear",
        )


def _pad(index: npt.NDArray[np.int64], attributes: dict[str, object], value: int) -> npt.NDArray[np.int64]:
    """Apply a Pad of opset 2."""
    pads = np.array(attributes["pads"]).reshape(2, -1)
    mode = {b"constant": "constant", b"reflect": "reflect", b"edge": "edge"}[attributes.get("mode", b"constant")]  # type: ignore[index]
    if (pads < 0).any():
        cut = tuple(slice(max(0, -a), n - max(0, -b)) for a, b, n in zip(*pads, index.shape, strict=True))
        index, pads = index[cut], np.maximum(pads, 0)
    extra = {"constant_values": value} if mode == "constant" else {}
    return np.pad(index, list(zip(*pads, strict=True)), mode=mode, **extra)  # type: ignore[call-overload,no-any-return]
