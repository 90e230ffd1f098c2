"""Apply elementwise operators to levels: a common shift and scale, or a second quantizer, which becomes a layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.integerize.walk import Walk
from qsnnc.frontend.linear.add import read_levels
from qsnnc.frontend.linear.tensors import F64, Part, Quantized, whole
from qsnnc.frontend.model.model import Node
from qsnnc.frontend.model.outcomes import NotMonotone
from qsnnc.frontend.quantizers.levels import Levels, uniform_levels, zero_point_of
from qsnnc.frontend.quantizers.region import Region
from qsnnc.ir.layers import Int, Layer
from qsnnc.ir.uncertain import UncertainThresholds


def requantized(walk: Walk, tensor: Quantized, region: Region, *, internal: bool = False) -> Quantized:
    """Apply elementwise operators to levels; the result is constant if they map all levels to one value.

    ``internal`` means that the output of the region is ordered differently from this tensor.

    Raises
    ------
    ModelError
        The result is not equally spaced, not monotone, or differs by position.
    """
    f = region.function()
    columns = region.columns
    tables = [f(np.repeat(part.values.astype(np.float32)[:, None], columns, axis=1)) for part in tensor.parts]
    held = f(np.repeat(tensor.fixed.astype(np.float32)[:, None], columns, axis=1)) if len(tensor.fixed) else None
    column = _columns(region, tensor.index.shape)
    index, fixed = tensor.index, tensor.fixed
    if held is not None:
        fixed = held.reshape(-1)
        index = np.where(index < 0, -1 - ((-1 - index) * columns + column), index)
    scaled = [_affine(part, table) for part, table in zip(tensor.parts, tables, strict=True)]
    if all(part is not None for part in scaled):
        return Quantized(tuple(part for part in scaled if part is not None), index, fixed)
    functions = [
        _by_channel(tensor, start, part, table, column, region)
        for start, part, table in zip(tensor.starts[:-1], tensor.parts, tables, strict=True)
    ]
    seen = np.unique(np.concatenate([table[:, used].reshape(-1) for table, used in functions]))
    if len(seen) < 2:  # keep the levels that became constants, for operators that read nothing else
        fixed = np.append(fixed, seen)
        return replace(tensor, index=np.where(index < 0, index, -len(fixed)), fixed=fixed)
    levels = uniform_levels(region.output, seen, np.zeros(0, bool))
    parts = []
    own = tensor.canonical and not internal
    for part, (table, _) in zip(tensor.parts, functions, strict=True):
        name = walk.sink.free_name(walk.namer.text(f"{part.population.name}.again"))
        layer = _composed(part, table, levels, name) or _layer(walk, part, table, levels, name)
        if own:
            layer = replace(layer, tensor=region.output, tensor_shape=tuple(tensor.index.shape))
        walk.sink.add(layer)
        parts.append(Part.of(layer, levels))
    return Quantized(tuple(parts), index, fixed)


def _columns(region: Region, shape: tuple[int, ...]) -> Int:
    """Return the index of the region's function for each element of the tensor."""
    sizes = [size if axis in region.axes else 1 for axis, size in enumerate(shape, start=1)]
    return np.broadcast_to(np.arange(int(np.prod(sizes))).reshape(sizes), shape)


def _affine(part: Part, table: F64) -> Part | None:
    """Return the part shifted and scaled, if the table does no more and is the same for all channels; None otherwise."""
    if np.ptp(table, axis=1).max() > 0:
        return None
    values = table[:, 0]
    levels = part.population.levels
    scale = float((values[-1] - values[0]) / levels)
    if scale <= 0 or np.abs(np.diff(values) - scale).max() > 1e-6 * scale * levels:
        return None
    return replace(part, scale=scale, zero_point=zero_point_of(values, scale), values=values)


