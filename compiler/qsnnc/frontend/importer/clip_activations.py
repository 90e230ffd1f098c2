"""Insert a Clip where the user limits an activation to fewer levels than its type has (``--levels``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from chipsim.errors import UsageError
from chipsim.onnx_repair import opset_of
from qsnnc.errors import ModelError
from qsnnc.frontend.model.operators import WEIGHTED

if TYPE_CHECKING:
    import onnx

    from qsnnc.frontend.model.model import Model
    from qsnnc.ir.layers import LayerGraph, Population

#: suffix of a limited tensor's name before its Clip
BEFORE = "/unlimited"


def clip(proto: onnx.ModelProto, limits: Mapping[str, float]) -> onnx.ModelProto:
    """Insert a Clip after each of some tensors, in place.

    Parameters
    ----------
    limits : dict
        Largest value of each tensor, by name.
    """
    if not limits:
        return proto
    from onnx import helper, numpy_helper, shape_inference

    out = type(proto)()
    out.CopyFrom(proto)
    del out.graph.value_info[:]  # what the file says there may be wrong, and is not needed
    inferred = shape_inference.infer_shapes(out).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)}
    opset = opset_of(proto)
    del out.graph.node[:]
    for node in proto.graph.node:
        out.graph.node.append(node)
        for position, name in enumerate(node.output):
            if name not in limits:
                continue
            out.graph.node[-1].output[position] = before = name + BEFORE
            dtype = helper.tensor_dtype_to_np_dtype(kinds[name])
            if opset < 12 and dtype.kind != "f":
                text = f"--levels needs a Clip of {dtype}, which opset {opset} does not have; export with opset 12 or newer"
                raise ModelError(name, text, code="model-opset", node=name, found=opset, allowed=12)
            if opset < 11:
                limit = helper.make_node("Clip", [before], [name], name=f"{name}/clip", max=limits[name])
            else:
                top = numpy_helper.from_array(np.array(limits[name]).astype(dtype), f"{name}/most")
                out.graph.initializer.append(top)
                limit = helper.make_node("Clip", [before, "", top.name], [name], name=f"{name}/clip")
            out.graph.node.append(limit)
    return out


def limits_of(model: Model, graph: LayerGraph, levels: Mapping[str, int]) -> dict[str, float]:
    """Return the largest value of each named tensor; the name may be that of a layer, node or tensor.

    Raises
    ------
    UsageError
        A name is unknown, or a number of levels is not positive.
    """
    known = {entry.name: entry for entry in (graph.encoder, *graph.layers) if entry.levels}
    names = _names(model, [entry for entry in known.values() if entry.tensor], graph.encoder)
    limits: dict[str, float] = {}
    for name, count in levels.items():
        if count < 1:
            raise UsageError("--levels", f"{name}={count}: at least 1 level is needed", code="option-value", found=count)
        chosen = [known[name]] if name in known else names.get(name, [])
        if not chosen:
            raise UsageError(
                "--levels", f"unknown activation {name!r}; allowed: {', '.join(known)}, or a node or tensor between them",
                code="layer-unknown", found=name, allowed=list(known),
            )  # fmt: skip
        for entry in (_source(entry, graph) for entry in chosen):
            if not entry.tensor:
                text = f"{name!r} is not computed by a tensor of the file; name another layer"
                raise UsageError("--levels", text, code="layer-unknown", found=name)
            if count < entry.levels:
                value = _below(entry.scale * (count + entry.zero_point))
                limits[entry.tensor] = min(value, limits.get(entry.tensor, np.inf))
    return limits


def _below(value: float) -> float:
    """Return the value of a level as a limit: a little less where float32 does not hold it.

    The file computes its levels with a scale of its own, so that a limit just above one of them would be another value.
    """
    single = np.float32(value)
    if float(single) == value:
        return value
    for _ in range(4):
        single = np.nextafter(single, np.float32(-np.inf))
    return float(single)


def _source(entry: Population, graph: LayerGraph) -> Population:
    """Return the activation that a max pool reads; the pool itself if that has no tensor in the file."""
    from qsnnc.ir.layers import Layer

    pools = {layer.connections[0].source: layer for layer in graph.layers if layer.connections[0].level_wise}
    if not entry.tensor:
        return pools.get(entry.name, entry)
    while isinstance(entry, Layer) and entry.connections[0].level_wise:
        source = graph.population(entry.connections[0].source)
        if not source.tensor:
            break
        entry = source
    return entry


def _names(model: Model, populations: list[Population], encoder: Population) -> dict[str, list[Population]]:
    """Map the names of nodes and tensors to the populations that they are part of.

    Those of the host before the linear operator that the encoder's levels are computed with are part of none.
    """
    producer = {name: node for node in model.nodes for name in node.outputs}
    ends = {entry.tensor for entry in populations}
    found: dict[str, list[Population]] = {}
    for entry in populations:
        pending, seen = [entry.tensor], set()
        while pending:
            name = pending.pop()
            if name in seen or (name in ends and name != entry.tensor):
                continue
            seen.add(name)
            if name in producer:
                seen.add(producer[name].name)
                if entry is encoder and producer[name].op in WEIGHTED:
                    continue
                pending += [n for n in producer[name].inputs if n and n not in model.constants]
        for name in seen:
            found.setdefault(name, []).append(entry)
    return found
