"""Linear operators on quantized tensors, as integer connections: value = scale * potential + offset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.certify import EXACT_BELOW, dyadic_units
from qsnnc.frontend.read import Node
from qsnnc.frontend.tensors import F64, Accumulator, Part, Quantized
from qsnnc.frontend.views import View, Window, through, views
from qsnnc.frontend.weights import integer_weights
from qsnnc.ir.layers import Int, reachable

T = TypeVar("T", bound=np.generic)

#: numerator and denominator of the ratio of two scales that come together
MOST_RATIO = 64
#: weights that an operator may take once written out for every position: what a reordered tensor costs
MOST_SPREAD = 1 << 25


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """A tensor, seen as a map, and the kernel that reads it."""

    tensor: Quantized
    shape: tuple[int, int, int]
    kernel: F64  # (outputs, inputs / groups, rows, columns)
    groups: int
    window: Window


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One connection to be: real weights, and the integers that they are but for a scale a channel."""

    part: Part
    real: F64
    whole: Int
    groups: int
    window: Window


@dataclass(frozen=True, slots=True, eq=False)
class Offsets:
    """What is added to the weighted levels, by border class."""

    border: Int  # (rows, columns)
    values: F64  # (classes, channels)
    magnitude: F64  # (channels,): of the constants among the terms, the bias included
    grid: F64  # (channels,): a power of two that divides them


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What an operator is called and where its results lie in the ONNX tensor."""

    name: str
    kind: str
    node: Node
    shape: tuple[int, int, int]
    layout: Int
    axis: int = 1


def convolve(
    sums: Sums,
    arms: Sequence[Arm],
    bias: F64,
    *,
    per_channel: bool = True,
    apart: Int | None = None,
) -> Accumulator:
    """Sum of convolutions.

    Parameters
    ----------
    bias : ndarray, float64, (channels,)
    per_channel : bool
        Whether a weight scale a channel is preferred where that makes weights narrower.
    apart : ndarray, int64, (rows * columns,), optional
        Positions with different numbers get border classes of their own.
    """
    rows = np.concatenate([arm.kernel.reshape(len(arm.kernel), -1) for arm in arms], axis=1)
    whole, scales = integer_weights(sums.name, sums.node.name, rows, per_channel=per_channel)
    cuts = np.cumsum([arm.kernel[0].size for arm in arms])[:-1]
    integers = [q.reshape(arm.kernel.shape) for q, arm in zip(np.split(whole, cuts, axis=1), arms, strict=True)]
    pieces: list[Piece] = []
    seen: list[tuple[Arm, View]] = []
    for arm, q in zip(arms, integers, strict=True):
        for view in views(arm.tensor, arm.shape, sums.node):
            seen.append((arm, view))
            if view.part is not None:
                pieces.append(_piece(arm, q, view, sums))
    offsets = _offsets(seen, bias, sums.shape[1:], apart)
    return accumulate(sums, _merged(pieces), scales, offsets)


def _piece(arm: Arm, whole: Int, view: View, sums: Sums) -> Piece:
    moved = through(view, arm.window, arm.shape[1:], sums.shape[1:])
    assert view.part is not None
    if moved is None:
        raise ModelError(
            sums.node.name,
            f"{sums.node.op} reads a tensor whose rows and columns are not a population's at one stride (a reshape, "
            f"reflection "
            "or crop before it moves them); move that to where a matrix reads it",
            code="reshape-before-window",
            node=sums.node.name,
        )
    channels = arm.shape[0]
    if view.whole(channels):
        return Piece(view.part, arm.kernel, whole, arm.groups, moved)
    source = view.part.population.shape[0]
    real = _placed(ungrouped(arm.kernel, arm.groups, channels), view, source)
    integers = _placed(ungrouped(whole, arm.groups, channels), view, source)
    groups = _most_groups(real, arm.groups)
    return Piece(view.part, grouped(real, groups), grouped(integers, groups), groups, moved)


def _placed(kernel: npt.NDArray[T], view: View, source: int) -> npt.NDArray[T]:
    """The kernel's weights where the population has the channels that the tensor shows."""
    full = np.zeros((source, len(kernel), *kernel.shape[2:]), kernel.dtype)
    np.add.at(full, view.features, kernel[:, view.channels].swapaxes(0, 1))  # type: ignore[arg-type]
    return np.ascontiguousarray(full.swapaxes(0, 1))


