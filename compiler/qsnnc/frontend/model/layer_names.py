"""Derive readable, unique layer names from an ONNX graph."""

from __future__ import annotations

import re

from qsnnc.frontend.model.model import Node
from qsnnc.ir.names import free_name

#: how the names of casts that onnxruntime inserts in float16 networks begin, and those of the tensors between them
INSERTED = "InsertedPrecisionFreeCast_"


class Namer:
    """Gives each node one name: its own, or that of its output if it has none."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._given: dict[int, str] = {}

    def layer(self, node: Node) -> str:
        """Return the name of the layer that a node becomes; the same at every call."""
        if id(node) not in self._given:
            self._given[id(node)] = self.text(readable(node))
        return self._given[id(node)]

    def peek(self, node: Node) -> str:
        """Return what `layer` would, without reserving the name."""
        return self._given.get(id(node)) or readable(node)

    def text(self, wish: str) -> str:
        """Reserve and return an unused name that resembles ``wish``."""
        wish = re.sub(r"[^\w.+-]+", "_", wish.removeprefix(INSERTED)).strip("_")
        return free_name(wish or "layer", self._taken)


def readable(node: Node) -> str:
    """Return a readable name: features.conv2 for ``/features/conv2/Conv``, or for its output if the node has no name."""
    parts = [part for part in re.sub(r"_output_\d+$", "", node.name).split("/") if part]
    while len(parts) > 1 and re.fullmatch(rf"{node.op}(_\d+)?", parts[-1]):
        parts.pop()
    # torch names a nested module /block/block.0: the inner name repeats the outer one
    inner = [part for part, after in zip(parts, [*parts[1:], ""], strict=False) if not after.startswith(f"{part}.")]
    return ".".join(inner) or node.op.lower()