def _by_channel(
    tensor: Quantized, start: int, part: Part, table: F64, column: Int, region: Region
) -> tuple[F64, npt.NDArray[np.bool_]]:
    """Return the new values (levels + 1, channels of the population) of a part, and which channels are in the tensor."""
    population = part.population
    mine = (tensor.index >= start) & (tensor.index < start + population.features)
    area = population.shape[1] * population.shape[2]
    pairs = np.unique(np.stack([(tensor.index[mine] - start) // area, column[mine]]), axis=1)
    values = np.zeros((len(table), population.shape[0]))
    used = np.zeros(population.shape[0], bool)
    for channel, at in pairs.T:
        if used[channel] and (values[:, channel] != table[:, at]).any():
            raise ModelError(
                region.output,
                f"applies different functions to the levels of channel {channel} of {population.name} at different "
                "positions; quantize once, or use one function per channel",
                code="requantized",
                node=region.output,
            )
        values[:, channel], used[channel] = table[:, at], True
    moves = np.diff(values, axis=0)
    if ((moves > 0).any(axis=0) & (moves < 0).any(axis=0)).any():
        raise NotMonotone(
            region.output,
            "rises and falls over the levels before it; only monotone functions can become thresholds: replace it by a ReLU",
            node=region.output,
        )
    return values, used


def _firsts(table: F64, levels: Levels) -> Int:
    """Count the rows of each increasing column below each decision: (columns, levels)."""
    return np.stack([np.searchsorted(column, levels.cuts, side="right") for column in table.T])


def _composed(part: Part, table: F64, levels: Levels, name: str) -> Layer | None:
    """Return the layer with new thresholds on the same potentials; None if a map decreases or there is no such layer."""
    source = part.population
    if not isinstance(source, Layer) or any(link.level_wise for link in source.connections):
        return None
    if (np.diff(table, axis=0) < 0).any():
        return None
    first = _firsts(table, levels)  # (channels, levels): the smallest old level that reaches it
    always = source.reach[..., :1]
    never = source.reach[..., 1:] + 1
    known = np.concatenate([always, source.thresholds, never], axis=2)
    at = np.broadcast_to(first, (len(known), *first.shape))
    limits = np.take_along_axis(known, at, axis=2)
    sure = np.full(always.shape, np.nan)
    bounds = np.concatenate([sure, source.uncertain.bounds(source.thresholds.shape), sure], axis=2)
    bounds = np.take_along_axis(bounds, at, axis=2)
    k, c, i = np.nonzero(~np.isnan(bounds))
    uncertain = UncertainThresholds(c, k, i, bounds[k, c, i], np.ones_like(i))
    return replace(
        source,
        name=name,
        tensor="",
        levels=levels.count,
        scale=levels.scale,
        zero_point=levels.zero_point,
        thresholds=limits,
        uncertain=uncertain,
    )


def _layer(walk: Walk, part: Part, table: F64, levels: Levels, name: str) -> Layer:
    """Build a new layer that reads the levels and has those of the second quantizer."""
    source = part.population
    same = copied(walk.model.nodes[0], part, name)
    falls = (np.diff(table, axis=0) < 0).any(axis=0)
    (link,) = same.connections
    sign = np.where(falls, -1, 1)
    rows = np.where(falls, table[::-1], table)  # by potential: the level, or the level minus the highest
    first = _firsts(rows, levels)
    low = np.where(falls, -source.levels, 0)
    return replace(
        same,
        levels=levels.count,
        scale=levels.scale,
        zero_point=levels.zero_point,
        connections=(replace(link, weights=link.weights * sign[:, None, None, None]),),
        thresholds=(low[:, None] + first)[None],
        reach=np.stack([low, low + source.levels], axis=-1)[None],
    )


def copied(node: Node, part: Part, name: str) -> Layer:
    """Return a layer that has the levels of a part."""
    source = part.population
    sums = read_levels(node, whole(replace(part, scale=1.0, zero_point=0.0), source.shape), name)
    limits = np.arange(1, source.levels + 1)
    return Layer(
        name=name,
        tensor="",
        tensor_shape=source.shape,
        shape=source.shape,
        levels=source.levels,
        scale=part.scale,
        zero_point=part.zero_point,
        kind="identity",
        connections=sums.connections,
        thresholds=np.broadcast_to(limits, (1, source.shape[0], source.levels)).copy(),
        border=np.zeros(source.shape[1:], np.int64),
        reach=np.broadcast_to([0, source.levels], (1, source.shape[0], 2)).astype(np.int64),
        exact_sums=True,
    )
