"""Find the order in which linear operators and pools read a tensor: moved from NHWC to NCHW, or tokens of a MatMul.

A population whose channels are those of its readers needs no more axons than the same network with the move first. Levels
that the host computes can be sent in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.frontend.linear.data_movement import moved_index
from qsnnc.frontend.model.model import Model, Node
from qsnnc.frontend.model.operators import ELEMENTWISE, IDENTITY, POOLS, RELABEL, WEIGHTED
from qsnnc.ir.layers import Int

#: most tensors that are followed
MOST_FOLLOWED = 64
#: most weights of a matrix that a MatMul of tokens stays, since its levels are then in the order of a tensor of the file, by
#: which they can be checked
SMALL_MATRIX = 1 << 12


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """An order of a tensor's elements."""

    elements: Int  # flat: the element of the tensor at each place of the order
    shape: tuple[int, ...]  # (channels, rows, columns) or fewer axes
    tensor: str = ""  # a tensor that holds the elements in this order, unchanged; '' if there is none

    def index(self, shape: tuple[int, ...]) -> Int:
        """Return the place of each element of the tensor, whose shape is given."""
        back = np.empty(len(self.elements), np.int64)
        back[self.elements] = np.arange(len(self.elements))
        return back.reshape(shape)


def order_of_windows(model: Model, name: str) -> Order | None:
    """Return the order in which the first convolution, pool or MatMul of tokens reads a tensor.

    None if it reads it as it is, or none does. Followed are operators that move elements, and elementwise ones with
    constants.
    """
    shape = model.shapes[name]
    pending = [(name, np.arange(int(np.prod(shape))).reshape(shape), True)]
    found: Order | None = None
    for _ in range(MOST_FOLLOWED):
        if not pending:
            break
        tensor, index, unchanged = pending.pop(0)
        for node in (node for node in model.nodes if tensor in node.inputs):
            if node.op in WEIGHTED | POOLS:
                axis = _channels(model, node, index)
                if axis == 0 and tensor == name:
                    return None
                if axis is not None:
                    moved = np.moveaxis(index, axis, 0)
                    found = found or _order(moved, shape, tensor if unchanged and axis == 0 else "")
            else:
                pending += _behind(model, node, tensor, index, unchanged)
    return (
        found if found is not None and (found.elements != np.arange(len(found.elements))).any() else _reshaped(found, shape)
    )


def _channels(model: Model, node: Node, index: Int) -> int | None:
    """Return the axis of one image that an operator reads as channels; None if their order makes no difference to it."""
    if node.op not in ("Gemm", "MatMul"):
        return 0
    left = node.inputs[0] in model.constants
    weights = model.constants.get(node.inputs[0 if left else 1])
    if index.ndim < 2 or weights is None or weights.ndim < 2 or np.prod(weights.shape[:-2]) != 1:
        return None
    inputs, outputs = weights.shape[:-3:-1] if left else weights.shape[-2:]
    written_out = index.size * index.size // inputs * outputs
    return (index.ndim - 2 if left else index.ndim - 1) if written_out > SMALL_MATRIX else None


def _reshaped(found: Order | None, shape: tuple[int, ...]) -> Order | None:
    """Return an order that only reshapes, if that makes a difference."""
    if found is None or (found.shape == shape and (found.elements == np.arange(len(found.elements))).all()):
        return None
    return found


def _behind(model: Model, node: Node, tensor: str, index: Int, unchanged: bool) -> list[tuple[str, Int, bool]]:
    """Return the outputs of a node that moves elements or applies a function, with the elements that they hold."""
    others = [name for name in node.inputs if name and name != tensor and name not in model.constants]
    if others or node.inputs[0] != tensor:
        return []
    if node.op in ELEMENTWISE:
        same = model.shapes.get(node.outputs[0]) == index.shape
        return [(node.outputs[0], index, unchanged and node.op in IDENTITY)] if same else []
    if node.op not in RELABEL:
        return []
    try:
        moved = [(name, moved_index(model, node, index, name)) for name in node.outputs if name]
    except ModelError:
        return []
    return [(name, elements, unchanged) for name, elements in moved]


def _order(index: Int, shape: tuple[int, ...], tensor: str) -> Order | None:
    """Return the order in which elements stand in a tensor, -1 for padding; None if it is no order of the axes."""
    flat = index.reshape(-1)
    if index.ndim <= 3 and flat.size == np.prod(shape) and np.array_equal(np.sort(flat), np.arange(flat.size)):
        return Order(flat, index.shape, tensor)
    shown = flat[flat >= 0]
    first = np.sort(np.unique(shown, return_index=True)[1])
    present = shown[first]
    every = np.arange(int(np.prod(shape))).reshape(shape)
    for axes in permutations(range(len(shape))) if len(shape) <= 3 else ():
        elements = every.transpose(axes).reshape(-1)
        if np.array_equal(elements[np.isin(elements, present)], present):
            return Order(elements, tuple(shape[axis] for axis in axes))
    return None
