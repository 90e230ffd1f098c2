"""Branches that meet in an Add, Sub or Sum: when a sum joins them, and what it makes of each arm."""

from __future__ import annotations

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.frontend import joins
from qsnnc.frontend.closing import resolve
from qsnnc.frontend.diagnosis import why_not
from qsnnc.frontend.levels import FAR, MANY
from qsnnc.frontend.pairs import Pair, pair_of
from qsnnc.frontend.read import Node
from qsnnc.frontend.settle import settle
from qsnnc.frontend.tensors import Accumulator, Quantized
from qsnnc.frontend.walk import Walk


def meets(walk: Walk, node: Node, data: list[str]) -> bool:
    """Whether a sum joins branches instead of being elementwise on one."""
    if len(data) < 2 or all(name in walk.host for name in data):
        return False
    regions = [walk.region(name) for name in data]
    roots = {region.root if region else None for region in regions}
    if len(roots) > 1 or None in roots or all(isinstance(walk.state.get(name), Quantized) for name in data):
        return True
    return _turns(walk, node) and all(walk.quantizes(name) for name in data)


def _turns(walk: Walk, node: Node) -> bool:
    """Whether a sum of quantizers on one root is no activation itself: levels and their opposites, say."""
    region = walk.region(node.outputs[0])
    if region is None or region.columns > MANY:
        return False
    try:
        walk.levels(region)
    except ModelError as error:
        return error.code == "not-monotone"
    return False


def join(walk: Walk, node: Node, data: list[str]) -> Accumulator | Pair:
    """Branches of levels, of sums or of both."""
    if len(data) != sum(1 for name in node.inputs if name):
        raise ModelError(
            node.name,
            f"{node.op} of branches and constants at once; add the constants apart",
            code="model-operator",
            node=node.name,
        )
    name = walk.namer.layer(node)
    found, signs = _arms(walk, data, joins.signs(node, len(data)))
    levels = [arm for arm in found if isinstance(arm, Quantized)]
    if len(levels) == len(found):
        return _join_levels(walk, node, levels, name, signs)
    if any(arm is None for arm in found):
        raise why_not(walk, node, data)
    like = next(arm.sums for arm in found if isinstance(arm, joins.Scaled))
    if any(arm.index.shape != like.layout.shape for arm in levels):
        raise why_not(walk, node, data)
    one = np.ones(like.shape[0])
    arms = [
        joins.Scaled(joins.as_sums(node, arm, like, name), one, 0 * one) if isinstance(arm, Quantized) else arm
        for arm in found
        if arm is not None
    ]
    return joins.add_sums(node, arms, signs, name)


def _arms(
    walk: Walk, data: list[str], signs: tuple[int, ...]
) -> tuple[list[Quantized | joins.Scaled | None], tuple[int, ...]]:
    """Every arm, and its sign; steps up and steps down of an activation that rises and falls are arms of their own."""
    found: list[Quantized | joins.Scaled | None] = []
    turns: list[int] = []
    for name, sign in zip(data, signs, strict=True):
        arm = _arm(walk, name)
        terms = walk.turning.get(name) if isinstance(arm, joins.Scaled) else None
        found += terms.tensors if terms else [arm]
        turns += [sign * own for own in terms.signs] if terms else [sign]
    return found, tuple(turns)


def _arm(walk: Walk, name: str) -> Quantized | joins.Scaled | None:
    """An arm's levels, or its sums, or a level for each of its values where it is neither, as the largest of sums."""
    return resolve(walk, name) or _scaled_sums(walk, name) or settle(walk, name)


def _join_levels(walk: Walk, node: Node, levels: list[Quantized], name: str, signs: tuple[int, ...]) -> Accumulator | Pair:
    """By the ratio of the scales; two arms whose float sum is not exact by enumeration, when their quantizer is found."""
    try:
        found = joins.add_levels(node, levels, name, signs)
    except ModelError as refusal:
        pair = pair_of(node, levels, signs, name, refusal) if refusal.code == "add-scales" else None
        if pair is None or walk.leads_out(node.outputs[0]):
            raise
        return pair
    if not found.exact.all() and (pair := pair_of(node, levels, signs, name)) is not None:
        walk.pairs[node.outputs[0]] = pair
    return found


def _scaled_sums(walk: Walk, name: str) -> joins.Scaled | None:
    """The sums behind an elementwise part that scales and shifts them by channel, exactly; None where it does more."""
    region = walk.region(name)
    root = walk.state.get(region.root) if region else None
    if region is None or not isinstance(root, Accumulator) or region.axes != (root.axis,):
        return None
    column = np.arange(region.columns)
    if root.shape[0] != region.columns:  # written out feature by feature, or in phases: each has its channel's factor
        along = [-1 if axis == root.axis - 1 else 1 for axis in range(root.layout.ndim)]
        everywhere = np.broadcast_to(column.reshape(along), root.layout.shape).reshape(-1)
        owner = root.layout.reshape(-1) // root.border.size
        column = np.zeros(root.shape[0], np.int64)
        column[owner] = everywhere
        if (column[owner] != everywhere).any():
            return None
    f = region.function()
    points = np.array([0, 1, -1, 2, -3, 100, -1000, FAR / 2**20, -FAR / 2**20])[:, None]
    found = f(np.repeat(points, region.columns, axis=1).astype(np.float32))
    shift = found[0]
    factor = found[1] - shift
    straight = np.abs(found - (points * factor + shift)) <= 1e-6 * (np.abs(points * factor) + np.abs(shift))
    return joins.Scaled(root, factor[column], shift[column]) if straight.all() and (factor != 0).all() else None
