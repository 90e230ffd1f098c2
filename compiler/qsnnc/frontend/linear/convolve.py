"""Compute sums over windows: one connection for each population that a tensor consists of."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import gcd
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.linear.accumulate import Offsets, Operand, Piece, Sums, accumulate, classes, idle
from qsnnc.frontend.linear.polyphase import phased
from qsnnc.frontend.linear.tensors import F64, Accumulator, Part
from qsnnc.frontend.linear.unrolled import fits, spread, too_many_weights, ungrouped
from qsnnc.frontend.linear.views import View, Window, through, views
from qsnnc.frontend.linear.weight_grid import integer_weights
from qsnnc.frontend.model.outcomes import WindowReordered
from qsnnc.frontend.numerics.exactness import dyadic_units
from qsnnc.ir.layers import Int

T = TypeVar("T", bound=np.generic)


def convolve(
    sums: Sums,
    operands: Sequence[Operand],
    bias: F64,
    *,
    per_channel: bool = True,
    separate: Int | None = None,
    written_out: bool = True,
) -> Accumulator:
    """Turn a sum of convolutions into an accumulator.

    Parameters
    ----------
    bias : ndarray, float64, (channels,)
    per_channel : bool
        Whether per-channel weight scales are preferred if they make weights narrower.
    separate : ndarray, int64, (rows * columns,), optional
        Positions with different numbers get different border classes.
    written_out : bool
        Whether a window on a reordered tensor may become a matrix.
    """
    try:
        return _moving(sums, operands, bias, per_channel=per_channel, separate=separate)
    except WindowReordered as error:
        refusal = error
    for split, parts, phases in phased(sums, operands) if separate is None and written_out else ():
        with suppress(WindowReordered):
            return _moving(split, parts, np.repeat(bias, phases), per_channel=per_channel)
    if not written_out or not fits(sums, operands):  # "move it to before a matrix product" is no advice for one
        raise too_many_weights(sums, operands) if written_out and sums.node.op in ("Gemm", "MatMul") else refusal
    integers, scales = _integers(sums, operands, per_channel=per_channel)
    return spread(sums, operands, integers, scales, bias)


def _integers(sums: Sums, operands: Sequence[Operand], *, per_channel: bool) -> tuple[list[Int], F64]:
    """Find the integer weights of each operand, and the per-channel scale that all operands share."""
    each = [operand.kernel.reshape(len(operand.kernel), -1) for operand in operands]
    rows = np.concatenate(each, axis=1) if len(each) > 1 else each[0]
    whole, scales = integer_weights(sums.name, sums.node.name, rows, per_channel=per_channel)
    cuts = np.cumsum([operand.kernel[0].size for operand in operands])[:-1]
    return [
        q.reshape(operand.kernel.shape) for q, operand in zip(np.split(whole, cuts, axis=1), operands, strict=True)
    ], scales


def _moving(
    sums: Sums, operands: Sequence[Operand], bias: F64, *, per_channel: bool, separate: Int | None = None
) -> Accumulator:
    """Sum operands whose windows are windows on populations.

    Raises
    ------
    ModelError
        An operand was reordered, so that there is no such window: ``reshape-before-window``.
    """
    integers, scales = _integers(sums, operands, per_channel=per_channel)
    seen = [
        (operand, q, view)
        for operand, q in zip(operands, integers, strict=True)
        for view in views(operand.tensor, operand.shape, sums.node)
    ]
    apart = [_apart(operand, q, view, sums) for operand, q, view in seen if view.part is not None]
    pieces = _overlaid(_merged(apart), sums.shape[1:]) or idle([operand.tensor for operand in operands], sums.shape)
    offsets = _offsets([(operand, view) for operand, _, view in seen], bias, sums.shape[1:], separate)
    return accumulate(sums, pieces, scales, offsets)


@dataclass(frozen=True, slots=True, eq=False)
class _Term:
    """Weights of some channels of a population, which most of a tensor's channels may not be."""

    real: F64  # (outputs, channels of the population or of the view, rows, columns)
    whole: Int
    view: View | None  # None: all channels of the population, in order


