"""Which nodes of an ONNX graph make which of some tensors; both command lines show a network by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def nodes_by_tensor(graph: onnx.GraphProto, tensors: Sequence[str]) -> list[int | None]:
    """Assign each node to the first of the tensors that is computed from it.

    A tensor's nodes are those from which it can be reached without passing another of the tensors. A name that is not in the
    graph, as where the compiler gave a tensor its own, has no nodes.

    Parameters
    ----------
    graph : onnx.GraphProto
    tensors : sequence of str
        In the order of execution.

    Returns
    -------
    list of int or None
        For each node of the graph the number of its tensor; None: behind the last of them, or unused.
    """
    made_by = {name: number for number, node in enumerate(graph.node) for name in node.output if name}
    owner: list[int | None] = [None] * len(graph.node)
    for tensor, name in enumerate(tensors):
        waiting = [name]
        while waiting:
            number = made_by.get(waiting.pop())
            if number is None or owner[number] is not None:
                continue
            owner[number] = tensor
            waiting += [name for name in graph.node[number].input if name]
    return owner
