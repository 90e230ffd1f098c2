"""Where an activation turns: SiLU, GELU and HardSwish dip, by less than a step of the quantizer behind them or by more.

A quantizer hides all of a dip but its bottom, which may be narrower than any grid of points. So the inner functions are
looked at, which are smooth: where one turns, its extremum is closed in on, and the quantizer is asked there.
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

#: sizes of |x| that are looked at, four a doubling: an activation that turns does so over some of them
SIZES = np.logspace(-3, 3, 81)
#: extrema of one inner function, of all its channels together
MOST_TURNS = 1 << 14
#: steps of the golden section
SECTIONS = 48


def rises(region: Region) -> bool:
    """Whether a region is a chain of operators that only rise or only fall; otherwise it may turn anywhere."""
    return not region.moves and all(_monotone(region, node) for node in region.nodes)


def _monotone(region: Region, node: Node) -> bool:
    """Whether an operator neither turns nor, with its constants, makes what follows turn."""
    constants = region.model.constants
    varying = [position for position, name in enumerate(node.inputs) if name and name not in constants]
    return is_monotone(node.op, node.attributes, varying, lambda position: constants.get(node.inputs[position]))


def turning_points(region: Region) -> list[Float]:
    """Points of each function of a region near which an inner function has an extremum; [] where none can turn."""
    if rises(region) or region.moves:
        return []
    found: list[list[Float]] = [[] for _ in range(region.columns)]
    for number, node in enumerate(region.nodes):
        out = node.outputs[0]
        if out == region.output or out not in region.model.shapes or region.model.whole(out):
            continue
        if _monotone(region, node):
            continue  # it turns where what is before it does
        inner = replace(region, output=out, nodes=_leading(region, number))
        for column, x in _extrema(inner):
            found[column].append(x)
    none = np.zeros(0, np.float32)
    return [np.unique(np.concatenate([none, *points])) for points in found]


def _leading(region: Region, last: int) -> tuple[Node, ...]:
    """The nodes of a region that one of them needs, and itself."""
    needed = set(region.nodes[last].inputs)
    kept = [region.nodes[last]]
    for node in reversed(region.nodes[:last]):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    return tuple(reversed(kept))


def _extrema(inner: Region) -> list[tuple[int, Float]]:
    """Closed in on by golden section, all at once; a few of its last points each."""
    f, columns = inner.function(), inner.columns
    grid = np.concatenate([-SIZES[::-1], [0.0], SIZES]).astype(np.float32)
    y = np.nan_to_num(f(np.repeat(grid[:, None], columns, axis=1)))
    move = np.sign(np.diff(y, axis=0))
    at, column = np.nonzero(move[:-1] * move[1:] < 0)
    if not len(at) or len(at) > MOST_TURNS:
        return []
    sign = np.where(move[at, column] > 0, 1.0, -1.0)  # a maximum, or a minimum turned over
    low, high = grid[at].astype(np.float64), grid[at + 2].astype(np.float64)
    ratio = (np.sqrt(5) - 1) / 2
    order = _rows(column)
    seen = [grid[at + 1]]
    for _ in range(SECTIONS):
        one, two = high - ratio * (high - low), low + ratio * (high - low)
        left, right = (sign * _evaluate(f, x, column, order, columns) for x in (one, two))
        up = left < right
        low, high = np.where(up, one, low), np.where(up, high, two)
        seen.append(((low + high) / 2).astype(np.float32))
    points = np.stack(seen, axis=1)
    return [(int(c), row) for c, row in zip(column, points, strict=True)]


def _rows(column: Int) -> Int:
    """Which of its column's points each is."""
    order = np.argsort(column, kind="stable")
    first = np.searchsorted(column[order], column[order], side="left")
    row = np.empty(len(column), np.int64)
    row[order] = np.arange(len(column)) - first
    return row


def _evaluate(f: Callable[[Float], F64], x: F64, column: Int, row: Int, columns: int) -> F64:
    """One value for each (point, column)."""
    batch = np.zeros((int(row.max()) + 1, columns), np.float32)
    batch[row, column] = x
    return f(batch)[row, column]
