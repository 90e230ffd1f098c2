"""Materialise unquantized sums as levels: a sum of few levels takes few values, each of which becomes a level.

A residual sum of two operands with levels 0 to 3 takes seven values, an average of four of them thirteen. If the operator
that reads it cannot read its terms (`linear_terms`), the sum becomes a layer with that many levels and thresholds one
potential apart. The same is done for a quantizer without saturation, whose levels are bounded by the reachable potentials.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.integerize import per_channel
from qsnnc.frontend.integerize.absorb import resolve
from qsnnc.frontend.integerize.requantize import requantized
from qsnnc.frontend.integerize.state import Gathered, Moved, Pooled
from qsnnc.frontend.integerize.walk import Walk
from qsnnc.frontend.layers.columns import columns_of
from qsnnc.frontend.layers.max_pool import maximum
from qsnnc.frontend.layers.thresholds import layer_of
from qsnnc.frontend.linear.data_movement import move
from qsnnc.frontend.linear.tensors import Accumulator, Part, Quantized
from qsnnc.frontend.model.model import Node
from qsnnc.frontend.model.operators import WEIGHTED
from qsnnc.frontend.model.outcomes import ConstantActivation
from qsnnc.frontend.numerics.exactness import UNIT_ROUNDOFF, sum_error
from qsnnc.frontend.quantizers.error_bounds import propagate
from qsnnc.frontend.quantizers.levels import MANY_LEVELS, Levels, uniform_levels
from qsnnc.frontend.quantizers.region import Region

#: most levels of a quantizer without a clip directly after weights; with more, a quantizer is considered missing
MOST_OPEN = 256


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The values of a region on all reachable potentials, and the error bound of the reference's values."""

    levels: Levels
    slack: int  # error bound in float32 roundings of the largest value


def materialise(walk: Walk, name: str) -> Quantized | None:
    """Materialise a tensor without a quantizer; None if it takes too many values, or they are not equally spaced."""
    known = resolve(walk, name)
    if known is not None:
        return known
    if name not in walk.known.implicit:
        try:
            found = _materialised(walk, name)
        except ConstantActivation:
            raise
        except ModelError:
            found = None  # the missing quantizer is reported instead
        walk.known.define_implicit(name, found)
    return walk.known.implicit[name]


def _materialised(walk: Walk, name: str) -> Quantized | None:
    region = walk.analysis.region(name)
    root = walk.known.get(region.input) if region else None
    if region is None or root is None:
        return None
    if isinstance(root, Accumulator):
        return _absorbed(walk, root, region)
    before = _moved_or_pooled(walk, root, region.input)
    if before is None or not region.nodes:
        return before
    return None if any(part.slack for part in before.parts) else requantized(walk, before, region)


def _moved_or_pooled(walk: Walk, state: object, name: str) -> Quantized | None:
    """Materialise the input of a data movement or max pool and apply the operator to its levels."""
    if isinstance(state, Moved):
        before = materialise(walk, state.before)
        outputs = [entry for entry in state.node.outputs if entry]
        return move(walk.model, state.node, [before])[outputs.index(name)] if before else None
    if isinstance(state, Gathered):
        constants = walk.model.constants
        operands = [None if entry in constants else materialise(walk, entry) for entry in state.node.inputs]
        missing = any(
            operand is None and entry not in constants for operand, entry in zip(operands, state.node.inputs, strict=True)
        )
        return None if missing else move(walk.model, state.node, operands)[0]
    if isinstance(state, Pooled):
        before = materialise(walk, state.before)
        return largest(walk, state.node, before, name) if before else None
    return None


def largest(walk: Walk, node: Node, tensor: Quantized, end: str) -> Quantized:
    """Apply a max pool to levels, adding its layers."""
    plain = per_channel.unscaled(tensor) if node.op != "ReduceMax" else None
    if plain is not None:
        return plain[1](largest(walk, node, plain[0], ""))
    falling = np.zeros(tensor.index.shape[0], bool)
    name = walk.namer.layer(node)
    found, layers = maximum(walk.model, node, tensor, falling, end, lambda: walk.sink.free_name(name))
    for layer in layers:
        walk.sink.add(layer)
    return found


def _absorbed(walk: Walk, root: Accumulator, region: Region) -> Quantized | None:
    """Add a layer with one level for each value."""
    found = _values(root, region)
    if found is None:
        return None
    shape = walk.model.shapes[region.input]
    own = root.canonical and shape == walk.model.shapes.get(region.output, shape)
    layer = layer_of(root, region, found.levels, walk.sink.free_name(root.name), region.output if own else "", shape)
    layer = layer if own else replace(layer, tensor_shape=root.shape)
    walk.sink.add(layer)
    return Quantized((replace(Part.of(layer, found.levels), slack=found.slack),), root.layout)


def _values(root: Accumulator, region: Region) -> Found | None:
    """Evaluate the region on every reachable potential."""
    seen = columns_of(root, region.axes)
    if seen is None and region.nodes:
        return None
    columns = seen.of(root) if seen else root
    rows, count = columns.scale.shape
    low, high = columns.reach[..., :1], columns.reach[..., 1:]
    points = int((high - low).max()) + 1
    if points > MANY_LEVELS:
        return None
    potential = np.minimum(low + np.arange(points), high)  # (rows, columns, points)
    x = columns.value(potential).transpose(0, 2, 1).reshape(-1, count)
    y = region.function()(x) if region.nodes else x.astype(np.float64)
    values = np.unique(y)
    if len(values) < 2 or (root.node.op in WEIGHTED and not _rounds(x, y, values)):
        return None
    slack = _slack(columns, region, x, y)
    ends = y.reshape(rows, points, count)[:, [0, -1]]
    falling = np.asarray((ends[:, 0] > ends[:, 1]).any(axis=0)) if region.nodes else np.zeros(region.columns, bool)
    if slack is None or (not region.nodes and region.axes != (root.axis,)):
        return None
    levels = uniform_levels(region.output, values, falling)
    return Found(levels, slack) if levels.count <= MANY_LEVELS else None


def _rounds(x: npt.NDArray[np.float32], y: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> bool:
    """Return whether inner values correspond to several sums each, as with rounding but not a plain activation."""
    inside = (y > values[0]) & (y < values[-1])
    return len(values) <= MOST_OPEN and 2 * (len(values) - 2) <= len(np.unique(x[inside]))


def _slack(root: Accumulator, region: Region, x: npt.NDArray[np.float32], y: npt.NDArray[np.float64]) -> int | None:
    """Bound the error of the reference's values, in roundings of the largest value; None if there is no bound."""
    if root.exact.all():
        return 0
    exact = x.astype(np.float64)
    error = np.where(root.exact, 0.0, sum_error(root.terms, root.magnitude) + np.spacing(np.abs(x)).astype(np.float64))
    bounds = propagate(region, (exact - error, exact + error))
    if bounds is None:
        return None
    off = max(float(np.abs(bound - y).max()) for bound in bounds)
    return int(np.ceil(off / (UNIT_ROUNDOFF * float(np.abs(y).max()))))
