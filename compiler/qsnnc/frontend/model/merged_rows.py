"""Give rows that a Reshape has merged into the batch axis an axis of their own.

A linear layer on tokens is often written as a reshape from (N, T, C) to (N * T, C), a product, and a reshape back. An image
is then T rows of the batch; here they stay its own.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from qsnnc.frontend.model.batch_as_image import behind_an_axis
from qsnnc.frontend.model.model import Model, Node, downstream

#: operators that keep all values in order
RESHAPING = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})


def rows_apart(model: Model) -> Model:
    """Return the model without merged rows; the model itself if it has none, or if an operator between has no other form.

    Tensors in between are listed in `Model.merged`: in the reference their first axis is the batch times the rows.
    """
    moving = {model.input, *(name for node in downstream(model.nodes, model.input) for name in node.outputs)}
    rows: dict[str, int] = {}  # of one image, where there is more than one
    nodes: list[Node] = []
    for node in model.nodes:
        given = [name for name in node.inputs if name in moving]
        if node.op in RESHAPING and given == list(node.inputs[:1]):
            leading = _leading(model, node, rows.get(given[0], 1))
            if leading == 0:
                return model
            nodes += [node] if leading == 1 and given[0] not in rows else _reshaped(model, node, leading)
            if leading > 1:
                rows[node.outputs[0]] = leading
            continue
        counts = {rows.get(name, 1) for name in given}
        if counts <= {1}:
            nodes.append(node)
            continue
        changed = _changed(model, node, given, moving) if len(counts) == 1 else None
        if changed is None:
            return model
        nodes += changed
        rows |= dict.fromkeys(node.outputs, counts.pop())
    if not rows or model.output in rows:
        return model
    shapes = {name: shape for name, shape in model.shapes.items() if name not in rows}
    return replace(model, nodes=tuple(nodes), shapes=MappingProxyType(shapes), merged=frozenset(rows))


def _leading(model: Model, node: Node, rows: int) -> int:
    """Return the size of the first axis of a reshaped image; 0 if that is unknown, or the only one."""
    before, after = (model.shapes.get(name) for name in (node.inputs[0], node.outputs[0]))
    if before is None or after is None or not all((*before, *after)):
        return 0
    leading = rows * math.prod(before) // math.prod(after)
    return leading if after or leading == 1 else 0


def _reshaped(model: Model, node: Node, leading: int) -> list[Node]:
    """Return the reshape to (N, rows, ...), or to (N, ...) where the rows end."""
    from onnx import helper, numpy_helper

    shape = [0, *([leading] if leading > 1 else []), *model.shapes[node.outputs[0]]]  # 0: as before
    name = f"{node.outputs[0]}/apart"
    value = numpy_helper.from_array(np.array(shape, np.int64), name)
    constant = helper.make_node("Constant", [], [name], name=f"{node.name}/apart", value=value)
    reshape = helper.make_node("Reshape", [node.inputs[0], name], node.outputs[:1], name=node.name)
    return [Node.of(constant), Node.of(reshape)]


def _changed(model: Model, node: Node, given: list[str], moving: set[str]) -> list[Node] | None:
    """Return what computes each row as before; None if an operator is not known to."""
    ranks = {len(model.shapes.get(name, ())) for name in (*given, *node.outputs)}
    wide = [name for name in node.inputs if name in model.constants and model.constants[name].ndim > max(ranks) + 1]
    if len(ranks) != 1 or wide:
        return None
    changed = behind_an_axis(node.proto, moving, model.constants, model.opsets.get("", 0))
    return None if changed is None else [Node.of(proto) for proto in changed]
