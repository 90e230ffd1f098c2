"""Add, Sub and Sum: operands of levels, of sums, or of both, that meet in one potential."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
from qsnnc.ir.layers import reachable


@dataclass(frozen=True, slots=True, eq=False)
class Scaled:
    """Sums behind an elementwise part that only scales and shifts them, by channel: value = factor * sum + shift."""

    sums: Accumulator
    factor: F64
    shift: F64


def signs(node: Node, operands: int) -> tuple[int, ...]:
    """The sign of each input."""
    return facts(node.op).signs or (1,) * operands


def add_levels(
    node: Node,
    tensors: Sequence[Quantized],
    name: str,
    factors: Sequence[int],
    seen: tuple[int, int, int] | None = None,
) -> Accumulator:
    """Sum of quantized tensors: connections of one tap whose integer weights are the ratio of the scales.

    ``seen`` is the shape as a map that the result must have.
    """
    try:
        shape = np.broadcast_shapes(*(tensor.index.shape for tensor in tensors))
    except ValueError:
        shape = ()
    if any(tensor.index.ndim != len(shape) for tensor in tensors):
        raise ModelError(
            node.name,
            f"{node.op} of tensors of shapes {', '.join(str(tensor.index.shape) for tensor in tensors)}; they "
            "must have as many axes, and equal sizes but for ones",
            code="add-shapes",
            node=node.name,
        )
    tensors = [replace(tensor, index=np.broadcast_to(tensor.index, shape)) for tensor in tensors]
    seen = seen or _seen(tensors, node)
    channels = seen[0]
    eye = np.ones((channels, 1, 1, 1))
    operands = [
        Operand(tensor, seen, factor * eye, channels, POINT) for tensor, factor in zip(tensors, factors, strict=True)
    ]
    return convolve(Sums(name, "add", node, seen, natural(seen, shape)), operands, np.zeros(channels))


def read_levels(node: Node, tensor: Quantized, name: str) -> Accumulator:
    """The levels themselves as potentials: what reads out a network that ends in levels.

    The populations that the tensor shows are read channel by channel, or, where they differ in rows and columns, feature
    by feature; the layout says where each stands in the tensor.
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
    """The tensors' shape as a map; the population's own where it fits, so that flat tensors need no window."""
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


def lie_alike(one: Accumulator, other: Accumulator) -> bool:
    """Whether two tensors show the features of their sums in the same places."""
    return one.shape == other.shape and one.axis == other.axis and np.array_equal(one.layout, other.layout)


def add_sums(node: Node, operands: Sequence[Scaled], signs: Sequence[int], name: str) -> Accumulator:
    """Sum of the results of linear operators: all their connections, brought to one unit a channel.

    Raises
    ------
    ModelError
        The operands do not lie alike, or their units' ratios are no fractions of small integers.
    """
    first = operands[0].sums
    for operand in operands:
        other = operand.sums
        if not lie_alike(other, first) or (np.ptp(other.scale, axis=0) > 0).any():
            raise ModelError(
                node.name,
                f"{node.op} of {first.name} and {other.name}, whose sums lie differently; put a quantizer (scale, round, "
                "clip) on each operand",
                code="activation-not-quantized",
                node=node.name,
            )
    channels, (rows, columns) = first.shape[0], first.shape[1:]
    units = np.stack([np.abs(operand.sums.scale[0] * operand.factor) for operand in operands])
    turns = [
        np.sign(operand.sums.scale[0] * operand.factor).astype(np.int64) * sign
        for operand, sign in zip(operands, signs, strict=True)
    ]
    factors, unit = np.zeros(units.shape, np.int64), np.zeros(channels)
    for pattern in np.unique(units, axis=1).T:
        mine = (units == pattern[:, None]).all(axis=0)
        found, base = common_unit(pattern.tolist(), node, ", or quantize each operand (scale, round, clip)")
        factors[:, mine] = np.array(found)[:, None]
        unit[mine] = base
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
    """Levels as sums that lie like another operator's, so that both can be added."""
    index = np.full(int(np.prod(like.shape)), -1 - len(tensor.fixed))  # zero beside sums that were cut off
    index[like.layout.reshape(-1)] = tensor.index.reshape(-1)
    fixed = np.append(tensor.fixed, 0.0)
    found = add_levels(node, [replace(tensor, index=index.reshape(like.shape), fixed=fixed)], name, (1,), like.shape)
    return replace(found, layout=like.layout, axis=like.axis)
