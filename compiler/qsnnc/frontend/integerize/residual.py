"""Add branches with Add, Sub or Sum: decide when a node does, and find the levels or sums of each operand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.frontend.integerize.absorb import resolve
from qsnnc.frontend.integerize.commute_sums import moved_sums
from qsnnc.frontend.integerize.diagnosis import why_not
from qsnnc.frontend.integerize.implicit_levels import materialise
from qsnnc.frontend.integerize.state import Moved
from qsnnc.frontend.integerize.walk import Walk
from qsnnc.frontend.layers.add_enumerated import Pair, pair_of
from qsnnc.frontend.layers.columns import columns_of
from qsnnc.frontend.linear import add
from qsnnc.frontend.linear.tensors import Accumulator, Quantized
from qsnnc.frontend.linear.unrolled import in_order
from qsnnc.frontend.model.model import Node
from qsnnc.frontend.model.outcomes import NotMonotone, UnrelatedScales
from qsnnc.frontend.quantizers.levels import FAR, MANY
from qsnnc.frontend.quantizers.region import Region


def adds_branches(walk: Walk, node: Node, data: list[str]) -> bool:
    """Return whether a node adds branches, rather than being part of an elementwise region with one input."""
    if len(data) < 2 or all(name in walk.known.host for name in data):
        return False
    regions = [walk.analysis.region(name) for name in data]
    roots = {region.input if region else None for region in regions}
    if len(roots) > 1 or None in roots or all(isinstance(walk.known.get(name), Quantized) for name in data):
        return True
    return _adds_opposites(walk, node) and all(walk.analysis.quantizes(name) for name in data)


def _adds_opposites(walk: Walk, node: Node) -> bool:
    """Return whether a sum of quantizers on one input is not an activation itself, for example levels minus levels."""
    region = walk.analysis.region(node.outputs[0])
    if region is None or region.columns > MANY:
        return False
    try:
        walk.analysis.levels(region)
    except NotMonotone:
        return True
    except ModelError:
        return False
    return False


def add_branches(walk: Walk, node: Node, data: list[str]) -> Accumulator | Pair:
    """Add branches of levels, of sums or of both."""
    if len(data) != sum(1 for name in node.inputs if name):
        raise ModelError(
            node.name,
            f"{node.op} of branches and constants in one node is not supported; add the constants in a node of their own",
            code="model-operator",
            node=node.name,
        )
    found, signs = _operands(walk, data, add.signs(node, len(data)))
    try:
        return _add_operands(walk, node, data, found, signs)
    except UnrelatedScales:
        if len(found) == len(data):
            raise
    # steps up and down become one tensor of levels, whose pairs with the other's can be enumerated
    return _add_operands(walk, node, data, [materialise(walk, name) for name in data], add.signs(node, len(data)))


def _add_operands(
    walk: Walk, node: Node, data: list[str], found: list[Quantized | add.Scaled | None], signs: tuple[int, ...]
) -> Accumulator | Pair:
    """Add operands that are levels, sums or both."""
    name = walk.namer.layer(node)
    levels = [operand for operand in found if isinstance(operand, Quantized)]
    if len(levels) == len(found):
        return _add_levels(walk, node, levels, name, signs)
    if any(operand is None for operand in found):
        raise why_not(walk, node, data)
    scaled = iter(_with_one_layout([operand for operand in found if isinstance(operand, add.Scaled)]))
    found = [next(scaled) if isinstance(operand, add.Scaled) else operand for operand in found]
    like = next(operand.sums for operand in found if isinstance(operand, add.Scaled))
    if any(operand.index.shape != like.layout.shape for operand in levels):
        raise why_not(walk, node, data)
    one = np.ones(like.shape[0])
    operands = [
        add.Scaled(add.as_sums(node, operand, like, name), one, 0 * one) if isinstance(operand, Quantized) else operand
        for operand in found
        if operand is not None
    ]
    return add.add_sums(node, operands, signs, name)


def _with_one_layout(operands: list[add.Scaled]) -> list[add.Scaled]:
    """Return operands with one layout: feature by feature if theirs differ; unchanged if that needs too many weights."""
    if all(add.same_layout(operand.sums, operands[0].sums) for operand in operands):
        return operands
    written = []
    for operand in operands:
        sums = in_order(operand.sums)
        if sums is None:
            return operands
        channel = operand.sums.layout.reshape(-1) // operand.sums.border.size
        written.append(add.Scaled(sums, operand.factor[channel], operand.shift[channel]))
    return written


def _operands(
    walk: Walk, data: list[str], signs: tuple[int, ...]
) -> tuple[list[Quantized | add.Scaled | None], tuple[int, ...]]:
    """Find each operand and its sign; a nonmonotonic activation is two operands: its steps up and its steps down."""
    found: list[Quantized | add.Scaled | None] = []
    turns: list[int] = []
    for name, sign in zip(data, signs, strict=True):
        operand = _operand(walk, name)
        terms = walk.known.steps.get(name) if isinstance(operand, add.Scaled) else None
        found += terms.tensors if terms else [operand]
        turns += [sign * own for own in terms.signs] if terms else [sign]
    return found, tuple(turns)


def _operand(walk: Walk, name: str) -> Quantized | add.Scaled | None:
    """Return an operand's levels or its sums; otherwise materialise it, as for a max pool of sums."""
    return resolve(walk, name) or _scaled_sums(walk, name) or materialise(walk, name)


