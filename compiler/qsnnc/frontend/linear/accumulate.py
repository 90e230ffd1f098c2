"""Turn linear operators on quantized tensors into integer connections: value = scale * potential + offset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd, lcm
from typing import Any

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.linear.tensors import F64, Accumulator, Part, Quantized
from qsnnc.frontend.linear.views import Window
from qsnnc.frontend.model.model import Node
from qsnnc.frontend.model.operators import JOINS
from qsnnc.frontend.model.outcomes import ConcatScales, ConstantActivation, UnrelatedScales
from qsnnc.frontend.numerics.exactness import EXACT_BELOW, dyadic_units, in_parts
from qsnnc.ir.layers import Connection, Int, reachable

#: largest numerator and denominator of the ratio of two scales that are added
MOST_RATIO = 64


@dataclass(frozen=True, slots=True, eq=False)
class Operand:
    """A tensor, viewed as (channels, rows, columns), and the kernel that reads it."""

    tensor: Quantized
    shape: tuple[int, int, int]
    kernel: F64  # (outputs, inputs / groups, rows, columns)
    groups: int
    window: Window


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A future connection: real weights, and the integers that give them with a per-channel scale."""

    part: Part
    real: F64
    whole: Int
    groups: int
    window: Window


@dataclass(frozen=True, slots=True, eq=False)
class Offsets:
    """Constants added to the weighted levels, by border class."""

    border: Int  # (rows, columns)
    values: F64  # (classes, channels)
    magnitude: F64  # (channels,): sum of |constant terms|, including the bias
    grid: F64  # (channels,): a power of two that divides them all


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Name of an operator's layer, and where its results are in the ONNX tensor."""

    name: str
    kind: str
    node: Node
    shape: tuple[int, int, int]
    layout: Int
    axis: int = 1


def classes(keys: npt.NDArray[Any], shape: tuple[int, int]) -> tuple[Int, Int]:
    """Group positions with equal rows into classes.

    Parameters
    ----------
    keys : ndarray, (positions, ...)

    Returns
    -------
    border : ndarray, int64, (rows, columns)
    example : ndarray, int64, (classes,)
        One position of each class.
    """
    _, example, border = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return border.reshape(shape).astype(np.int64), example.astype(np.int64)


def idle(tensors: Sequence[Quantized], shape: tuple[int, int, int]) -> list[Piece]:
    """Return zero weights on levels that became constants, for an operator that reads only constants."""
    part = next((part for tensor in tensors for part in tensor.parts), None)
    if part is None:
        return []
    channels, *space = part.population.shape
    zero = np.zeros((shape[0], channels, 1, 1), np.int64)
    beyond = [max(0, size - mine) for size, mine in zip(shape[1:], space, strict=True)]
    return [Piece(part, zero.astype(np.float64), zero, 1, Window((1, 1), pads=(0, 0, beyond[0], beyond[1])))]


def accumulate(sums: Sums, pieces: list[Piece], scales: F64, offsets: Offsets) -> Accumulator:
    """Combine pieces into an accumulator with one unit per channel, and determine which channels are exact.

    Parameters
    ----------
    scales : ndarray, float64, (channels,)
        Real weight = scale * integer weight.
    """
    if not pieces:
        raise ConstantActivation(
            sums.node.name,
            f"{sums.node.op} reads only constants, so there is nothing to compute; remove it from the model",
            node=sums.node.name,
        )
    factors, base = _factors(sums, pieces)
    unit = scales * base
    links, exact = [], np.ones(len(scales), bool)
    magnitude, grid, terms = offsets.magnitude.copy(), offsets.grid.copy(), 1
    for piece, factor in zip(pieces, factors, strict=True):
        rows = piece.real.reshape(len(piece.real), -1)
        weights = piece.whole if (factor == 1).all() else piece.whole * factor[:, None, None, None]
        links.append(piece.window.connect(piece.part.population.name, weights, piece.groups))
        terms += rows.shape[1] + piece.part.roundings
        whole, factor_of = weights.reshape(rows.shape), unit / piece.part.scale
        for some in in_parts(rows):
            mine = rows[some]
            magnitude[some] += np.abs(mine).sum(axis=1) * piece.part.largest
            # integers times scales must equal the graph's floats exactly; where they do not, it does not matter what divides
            exact[some] &= (whole[some] * factor_of[some, None] == mine).all(axis=1)
            used = np.flatnonzero(exact[some] & mine.any(axis=1))
            grid[some][used] = np.minimum(grid[some][used], dyadic_units(mine[used]) * piece.part.step)
    grid[~exact] = 0.0
    sources = {piece.part.population.name: piece.part.population for piece in pieces}
    links = _merged(links)
    reach = reachable(tuple(links), sources, sums.shape)
    exact &= (grid > 0) & (magnitude < EXACT_BELOW * grid)
    return Accumulator(
        name=sums.name,
        kind=sums.kind,
        node=sums.node,
        shape=sums.shape,
        connections=tuple(links),
        scale=np.tile(unit, (len(offsets.values), 1)),
        offset=offsets.values,
        border=offsets.border,
        reach=span(reach, offsets.border),
        exact=exact,
        grid=grid,
        magnitude=magnitude,
        terms=terms,
        sources=sources,
        layout=sums.layout,
        axis=sums.axis,
    )


