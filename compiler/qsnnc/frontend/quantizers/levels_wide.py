"""Find the levels of quantizers with thousands of levels, such as 16-bit activations.

`levels.steps` cannot tell so many levels from a continuous function. Here the innermost part of the region that is one
function for all channels is sampled for steps of equal size. If it has them, the smallest float that reaches each level is
found by bisection in the order of float32's bit patterns, for all levels at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.model.model import downstream
from qsnnc.frontend.quantizers.levels import FAR, MANY_LEVELS, MOST_LEVELS, Levels, uniform_levels
from qsnnc.frontend.quantizers.region import Float, Region, cuts, varying

F64 = npt.NDArray[np.float64]
Function = Callable[[Float], F64]

#: number of jumps that are bisected to measure the step
PROBES = 64


def find_wide(region: Region) -> Levels | None:
    """Return the levels of a region with at least `MANY_LEVELS`; None if it has fewer or is continuous."""
    inner = [node.outputs[0] for node in region.nodes if node.outputs[0] != region.output]
    for start in [] if region.moves else [*reversed(inner), region.input]:
        known = start in region.model.shapes and (start == region.input or not region.model.whole(start))
        if not known or not cuts(region, start) or varying(region.model, downstream(region.nodes, start)):
            continue
        count = _count(f := replace(region, axes=()).function(start))
        if count is not None:
            return _levels(region, f, count)
    return None


def _count(f: Function) -> int | None:
    """Return the number of steps of a function if all are of equal size; None otherwise."""
    low, high = _at(f, np.array([-FAR, FAR]))
    sizes = np.logspace(-6, 6, 129).astype(np.float32)
    x = np.concatenate([-sizes[::-1], sizes])
    y = _at(f, x)
    jump = np.flatnonzero((y[1:] != y[:-1]) & np.isfinite(y[1:]) & np.isfinite(y[:-1]))
    if not len(jump) or not np.isfinite([low, high]).all():
        return None
    jump = jump[np.linspace(0, len(jump) - 1, min(PROBES, len(jump))).astype(np.int64)]
    left, right = _order(x[jump]), _order(x[jump + 1])
    below = y[jump]
    while (right - left > 1).any():  # down to neighbouring floats, whose values differ by one step
        middle = (left + right) // 2
        same = _at(f, _float(middle)) == below
        left, right = np.where(same, middle, left), np.where(same, right, middle)
    ends = np.stack([_at(f, _float(left)), _at(f, _float(right))])
    size = np.abs(ends[1] - ends[0])
    step = float(size[np.abs(ends).max(axis=0).argmin()])  # nearest to zero, where floats are finest
    count = abs(high - low) / step
    alike = bool((np.abs(size / step - 1) < 0.05).all()) and abs(count - round(count)) < 0.1
    return round(count) if alike and MANY_LEVELS <= round(count) < MOST_LEVELS else None


def _levels(region: Region, f: Function, count: int) -> Levels | None:
    """Find the value of each level, limited to the range of the whole region."""
    first, last = _at(f, np.array([-FAR, FAR]))
    middle = first + (last - first) * (np.arange(count) + 0.5) / count
    left, right = np.full(count, _order(np.array([-FAR]))[0]), np.full(count, _order(np.array([FAR]))[0])
    while (right - left > 1).any():
        between = (left + right) // 2
        beyond = (_at(f, _float(between)) > middle) ^ (last < first)
        left, right = np.where(beyond, left, between), np.where(beyond, between, right)
    values = np.unique(np.append(first, _at(f, _float(right))))
    single = region.single
    ends = single.function()(np.stack([np.full(single.columns, -FAR), np.full(single.columns, FAR)]))
    reached = values[(values >= ends.min()) & (values <= ends.max())]
    if len(reached) < 2:
        return None
    return uniform_levels(region.output, reached, np.broadcast_to(ends[0] > ends[1], (region.columns,)))


def _at(f: Function, x: npt.NDArray[np.floating]) -> F64:
    return f(x.astype(np.float32)[:, None])[:, 0]


def _order(x: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Map floats to integers in the same order."""
    bits = x.astype(np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _float(order: npt.NDArray[np.int64]) -> Float:
    back = np.where(order < 0, -order | 0x80000000, order)
    return back.astype(np.uint32).view(np.float32)
