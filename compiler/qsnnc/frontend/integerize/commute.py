"""Move regions across operators that only move values, and split them for the operands of a Concat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qsnnc.frontend.linear.data_movement import moved_index
from qsnnc.frontend.model.model import Model, Node
from qsnnc.frontend.quantizers.region import Region, own_axis, varying


def joined(model: Model, before: Region, node: Node, after: Region, *, real: bool = False) -> Region:
    """Join two regions, leaving out the operator between them unless it is ``real``."""
    from onnx import helper

    ends = before.output, after.input
    bridge = Node("", "Identity", ends[:1], ends[1:], {}, helper.make_node("Identity", ends[:1], ends[1:]))
    nodes = (*before.nodes, node if real else bridge, *after.nodes)
    axes = before.axes
    varies = after.axes if after.moves else varying(model, after.nodes)  # its own, if another operator moves values in it
    if not real and not set(varies) <= set(axes):
        axes = tuple(range(1, len(model.shapes[before.input]) + 1))
    return Region(after.model, before.input, after.output, nodes, axes, moves=real or after.moves)


def moved_back(region: Region, node: Node, sizes: tuple[int, ...]) -> Region:
    """Append the inverse of the reordering before a region to its end, so that each value returns to its position."""
    from onnx import helper

    model, back = region.model, f"{region.output}[back]"
    if node.op == "Transpose":
        order = np.argsort(node.attributes["perm"]).tolist()
        proto = helper.make_node("Transpose", [region.output], [back], perm=order)
        last = Node("", "Transpose", (region.output,), (back,), {"perm": order}, proto)
    else:
        shape = f"{back}.shape"
        model = replace(model, constants={**model.constants, shape: np.array([-1, *sizes])})
        proto = helper.make_node("Reshape", [region.output, shape], [back])
        last = Node("", "Reshape", (region.output, shape), (back,), {}, proto)
    model = replace(model, shapes={**model.shapes, back: sizes})
    return Region(model, region.input, back, (*region.nodes, last), region.axes, moves=True)


def keeps_order(model: Model, node: Node, sizes: tuple[int, ...]) -> bool:
    """Return whether an operator keeps all values of a tensor of these sizes, in order."""
    index = np.arange(int(np.prod(sizes))).reshape(sizes)
    after = moved_index(model, node, index, node.outputs[0])
    return after.size == index.size and bool((after.reshape(-1) == index.reshape(-1)).all())


def part_of(region: Region, axis: int, start: int, size: int) -> Region:
    """Cut a region for one operand of a Concat: its part of the constants, and renamed inner tensors."""
    model = region.model
    constants = dict(model.constants)
    mark = f"[{start}]"
    total = model.shapes[region.input][axis - 1]
    own = {region.input: region.input + mark}
    nodes = []
    for node in region.nodes:
        rank = len(model.shapes.get(node.outputs[0], model.shapes[region.input])) + 1
        for name in node.inputs:
            constant = constants.get(name)
            if constant is None or constant.size <= 1:
                continue
            at = axis - (rank - constant.ndim)
            if own_axis(node, rank) is not None:
                at = 0
            if 0 <= at < constant.ndim and constant.shape[at] == total:
                own[name] = name + mark
                constants[name + mark] = constant.take(range(start, start + size), axis=at)
        own.update({name: name + mark for name in node.outputs if name})
        nodes.append(node.renamed(own))
    shapes = {**model.shapes}
    for name, new in own.items():
        if name in model.shapes:
            shape = list(model.shapes[name])
            shape[axis - 1] = size
            shapes[new] = tuple(shape)
    kinds = {**model.kinds, **{new: model.kinds[name] for name, new in own.items() if name in model.kinds}}
    cut = replace(model, constants=constants, shapes=shapes, kinds=kinds)
    return Region(cut, own[region.input], own.get(region.output, region.output), tuple(nodes), region.axes)