@dataclass(frozen=True, slots=True, eq=False)
class _Apart:
    """A piece whose weights are not put in their places yet: of a tensor in phases there are many, of few weights each."""

    part: Part
    window: Window
    groups: int
    terms: tuple[_Term, ...]

    def piece(self) -> Piece:
        """Put the weights in their places."""
        first = self.terms[0]
        if len(self.terms) == 1 and first.view is None:
            return Piece(self.part, first.real, first.whole, self.groups, self.window)
        shape = (len(first.real), self.part.population.shape[0] // self.groups, *first.real.shape[2:])
        real, whole = np.zeros(shape), np.zeros(shape, np.int64)
        for term in self.terms:
            _put(real, term.real, term.view)
            _put(whole, term.whole, term.view)
        return Piece(self.part, real, whole, self.groups, self.window)

    def add_to(self, real: F64, whole: Int, rows: Int, columns: Int) -> None:
        """Add the weights to a kernel of which the piece's own rows and columns are some."""
        seen = [term.view.features for term in self.terms if term.view is not None]
        features = np.concatenate([np.zeros(0, np.int64), *seen])
        if len(seen) < len(self.terms) or len(np.unique(features)) < len(features):  # in what order matters
            piece = self.piece()
            real[:, :, rows[:, None], columns] += piece.real
            whole[:, :, rows[:, None], columns] += piece.whole
            return
        for term, own in zip(self.terms, seen, strict=True):
            at = np.ix_(np.arange(len(real)), own, rows, columns)
            real[at] += term.real
            whole[at] += term.whole


def _put(full: F64 | Int, kernel: F64 | Int, view: View | None) -> None:
    """Add weights to those of the population's channels."""
    if view is None:
        np.add(full, kernel, out=full)
    elif len(np.unique(view.features)) == len(view.features):
        full[:, view.features] += kernel
    else:
        np.add.at(full, (slice(None), view.features), kernel)  # type: ignore[arg-type]


def _apart(operand: Operand, whole: Int, view: View, sums: Sums) -> _Apart:
    moved = through(view, operand.window, operand.shape[1:], sums.shape[1:])
    assert view.part is not None
    if moved is None:
        raise WindowReordered(
            sums.node.name,
            f"{sums.node.op} reads a tensor whose rows and columns were reordered by a reshape, reflection or crop, so that "
            "one kernel cannot serve all windows; move that to before a matrix product",
            node=sums.node.name,
        )
    channels = operand.shape[0]
    if view.whole(channels):
        return _Apart(view.part, moved, operand.groups, (_Term(operand.kernel, whole, None),))
    real = ungrouped(operand.kernel, operand.groups, channels)[:, view.channels]
    integers = ungrouped(whole, operand.groups, channels)[:, view.channels]
    found = _Apart(view.part, moved, 1, (_Term(real, integers, view),))
    if operand.groups == 1:
        return found
    piece = found.piece()
    groups = _most_groups(piece.real, operand.groups)
    return _Apart(view.part, moved, groups, (_Term(grouped(piece.real, groups), grouped(piece.whole, groups), None),))


def grouped(kernel: npt.NDArray[T], groups: int) -> npt.NDArray[T]:
    """Drop weights between different groups; the inverse of `ungrouped`."""
    if groups == 1:
        return kernel
    outputs, channels = kernel.shape[:2]
    parts = kernel.reshape(groups, outputs // groups, groups, channels // groups, *kernel.shape[2:])
    mine = np.stack([parts[group, :, group] for group in range(groups)])
    return np.ascontiguousarray(mine.reshape(outputs, channels // groups, *kernel.shape[2:]))


def _most_groups(kernel: F64, wish: int) -> int:
    """Return the largest number of groups, at most ``wish``, into which the kernel separates."""
    outputs, channels = kernel.shape[:2]
    there = np.argwhere(kernel.reshape(outputs, channels, -1).any(axis=2))
    most = gcd(outputs, channels)
    for groups in (n for n in range(min(wish, most), 1, -1) if most % n == 0):
        if (there[:, 0] // (outputs // groups) == there[:, 1] // (channels // groups)).all():
            return groups
    return 1


def _merged(pieces: list[_Apart]) -> list[_Apart]:
    """Merge pieces that read the same levels through the same window, for example a tensor added to itself."""
    kept: dict[object, _Apart] = {}
    for piece in pieces:
        key = piece.part.key, piece.window, piece.groups
        kept[key] = replace(kept[key], terms=(*kept[key].terms, *piece.terms)) if key in kept else piece
    return list(kept.values())


def _overlaid(pieces: list[_Apart], out: tuple[int, int]) -> list[Piece]:
    """Merge pieces that read the same levels at the same stride into one kernel, if that has few added zeros."""
    alike: dict[object, list[_Apart]] = {}
    for piece in pieces:
        alike.setdefault((piece.part.key, piece.window.strides, piece.groups), []).append(piece)
    found: list[Piece] = []
    for group in alike.values():
        one = _one_kernel(group, out) if len(group) > 1 else None
        found += [one] if one is not None else [piece.piece() for piece in group]
    return found


def _one_kernel(pieces: list[_Apart], out: tuple[int, int]) -> Piece | None:
    """Return one kernel with the taps of all pieces; None if it would be larger than theirs together."""
    first, axes = pieces[0], (0, 1)
    at = [
        [np.arange(p.window.kernel[axis]) * p.window.dilations[axis] - p.window.pads[axis] for axis in axes] for p in pieces
    ]
    base = [min(int(rows[axis].min()) for rows in at) for axis in axes]
    steps = [gcd(*(int(n) for rows in at for n in rows[axis] - base[axis])) or 1 for axis in axes]
    places = [[(rows[axis] - base[axis]) // steps[axis] for axis in axes] for rows in at]
    kernel = tuple(1 + max(int(rows[axis].max()) for rows in places) for axis in axes)
    if kernel[0] * kernel[1] > sum(p.window.kernel[0] * p.window.kernel[1] for p in pieces):
        return None
    real = np.zeros((len(first.terms[0].real), first.part.population.shape[0] // first.groups, *kernel))
    whole = np.zeros(real.shape, np.int64)
    for piece, (rows, columns) in zip(pieces, places, strict=True):
        piece.add_to(real, whole, rows, columns)
    strides, source = first.window.strides, first.part.population.shape[1:]
    end = [
        max(0, (out[axis] - 1) * strides[axis] + (kernel[axis] - 1) * steps[axis] + 1 - source[axis] + base[axis])
        for axis in axes
    ]
    window = Window((kernel[0], kernel[1]), strides, (-base[0], -base[1], end[0], end[1]), (steps[0], steps[1]))
    return Piece(first.part, real, whole, first.groups, window)


def _read(operand: Operand, view: View) -> F64:
    """Return the weights (channels, channels of the view, rows, columns); zeros between different groups may be left out."""
    every = len(view.channels) == operand.shape[0] and bool((view.channels == np.arange(operand.shape[0])).all())
    if every and (operand.groups == 1 or operand.kernel.shape[1] == 1):
        return operand.kernel
    return ungrouped(operand.kernel, operand.groups, operand.shape[0])[:, view.channels]


def _offsets(seen: list[tuple[Operand, View]], bias: F64, out: tuple[int, int], separate: Int | None) -> Offsets:
    """Sum the zero points and constants under every window; positions with different sums get border classes."""
    channels, positions = len(bias), out[0] * out[1]
    keys: list[npt.NDArray[Any]] = [] if separate is None else [separate.reshape(positions, 1)]
    parts: list[tuple[F64, F64]] = []  # each tap's constant at each position, and its weight in each channel
    magnitude, grid = np.abs(bias), dyadic_units(bias[:, None])
    for operand, view in seen:
        level = view.part.scale * view.part.zero_point if view.part is not None else 0.0
        constant = np.array([level, *operand.tensor.fixed])[1 + view.fixed]  # by position in the tensor
        if not constant.any():
            continue
        flat = operand.window.taps(operand.shape[1:], out)
        value = np.where(flat >= 0, constant[flat], 0.0)
        kernel = np.asarray(_read(operand, view), np.float64)
        keys.append(np.unique(value, return_inverse=True)[1].reshape(value.shape))
        parts.append((value, kernel.sum(axis=1).reshape(channels, -1)))
        if (view.fixed >= 0).any():
            others = operand.tensor.fixed[np.unique(view.fixed[view.fixed >= 0])]
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
