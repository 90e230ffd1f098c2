"""Merge nodes that compute the same: exporters may write one quantizer for every reader of a tensor."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from qsnnc.frontend.model.model import Model, Node

Array = npt.NDArray[Any]


def merged(model: Model) -> Model:
    """Return the model with one node of each set of equal ones, which all their readers read."""
    contents: dict[str, Any] = {}
    firsts: dict[Any, Node] = {}
    names: dict[str, str] = {}
    kept = []
    for original in model.nodes:
        node = original.renamed(names) if names.keys() & set(original.inputs) else original
        key = _key(node, model.constants, contents)
        first = firsts.setdefault(key, node)
        if first is node or node.op.startswith("Random") or model.output in node.outputs:
            kept.append(node)
        else:
            names.update(zip(node.outputs, first.outputs, strict=True))
    return replace(model, nodes=tuple(kept)) if names else model


def _key(node: Node, constants: Mapping[str, Array], contents: dict[str, Any]) -> Any:
    """Return a key that is equal for nodes that compute the same; constants are compared by value."""
    for name in node.inputs:
        if name in constants and name not in contents:
            value = np.ascontiguousarray(constants[name])
            contents[name] = value.dtype.str, value.shape, hashlib.blake2b(value.reshape(-1).view(np.uint8).data).digest()
    inputs = tuple(contents.get(name, name) for name in node.inputs)
    attributes = sorted(entry.SerializeToString(deterministic=True) for entry in node.proto.attribute)
    return node.op, node.proto.domain, inputs, tuple(attributes), tuple(map(bool, node.outputs))
