"""Apply linear operators to the terms of unquantized sums (residual additions, average pools).

By linearity, w (a + b) = w a + w b: a convolution on a residual sum is one connection from each operand, and one on an
average pool has a larger kernel and a longer stride. The sum itself needs no neurons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.frontend.integerize.state import Gathered, Moved
from qsnnc.frontend.integerize.walk import Walk
from qsnnc.frontend.linear.add import signs
from qsnnc.frontend.linear.data_movement import move
from qsnnc.frontend.linear.pooling import Pool, divisors
from qsnnc.frontend.linear.tensors import Accumulator, Quantized, Terms
from qsnnc.frontend.model.model import HALF, SINGLE, Model, Node
from qsnnc.frontend.model.operators import IDENTITY, JOINS, LINEAR, MAXIMUM, POOLS
from qsnnc.frontend.quantizers.region import Region

#: most terms of one sum: a global average over 16 x 16 positions
MOST_TERMS = 256


def terms_of(walk: Walk, name: str, resolve: Callable[[Walk, str], Quantized | None]) -> Terms | None:
    """Return the tensors of levels whose sum a tensor is; None if it is not such a sum, or has too many terms."""
    known = resolve(walk, name)
    if known is not None:
        return Terms.of(known)
    region = walk.analysis.region(name)
    if region is not None and region.input in walk.known.steps:
        return _shifted(walk.known.steps[region.input], region)
    if region is None or not keeps_values(walk.model, region.nodes):
        return None
    state, node = walk.known.get(region.input), walk.analysis.producer.get(region.input)
    if node is None:
        return None
    if isinstance(state, Moved):
        before = terms_of(walk, state.before, resolve)
        return moved_terms(walk.model, node, before, region.input) if before else None
    if isinstance(state, Gathered):
        found = {entry: terms_of(walk, entry, resolve) for entry in node.inputs if entry not in walk.model.constants}
        return _gathered(walk.model, node, {entry: terms for entry, terms in found.items() if terms is not None})
    if not isinstance(state, Accumulator):
        return None
    data = [entry for entry in node.inputs if entry and entry not in walk.model.constants]
    if node.op in JOINS:
        operands = [operand for entry in data if (operand := terms_of(walk, entry, resolve)) is not None]
        return _added(operands, signs(node, len(data))) if len(operands) == len(data) else None
    if node.op in POOLS - MAXIMUM - LINEAR:
        before = terms_of(walk, data[0], resolve)
        return _averaged(walk.model, node, before) if before else None
    return None


def _shifted(terms: Terms, region: Region) -> Terms | None:
    """Return a nonmonotonic activation from which elementwise operators subtract a constant, such as a zero point."""
    if keeps_values(region.model, region.nodes):
        return terms
    if terms.values is None:
        return None
    made = region.function()(np.repeat(terms.values.astype(np.float32)[:, None], region.columns, axis=1))
    values = made[:, 0].astype(np.float64)
    shift = float(values[0] - terms.values[0])
    if (made != made[:, :1]).any() or (values != terms.values + shift).any():
        return None
    first, *others = terms.tensors
    (part,) = first.parts
    moved = replace(part, zero_point=part.zero_point + shift / part.scale, values=part.values + shift)
    return replace(terms, tensors=(replace(first, parts=(moved,)), *others), values=values)


def keeps_values(model: Model, nodes: Iterable[Node]) -> bool:
    """Return whether elementwise operators change nothing: copies, and casts from float16 to float32."""
    return all(
        node.op in IDENTITY
        or (node.op == "Cast" and model.kind(node.inputs[0]) == HALF and model.kind(node.outputs[0]) == SINGLE)
        for node in nodes
    )


def _added(operands: list[Terms], turns: tuple[int, ...]) -> Terms | None:
    """Return the terms of a sum, whose operands all have its shape; None if there are too many."""
    tensors = tuple(tensor for operand in operands for tensor in operand.tensors)
    if len(tensors) > MOST_TERMS or len({tensor.index.shape for tensor in tensors}) > 1:
        return None
    all_signs = tuple(turn * sign for operand, turn in zip(operands, turns, strict=True) for sign in operand.signs)
    return Terms(tensors, all_signs, sum(operand.roundings for operand in operands) + len(operands))


def moved_terms(model: Model, node: Node, terms: Terms, output: str) -> Terms | None:
    """Move each term; None for padding other than zero, which would be added once per term."""
    try:
        moved = [move(model, node, [tensor]) for tensor in terms.tensors]
    except ModelError:
        return None
    which = [name for name in node.outputs if name].index(output)
    tensors = tuple(found[which] for found in moved)
    if len(tensors) > 1 and node.op == "Pad" and any(tensor.fixed.any() for tensor in tensors):
        return None
    return replace(terms, tensors=tensors)


def _gathered(model: Model, node: Node, operands: dict[str, Terms]) -> Terms | None:
    """Concatenate sums term by term, with zeros for an operand that has fewer terms; subtracted terms come last."""
    names = [name for name in node.inputs if name not in model.constants]
    if any(name not in operands for name in names):
        return None
    tensors, turns = [], []
    for turn in (1, -1):
        mine = {
            name: [t for t, sign in zip(a.tensors, a.signs, strict=True) if sign == turn] for name, a in operands.items()
        }
        for number in range(max(map(len, mine.values()))):
            row: list[Quantized | None] = []
            for name in node.inputs:
                if name not in operands:  # a constant is in the first term only
                    row.append(None if number == 0 and turn > 0 else _zeros(model.constants[name].shape[1:]))
                else:
                    row.append(mine[name][number] if number < len(mine[name]) else _zeros(operands[name].shape))
            tensors += move(model, node, row)
            turns.append(turn)
    return Terms(tuple(tensors), tuple(turns), max(operand.roundings for operand in operands.values()))


def _zeros(shape: tuple[int, ...]) -> Quantized:
    return Quantized((), np.full(shape, -1, np.int64), np.zeros(1))


def _averaged(model: Model, node: Node, terms: Terms) -> Terms | None:
    """Return one term per tap of an average pool's window: the tensor, shifted, at the pool's stride."""
    tensors: list[Quantized] = []
    for tensor in terms.tensors:
        pool = Pool(model, node, tensor)
        counts = np.unique(divisors(model, node, pool))
        taps = pool.window.taps(pool.seen[1:], pool.shape[1:])
        if len(counts) != 1 or taps.shape[1] * len(terms.tensors) > MOST_TERMS:
            return None
        parts = tuple(part.scaled(1.0 / float(counts[0])) for part in pool.tensor.parts)
        fixed = np.append(pool.tensor.fixed / float(counts[0]), 0.0)
        flat = pool.tensor.index.reshape(pool.seen[0], -1)
        for tap in taps.T:
            shown = np.where(tap >= 0, flat[:, tap], -len(fixed))
            tensors.append(Quantized(parts, shown.reshape(-1)[pool.layout], fixed))
    count = len(tensors) // len(terms.tensors)
    all_signs = tuple(sign for sign in terms.signs for _ in range(count))
    return Terms(tuple(tensors), all_signs, terms.roundings + count + 2)
