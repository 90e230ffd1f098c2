"""Turn Add, Sub and Sum into one accumulator; operands are levels, unquantized sums, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.frontend.linear.accumulate import Offsets, Operand, Piece, Sums, accumulate, classes, common_unit, span
from qsnnc.frontend.linear.convolve import convolve
from qsnnc.frontend.linear.tensors import F64, Accumulator, Quantized, as_map, natural
from qsnnc.frontend.linear.views import POINT, Window
from qsnnc.frontend.model.model import Node
from qsnnc.frontend.model.operators import facts
from qsnnc.frontend.numerics.exactness import EXACT_BELOW, dyadic_units
from qsnnc.frontend.numerics.intervals import powers_of_two
from qsnnc.ir.layers import Int, reachable


@dataclass(frozen=True, slots=True, eq=False)
class Scaled:
    """Sums, scaled and shifted by channel: value = factor * sum + shift."""

    sums: Accumulator
    factor: F64
    shift: F64


def signs(node: Node, operands: int) -> tuple[int, ...]:
    """Return the sign of each input."""
    return facts(node.op).signs or (1,) * operands


def add_levels(
    node: Node,
    tensors: Sequence[Quantized],
    name: str,
    factors: Sequence[int],
    seen: tuple[int, int, int] | None = None,
) -> Accumulator:
    """Add quantized tensors: one-tap connections whose integer weights have the ratio of the scales.

    ``seen`` is the (channels, rows, columns) that the result must have.
    """
    try:
        shape = np.broadcast_shapes(*(tensor.index.shape for tensor in tensors))
    except ValueError:
        shape = ()
    if any(tensor.index.ndim != len(shape) for tensor in tensors):
        raise ModelError(
            node.name,
            f"{node.op} of tensors of shapes {', '.join(str(tensor.index.shape) for tensor in tensors)}; they "
            "must have the same number of axes, each of equal size or 1",
            code="tensor-rank",
            node=node.name,
        )
    tensors = [replace(tensor, index=np.broadcast_to(tensor.index, shape)) for tensor in tensors]
    layout, axis = None, 1
    if seen is None and (own := _own_order(tensors[0])) is not None:
        seen, layout, axis = own
        order = np.argsort(layout.reshape(-1))
        tensors = [replace(tensor, index=tensor.index.reshape(-1)[order]) for tensor in tensors]
    seen = seen or _seen(tensors, node)
    channels = seen[0]
    eye = np.ones((channels, 1, 1, 1))
    operands = [
        Operand(tensor, seen, factor * eye, channels, POINT) for tensor, factor in zip(tensors, factors, strict=True)
    ]
    layout = natural(seen, shape) if layout is None else layout
    return convolve(Sums(name, "add", node, seen, layout, axis), operands, np.zeros(channels))


def _own_order(tensor: Quantized) -> tuple[tuple[int, int, int], Int, int] | None:
    """Return the shape and layout of a tensor whose axes are those of its population in another order, as NHWC is of NCHW.

    Returns
    -------
    shape : tuple of int
        The population's (channels, rows, columns).
    layout : ndarray, int64
        Of the tensor's shape: the population's feature at each element.
    axis : int
        The tensor's channel axis; the batch is axis 0.
    """
    if len(tensor.parts) != 1:
        return None
    own = tensor.parts[0].population.shape
    every = np.arange(int(np.prod(own))).reshape(own)
    others = [axes for axes in permutations(range(3)) if axes != (0, 1, 2)]
    orders: list[tuple[Int, int]] = [(every.transpose(axes), 1 + axes.index(0)) for axes in others]
    orders.append((every.reshape(own[0], -1).T, 2))  # tokens
    return next(((own, tensor.index, axis) for moved, axis in orders if np.array_equal(moved, tensor.index)), None)


def read_levels(node: Node, tensor: Quantized, name: str) -> Accumulator:
    """Return the levels themselves as potentials: the readout of a network that ends in levels.

    The populations of the tensor are read channel by channel or, if they differ in rows and columns, feature by feature;
    the layout gives the position of each in the tensor.
    """
    parts = tensor.parts
    spaces = {part.population.shape[1:] for part in parts}
    features = int(tensor.starts[-1])
    whole = np.arange(features)
    if len(spaces) == 1 and not (tensor.index < 0).any():
        (space,) = spaces
        shape = (features // (space[0] * space[1]), *space)
        operand = Operand(Quantized(parts, whole.reshape(shape)), shape, np.ones((shape[0], 1, 1, 1)), shape[0], POINT)
        found = convolve(Sums(name, "identity", node, shape, whole.reshape(shape)), [operand], np.zeros(shape[0]))
        return replace(found, layout=tensor.index)
    outputs = features + len(tensor.fixed)
    offset = np.concatenate([np.zeros(features), tensor.fixed])
    pieces = []
    for start, part in zip(tensor.starts[:-1], parts, strict=True):
        own = part.population
        kernel = np.zeros((outputs, own.features), np.int64)
        kernel[start + np.arange(own.features), np.arange(own.features)] = 1
        offset[start : start + own.features] = part.scale * part.zero_point
        square = kernel.reshape(outputs, *own.shape)
        pieces.append(Piece(part, square.astype(np.float64), square, 1, Window(own.shape[1:])))
    offsets = Offsets(np.zeros((1, 1), np.int64), offset[None], np.abs(offset), dyadic_units(offset[:, None]))
    shape = (outputs, 1, 1)
    found = accumulate(Sums(name, "identity", node, shape, natural(shape, shape)), pieces, np.ones(outputs), offsets)
    return replace(found, layout=np.where(tensor.index < 0, features - 1 - tensor.index, tensor.index))


def _seen(tensors: Sequence[Quantized], node: Node) -> tuple[int, int, int]:
    """Return the tensors' (channels, rows, columns): the population's own where that fits, which needs no window."""
    shape = tensors[0].index.shape
    for part in (part for tensor in tensors for part in tensor.parts):
        own = part.population.shape
        if own[0] == shape[0] and int(np.prod(own)) == int(np.prod(shape)):
            return own
    for part in (part for tensor in tensors for part in tensor.parts):
        own = part.population.shape
        if int(np.prod(own)) == int(np.prod(shape)) and len(shape) == 1:
            return own
    if len(shape) > 3:
        return shape[0], int(np.prod(shape[1:])), 1
    return as_map(shape, node)


def same_layout(one: Accumulator, other: Accumulator) -> bool:
    """Return whether two tensors have the features of their sums in the same places."""
    return one.shape == other.shape and one.axis == other.axis and np.array_equal(one.layout, other.layout)


def _one_unit(node: Node, operands: Sequence[Scaled]) -> tuple[Int, F64]:
    """Find integer factors (operands, channels) and the unit of each channel that they are multiples of."""
    units = np.stack([np.abs(operand.sums.scale[0] * operand.factor) for operand in operands])
    factors, unit = np.zeros(units.shape, np.int64), np.zeros(units.shape[1])
    for pattern in np.unique(units, axis=1).T:
        mine = (units == pattern[:, None]).all(axis=0)
        found, base = common_unit(pattern.tolist(), node, ", or quantize each operand (scale, round, clip)")
        factors[:, mine] = np.array(found)[:, None]
        unit[mine] = base
    return factors, unit


def add_sums(node: Node, operands: Sequence[Scaled], signs: Sequence[int], name: str) -> Accumulator:
    """Add the results of linear operators: all their connections, in one unit per channel.

    Raises
    ------
    ModelError
        The operands have different layouts, or the ratios of their units are not fractions of small integers.
    """
    first = operands[0].sums
    for operand in operands:
        other = operand.sums
        if not same_layout(other, first) or (np.ptp(other.scale, axis=0) > 0).any():
            raise ModelError(
                node.name,
                f"{node.op} of {first.name} and {other.name}, whose unquantized sums are ordered differently; put a "
                "quantizer (scale, round, clip) on each operand",
                code="activation-not-quantized",
                node=node.name,
            )
    channels, (rows, columns) = first.shape[0], first.shape[1:]
    factors, unit = _one_unit(node, operands)
    turns = [
        np.sign(operand.sums.scale[0] * operand.factor).astype(np.int64) * sign
        for operand, sign in zip(operands, signs, strict=True)
    ]
    keys = np.stack([operand.sums.border.reshape(-1) for operand in operands], axis=1)
    border, example = classes(keys, (rows, columns))
    offset = np.zeros((len(example), channels))
    links, sources = [], {}
    magnitude, grid = np.zeros(channels), np.full(channels, np.inf)
    exact, terms = np.ones(channels, bool), 1
    for operand, sign, turn, factor in zip(operands, signs, turns, factors, strict=True):
        sums = operand.sums
        offset += sign * (operand.factor * sums.offset[sums.border.reshape(-1)[example]] + operand.shift)
        weight = (turn * factor)[:, None, None, None]
        links += [replace(link, weights=link.weights * weight) for link in sums.connections]
        sources.update(sums.sources)
        size = np.abs(operand.factor)
        magnitude += size * sums.magnitude + np.abs(operand.shift)
        grid = np.minimum(grid, np.where(powers_of_two(size), size * sums.grid, 0.0))
        exact &= sums.exact & (operand.shift == 0)
        exact &= (factor * unit == size * np.abs(sums.scale[0])).all()
        terms += sums.terms + 3
    reach = reachable(tuple(links), sources, first.shape)
    exact &= (grid > 0) & (magnitude < EXACT_BELOW * grid)
    return Accumulator(
        name=name,
        kind="add",
        node=node,
        shape=first.shape,
        connections=tuple(links),
        scale=np.tile(unit, (len(example), 1)),
        offset=offset,
        border=border,
        reach=span(reach, border),
        exact=exact,
        grid=grid,
        magnitude=magnitude,
        terms=terms,
        sources=sources,
        layout=first.layout,
        axis=first.axis,
    )


def as_sums(node: Node, tensor: Quantized, like: Accumulator, name: str) -> Accumulator:
    """Turn levels into sums with the layout of another operator's, so that both can be added."""
    index = np.full(int(np.prod(like.shape)), -1 - len(tensor.fixed))  # zero where sums were cropped
    index[like.layout.reshape(-1)] = tensor.index.reshape(-1)
    fixed = np.append(tensor.fixed, 0.0)
    found = add_levels(node, [replace(tensor, index=index.reshape(like.shape), fixed=fixed)], name, (1,), like.shape)
    return replace(found, layout=like.layout, axis=like.axis)
