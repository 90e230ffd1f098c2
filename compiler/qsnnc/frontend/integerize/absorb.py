"""Absorb a region into the operator before it: its sums become a layer whose levels are the region's values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.frontend.integerize import nonmonotonic, per_channel
from qsnnc.frontend.integerize.commute import joined, keeps_order, moved_back, part_of
from qsnnc.frontend.integerize.commute_sums import MovedSums, moved_sums, then
from qsnnc.frontend.integerize.encoder_boundary import encoder_levels
from qsnnc.frontend.integerize.requantize import requantized
from qsnnc.frontend.integerize.state import Gathered, Moved, Pooled, State
from qsnnc.frontend.integerize.walk import Walk
from qsnnc.frontend.layers.add_enumerated import Pair, layer_of_pair
from qsnnc.frontend.layers.columns import columns_of
from qsnnc.frontend.layers.max_pool import maximum
from qsnnc.frontend.layers.thresholds import layer_of
from qsnnc.frontend.linear.add import add_levels, read_levels
from qsnnc.frontend.linear.data_movement import fills, move, moved_index, pad_value
from qsnnc.frontend.linear.tensors import Accumulator, Part, Quantized
from qsnnc.frontend.model.model import Model, Node
from qsnnc.frontend.model.operators import ELEMENTWISE
from qsnnc.frontend.model.outcomes import NotMonotone
from qsnnc.frontend.quantizers.levels import ChannelScales
from qsnnc.frontend.quantizers.region import Region, cuts, varying


def resolve(walk: Walk, name: str) -> Quantized | None:
    """Return a tensor as levels, absorbing the region that ends in it if need be; None if it is not quantized."""
    known = walk.known.get(name)
    if isinstance(known, Quantized):
        return known
    # absorb up to a tensor that the reference has; the operators that follow only move and scale its levels
    before = _nearest_in_file(walk, name)
    if before is not None and resolve(walk, before) is None:
        return None
    region = walk.analysis.region(name)
    if region is None:
        return None
    # where branches are combined elementwise, all operators in between form one function of their common input
    if _branches(walk, region):
        if walk.analysis.region(name) is not None:
            return resolve(walk, name)
        region = _after_encoder(walk, region)
    root = walk.known.get(region.input)
    found: Quantized | None
    if isinstance(root, Quantized) and not region.nodes:
        found = root
    elif root is None and region.input not in walk.known.host and region.input != walk.model.input:
        found = None
    else:
        try:
            found = _absorb_by_channel(walk, root, region)
        except NotMonotone as error:
            if root is None:
                raise
            found = _absorb_nonmonotonic(walk, root, region, error)
    if found is not None:
        walk.known.define(name, found)
    return found


def _absorb_nonmonotonic(walk: Walk, root: State, region: Region, refusal: NotMonotone) -> Quantized | None:
    """Turn a nonmonotonic activation into the sum of two tensors of levels."""
    node = walk.analysis.producer[region.output]
    terms = None
    if isinstance(root, Accumulator):
        if nonmonotonic.few_enough(root):
            terms = nonmonotonic.up_and_down(walk, root, region)
        else:
            refusal = nonmonotonic.too_many(region.output, root)
    if terms is None:  # on levels, of which there are fewer
        levels, behind = (root, region) if isinstance(root, Quantized) else _levels_between(walk, region, refusal)
        values = [part.values for part in levels.parts]
        if not values or any(not np.array_equal(own, values[0]) for own in values) or (levels.index < 0).any():
            raise refusal
        read = read_levels(node, levels, walk.namer.text(f"{levels.parts[0].population.name}.turned"))
        if not behind.moves and not varying(behind.model, behind.nodes):  # one function: along the axis of the channels
            every = ((axis,) for axis in range(1, read.layout.ndim + 1))
            behind = replace(behind, axes=next((axes for axes in every if columns_of(read, axes)), behind.axes))
        terms = nonmonotonic.up_and_down(walk, read, behind, values[0])
    if terms is None:
        raise refusal
    if len(terms.tensors) == 1:
        return terms.tensors[0]
    sums = add_levels(node, terms.tensors, walk.namer.text(region.output), terms.signs)
    walk.known.define_steps(region.output, terms, sums)
    return None


def _levels_between(walk: Walk, region: Region, refusal: NotMonotone) -> tuple[Quantized, Region]:
    """Find the first levels inside a region on which all of its output depends, and the rest of the region.

    Raises
    ------
    ModelError
        ``refusal``, if there are none.
    """
    for name in (name for node in region.nodes for name in node.outputs if name != region.output):
        if not cuts(region, name):
            continue
        try:
            levels = resolve(walk, name) if walk.analysis.quantizes(name) else None
        except ModelError:
            continue
        if levels is not None:
            return levels, walk.analysis.part(region, name)
    raise refusal


def _branches(walk: Walk, region: Region) -> bool:
    """Resolve inner tensors of a region that have other readers, so that all use the same levels; return whether any."""
    inside = {id(node) for node in region.nodes}
    for name in (name for node in region.nodes for name in node.outputs if name != region.output):
        others = (node for node in walk.model.nodes if id(node) not in inside and name in node.inputs)
        if any(others) and resolve(walk, name) is not None:
            return True
    return False


def _after_encoder(walk: Walk, region: Region) -> Region:
    """Return the part of a host region after the encoder's levels, if it depends only on those; otherwise the region."""
    if walk.known.get(region.input) is not None:
        return region
    inner = [name for node in region.nodes for name in node.outputs if name != region.output]
    known = [name for name in inner if isinstance(walk.known.get(name), Quantized) and cuts(region, name)]
    return walk.analysis.part(region, known[-1]) if known else region


