"""Move sums, and the elementwise operators on them, across operators that only move values.

A quantizer whose constants differ between elements does not commute with a Slice, Pad or Resize. Instead, the sums are
moved to the quantizer: the constants of elementwise operators before the data movement are moved in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.integerize.state import Moved
from qsnnc.frontend.integerize.walk import Walk
from qsnnc.frontend.linear.data_movement import fills, moved_index, pad_value
from qsnnc.frontend.linear.tensors import F64, Accumulator
from qsnnc.frontend.model.model import Model, Node
from qsnnc.frontend.quantizers.region import Region, own_axis, varying
from qsnnc.ir.layers import Int


@dataclass(frozen=True, slots=True, eq=False)
class MovedSums:
    """Sums in the order of a tensor, and the elementwise operators applied to them before it."""

    sums: Accumulator  # with the tensor's layout, negative where a constant was filled in
    before: Region  # from the moved sums to the tensor
    filled: F64  # shape of the tensor: the filled-in constants, NaN elsewhere


def moved_sums(walk: Walk, name: str) -> MovedSums | None:
    """Return the sums in a tensor; None if there are none, or an operator in between cannot be moved."""
    region = walk.analysis.region(name)
    state = walk.known.get(region.input) if region else None
    if region is None:
        return None
    if isinstance(state, Accumulator):
        return MovedSums(state, region, np.full(state.layout.shape, np.nan))
    found = moved_sums(walk, state.before) if isinstance(state, Moved) else None
    if found is None or not isinstance(state, Moved):
        return None
    moved = _across(walk.model, state, found)
    return then(moved, region) if moved else None


def then(sums: MovedSums, region: Region) -> MovedSums:
    """Append elementwise operators."""
    before, model = sums.before.model, region.model
    constants, shapes = {**model.constants, **before.constants}, {**model.shapes, **before.shapes}
    model = replace(model, constants=constants, shapes=shapes, kinds={**model.kinds, **before.kinds})
    nodes = (*sums.before.nodes, *region.nodes)
    every = tuple(range(1, sums.filled.ndim + 1))
    varies = every if region.moves else varying(model, nodes)
    both = Region(model, sums.before.input, region.output, nodes, varies if len(varies) == 1 else every, region.moves)
    return MovedSums(sums.sums, both, constants_through(region, sums.filled))


def constants_through(region: Region, filled: F64) -> F64:
    """Apply a region to the constants among its values."""
    constants = np.unique(filled[~np.isnan(filled)]).astype(np.float32)
    if not len(constants):
        return filled
    after, f = filled.copy(), region.function()
    sizes = [size if axis in region.axes else 1 for axis, size in enumerate(filled.shape, start=1)]
    for value in constants:
        made = f(np.full((1, region.columns), value, np.float32)).reshape(sizes)
        after = np.where(filled == value, np.broadcast_to(made, filled.shape), after)
    return after


def _across(model: Model, state: Moved, sums: MovedSums) -> MovedSums | None:
    """Return the sums at the output of an operator that moves them."""
    node, shape = state.node, sums.filled.shape
    places = moved_index(model, node, np.arange(sums.filled.size).reshape(shape), state.output)
    there = places >= 0
    filled = np.where(there, sums.filled.reshape(-1)[places], pad_value(model, node) if fills(node) else np.nan)
    layout = np.where(there, sums.sums.layout.reshape(-1)[places], -1)
    before = _carried(sums.before, shape, places, state.output)
    return MovedSums(replace(sums.sums, layout=layout), before, filled) if before else None


def _carried(region: Region, shape: tuple[int, ...], places: Int, output: str) -> Region | None:
    """Return the region on moved values; None if a constant belongs to an axis that is not preserved."""
    model, numbers = region.model, count()
    constants, shapes, kinds = dict(model.constants), dict(model.shapes), dict(model.kinds)
    if not region.nodes:
        return Region(model, output, output, (), tuple(range(1, places.ndim + 1)))
    own = {region.input: f"{output}[sums]", region.output: output}
    nodes = []
    for node in region.nodes:
        own.update({name: f"{output}[{next(numbers)}]" for name in node.outputs if name and name != region.output})
        renamed = dict(own)
        for name in node.inputs:
            constant = model.constants.get(name)
            if constant is not None and constant.size > 1:
                moved = _moved_constant(node, constant, shape, places)
                if moved is None:
                    return None
                renamed[name] = f"{output}[{next(numbers)}]"
                constants[renamed[name]] = moved
        nodes.append(node.renamed(renamed))
    shapes.update(dict.fromkeys(own.values(), places.shape))
    kinds.update({new: model.kinds[name] for name, new in own.items() if name in model.kinds})
    moved_model = replace(model, constants=constants, shapes=shapes, kinds=kinds)
    return Region(moved_model, own[region.input], output, tuple(nodes), tuple(range(1, places.ndim + 1)))


def _moved_constant(
    node: Node, constant: npt.NDArray[np.generic], shape: tuple[int, ...], places: Int
) -> npt.NDArray[np.generic] | None:
    """Move a constant in the way that the values of a tensor were moved."""
    if (axis := own_axis(node, len(shape) + 1)) is not None:
        kept = _along(shape, places, axis - 1)
        return None if kept is None else constant[kept]
    full = constant.reshape([1] * (len(shape) + 1 - constant.ndim) + list(constant.shape))
    varies = [axis for axis, size in enumerate(full.shape) if size > 1]
    kept = _along(shape, places, varies[0] - 1) if len(varies) == 1 else None
    if kept is not None:
        return full.take(kept, axis=varies[0])
    every = np.broadcast_to(full, (1, *shape)).reshape(-1)
    return np.asarray(every[np.maximum(places, 0)][None])


def _along(shape: tuple[int, ...], places: Int, axis: int) -> Int | None:
    """Return the former index along an axis of each index after the movement; None if that is not unique."""
    if places.ndim != len(shape) or axis < 0:
        return None
    entry = np.where(places >= 0, places // int(np.prod(shape[axis + 1 :])) % shape[axis], -1)
    rows = np.moveaxis(entry, axis, 0).reshape(places.shape[axis], -1)
    most = rows.max(axis=1)
    return np.maximum(most, 0) if ((rows == most[:, None]) | (rows < 0)).all() else None
