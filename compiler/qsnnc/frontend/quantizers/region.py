"""Evaluate the elementwise operators between one linear operator and the next as a function, without pattern matching.

For an accumulator value x of channel c the region is a step function f_c. `levels` finds its values over the real line,
`threshold_search` the smallest accumulator that reaches each, both by evaluating f_c with onnxruntime (optimisation off).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.model.batch_axis import free_reshapes
from qsnnc.frontend.model.model import FLOATS, NARROW, SINGLE, Model, Node, downstream
from qsnnc.frontend.model.operators import facts
from qsnnc.frontend.model.reference import session

Float = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Elementwise nodes from one tensor (the input) to another (the output); f may differ along ``axes`` of the input."""

    model: Model
    input: str
    output: str
    nodes: tuple[Node, ...]
    axes: tuple[int, ...]  # the batch is axis 0
    moves: bool = False  # whether the nodes include one that moves values

    @property
    def columns(self) -> int:
        """Number of functions f_c."""
        return int(np.prod([self.model.shapes[self.input][axis - 1] for axis in self.axes]))

    def function(self, start: str | None = None) -> Callable[[Float], npt.NDArray[np.float64]]:
        """Return f: float32 (points, columns) -> float64 (points, columns); ``start`` is an inner tensor."""
        from onnx import TensorProto, helper

        start = start or self.input
        nodes = downstream(self.nodes, start)
        if not nodes:
            return lambda x: x.astype(np.float64)
        sizes = self.model.shapes[start]
        shape = tuple(size if axis in self.axes else 1 for axis, size in enumerate(sizes, start=1))
        given = start
        kind = self.model.kind(start)
        if kind != SINGLE and (start != self.model.input or kind in FLOATS):  # fed as floats and cast
            given = "qsnnc.start"
            cast = helper.make_node("Cast", [given], [start], to=kind)
            nodes = [Node("", "Cast", (given,), (start,), {"to": kind}, cast), *nodes]
        end = self.output
        if self.model.kind(end) in NARROW:
            end = "qsnnc.end"
            cast = helper.make_node("Cast", [self.output], [end], to=TensorProto.FLOAT)
            nodes = [*nodes, Node("", "Cast", (self.output,), (end,), {"to": SINGLE}, cast)]
        part = self.model.subgraph({given: (int(TensorProto.FLOAT), ("P", *shape))}, [end], nodes)
        if self.moves:
            free_reshapes(part.graph, self.model.constants, 1, "qsnnc.shape")
        run = session(part).run
        columns = self.columns

        def evaluate(x: Float) -> npt.NDArray[np.float64]:
            (y,) = run([end], {given: x.reshape(len(x), *shape)})
            if y.size != len(x) * columns:  # a constant adds an axis, for example a comparison with a list of bounds
                raise ModelError(
                    self.output,
                    f"turns {columns} values into {y.size // len(x)}; an activation must keep its shape: compare with one "
                    "bound after the other and add, or round and clip",
                    code="activation-widened",
                    node=self.output,
                    found=y.size // len(x),
                    allowed=columns,
                )
            return np.asarray(y, np.float64).reshape(len(x), columns)

        return evaluate

    @property
    def single(self) -> Region:
        """The region with a single function if that is the same in all columns; otherwise itself."""
        varies = varying(self.model, self.nodes)
        return self if varies or self.moves else replace(self, axes=())


def varying(model: Model, nodes: Sequence[Node]) -> tuple[int, ...]:
    """Return the axes (the batch is axis 0) along which the constants of elementwise nodes differ."""
    axes: set[int] = set()
    for node in nodes:
        for name in node.inputs:
            constant = model.constants.get(name)
            if constant is None or (constant.size <= 1 and not isinstance(facts(node.op).constant_axis, int)):
                continue
            rank = len(model.shapes.get(node.outputs[0], ())) + 1
            if (axis := own_axis(node, rank)) is not None:
                axes.add(axis)
            else:
                axes.update(rank - constant.ndim + d for d, size in enumerate(constant.shape) if size > 1)
    return tuple(sorted(axes))


def own_axis(node: Node, rank: int) -> int | None:
    """Return the axis of a node's vector of constants; None if its constants broadcast as in numpy."""
    axis = facts(node.op).constant_axis
    return int(node.attributes.get(axis, 1)) % rank if isinstance(axis, str) else axis


def cuts(region: Region, start: str) -> bool:
    """Return whether the output of a region depends on its input only through the tensor ``start``."""
    known = {start}
    for node in downstream(region.nodes, start):
        if any(name and name not in known and name not in region.model.constants for name in node.inputs):
            return False
        known.update(node.outputs)
    return True
