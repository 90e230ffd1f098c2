"""Add two tensors of levels whose scales have no simple ratio, before a quantizer, exactly, by enumeration.

The two operands of a residual Add have few levels each, so every value of the sum can be enumerated: float32(a) +
float32(b) has one order and one rounding. Small integers p and q can replace the scales if p * level_a + q * level_b
separates the pairs of levels below each decision of the quantizer from those above it, in every channel. The result is
then equal for every input, by proof, although p / q is not the ratio of the scales.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.layers.thresholds import fires, with_negated
from qsnnc.frontend.linear.add import add_levels
from qsnnc.frontend.linear.tensors import Accumulator, Quantized
from qsnnc.frontend.model.model import Node
from qsnnc.frontend.numerics.exactness import UNIT_ROUNDOFF
from qsnnc.frontend.quantizers.error_bounds import propagate
from qsnnc.frontend.quantizers.levels import Levels, not_monotone
from qsnnc.frontend.quantizers.region import Region
from qsnnc.ir.layers import Int, Layer
from qsnnc.ir.uncertain import Uncertain, UncertainThresholds

#: every ratio of weights up to this is tried first: the largest 8-bit weight
SMALL = 127
#: then better approximations up to this: too wide for any chip, but `qsnnc verify` can still run
LARGE = 1 << 20
#: most evaluations: values of the sum times functions
MOST_VALUES = 1 << 24


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """The sum of two tensors of levels; ``refusal`` is raised if enumeration fails, unless another way is possible."""

    node: Node
    operands: tuple[Quantized, Quantized]
    signs: tuple[int, int]
    name: str
    refusal: ModelError | None


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """All values of a sum, ascending, and the pairs of levels that give each."""

    pairs: Int  # (pairs, 2): the levels
    first: Int  # (values + 1,): index of the first pair of each value, and the number of pairs
    values: npt.NDArray[np.float32]  # (values,)


def pair_of(
    node: Node, tensors: list[Quantized], signs: tuple[int, ...], name: str, refusal: ModelError | None = None
) -> Pair | None:
    """Return the pair to enumerate once its quantizer is known; None for any sum but that of two populations."""
    if len(tensors) != 2 or any(len(t.parts) != 1 or (t.index < 0).any() for t in tensors):
        return None
    if tensors[0].index.shape != tensors[1].index.shape:
        return None
    if len(tensors[0].parts[0].values) * len(tensors[1].parts[0].values) > MOST_VALUES:
        return None
    return Pair(node, (tensors[0], tensors[1]), (signs[0], signs[1]), name, refusal)


def layer_of_pair(
    pair: Pair, region: Region, levels: Levels, tensor: str, shape: tuple[int, ...]
) -> tuple[Layer, Int] | None:
    """Return the layer of a sum and the quantizer after it, and its layout in the tensor.

    None if no two weights separate the pairs of levels as the quantizer does, or if there are too many pairs.
    """
    sums = _enumerate(pair)
    decisions = _decisions(region, levels, sums)
    if decisions is None:
        return None
    reached, falling = decisions
    for p, q in _candidates(pair):
        cuts = _parted(pair, sums, (p, q), reached)
        if cuts is not None:
            break
    else:
        return None
    sums_of = _accumulate(pair, (p, q))
    if sums_of.shape[0] != len(reached):  # operands of different layouts are added feature by feature
        if region.single.columns > 1:
            return None
        reached = np.broadcast_to(reached[:1], (sums_of.shape[0], levels.count))
        falling = np.broadcast_to(falling[:1], (sums_of.shape[0],))
        cuts = np.broadcast_to(cuts[0][:1], reached.shape), np.broadcast_to(cuts[1][:1], reached.shape)
    root = with_negated(sums_of, falling)
    below, above = cuts
    limits = np.where(falling[:, None], -below, above)[None]
    never, always = root.reach[..., 1:] + 1, root.reach[..., :1]
    last = len(sums.values)
    limits = np.where(np.where(falling[:, None], reached == 0, reached == last)[None], never, limits)
    limits = np.where(np.where(falling[:, None], reached == last, reached == 0)[None], always, limits)
    written = pair.node.outputs[0] in region.model.written
    uncertain = UncertainThresholds.of() if written else _uncertain(pair, region, levels, sums, reached)
    layer = fires(root, levels, pair.name, tensor, shape, limits, exact_sums=written, uncertain=uncertain)
    return layer, root.layout


def _enumerate(pair: Pair) -> _Sums:
    left, right = (
        np.float32(sign) * operand.parts[0].values.astype(np.float32)
        for operand, sign in zip(pair.operands, pair.signs, strict=True)
    )
    total = (left[:, None] + right[None, :]).reshape(-1)
    order = np.argsort(total, kind="stable")
    values, first = np.unique(total[order], return_index=True)
    return _Sums(np.stack(np.divmod(order, len(right)), axis=1), np.append(first, len(order)), values)


def _decisions(region: Region, levels: Levels, sums: _Sums) -> tuple[Int, npt.NDArray[np.bool_]] | None:
    """Return the index of the first value past each decision, (channels, levels), and which functions decrease.

    An increasing function is above level i from that value on, a decreasing one before it.
    """
    alone = region.single
    columns = alone.columns
    if region.moves or alone.axes not in ((1,), ()) or len(sums.values) * columns > MOST_VALUES:
        return None
    f = alone.function()
    found = np.searchsorted(levels.cuts, f(np.repeat(sums.values[:, None], columns, axis=1)))  # levels, (values, columns)
    moves = np.diff(found, axis=0)
    falling = np.asarray((moves < 0).any(axis=0))
    if (falling & (moves > 0).any(axis=0)).any():
        raise not_monotone(region.output)
    steps = np.arange(levels.count)
    reached = np.empty((columns, levels.count), np.int64)
    for column in range(columns):
        own = found[:, column]
        reached[column] = (
            len(own) - np.searchsorted(own[::-1], steps, side="right")
            if falling[column]
            else np.searchsorted(own, steps, side="right")
        )
    channels = region.model.shapes[region.input][0]
    return np.broadcast_to(reached, (channels, levels.count)), np.broadcast_to(falling, (channels,))


def _candidates(pair: Pair) -> Iterator[tuple[int, int]]:
    """Iterate over pairs of weights whose ratio approximates that of the scales, small ones first."""
    ratio = pair.operands[0].parts[0].scale / pair.operands[1].parts[0].scale
    near = {(round(n * ratio), n) for n in range(1, SMALL + 1)} | {(n, round(n / ratio)) for n in range(1, SMALL + 1)}
    fit = [(p, q) for p, q in near if 0 < p <= SMALL and 0 < q <= SMALL and gcd(p, q) == 1]
    yield from sorted(fit, key=lambda both: (max(both), both))
    for bits in range(7, LARGE.bit_length()):
        close = Fraction(ratio).limit_denominator(1 << bits)
        if close and close.numerator <= LARGE:
            yield close.numerator, close.denominator


def _parted(pair: Pair, sums: _Sums, weights: tuple[int, int], reached: Int) -> tuple[Int, Int] | None:
    """Return the largest potential before each decision and the smallest after it; None if they overlap."""
    potential = sums.pairs @ (np.array(weights) * pair.signs)
    before = np.maximum.accumulate(potential)
    after = np.minimum.accumulate(potential[::-1])[::-1]
    at = sums.first[reached if reached.strides[0] else reached[:1]]  # most often one row, seen by all channels
    below, above = before[np.maximum(at - 1, 0)], after[np.minimum(at, len(potential) - 1)]
    if not np.all((below < above) | (at == 0) | (at == len(potential))):
        return None
    return np.broadcast_to(below, reached.shape), np.broadcast_to(above, reached.shape)


def _accumulate(pair: Pair, weights: tuple[int, int]) -> Accumulator:
    """Return the potential: the sum of both operands with integer weights."""
    operands = []
    for operand, weight in zip(pair.operands, weights, strict=True):
        part = operand.parts[0]
        whole = weight * np.arange(part.population.levels + 1, dtype=np.float64)
        operands.append(replace(operand, parts=(replace(part, scale=float(weight), zero_point=0.0, values=whole),)))
    return add_levels(pair.node, operands, pair.name, pair.signs)


def _uncertain(pair: Pair, region: Region, levels: Levels, sums: _Sums, reached: Int) -> UncertainThresholds:
    """Return the decisions that rounding in an operator added by a rewrite could change."""
    largest = max(operand.parts[0].largest for operand in pair.operands)
    slack = 8 * UNIT_ROUNDOFF * largest
    alone = region.single
    x = np.repeat(sums.values.astype(np.float64)[:, None], alone.columns, axis=1)
    bounds = propagate(alone, (x - slack, x + slack))
    if bounds is None:
        every = np.ndindex(*reached.shape)
        return UncertainThresholds.of(Uncertain(channel, 0, level, slack) for channel, level in every)
    low, high = (np.searchsorted(levels.cuts, np.broadcast_to(b, x.shape)) for b in bounds)
    return UncertainThresholds.of(
        Uncertain(int(channel), 0, level, slack)
        for level in range(levels.count)
        for channel in np.flatnonzero(np.broadcast_to(((low <= level) & (high > level)).any(axis=0), len(reached)))
    )
