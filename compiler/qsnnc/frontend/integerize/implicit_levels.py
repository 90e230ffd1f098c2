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
from qsnnc.frontend.integerize.linear_terms import keeps_values
from qsnnc.frontend.integerize.reachable_levels import find_reachable
from qsnnc.frontend.integerize.requantize import requantized
from qsnnc.frontend.integerize.state import Gathered, Moved, Pooled
from qsnnc.frontend.integerize.walk import Walk
from qsnnc.frontend.layers.columns import columns_of
from qsnnc.frontend.layers.max_pool import maximum
from qsnnc.frontend.layers.thresholds import fires, layer_of
from qsnnc.frontend.linear.data_movement import move
from qsnnc.frontend.linear.tensors import Accumulator, Part, Quantized, Terms
from qsnnc.frontend.model.model import Node
from qsnnc.frontend.model.operators import WEIGHTED
from qsnnc.frontend.model.outcomes import ConstantActivation, NotMonotone
from qsnnc.frontend.numerics.exactness import UNIT_ROUNDOFF, sum_error
from qsnnc.frontend.quantizers.error_bounds import propagate
from qsnnc.frontend.quantizers.extrema import evaluate_each, is_monotone_region, numbered
from qsnnc.frontend.quantizers.levels import Levels, constant, uniform_levels
from qsnnc.frontend.quantizers.region import Region
from qsnnc.ir.layers import Int
from qsnnc.ir.uncertain import UncertainThresholds

#: most potentials, over all channels, at which a region is evaluated
MOST_POTENTIALS = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The values of a region on all reachable potentials, and the error bound of the reference's values."""

    levels: Levels
    slack: int  # error bound in float32 roundings of the largest value


def materialise(walk: Walk, name: str, *, summed: bool = False) -> Quantized | None:
    """Materialise a tensor without a quantizer; None if it takes too many values, or they are not equally spaced.

    ``summed``: None also if it is found to be steps up and down, whose sum the caller reads.
    """
    known = resolve(walk, name)
    if known is not None:
        return known
    if name not in walk.known.implicit:
        found = _tried(walk, name)
        if found is None and name in walk.known.steps:
            if summed:
                return None
            found = _tried(walk, name)
        walk.known.define_implicit(name, found)
    return walk.known.implicit[name]


def _tried(walk: Walk, name: str) -> Quantized | None:
    try:
        return _materialised(walk, name)
    except ConstantActivation:
        raise
    except ModelError:
        return None  # the missing quantizer is reported instead


def _materialised(walk: Walk, name: str) -> Quantized | None:
    region = walk.analysis.region(name)
    root = walk.known.get(region.input) if region else None
    if region is None or root is None:
        return None
    if isinstance(root, Accumulator) and region.input in walk.known.steps:
        if not keeps_values(walk.model, region.nodes):
            levels = materialise(walk, region.input)
            return requantized(walk, levels, region) if levels else None
        before = _from_steps(walk, root, walk.known.steps[region.input])
    elif isinstance(root, Accumulator):
        before = _absorbed(walk, root, region)
    else:
        before = _moved_or_pooled(walk, root, region.input)
    if before is None and region.nodes:
        walk.analysis.permit_unsaturated(name, lambda found: find_reachable(walk, found))
        return resolve(walk, name)
    if before is None or not region.nodes or isinstance(root, Accumulator):
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
    try:
        layer = layer_of(root, region, found.levels, root.name, region.output if own else "", shape)
    except NotMonotone:
        return None  # it may be steps up and down
    layer = replace(layer, name=walk.sink.free_name(root.name), tensor_shape=shape if own else root.shape)
    walk.sink.add(layer)
    return Quantized((replace(Part.of(layer, found.levels), slack=found.slack),), root.layout)


def _from_steps(walk: Walk, root: Accumulator, steps: Terms) -> Quantized | None:
    """Add a layer with the levels of a nonmonotonic activation, given the sums of its steps up and down."""
    values, population = steps.values, steps.tensors[0].parts[0].population
    if values is None:
        return None
    halfway = population.scale * (np.arange(1, len(values)) - 0.5 + population.zero_point)
    limits = np.ceil((halfway - root.offset[..., None]) / root.scale[..., None]).astype(np.int64)
    limits = np.clip(limits, root.reach[..., :1], root.reach[..., 1:] + 1)
    levels = Levels(len(values) - 1, population.scale, population.zero_point, values, np.zeros(0, bool))
    name = walk.sink.free_name(root.name)
    layer = fires(root, levels, name, "", root.shape, limits, exact_sums=True, uncertain=UncertainThresholds.of())
    walk.sink.add(layer)
    return Quantized((Part.of(layer, levels),), root.layout)