def _nearest_in_file(walk: Walk, name: str) -> str | None:
    """Return the nearest tensor before one added by a rewrite that is in the file; None if the tensor itself is.

    None as well if onnxruntime does not return it.
    """
    model, first = walk.model, name
    while name not in model.written and name in walk.analysis.producer and walk.analysis.producer[name].op in ELEMENTWISE:
        data = [n for n in walk.analysis.producer[name].inputs if n and n not in model.constants]
        if len(data) != 1:
            return None
        name = data[0]
    return name if name != first and model.returns(name) else None


def _absorb_by_channel(walk: Walk, root: State | None, region: Region) -> Quantized | None:
    """Absorb a region, with a per-channel scale if need be."""
    try:
        return absorb(walk, root, region)
    except ChannelScales as error:
        return per_channel.absorb_per_channel(
            walk, region, error, lambda walk, plain: absorb(walk, root, plain, internal=True)
        )


def absorb(walk: Walk, root: State | None, region: Region, *, internal: bool = False) -> Quantized | None:
    """Turn a region and its input into a layer, or into the encoder; None if the region is continuous."""
    if root is None:
        return encoder_levels(walk, region, internal=internal)
    if isinstance(root, Quantized):
        return requantized(walk, root, region, internal=internal)
    if isinstance(root, Accumulator):
        return _absorb_sums(walk, root, region, internal=internal)
    if isinstance(root, Pair):
        return _absorb_pair(walk, root, region, internal=internal)
    if isinstance(root, Pooled):
        return _absorb_pooled(walk, root, region, internal=internal)
    if isinstance(root, Moved):
        return _absorb_moved(walk, root, region, internal=internal)
    if isinstance(root, Gathered):
        return _absorb_gathered(walk, root, region)
    return None


def _absorb_sums(walk: Walk, root: Accumulator, region: Region, *, internal: bool) -> Quantized | None:
    levels = walk.analysis.levels(region)
    if levels is None:
        return None
    pair = walk.known.pairs.get(region.input)
    if pair is not None and (found := _absorb_pair(walk, pair, region, internal=internal)) is not None:
        return found
    shape = region.model.shapes[region.input]
    own = not internal and root.canonical and shape == walk.model.shapes.get(region.output, shape)
    layer = layer_of(
        root, region, levels, walk.sink.free_name(root.name), region.output if own else "", shape if own else root.shape
    )
    walk.sink.add(layer)
    return Quantized((Part.of(layer, levels),), root.layout)


def _absorb_pair(walk: Walk, pair: Pair, region: Region, *, internal: bool) -> Quantized | None:
    """Absorb a region into a sum of two tensors of levels by enumeration; if that fails, raise the sum's refusal."""
    levels = walk.analysis.levels(region)
    if levels is None:
        return None
    shape = walk.model.shapes[region.input]
    own = not internal and shape == walk.model.shapes.get(region.output, shape)
    found = layer_of_pair(pair, region, levels, region.output if own else "", shape)
    if found is None and pair.refusal is not None:
        raise pair.refusal
    if found is None:
        return None
    layer, layout = replace(found[0], name=walk.sink.free_name(pair.name)), found[1]
    if (layout.reshape(-1) != np.arange(layout.size)).any():  # an upsampled operand has phases as channels
        layer = replace(layer, tensor="", tensor_shape=layer.shape)
    walk.sink.add(layer)
    return Quantized((Part.of(layer, levels),), layout)