def ungrouped(kernel: npt.NDArray[T], groups: int, channels: int) -> npt.NDArray[T]:
    """Write the zeros of a grouped kernel out: (outputs, channels, rows, columns)."""
    if groups == 1:
        return kernel
    outputs, inputs = kernel.shape[:2]
    full = np.zeros((groups, outputs // groups, groups, inputs, *kernel.shape[2:]), kernel.dtype)
    for group in range(groups):
        full[group, :, group] = kernel.reshape(groups, outputs // groups, *kernel.shape[1:])[group]
    return full.reshape(outputs, channels, *kernel.shape[2:])


def grouped(kernel: npt.NDArray[T], groups: int) -> npt.NDArray[T]:
    """Leave out what no group reads; the opposite of `ungrouped`."""
    if groups == 1:
        return kernel
    outputs, channels = kernel.shape[:2]
    parts = kernel.reshape(groups, outputs // groups, groups, channels // groups, *kernel.shape[2:])
    mine = np.stack([parts[group, :, group] for group in range(groups)])
    return np.ascontiguousarray(mine.reshape(outputs, channels // groups, *kernel.shape[2:]))


def _most_groups(kernel: F64, wish: int) -> int:
    """The largest number of groups, up to the wish, that the kernel falls into."""
    outputs, channels = kernel.shape[:2]
    there = np.argwhere(kernel.reshape(outputs, channels, -1).any(axis=2))
    most = gcd(outputs, channels)
    for groups in (n for n in range(min(wish, most), 1, -1) if most % n == 0):
        if (there[:, 0] // (outputs // groups) == there[:, 1] // (channels // groups)).all():
            return groups
    return 1


def _merged(pieces: list[Piece]) -> list[Piece]:
    """Add up pieces that read the same levels through the same window: a tensor added to itself, say."""
    kept: list[Piece] = []
    for piece in pieces:
        for number, other in enumerate(kept):
            if other.part is piece.part and (other.window, other.groups) == (piece.window, piece.groups):
                kept[number] = Piece(
                    piece.part, other.real + piece.real, other.whole + piece.whole, piece.groups, piece.window
                )
                break
        else:
            kept.append(piece)
    return kept


def _offsets(seen: list[tuple[Arm, View]], bias: F64, out: tuple[int, int], apart: Int | None) -> Offsets:
    """Zero points and constants under every window, told apart where the border cuts them off."""
    channels, positions = len(bias), out[0] * out[1]
    keys: list[npt.NDArray[Any]] = [] if apart is None else [apart.reshape(positions, 1)]
    parts: list[tuple[F64, F64]] = []  # what each tap adds at each position, and its weight in each channel
    magnitude, grid = np.abs(bias), dyadic_units(bias[:, None])
    for arm, view in seen:
        level = view.part.scale * view.part.zero_point if view.part is not None else 0.0
        constant = np.array([level, *arm.tensor.fixed])[1 + view.fixed]  # by position of the tensor
        if not constant.any():
            continue
        flat = arm.window.taps(arm.shape[1:], out)
        value = np.where(flat >= 0, constant[flat], 0.0)
        kernel = np.asarray(ungrouped(arm.kernel, arm.groups, arm.shape[0])[:, view.channels], np.float64)
        keys.append(np.unique(value, return_inverse=True)[1].reshape(value.shape))
        parts.append((value, kernel.sum(axis=1).reshape(channels, -1)))
        if (view.fixed >= 0).any():
            others = arm.tensor.fixed[np.unique(view.fixed[view.fixed >= 0])]
            size = np.abs(kernel).reshape(channels, -1)
            magnitude = magnitude + size.sum(axis=1) * np.abs(others).max()
            grid = np.minimum(grid, dyadic_units(size) * dyadic_units(others[None])[0])
    if not keys:
        return Offsets(np.zeros(out, np.int64), bias[None].copy(), magnitude, grid)
    border, example = classes(np.concatenate(keys, axis=1), out)
    values = np.tile(bias, (len(example), 1))
    for value, per_tap in parts:
        values += value[example] @ per_tap.T
    return Offsets(border, values, magnitude, grid)


def classes(keys: npt.NDArray[Any], shape: tuple[int, int]) -> tuple[Int, Int]:
    """Classes of positions with equal rows.

    Parameters
    ----------
    keys : ndarray, (positions, ...)

    Returns
    -------
    border : ndarray, int64, (rows, columns)
    example : ndarray, int64, (classes,)
        A position of each class.
    """
    _, example, border = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return border.reshape(shape).astype(np.int64), example.astype(np.int64)


def accumulate(sums: Sums, pieces: list[Piece], scales: F64, offsets: Offsets) -> Accumulator:
    """Give the pieces one unit a channel, and find out what is exact.

    Parameters
    ----------
    scales : ndarray, float64, (channels,)
        Real weight = scale * integer weight.
    """
    if not pieces:
        raise ModelError(
            sums.node.name,
            f"{sums.node.op} reads constants only: nothing is left to compute; remove it from the model",
            code="constant-activation",
            node=sums.node.name,
        )
    factors, base = _factors(sums, pieces)
    unit = scales * base
    links, exact = [], np.ones(len(scales), bool)
    magnitude, grid, terms = offsets.magnitude.copy(), offsets.grid.copy(), 1
    for piece, factor in zip(pieces, factors, strict=True):
        rows = piece.real.reshape(len(piece.real), -1)
        weights = piece.whole * factor[:, None, None, None]
        links.append(piece.window.connect(piece.part.population.name, weights, piece.groups))
        grid = np.minimum(grid, np.where(rows.any(axis=1), dyadic_units(rows) * piece.part.step, np.inf))
        magnitude += np.abs(rows).sum(axis=1) * piece.part.largest
        terms += rows.shape[1] + piece.part.roundings
        # integers times scales must be the very floats of the graph
        exact &= (weights.reshape(rows.shape) * (unit / piece.part.scale)[:, None] == rows).all(axis=1)
    sources = {piece.part.population.name: piece.part.population for piece in pieces}
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


def span(reach: Int, border: Int) -> Int:
    """Smallest and largest potential in each class: (positions, channels, 2) to (classes, channels, 2)."""
    order = np.argsort(border.reshape(-1), kind="stable")
    starts = np.searchsorted(border.reshape(-1)[order], np.arange(border.max() + 1))
    low = np.minimum.reduceat(reach[order, :, 0], starts, axis=0)
    high = np.maximum.reduceat(reach[order, :, 1], starts, axis=0)
    return np.stack([low, high], axis=-1)


def _factors(sums: Sums, pieces: list[Piece]) -> tuple[list[Int], F64]:
    """What each piece's integers are multiplied by, a channel, so that all have one unit; and the level's share of it."""
    channels = len(pieces[0].real)
    scales = [piece.part.scale for piece in pieces]
    if len(set(scales)) == 1:
        return [np.ones(channels, np.int64)] * len(pieces), np.full(channels, scales[0])
    used = np.stack([piece.real.reshape(channels, -1).any(axis=1) for piece in pieces], axis=1)
    factors, base = np.ones((channels, len(pieces)), np.int64), np.full(channels, scales[0])
    for pattern in np.unique(used, axis=0):
        there = np.flatnonzero(pattern)
        if len(there):
            found, unit = common_unit([scales[i] for i in there], sums.node)
            mine = (used == pattern).all(axis=1)
            factors[np.ix_(mine, there)] = found
            base[mine] = unit
    return list(factors.T), base


def common_unit(scales: Sequence[float], node: Node) -> tuple[list[int], float]:
    """Integers n and a unit with scale = n * unit for each of the scales.

    Raises
    ------
    ModelError
        Their ratios are no fractions of small integers.
    """
    ratios = [Fraction(scale / scales[0]).limit_denominator(MOST_RATIO) for scale in scales]
    for scale, ratio in zip(scales, ratios, strict=True):
        if not ratio or ratio.numerator > MOST_RATIO or abs(float(ratio) * scales[0] / scale - 1) > 2e-7:
            raise ModelError(
                node.name,
                f"brings values of step {scales[0]:g} and {scale:g} together, whose ratio is not a fraction of integers up "
                f"to {MOST_RATIO}; give its inputs one scale",
                code="add-scales" if node.op in ("Add", "Sub", "Sum") else "concat-scales",
                node=node.name,
                found=float(scale / scales[0]),
                allowed=f"n / m with n, m <= {MOST_RATIO}",
            )
    whole = lcm(*(ratio.denominator for ratio in ratios))
    return [int(ratio * whole) for ratio in ratios], scales[0] / whole
