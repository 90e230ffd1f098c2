"""Find where the chip begins: the host's last activation becomes the encoder's levels, or the image itself does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.frontend.integerize.state import Encoder
from qsnnc.frontend.integerize.walk import Walk
from qsnnc.frontend.linear.tensors import Part, Quantized, as_map, whole
from qsnnc.frontend.model.model import Node
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
    shape = walk.model.shapes[region.input]
    source = walk.analysis.producer.get(region.input)
    transpose = None if internal else _transpose_after(walk, region.output)
    name = walk.namer.layer(source) if source and source.op in WEIGHTED | POOLS else walk.namer.text(region.input)
    size = as_map(shape, source or walk.model.nodes[0])
    end = "" if internal else region.output
    if transpose is not None:
        end, shape = transpose.outputs[0], walk.model.shapes[transpose.outputs[0]]
        size = as_map(shape, transpose)
    population = Population(name, end, shape, size, levels.count, levels.scale, levels.zero_point)
    walk.known.hand_over(Encoder(population, region, turns))
    found = whole(Part.of(population, levels), shape)
    if transpose is None:
        return found
    back = np.argsort([axis - 1 for axis in transpose.attributes["perm"][1:]])
    return replace(found, index=np.ascontiguousarray(found.index.transpose(back)))


def _levels(walk: Walk, region: Region) -> tuple[Levels | None, bool]:
    """Return the levels of a host region, monotone or not, and whether it is nonmonotonic."""
    try:
        return walk.analysis.levels(region), False
    except NotMonotone:
        return find_levels(region, turning=True), True


def _transpose_after(walk: Walk, name: str) -> Node | None:
    """Return the transpose after the host's last tensor in a channels-last network, if windows read it; None otherwise."""
    readers = [node for node in walk.model.nodes if name in node.inputs]
    windows = [
        node
        for node in readers
        if node.op == "Transpose"
        and node.attributes.get("perm", (1,))[0] == 0
        and any(node.outputs[0] in other.inputs and other.op in WEIGHTED | POOLS for other in walk.model.nodes)
    ]
    alike = {tuple(node.attributes["perm"]) for node in windows}
    straight = any(node.op in WEIGHTED | POOLS for node in readers)
    known = windows and windows[0].outputs[0] in walk.model.written and len(walk.model.shapes[name]) <= 3
    return windows[0] if len(alike) == 1 and known and not straight else None


def _enter(walk: Walk, region: Region) -> Quantized | None:
    """Return pixels that are only moved and scaled as levels, if the image itself is the chip's input."""
    if walk.pixels is None or region.input != walk.model.input:
        return None
    entering = walk.known.encoder
    if entering is None:
        entering = Encoder(walk.pixels.population(walk.namer.text(region.input)), None)
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
    return whole(walk.pixels.part(population, region), population.tensor_shape)