def _absorb_pooled(walk: Walk, pool: Pooled, region: Region, *, internal: bool) -> Quantized | None:
    """Absorb a region before the max pool that it follows: f(max p) = max f(p), or min f(p) for a decreasing f."""
    before = walk.analysis.region(pool.before)
    root = walk.known.get(before.input) if before else None
    if before is None or root is None:
        return None
    after = walk.analysis.levels(region)
    if after is None:
        return None
    sizes = walk.model.shapes[pool.node.outputs[0]]
    varies = region.axes if region.moves else varying(region.model, region.nodes)
    if any(sizes[axis - 1] > 1 for axis in varies if axis > 1):
        raise ModelError(
            pool.node.name,
            f"{pool.node.op} is between a linear operator and a quantizer whose constants differ from position to position; "
            "put the quantizer before it, or use constants that are the same at all positions",
            code="reordered",
            node=pool.node.name,
        )
    inner = absorb(walk, root, joined(walk.model, before, pool.node, region), internal=True)
    if inner is None:
        return None
    name = walk.namer.layer(pool.node)
    falling = np.broadcast_to(after.falling, (sizes[0],))
    end = "" if internal else region.output
    found, layers = maximum(walk.model, pool.node, inner, falling, end, lambda: walk.sink.free_name(name))
    for layer in layers:
        walk.sink.add(layer)
    return found


def _absorb_moved(walk: Walk, moved: Moved, region: Region, *, internal: bool) -> Quantized | None:
    """Absorb a region before the data movement that it follows, with which an element-independent quantizer commutes."""
    before = walk.analysis.region(moved.before)
    root = walk.known.get(before.input) if before else None
    if before is None or root is None or walk.analysis.levels(region) is None:
        return None
    model = walk.model
    varies = region.axes if region.moves else varying(model, region.nodes)
    sizes = model.shapes[before.input]
    node = moved.node
    if not varies:
        both = joined(model, before, node, region)
    elif (sums := moved_sums(walk, moved.output)) is not None:
        return _absorb_moved_sums(walk, then(sums, region), internal=internal)
    elif node.op == "Transpose" and len(varies) == 1 and node.attributes["perm"][varies[0]] == before.axes[0]:
        both = joined(model, before, node, region, real=True)
    elif node.op == "Transpose" or (not fills(node) and keeps_order(model, node, sizes)):
        both = joined(model, before, node, moved_back(region, node, sizes), real=True)
        both = replace(both, axes=tuple(range(1, len(sizes) + 1)))
    else:
        raise ModelError(
            node.name,
            f"{node.op} is between a linear operator and a quantizer with a per-channel scale; put the quantizer before it",
            code="reordered",
            node=node.name,
        )
    found = absorb(walk, root, both, internal=True)
    if found is None:
        return None
    if fills(node):
        return _padded(model, node, found, region)
    index = moved_index(model, node, found.index, moved.output)
    if internal:
        return replace(found, index=index)
    layer = found.parts[0].population if found.parts else None
    if layer is None or not walk.sink.is_last(layer):  # only moved and scaled
        return replace(found, index=index)
    if index.size == layer.features and (index.reshape(-1) == np.arange(index.size)).all() and len(found.parts) == 1:
        layer = walk.sink.computes(region.output, tuple(index.shape))
        found = replace(found, parts=(replace(found.parts[0], population=layer),))
    return replace(found, index=index)


def _absorb_moved_sums(walk: Walk, sums: MovedSums, *, internal: bool) -> Quantized | None:
    """Absorb a quantizer that differs from element to element into sums that were moved."""
    found = _absorb_sums(walk, sums.sums, sums.before, internal=internal)
    if found is None:
        return None
    constant = found.index < 0
    fixed, number = np.unique(sums.filled[constant], return_inverse=True)
    index = found.index.copy()
    index[constant] = -1 - number
    return replace(found, index=index, fixed=fixed)


def _padded(model: Model, node: Node, found: Quantized, region: Region) -> Quantized:
    """Apply a Pad after the quantizer instead of before it: its fill value is quantized as well."""
    value = np.full((1, region.single.columns), pad_value(model, node), np.float32)
    after = float(region.single.function()(value).reshape(-1)[0])
    return move(model, node, [found], filled=after)[0]


def _absorb_gathered(walk: Walk, gathered: Gathered, region: Region) -> Quantized | None:
    """Absorb a region before the Concat that it follows, each operand with its part of the constants."""
    if walk.analysis.levels(region) is None:
        return None
    node, model = gathered.node, walk.model
    rank = len(model.shapes[node.outputs[0]]) + 1
    axis = int(node.attributes["axis"]) % rank
    operands: list[Quantized | None] = []
    start = 0
    for name in node.inputs:
        if name in model.constants:
            raise ModelError(
                node.name,
                f"Concat of unquantized sums and the constant {name!r} before a quantizer is not supported; quantize each "
                "operand before the Concat",
                code="activation-not-quantized",
                node=node.name,
            )
        size = model.shapes[name][axis - 1]
        after = part_of(region, axis, start, size)
        start += size
        before = walk.analysis.region(name)
        root = walk.known.get(before.input) if before else None
        if before is None or root is None:
            return None
        both = joined(after.model, before, node, after)
        operands.append(absorb(walk, root, both, internal=True))
        if operands[-1] is None:
            return None
    return move(model, node, operands)[0]