def _add_levels(walk: Walk, node: Node, levels: list[Quantized], name: str, signs: tuple[int, ...]) -> Accumulator | Pair:
    """Add levels by the ratio of their scales; two operands whose float sum is inexact may be enumerated later."""
    try:
        found = add.add_levels(node, levels, name, signs)
    except UnrelatedScales as refusal:
        pair = pair_of(node, levels, signs, name, refusal)
        if pair is None or walk.analysis.leads_out(node.outputs[0]):
            raise
        return pair
    if not found.exact.all() and (pair := pair_of(node, levels, signs, name)) is not None:
        walk.known.define_pair(node.outputs[0], pair)
    return found


def _scaled_sums(walk: Walk, name: str) -> add.Scaled | None:
    """Return the sums before an elementwise region that exactly scales and shifts them by channel; None otherwise."""
    found = _sums_at(walk, name)
    if found is None:
        return None
    root, region = found
    f = region.function()
    points = np.array([0, 1, -1, 2, -3, 100, -1000, FAR / 2**20, -FAR / 2**20])[:, None]
    made = f(np.repeat(points, region.columns, axis=1).astype(np.float32))
    shift = made[0]
    factor = made[1] - shift
    straight = np.abs(made - (points * factor + shift)) <= 1e-6 * (np.abs(points * factor) + np.abs(shift))
    if not straight.all() or (factor == 0).any():
        return None
    # feature by feature, in phases or moved: each feature has the factor of its element
    sizes = [size if axis in region.axes else 1 for axis, size in enumerate(root.layout.shape, start=1)]
    column = np.broadcast_to(np.arange(region.columns).reshape(sizes), root.layout.shape).reshape(-1)
    owner = root.layout.reshape(-1) // root.border.size
    by_channel = np.repeat([factor[:1], shift[:1]], root.shape[0], axis=1)
    by_channel[:, owner] = factor[column], shift[column]
    if (by_channel[:, owner] != np.stack([factor[column], shift[column]])).any():
        return None
    return add.Scaled(root, by_channel[0], by_channel[1])


def _sums_at(walk: Walk, name: str) -> tuple[Accumulator, Region] | None:
    """Return the sums in a tensor and the elementwise region after them; they may be moved and cropped before it."""
    region = walk.analysis.region(name)
    root = walk.known.get(region.input) if region else None
    if region is not None and isinstance(root, Accumulator):
        return (root, region) if region.axes == (root.axis,) else None
    if not isinstance(root, Moved):
        return None
    moved = moved_sums(walk, name)
    if moved is None or not np.isnan(moved.filled).all():
        return None
    layout = moved.sums.layout
    if len(np.unique(layout)) < layout.size:  # copies, each of which would be added to different values
        return None
    axes = range(1, layout.ndim + 1)
    axis = next((axis for axis in axes if columns_of(moved.sums, (axis,)) is not None), None)
    return (replace(moved.sums, axis=axis), moved.before) if axis is not None else None
