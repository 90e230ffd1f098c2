"""Turn windows on a reordered tensor into a matrix, feature by feature.

A convolution reads rows and columns of a population. If a reshape or reflection has reordered them, one kernel cannot serve
all positions: the layer becomes a matrix from all features that are read to all that are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.linear.accumulate import Offsets, Operand, Piece, Sums, accumulate, span
from qsnnc.frontend.linear.tensors import F64, Accumulator
from qsnnc.frontend.linear.views import Window
from qsnnc.frontend.model.outcomes import WindowReordered
from qsnnc.frontend.numerics.exactness import dyadic_units
from qsnnc.ir.layers import Connection, Int, reachable

T = TypeVar("T", bound=np.generic)

#: most weights of such a matrix
MOST_WEIGHTS = 1 << 23


def fits(sums: Sums, operands: Sequence[Operand]) -> bool:
    """Return whether the matrix has at most `MOST_WEIGHTS` weights."""
    return _written_out(sums, operands) <= MOST_WEIGHTS


def too_many_weights(sums: Sums, operands: Sequence[Operand]) -> WindowReordered:
    """Return the error for a matrix with more."""
    count = _written_out(sums, operands)
    return WindowReordered(
        sums.node.name,
        f"{sums.node.op} reads a tensor that a reshape or transpose has reordered, and would become a matrix of {count:,} "
        f"weights (each of its {int(np.prod(sums.shape)):,} outputs from every feature); at most {MOST_WEIGHTS:,} are "
        "supported: reorder its outputs instead of its inputs, or use a smaller map",
        node=sums.node.name,
        found=count,
        allowed=MOST_WEIGHTS,
    )


def _written_out(sums: Sums, operands: Sequence[Operand]) -> int:
    features = max(int(operand.tensor.starts[-1]) for operand in operands)
    return int(np.prod(sums.shape)) * features


def spread(sums: Sums, operands: Sequence[Operand], integers: Sequence[Int], scales: F64, bias: F64) -> Accumulator:
    """Turn a sum of convolutions into one matrix: channel o at position p is output o * positions + p."""
    channels, (rows, columns) = sums.shape[0], sums.shape[1:]
    positions = rows * columns
    offset = np.tile(bias[:, None], (1, positions))
    magnitude, grid = np.abs(offset), np.repeat(dyadic_units(bias[:, None])[:, None], positions, axis=1)
    pieces = []
    for operand, q in zip(operands, integers, strict=True):
        tensor = operand.tensor
        flat = operand.window.taps(operand.shape[1:], (rows, columns))
        kernel = ungrouped(operand.kernel, operand.groups, operand.shape[0]).reshape(channels, operand.shape[0], -1)
        whole = ungrouped(q, operand.groups, operand.shape[0]).reshape(kernel.shape)
        at, tap = np.nonzero(flat >= 0)
        read = tensor.index.reshape(operand.shape[0], -1)[:, flat[at, tap]]  # (channels of the tensor, windows' taps)
        for start, part in zip(tensor.starts[:-1], tensor.parts, strict=True):
            size = part.population.features
            channel, which = np.nonzero((read >= start) & (read < start + size))
            feature = read[channel, which] - start
            full = np.zeros((positions * size, channels))
            exact = np.zeros(full.shape, np.int64)
            np.add.at(full, at[which] * size + feature, kernel[:, channel, tap[which]].T)
            np.add.at(exact, at[which] * size + feature, whole[:, channel, tap[which]].T)
            shape = (channels * positions, *part.population.shape)
            real = full.T.reshape(shape)
            offset += part.scale * part.zero_point * full.reshape(positions, size, channels).sum(axis=1).T
            pieces.append(Piece(part, real, exact.T.reshape(shape), 1, Window(part.population.shape[1:])))
        channel, which = np.nonzero(read < 0)
        if len(which):
            values = tensor.fixed[-1 - read[channel, which]]
            terms = kernel[:, channel, tap[which]] * values
            for target, part_of in ((offset, terms), (magnitude, np.abs(terms))):
                np.add.at(target.T, at[which], part_of.T)
            grid = np.minimum(grid, dyadic_units(terms)[:, None])
    offsets = Offsets(np.zeros((1, 1), np.int64), offset.reshape(1, -1), magnitude.reshape(-1), grid.reshape(-1))
    every = Sums(sums.name, sums.kind, sums.node, (channels * positions, 1, 1), sums.layout, sums.axis)
    return accumulate(every, pieces, np.repeat(scales, positions), offsets)


def ungrouped(kernel: npt.NDArray[T], groups: int, channels: int) -> npt.NDArray[T]:
    """Expand a grouped kernel with zeros: (outputs, channels, rows, columns)."""
    if groups == 1:
        return kernel
    outputs, inputs = kernel.shape[:2]
    full = np.zeros((groups, outputs // groups, groups, inputs, *kernel.shape[2:]), kernel.dtype)
    for group in range(groups):
        full[group, :, group] = kernel.reshape(groups, outputs // groups, *kernel.shape[1:])[group]
    return full.reshape(outputs, channels, *kernel.shape[2:])


def in_order(sums: Accumulator) -> Accumulator | None:
    """Return the sums feature by feature, in the order of the tensor; None if that needs too many weights."""
    if weights_of(sums) > MOST_WEIGHTS:
        return None
    every, rows = by_feature(sums), sums.layout.reshape(-1)
    shape = (len(rows), 1, 1)
    links = tuple(replace(link, weights=link.weights[rows]) for link in every.connections)
    return replace(
        every,
        shape=shape,
        connections=links,
        scale=every.scale[:, rows],
        offset=every.offset[:, rows],
        reach=every.reach[:, rows],
        exact=every.exact[rows],
        grid=every.grid[rows],
        magnitude=every.magnitude[rows],
        layout=np.arange(len(rows)).reshape(sums.layout.shape),
        axis=1,
    )


def weights_of(sums: Accumulator) -> int:
    """Return the number of weights of sums as a matrix."""
    return int(np.prod(sums.shape)) * sum(sums.sources[link.source].features for link in sums.connections)


def by_feature(sums: Accumulator) -> Accumulator:
    """Turn sums into a matrix: channel o at position p becomes output o * positions + p."""
    border = sums.border.reshape(-1)
    links = tuple(_matrix(link, sums) for link in sums.connections)
    shape = (sums.shape[0] * border.size, 1, 1)
    whole = np.zeros((1, 1), np.int64)
    return replace(
        sums,
        shape=shape,
        connections=links,
        scale=sums.scale[border].T.reshape(1, -1),
        offset=sums.offset[border].T.reshape(1, -1),
        border=whole,
        reach=span(reachable(links, sums.sources, shape), whole),
        exact=sums.exact.repeat(border.size),
        grid=sums.grid.repeat(border.size),
        magnitude=sums.magnitude.repeat(border.size),
    )


def _matrix(link: Connection, sums: Accumulator) -> Connection:
    """Turn a convolution into a matrix on all features of its source."""
    channels, rows, columns = sums.shape
    source = sums.sources[link.source].shape
    weights = ungrouped(link.weights, link.groups, source[0]).reshape(channels, source[0], -1)
    taps: Int = link.taps(source[1:], (rows, columns))
    full = np.zeros((channels, len(taps), source[0], source[1] * source[2]), np.int64)
    for tap in range(taps.shape[1]):  # at one tap, no two windows read the same position
        at = np.flatnonzero(taps[:, tap] >= 0)
        full[:, at, :, taps[at, tap]] += weights[:, :, tap]
    return Connection(link.source, full.reshape(-1, *source))
