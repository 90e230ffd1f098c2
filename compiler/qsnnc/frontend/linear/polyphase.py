"""Split windows on upsampled or zero-inserted tensors into phases (polyphase decomposition).

Every f-th row of such a tensor is a row of a population, or zero. The output is split into phases, each a channel of its
own. Within one phase each tap of the window reads the same sub-lattice at one stride, so one kernel serves all positions.
The layer's layout gives the position of each phase.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import gcd

import numpy as np

from qsnnc.frontend.linear.accumulate import Operand, Sums
from qsnnc.frontend.linear.tensors import Quantized
from qsnnc.frontend.linear.views import Window
from qsnnc.ir.layers import Int

#: periods (rows, columns) that are tried
PERIODS = ((2, 2), (1, 2), (2, 1), (4, 4), (3, 3), (1, 4), (4, 1), (1, 3), (3, 1), (8, 8))


@dataclass(frozen=True, slots=True)
class Axis:
    """How a window moves along one axis of a periodic tensor."""

    period: int
    phases: int  # of the output
    stride: int  # on the sub-lattice
    taps: tuple[tuple[tuple[int, int], ...], ...]  # for each phase, each tap's sub-lattice and its shift on it

    @classmethod
    def of(cls, window: Window, axis: int, period: int) -> Axis:
        """Return the window's movement along rows (0) or columns (1)."""
        stride, dilation, pad = window.strides[axis], window.dilations[axis], window.pads[axis]
        phases = period // gcd(period, stride)
        at = [[stride * phase + tap * dilation - pad for tap in range(window.kernel[axis])] for phase in range(phases)]
        taps = tuple(tuple((place % period, place // period) for place in row) for row in at)
        return cls(period, phases, stride * phases // period, taps)

    def span(self, part: int) -> tuple[int, int] | None:
        """Return the smallest and largest shift on a sub-lattice; None if no tap reads it."""
        shifts = [shift for row in self.taps for own, shift in row if own == part]
        return (min(shifts), max(shifts)) if shifts else None


def phased(sums: Sums, operands: Sequence[Operand]) -> Iterator[tuple[Sums, list[Operand], int]]:
    """Iterate over the periods that fit: the same sums with phases as channels, and the number of phases."""
    for period in PERIODS:
        axes = [(Axis.of(operand.window, 0, period[0]), Axis.of(operand.window, 1, period[1])) for operand in operands]
        phases = axes[0][0].phases, axes[0][1].phases
        alike = all((rows.phases, columns.phases) == phases for rows, columns in axes)
        if not alike or any(size % count for size, count in zip(sums.shape[1:], phases, strict=True)):
            continue
        parts = [part for operand, along in zip(operands, axes, strict=True) for part in _split(operand, *along, sums)]
        yield _sums(sums, phases), parts, phases[0] * phases[1]


def _sums(sums: Sums, phases: tuple[int, int]) -> Sums:
    """Turn phases into channels: channel o of phase (i, j) is channel (o * rows + i) * columns + j."""
    channels, rows, columns = sums.shape
    shape = (channels * phases[0] * phases[1], rows // phases[0], columns // phases[1])
    apart = np.arange(int(np.prod(shape))).reshape(channels, *phases, *shape[1:])
    together = apart.transpose(0, 3, 1, 4, 2).reshape(-1)
    return replace(sums, shape=shape, layout=together[sums.layout])


def _split(operand: Operand, rows: Axis, columns: Axis, sums: Sums) -> Iterator[Operand]:
    """Iterate over one operand per sub-lattice of the tensor that is read."""
    outputs, inputs = operand.kernel.shape[:2]
    lattice = _lattice(operand, (rows.period, columns.period))
    for a, b in np.ndindex(rows.period, columns.period):
        high, wide = rows.span(a), columns.span(b)
        if high is None or wide is None:
            continue
        size = high[1] - high[0] + 1, wide[1] - wide[0] + 1
        kernel = np.zeros((outputs, rows.phases, columns.phases, inputs, *size))
        for i, row in enumerate(rows.taps):
            for j, column in enumerate(columns.taps):
                for u, (own, down) in enumerate(row):
                    for v, (mine, along) in enumerate(column):
                        if (own, mine) == (a, b):
                            kernel[:, i, j, :, down - high[0], along - wide[0]] += operand.kernel[:, :, u, v]
        tensor = replace(lattice, index=np.ascontiguousarray(lattice.index[:, a :: rows.period, b :: columns.period]))
        out = sums.shape[1] // rows.phases, sums.shape[2] // columns.phases
        space = tensor.index.shape[1:]
        begin, strides = (-high[0], -wide[0]), (rows.stride, columns.stride)
        end = [max(0, (out[k] - 1) * strides[k] + size[k] - space[k] - begin[k]) for k in (0, 1)]
        window = Window(size, strides, (*begin, end[0], end[1]))
        whole = kernel.reshape(outputs * rows.phases * columns.phases, inputs, *size)
        yield Operand(tensor, tensor.index.shape, whole, operand.groups, window)  # type: ignore[arg-type]


def _lattice(operand: Operand, period: tuple[int, int]) -> Quantized:
    """View the tensor as (channels, rows, columns), padded with zeros to a multiple of the period."""
    index = operand.tensor.index.reshape(operand.shape)
    more = [-size % step for size, step in zip(operand.shape[1:], period, strict=True)]
    filled = np.pad(index, [(0, 0), (0, more[0]), (0, more[1])], constant_values=-1 - len(operand.tensor.fixed))
    return Quantized(operand.tensor.parts, filled, np.append(operand.tensor.fixed, 0.0))


def spaced(index: Int, fixed: int, strides: tuple[int, int]) -> Int:
    """Insert zeros between the values of a tensor, as a transposed convolution does; ``fixed`` is the zero's index."""
    channels, rows, columns = index.shape
    out = np.full((channels, (rows - 1) * strides[0] + 1, (columns - 1) * strides[1] + 1), -1 - fixed, np.int64)
    out[:, :: strides[0], :: strides[1]] = index
    return out
