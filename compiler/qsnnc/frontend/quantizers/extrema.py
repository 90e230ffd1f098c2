"""Find the extrema of nonmonotonic activations: SiLU, GELU and HardSwish have a minimum below zero.

After quantization only the bottom of such a dip may be visible, and it may be narrower than any sampling grid. The functions
before the quantizer are smooth, so their extrema are located by golden-section search and the quantizer is sampled there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from chipsim.monotone import is_monotone
from qsnnc.frontend.model.model import Node
from qsnnc.frontend.quantizers.region import Float, Region

F64 = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

#: sampled values of |x|, about four per octave; nonmonotonic activations have their extrema in this range
SIZES = np.logspace(-3, 3, 81)
#: most extrema of one inner function, over all its channels
MOST_TURNS = 1 << 14
#: steps of the golden-section search
SECTIONS = 48


def is_monotone_region(region: Region) -> bool:
    """Return whether every operator of a region is known to be monotone."""
    return not region.moves and all(_monotone(region, node) for node in region.nodes)


def _monotone(region: Region, node: Node) -> bool:
    """Return whether an operator, with its constants, is monotone."""
    constants = region.model.constants
    varying = [position for position, name in enumerate(node.inputs) if name and name not in constants]
    return is_monotone(node.op, node.attributes, varying, lambda position: constants.get(node.inputs[position]))


def turning_points(region: Region) -> list[Float]:
    """Return points of each function of a region near extrema of inner functions; [] if all are monotone."""
    if is_monotone_region(region) or region.moves:
        return []
    found: list[list[Float]] = [[] for _ in range(region.columns)]
    for number, node in enumerate(region.nodes):
        out = node.outputs[0]
        if out == region.output or out not in region.model.shapes or region.model.whole(out):
            continue
        if _monotone(region, node):
            continue  # its extrema are those of its input
        inner = replace(region, output=out, nodes=leading(region, number))
        for column, x in _extrema(inner):
            found[column].append(x)
    none = np.zeros(0, np.float32)
    return [np.unique(np.concatenate([none, *points])) for points in found]


def leading(region: Region, last: int) -> tuple[Node, ...]:
    """Return one node of a region and those that it depends on."""
    needed = set(region.nodes[last].inputs)
    kept = [region.nodes[last]]
    for node in reversed(region.nodes[:last]):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    return tuple(reversed(kept))


def _extrema(inner: Region) -> list[tuple[int, Float]]:
    """Locate all extrema at once by golden-section search; return the last few points of each."""
    f, columns = inner.function(), inner.columns
    grid = np.concatenate([-SIZES[::-1], [0.0], SIZES]).astype(np.float32)
    y = np.nan_to_num(f(np.repeat(grid[:, None], columns, axis=1)))
    move = np.sign(np.diff(y, axis=0))
    at, column = np.nonzero(move[:-1] * move[1:] < 0)
    if not len(at) or len(at) > MOST_TURNS:
        return []
    sign = np.where(move[at, column] > 0, 1.0, -1.0)  # a maximum, or a negated minimum
    low, high = grid[at].astype(np.float64), grid[at + 2].astype(np.float64)
    ratio = (np.sqrt(5) - 1) / 2
    order = numbered(column)
    seen = [grid[at + 1]]
    for _ in range(SECTIONS):
        one, two = high - ratio * (high - low), low + ratio * (high - low)
        left, right = (sign * evaluate_each(f, x, column, order, columns) for x in (one, two))
        up = left < right
        low, high = np.where(up, one, low), np.where(up, high, two)
        seen.append(((low + high) / 2).astype(np.float32))
    points = np.stack(seen, axis=1)
    return [(int(c), row) for c, row in zip(column, points, strict=True)]


def numbered(column: Int) -> Int:
    """Number the points within each column."""
    order = np.argsort(column, kind="stable")
    first = np.searchsorted(column[order], column[order], side="left")
    row = np.empty(len(column), np.int64)
    row[order] = np.arange(len(column)) - first
    return row


def evaluate_each(f: Callable[[Float], F64], x: F64, column: Int, row: Int, columns: int) -> F64:
    """Evaluate f once for each (point, column)."""
    batch = np.zeros((int(row.max()) + 1, columns), np.float32)
    batch[row, column] = x
    return f(batch)[row, column]
