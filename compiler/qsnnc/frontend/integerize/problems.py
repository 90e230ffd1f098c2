"""Collect all problems of a model: after a node that cannot be compiled, continue with a placeholder.

Only root causes are reported. A node that fails gets an accumulator of the right shape that is never executed, so that the
quantizer after it, and all that follows, is still checked. A node that reads a placeholder with no quantizer in between
becomes a placeholder as well, and is not reported.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qsnnc.errors import ModelError, together
from qsnnc.frontend.integerize.diagnosis import of_half_precision
from qsnnc.frontend.integerize.walk import Walk
from qsnnc.frontend.linear.tensors import Accumulator, as_map, natural
from qsnnc.frontend.linear.weight_grid import integer_weights
from qsnnc.frontend.model.model import Node
from qsnnc.frontend.model.operators import REARRANGING, WEIGHTED
from qsnnc.frontend.model.outcomes import WeightsNotQuantized


class Problems:
    """The problems of one walk, and the tensors that are unknown because of them."""

    def __init__(self, visit: Callable[[Walk, Node], None]) -> None:
        self._visit = visit
        self.found: list[ModelError] = []
        self._unknown: set[str] = set()  # not even a placeholder is possible
        self._stand_ins: set[str] = set()

    def visit(self, walk: Walk, node: Node) -> None:
        """Process a node, recording its errors."""
        if self._unknown.intersection(node.inputs):
            self._unknown.update(node.outputs)
            self._record_weights(walk, node)
            return
        blind = bool(self._stand_ins.intersection(node.inputs))
        try:
            self._visit(walk, node)
        except ModelError as error:
            if not blind:
                self._record(of_half_precision(walk.model, error))
            self._record_weights(walk, node)
            self._stand_in(walk, node)
        else:
            if blind and node.op in REARRANGING:
                self._stand_ins.update(node.outputs)

    def raise_any(self) -> None:
        """Raise the first problem, which carries the others."""
        if self.found:
            raise together(self.found)

    def _record(self, error: ModelError) -> None:
        """Record an error."""
        if all(str(error) != str(known) for known in self.found):  # two branches may read the same bad tensor
            self.found.append(error)

    def _record_weights(self, walk: Walk, node: Node) -> None:
        """Record the errors of a node's own weights, which do not depend on its input."""
        if node.op in WEIGHTED and (walk.host.is_last(node) or walk.weights.bits_of(node) is not None):
            return  # the host computes it, or its weights are quantized
        weights = walk.model.constants.get(node.inputs[1]) if node.op in WEIGHTED and len(node.inputs) > 1 else None
        if weights is None or weights.ndim < 2 or not weights.size or node.op == "ConvTranspose":
            return  # the outputs of a transposed convolution are on another axis
        if node.op == "MatMul" or (node.op == "Gemm" and not node.attributes.get("transB", 0)):
            weights = np.swapaxes(weights, -1, -2).reshape(-1, weights.shape[-2])
        name = walk.namer.peek(node)
        if any(isinstance(error, WeightsNotQuantized) and error.subject == name for error in self.found):
            return
        try:
            integer_weights(name, node.name, weights)
        except ModelError as error:
            self._record(walk.host.refusal(node, error))

    def _stand_in(self, walk: Walk, node: Node) -> None:
        out = node.outputs[0]
        shape = walk.model.shapes.get(out)
        self._unknown.update(node.outputs[1:])
        if not shape or len(shape) > 3 or min(shape) <= 0:
            self._unknown.add(out)
            return
        walk.known.define(out, _accumulator(node, walk.namer.layer(node), as_map(shape, node), shape))
        self._stand_ins.add(out)


def _accumulator(node: Node, name: str, shape: tuple[int, int, int], tensor: tuple[int, ...]) -> Accumulator:
    """Return a placeholder accumulator with potentials 0 and 1."""
    channels = shape[0]
    return Accumulator(
        name=name,
        kind="unknown",
        node=node,
        shape=shape,
        connections=(),
        scale=np.ones((1, channels)),
        offset=np.zeros((1, channels)),
        border=np.zeros(shape[1:], np.int64),
        reach=np.broadcast_to(np.array([0, 1], np.int64), (1, channels, 2)),
        exact=np.ones(channels, bool),
        grid=np.ones(channels),
        magnitude=np.ones(channels),
        terms=1,
        sources={},
        layout=natural(shape, tensor),
    )
