"""Derive readable, unique layer names from an ONNX graph."""

from __future__ import annotations

import re
from collections.abc import Mapping

from qsnnc.frontend.model.model import Node
from qsnnc.frontend.model.operators import WEIGHTED
from qsnnc.ir.names import free_name


class Namer:
    """Gives each node one name: its own unless that was generated, otherwise its weights' or its operator's."""

    def __init__(self, origins: Mapping[str, str]) -> None:
        self._origins = origins
        self._taken: set[str] = set()
        self._given: dict[int, str] = {}

    def layer(self, node: Node) -> str:
        """Return the name of the layer that a node becomes; the same at every call."""
        if id(node) not in self._given:
            self._given[id(node)] = self.text(readable(node, self._origins))
        return self._given[id(node)]

    def peek(self, node: Node) -> str:
        """Return what `layer` would, without reserving the name."""
        return self._given.get(id(node)) or readable(node, self._origins)

    def text(self, wish: str) -> str:
        """Reserve and return an unused name that resembles ``wish``."""
        return free_name(re.sub(r"[^\w.+-]+", "_", wish).strip("_") or "layer", self._taken)


def readable(node: Node, origins: Mapping[str, str]) -> str:
    """Return a readable name: features.conv2 for ``/features/conv2/Conv``; that of the weights if it was generated."""
    parts = [part for part in node.name.split("/") if part]
    while len(parts) > 1 and re.fullmatch(rf"{node.op}(_\d+)?", parts[-1]):
        parts.pop()
    # torch names a nested module /block/block.0: the inner name repeats the outer one
    inner = [part for part, after in zip(parts, [*parts[1:], ""], strict=False) if not after.startswith(f"{part}.")]
    name = ".".join(inner)
    generated = (
        not name
        or name in node.outputs
        or re.fullmatch(rf"(node_)?_?({node.op}|{node.op.lower()}|conv\dd|linear|MatMul)?_?\d*", name)
    )
    if generated and len(node.inputs) > 1 and node.op in WEIGHTED:
        weights = re.sub(r"[._/](weight|W|kernel).*$", "", origins.get(node.inputs[1], node.inputs[1])).strip("/")
        if weights and not re.fullmatch(r"[\d_]*|onnx::.*|val_\d+", weights):
            return weights
    return name if name and name not in node.outputs else node.op.lower()