def _merged(links: list[Connection]) -> list[Connection]:
    """Merge connections from one population through one window, for example its channels at several scales."""
    kept: dict[object, Connection] = {}
    for link in links:
        key = (link.source, link.strides, link.pads, link.dilations, link.groups, link.level_wise, link.weights.shape)
        other = kept.get(key)
        kept[key] = link if other is None else replace(link, weights=link.weights + other.weights)
    return list(kept.values())


def span(reach: Int, border: Int) -> Int:
    """Reduce the range of potentials to classes: (positions, channels, 2) to (classes, channels, 2)."""
    order = np.argsort(border.reshape(-1), kind="stable")
    starts = np.searchsorted(border.reshape(-1)[order], np.arange(border.max() + 1))
    low = np.minimum.reduceat(reach[order, :, 0], starts, axis=0)
    high = np.maximum.reduceat(reach[order, :, 1], starts, axis=0)
    return np.stack([low, high], axis=-1)


def _factors(sums: Sums, pieces: list[Piece]) -> tuple[list[Int], F64]:
    """Return each piece's integer factor per channel that brings all to a common unit, and that unit."""
    channels = len(pieces[0].real)
    scales = [piece.part.scale for piece in pieces]
    if len(set(scales)) == 1:
        return [np.ones(channels, np.int64)] * len(pieces), np.full(channels, scales[0])
    used = np.stack([piece.real.reshape(channels, -1).any(axis=1) for piece in pieces], axis=1)
    factors, base = np.ones((channels, len(pieces)), np.int64), np.full(channels, scales[0])
    for pattern in np.unique(used, axis=0):
        there = np.flatnonzero(pattern)
        if len(there):
            found, unit = common_unit([scales[i] for i in there], sums.node, _advice(sums, pieces))
            mine = (used == pattern).all(axis=1)
            factors[np.ix_(mine, there)] = found
            base[mine] = unit
    return list(factors.T), base


def _advice(sums: Sums, pieces: list[Piece]) -> str:
    """Return advice on how to give the operands one scale."""
    if sums.node.op in JOINS:
        return ""
    if len({piece.part.population.name for piece in pieces}) == 1:
        return " for all channels (Brevitas: scaling_per_output_channel=False)"
    return ": one quantizer for all operands of the Concat (Brevitas: the same module on each), or a second one after it"


def common_unit(scales: Sequence[float], node: Node, advice: str = "") -> tuple[list[int], float]:
    """Return integers n and a unit with scale = n * unit for each of the scales; ``advice`` is added to the error.

    Raises
    ------
    ModelError
        The ratios are not fractions of small integers.
    """
    if all(float(scale).is_integer() and scale < EXACT_BELOW for scale in scales):
        step = gcd(*map(int, scales))
        return [int(scale) // step for scale in scales], float(step)
    adds = node.op in JOINS
    if adds and not advice:
        advice = ", or quantize the sum (to 8 bits or fewer)"
    ratios = [Fraction(scale / scales[0]).limit_denominator(MOST_RATIO) for scale in scales]
    for scale, ratio in zip(scales, ratios, strict=True):
        if not ratio or ratio.numerator > MOST_RATIO or abs(float(ratio) * scales[0] / scale - 1) > 2e-7:
            refusal = UnrelatedScales if adds else ConcatScales
            raise refusal(
                node.name,
                f"combines inputs of scale {scales[0]:g} and {scale:g}, whose ratio is not a fraction of integers up to "
                f"{MOST_RATIO}; give its inputs one scale{advice}",
                node=node.name,
                found=float(scale / scales[0]),
                allowed=f"n / m with n, m <= {MOST_RATIO}",
            )
    whole = lcm(*(ratio.denominator for ratio in ratios))
    return [int(ratio * whole) for ratio in ratios], scales[0] / whole