def _values(root: Accumulator, region: Region) -> Found | None:
    """Evaluate the region on every reachable potential."""
    seen = columns_of(root, region.axes)
    if seen is None and region.nodes:
        return None
    columns = seen.of(root) if seen else root
    rows, count = columns.scale.shape
    potential = _potentials(columns, region)
    if potential is None:
        return None
    points = potential.shape[2]
    x = columns.value(potential).transpose(0, 2, 1).reshape(-1, count)
    y = region.function()(x) if region.nodes else x.astype(np.float64)
    values = np.unique(y)
    if len(values) < 2 and region.nodes:
        raise constant(region.output)
    if len(values) < 2 or (root.node.op in WEIGHTED and not _rounds(x, y, values)):
        return None
    slack = _slack(columns, region, x, y)
    ends = y.reshape(rows, points, count)[:, [0, -1]]
    falling = np.asarray((ends[:, 0] > ends[:, 1]).any(axis=0)) if region.nodes else np.zeros(region.columns, bool)
    if slack is None or (not region.nodes and region.axes != (root.axis,)):
        return None
    levels = uniform_levels(region.output, values, falling)
    return Found(levels, slack)


def _potentials(columns: Accumulator, region: Region) -> Int | None:
    """Return reachable potentials at which the region takes all of its values, (rows, columns, points); None if too many.

    All potentials, or for a monotone region the first and the last of each value, found by bisection.
    """
    low, high = columns.reach[..., 0], columns.reach[..., 1]
    points = int((high - low).max()) + 1
    if points * low.size <= MOST_POTENTIALS:
        return np.asarray(np.minimum(low[..., None] + np.arange(points), high[..., None]), np.int64)
    if not is_monotone_region(region):
        return None
    return _ends_of_values(columns, region)


def _ends_of_values(columns: Accumulator, region: Region) -> Int | None:
    """Return the first and the last reachable potential of each value of a monotone region; None if too many."""
    rows, count = columns.scale.shape
    f, owner = region.function(), np.arange(rows * count)

    def evaluate(at: Int, of: Int) -> npt.NDArray[np.float64]:
        x = columns.scale.reshape(-1)[of] * at + columns.offset.reshape(-1)[of]
        column = of % count
        return evaluate_each(f, x, column, numbered(column), count)

    first, last = columns.reach[..., 0].reshape(-1), columns.reach[..., 1].reshape(-1)
    start, end, of = first, last, owner
    before, after = evaluate(start, of), evaluate(end, of)
    at, whose = [first, last], [owner, owner]
    while len(start):  # between two potentials of one value, a monotone region has no other
        open_ = (before != after) & (end - start > 1)
        start, end, of, before, after = (part[open_] for part in (start, end, of, before, after))
        middle = (start + end) // 2
        value = evaluate(middle, of) if len(of) else before
        at, whose = [*at, middle], [*whose, of]
        if sum(map(len, at)) > MOST_POTENTIALS:
            return None
        start, end, of = np.concatenate([start, middle]), np.concatenate([middle, end]), np.concatenate([of, of])
        before, after = np.concatenate([before, value]), np.concatenate([value, after])
    every, whom = np.concatenate(at), np.concatenate(whose)
    order = np.lexsort((every, whom))
    counts = np.bincount(whom, minlength=rows * count)
    if int(counts.max()) * len(counts) > MOST_POTENTIALS:
        return None
    full = np.repeat(last[:, None], int(counts.max()), axis=1)
    full[whom[order], np.concatenate([np.arange(n) for n in counts])] = every[order]
    return full.reshape(rows, count, -1)


def _rounds(x: npt.NDArray[np.float32], y: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> bool:
    """Return whether inner values correspond to several sums each, as with rounding but not a plain activation."""
    inside = (y > values[0]) & (y < values[-1])
    return 2 * (len(values) - 2) <= len(np.unique(x[inside]))


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
