"""Merge an average pool with the convolution before it, where no quantizer stands between them: one wider kernel."""

from __future__ import annotations

from dataclasses import replace
from math import gcd

import numpy as np

from qsnnc.frontend.linear.accumulate import classes, span
from qsnnc.frontend.linear.pooling import Pool, divisors
from qsnnc.frontend.linear.tensors import Accumulator, Quantized
from qsnnc.frontend.linear.views import Window
from qsnnc.frontend.model.model import Model, Node
from qsnnc.frontend.numerics.exactness import EXACT_BELOW
from qsnnc.ir.layers import Connection, Int, reachable

#: weights of a merged kernel at most
MOST_WEIGHTS = 1 << 24


def average_of_sums(model: Model, node: Node, inner: Accumulator, index: Int, name: str) -> Accumulator | None:
    """Turn an average pool of sums into sums over wider windows.

    None where that is not possible: the pool has padding, in which there is no sum, or the sums were moved.

    Parameters
    ----------
    index : ndarray, int64
        The feature of ``inner`` at each element of the tensor that the pool reads.
    """
    pool = Pool(model, node, Quantized((), index))
    window, shape = pool.window, pool.shape
    taps = window.taps(pool.seen[1:], shape[1:])
    unmoved = pool.seen == inner.shape and np.array_equal(pool.tensor.index.reshape(-1), np.arange(index.size))
    if not unmoved or (taps < 0).any() or (inner.scale != inner.scale[:1]).any():
        return None
    links = []
    for link in inner.connections:
        merged = _merged(link, window, inner.sources[link.source].shape[1:], shape[1:])
        if merged is None:
            return None
        links.append(merged)
    (count,) = np.unique(divisors(model, node, pool)).tolist()
    border, example = classes(inner.border.reshape(-1)[taps], shape[1:])
    offset = inner.offset[inner.border.reshape(-1)[taps[example]]].sum(axis=1)
    magnitude, clean = inner.magnitude * taps.shape[1], count & (count - 1) == 0
    return replace(
        inner,
        name=name,
        node=node,
        shape=shape,
        connections=tuple(links),
        scale=np.tile(inner.scale[:1] / count, (len(example), 1)),
        offset=offset / count,
        border=border,
        reach=span(reachable(tuple(links), inner.sources, shape), border),
        exact=inner.exact & (inner.grid > 0) & (magnitude < EXACT_BELOW * inner.grid) & clean,
        grid=inner.grid / count if clean else np.zeros_like(inner.grid),
        magnitude=magnitude / count,
        terms=inner.terms + taps.shape[1] + 2,
        layout=pool.layout,
        axis=pool.axis,
    )


def _merged(link: Connection, window: Window, source: tuple[int, int], out: tuple[int, int]) -> Connection | None:
    """Return a connection that reads what a window of its outputs reads together; None if it has too many weights."""
    if link.level_wise:
        return None
    at, kernel, steps = [], [], []
    for axis in (0, 1):
        outer = np.arange(window.kernel[axis]) * window.dilations[axis] * link.strides[axis]
        places = outer[:, None] + np.arange(link.weights.shape[2 + axis]) * link.dilations[axis]
        steps.append(gcd(*places.reshape(-1).tolist()) or 1)
        at.append(places // steps[axis])
        kernel.append(1 + int(at[axis].max()))
    if link.weights.shape[0] * link.weights.shape[1] * kernel[0] * kernel[1] > MOST_WEIGHTS:
        return None
    weights = np.zeros((*link.weights.shape[:2], *kernel), np.int64)
    for rows in at[0]:
        for columns in at[1]:
            weights[:, :, rows[:, None], columns] += link.weights
    strides = [window.strides[axis] * link.strides[axis] for axis in (0, 1)]
    spans = [(out[axis] - 1) * strides[axis] + (kernel[axis] - 1) * steps[axis] + 1 for axis in (0, 1)]
    end = [max(0, spans[axis] - source[axis] - link.pads[axis]) for axis in (0, 1)]
    return Connection(
        link.source, weights, (strides[0], strides[1]), (*link.pads[:2], end[0], end[1]), (steps[0], steps[1]), link.groups
    )
