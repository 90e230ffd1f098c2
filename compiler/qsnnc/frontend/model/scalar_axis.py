"""Give what is one number for an image, without an axis of its own, an axis of length one for elementwise operators.

A Gather of one class or a Squeeze makes such tensors. Quantizers and sums are found on tensors with at least one axis.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from chipsim.qonnx_ops import ORIGIN
from qsnnc.frontend.model.model import Model, Node, Shapes, downstream
from qsnnc.frontend.model.operators import ELEMENTWISE

#: ends of the names of a tensor with the axis, and of the shapes that put it there and take it away
AXIS, THERE, GONE = "[axis]", "[axis].there", "[axis].gone"


def with_axes(model: Model) -> Model:
    """Return the model whose elementwise operators on single numbers have an axis; the model itself if there are none."""
    moving = {model.input, *(name for node in downstream(model.nodes, model.input) for name in node.outputs)}
    single = {name for name in moving if model.shapes.get(name) == ()}
    chosen = {id(node) for node in model.nodes if _is_single(model, node, single, moving)}
    if not chosen:
        return model
    made = _Made()
    for node in model.nodes:
        if id(node) in chosen:
            made.lift(node, single)
        else:
            made.back(node.inputs)
            made.nodes.append(node)
    made.back([model.output])
    with_axis = {name + AXIS: (1,) for name in made.given}
    kinds = {name + AXIS: model.kinds[name] for name in made.given if name in model.kinds}
    return replace(
        model,
        nodes=tuple(made.nodes),
        constants={**model.constants, THERE: np.array([-1, 1]), GONE: np.array([-1])},
        shapes=MappingProxyType(Shapes({**model.shapes, **with_axis})),
        kinds=MappingProxyType({**model.kinds, **kinds}),
    )


class _Made:
    """Nodes in progress, and which tensors have the axis."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.given: set[str] = set()  # that have a form with the axis
        self.lifted: set[str] = set()  # that have no other form yet

    def there(self, name: str) -> str:
        """Return a tensor with the axis."""
        if name not in self.given:
            self.given.add(name)
            self.nodes.append(_reshape(name, name, THERE, name + AXIS))
        return name + AXIS

    def back(self, names: Iterable[str]) -> None:
        """Make tensors without the axis that are to be read so."""
        for name in sorted(self.lifted.intersection(names)):
            self.lifted.remove(name)
            self.nodes.append(_reshape(name, name + AXIS, GONE, name))

    def lift(self, node: Node, single: set[str]) -> None:
        """Append a node on tensors with the axis."""
        inputs = tuple(self.there(name) if name in single else name for name in node.inputs)
        names = {name for name in node.outputs if name}
        self.given |= names
        self.lifted |= names
        self.nodes.append(node.between(inputs, tuple(name and name + AXIS for name in node.outputs)))


def _reshape(tensor: str, source: str, shape: str, output: str) -> Node:
    from onnx import helper

    made = helper.make_node("Reshape", [source, shape], [output], name=f"{tensor}{shape}")
    made.doc_string = f"{ORIGIN}{tensor}\n{tensor}"
    return Node.of(made)


def _is_single(model: Model, node: Node, single: set[str], moving: set[str]) -> bool:
    """Return whether a node computes single numbers from single numbers."""
    data = [name for name in node.inputs if name in moving]
    constants = [model.constants.get(name) for name in node.inputs if name and name not in moving]
    return (
        node.op in ELEMENTWISE
        and bool(data)
        and single.issuperset(data)
        and single.issuperset(filter(None, node.outputs))
        and all(value is not None and value.size == 1 for value in constants)
    )
