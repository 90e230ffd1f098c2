"""Find where the chip begins: the host's last activation becomes the encoder's levels, or the image itself does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.frontend.integerize.channel_order import order_of_windows
from qsnnc.frontend.integerize.state import Encoder
from qsnnc.frontend.integerize.walk import Walk
from qsnnc.frontend.linear.tensors import Part, Quantized, as_map, whole
from qsnnc.frontend.model.operators import POOLS, WEIGHTED
from qsnnc.frontend.model.outcomes import NotMonotone
from qsnnc.frontend.quantizers.levels import Levels, find_levels
from qsnnc.frontend.quantizers.region import Region
from qsnnc.ir.layers import Population


def encoder_levels(walk: Walk, region: Region, *, internal: bool = False) -> Quantized | None:
    """Turn the host's activation into the encoder population; None if it is not quantized.

    ``internal`` means that the region ends in a tensor that the file does not have.
    """
    model = walk.model
    if region.input == model.input and np.dtype(model.input_dtype).kind in "iu" and walk.pixels is None:
        first = [node for node in region.nodes if region.input in node.inputs]
        if [node.op for node in first] == ["DequantizeLinear"]:
            region = walk.analysis.part(region, first[0].outputs[0])
        elif any(node.op != "Cast" for node in first):
            return None  # of an integer image: undefined between integers, so it stays on the host
    levels, turns = _levels(walk, region) if walk.pixels is None or not walk.pixels.whole else (None, False)
    if levels is None:
        return _enter(walk, region)
    if walk.known.encoder is not None:
        other = walk.known.encoder.population
        raise ModelError(
            region.output,
            f"the chip would need two input activations from the host ({other.tensor or other.name!r} and this one); "
            "quantize the input once, before the branches, or use the image itself as the chip's input (--encoder chip)",
            code="two-encoders",
            node=region.output,
        )
    shape = model.shapes[region.input]
    source = walk.analysis.producer.get(region.input)
    order = None if internal else order_of_windows(model, region.output)
    name = walk.namer.layer(source) if source and source.op in WEIGHTED | POOLS else walk.namer.text(region.input)
    if order is None:
        end = region.output if model.returns(region.output) and not internal else ""
        size = as_map(shape, source or model.nodes[0])
        population = Population(name, end, shape, size, levels.count, levels.scale, levels.zero_point)
        walk.known.hand_over(Encoder(population, region, turns=turns))
        return whole(Part.of(population, levels), shape)
    end = order.tensor if model.returns(order.tensor) else ""
    size = as_map(order.shape, source or model.nodes[0])
    population = Population(name, end, order.shape, size, levels.count, levels.scale, levels.zero_point)
    walk.known.hand_over(Encoder(population, region, turns=turns, order=order))
    return replace(whole(Part.of(population, levels), order.shape), index=order.index(shape))


def _levels(walk: Walk, region: Region) -> tuple[Levels | None, bool]:
    """Return the levels of a host region, monotone or not, and whether it is nonmonotonic."""
    try:
        return walk.analysis.levels(region), False
    except NotMonotone:
        return find_levels(region, turning=True), True


def _enter(walk: Walk, region: Region) -> Quantized | None:
    """Return pixels that are only moved and scaled as levels, if the image itself is the chip's input."""
    if walk.pixels is None or region.input != walk.model.input:
        return None
    entering = walk.known.encoder
    if entering is None:
        order = order_of_windows(walk.model, region.input)
        shape = order.shape if order else walk.pixels.rule.shape or (1,)
        entering = Encoder(walk.pixels.population(walk.namer.text(region.input), shape), None, order=order)
        walk.known.hand_over(entering)
    population = entering.population
    if entering.region is not None:
        raise ModelError(
            region.output,
            "the image would be the chip's input both directly and quantized "
            f"({population.tensor or population.name!r}); quantize it once, before the branches",
            code="two-encoders",
            node=region.output,
        )
    found = whole(walk.pixels.part(population, region), population.tensor_shape)
    order = entering.order
    return replace(found, index=order.index(walk.pixels.rule.shape)) if order else found
