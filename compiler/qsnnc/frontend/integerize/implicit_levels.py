"""Levels where no quantizer makes any: sums of few levels take few values, and each of them is one.

A residual sum of 3 and 3 levels takes seven values, an average of four times 3 levels thirteen. Where what reads it cannot
read its terms (`terms`), the sum becomes a layer of that many levels, whose thresholds lie one potential apart; so does a
quantizer that never saturates, whose levels only the reachable potentials bound.
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
from qsnnc.frontend.quantizers.levels import MANY_LEVELS, Levels, on_a_grid
from qsnnc.frontend.quantizers.region import Region

#: levels of a quantizer without a clip straight behind weights; more is taken for a quantizer that is missing
MOST_OPEN = 256


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The values that a region takes on all reachable potentials, and what the reference's may be off by."""

    levels: Levels
    slack: int  # float32 roundings of the largest value


def materialise(walk: Walk, name: str) -> Quantized | None:
    """Levels of a tensor that no quantizer closes; None where it takes too many values, or values on no grid."""
    known = resolve(walk, name)
    if known is not None:
        return known
    if name not in walk.known.implicit:
        try:
            found = _materialised(walk, name)
        except ConstantActivation:
            raise
        except ModelError:
            found = None  # what stands against the network is that nothing was quantized
        walk.known.define_implicit(name, found)
    return walk.known.implicit[name]


def _materialised(walk: Walk, name: str) -> Quantized | None:
    region = walk.analysis.region(name)
    root = walk.known.get(region.input) if region else None
    if region is None or root is None:
        return None
    if isinstance(root, Accumulator):
        return _closed(walk, root, region)
    before = _behind(walk, root, region.input)
    if before is None or not region.nodes:
        return before
    return None if any(part.slack for part in before.parts) else requantized(walk, before, region)


def _behind(walk: Walk, state: object, name: str) -> Quantized | None:
    """What an operator that moves values, or takes the largest, makes of levels."""
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
    """A max pool of levels, with the layers that it takes."""
    plain = per_channel.unscaled(tensor) if node.op != "ReduceMax" else None
    if plain is not None:
        return plain[1](largest(walk, node, plain[0], ""))
    falling = np.zeros(tensor.index.shape[0], bool)
    name = walk.namer.layer(node)
    found, layers = maximum(walk.model, node, tensor, falling, end, lambda: walk.sink.free_name(name))
    for layer in layers:
        walk.sink.add(layer)
    return found


def _closed(walk: Walk, root: Accumulator, region: Region) -> Quantized | None:
    """A layer with a level for each value."""
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
    levels = on_a_grid(region.output, values, falling)
    return Found(levels, slack) if levels.count <= MANY_LEVELS else None


def _rounds(x: npt.NDArray[np.float32], y: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> bool:
    """Whether values between the ends stand for several sums each: what rounds, and is no activation alone."""
    inside = (y > values[0]) & (y < values[-1])
    return len(values) <= MOST_OPEN and 2 * (len(values) - 2) <= len(np.unique(x[inside]))


def _slack(root: Accumulator, region: Region, x: npt.NDArray[np.float32], y: npt.NDArray[np.float64]) -> int | None:
    """Roundings of the largest value by which the reference's may differ from that of the exact sum."""
    if root.exact.all():
        return 0
    exact = x.astype(np.float64)
    error = np.where(root.exact, 0.0, sum_error(root.terms, root.magnitude) + np.spacing(np.abs(x)).astype(np.float64))
    bounds = propagate(region, (exact - error, exact + error))
    if bounds is None:
        return None
    off = max(float(np.abs(bound - y).max()) for bound in bounds)
    return int(np.ceil(off / (UNIT_ROUNDOFF * float(np.abs(y).max()))))
