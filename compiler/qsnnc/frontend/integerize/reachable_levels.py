"""Find the levels of a quantizer without saturation from the values that its input can reach.

Behind a sum of levels, a rounding takes finitely many values even if no Clip follows. Where a max pool or a data movement
stands between the sum and the rounding, the rounding is moved before it like any other quantizer, given these levels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qsnnc.frontend.integerize.state import Gathered, Moved, Pooled
from qsnnc.frontend.integerize.walk import Walk
from qsnnc.frontend.linear.data_movement import pad_value
from qsnnc.frontend.linear.tensors import Accumulator, Quantized
from qsnnc.frontend.model.model import Node
from qsnnc.frontend.quantizers.error_bounds import propagate
from qsnnc.frontend.quantizers.levels import Levels, find_levels
from qsnnc.frontend.quantizers.region import Region

Range = tuple[float, float]


def find_reachable(walk: Walk, region: Region) -> Levels | None:
    """Return the levels of a region over the reachable values of its input; None if they are not finitely many.

    Raises
    ------
    ModelError
        There are too many levels, or they are not equally spaced.
    """
    ends = _range(walk, region.input)
    if ends is None or not np.isfinite(ends).all():
        return None
    return find_levels(bounded(region, ends))


def _range(walk: Walk, name: str) -> Range | None:
    """Return bounds of the values of a tensor on the chip; None if they are not known."""
    state = walk.known.get(name)
    if isinstance(state, Accumulator):
        return ends_of(state)
    if isinstance(state, Quantized):
        values = np.concatenate([*(part.values for part in state.parts), state.fixed])
        return float(values.min()), float(values.max())
    if isinstance(state, Pooled | Moved):
        ends = _of_region(walk, state.before)
        return _with(ends, pad_value(walk.model, state.node)) if ends and state.node.op == "Pad" else ends
    if isinstance(state, Gathered):
        several = [_of_operand(walk, entry) for entry in state.node.inputs]
        known = [ends for ends in several if ends is not None]
        return _hull(known) if len(known) == len(several) else None
    return None


def _of_region(walk: Walk, end: str) -> Range | None:
    """Return bounds of a tensor that elementwise operators compute from one on the chip."""
    region = walk.analysis.region(end)
    ends = _range(walk, region.input) if region is not None else None
    if region is None or ends is None:
        return None
    if not region.nodes:
        return ends
    bounds = propagate(region, (np.full((1, region.columns), ends[0]), np.full((1, region.columns), ends[1])))
    return None if bounds is None else (float(bounds[0].min()), float(bounds[1].max()))


def _of_operand(walk: Walk, name: str) -> Range | None:
    constant = walk.model.constants.get(name)
    if constant is None:
        return _of_region(walk, name)
    return (float(constant.min()), float(constant.max())) if constant.size else (0.0, 0.0)


def _with(ends: Range, value: float) -> Range:
    return _hull([ends, (value, value)])


def _hull(ranges: list[Range]) -> Range:
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def ends_of(sums: Accumulator) -> Range:
    """Return the smallest and the largest value of sums."""
    values = sums.value(sums.reach)
    return float(values.min()), float(values.max())


def bounded(region: Region, ends: Range) -> Region:
    """Return a region whose input is clipped first."""
    from onnx import helper

    model, start = region.model, region.input
    names = [f"{start}[{end}]" for end in ("least", "most")]
    inside = f"{start}[reachable]"
    proto = helper.make_node("Clip", [start, *names], [inside])
    clip = Node("", "Clip", (start, *names), (inside,), {}, proto)
    bounds = dict(zip(names, (np.float32(end) for end in ends), strict=True))
    kinds = {**model.kinds, **({inside: model.kinds[start]} if start in model.kinds else {})}
    model = replace(
        model,
        constants={**model.constants, **{name: np.asarray(bound) for name, bound in bounds.items()}},
        shapes={**model.shapes, inside: model.shapes[start]},
        kinds=kinds,
    )
    nodes = (clip, *(node.renamed({start: inside}) for node in region.nodes))
    return replace(region, model=model, nodes=nodes)
