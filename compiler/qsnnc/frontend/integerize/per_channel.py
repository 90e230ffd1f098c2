"""Support activations with a per-channel scale: one population whose channels have different scales.

The thermometer code of a level does not depend on the scale; only the operator that reads it needs the scale. A depthwise
convolution, a pool, an elementwise operator or a sum of two tensors with the same scales reads each channel separately, and
is exact. An operator that mixes channels needs scales whose ratios are fractions of small integers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from qsnnc.frontend.integerize.walk import Walk
from qsnnc.frontend.linear.tensors import Part, Quantized
from qsnnc.frontend.model.model import Node
from qsnnc.frontend.quantizers.levels import ChannelScales, zero_point_of
from qsnnc.frontend.quantizers.region import Region


def absorb_per_channel(
    walk: Walk, region: Region, error: ChannelScales, absorb: Callable[[Walk, Region], Quantized | None]
) -> Quantized | None:
    """Absorb a region whose quantizer has a per-channel scale.

    Parameters
    ----------
    error : ChannelScales
        Raised if that is not possible.
    absorb : callable
        Turns a region with one scale into a layer.
    """
    shape = walk.model.shapes.get(region.input, ())
    alike = walk.model.shapes.get(region.output, shape) == shape
    if region.moves or not alike or len(region.axes) != 1 or region.columns != len(error.values):
        raise error
    (axis,) = region.axes
    steps = np.array([np.ptp(value) / max(1, len(value) - 1) or 1.0 for value in error.values])
    lows = np.array([value[0] for value in error.values])
    found = absorb(walk, _unscaled(region, steps, lows))
    if found is None or len(found.parts) != 1 or (found.index < 0).any():
        raise error
    (part,) = found.parts
    groups, which = np.unique(np.stack([steps, lows], axis=1), axis=0, return_inverse=True)
    channel = np.arange(len(steps)).reshape([-1 if at == axis else 1 for at in range(1, len(shape) + 1)])
    number = np.broadcast_to(which.reshape(-1)[channel], found.index.shape)
    parts = tuple(_shown(part, step, low, error) for step, low in groups.tolist())
    return Quantized(parts, found.index + number * part.population.features)


def _unscaled(region: Region, steps: np.ndarray, lows: np.ndarray) -> Region:  # type: ignore[type-arg]
    """Append the inverse scales to a region: the values of each channel become 0, 1, 2 and so on."""
    from onnx import helper

    shape = region.model.shapes[region.input]
    along = [-1 if axis in region.axes else 1 for axis in range(len(shape) + 1)]
    constants, shapes, nodes, here = (
        dict(region.model.constants),
        dict(region.model.shapes),
        list(region.nodes),
        region.output,
    )
    for op, value in (("Sub", lows), ("Div", steps), ("Round", None)):
        given, out = f"{region.output}/channel.{op}", f"{region.output}/{op}"
        inputs = [here] if value is None else [here, given]
        if value is not None:
            constants[given] = value.astype(np.float32).reshape(along)
        shapes[out] = shape
        nodes.append(Node(out, op, tuple(inputs), (out,), {}, helper.make_node(op, inputs, [out], name=out)))
        here = out
    model = replace(region.model, constants=constants, shapes=shapes)
    return Region(model, region.input, here, tuple(nodes), region.axes)


def _shown(part: Part, step: float, low: float, error: ChannelScales) -> Part:
    """Return the population at one of the scales, with the exact floats of a channel of that scale."""
    count = part.population.levels + 1
    said = np.asarray(np.float32(step) * np.arange(count) + np.float32(low), np.float64)
    values = next((v for v in error.values if len(v) == count and v[0] == low and np.ptp(v) / (count - 1) == step), said)
    return replace(part, scale=step, zero_point=zero_point_of(values, step), values=values)


def unscaled(tensor: Quantized) -> tuple[Quantized, Callable[[Quantized], Quantized]] | None:
    """Return a tensor without per-channel scales, and a function that restores them; None if it has several populations."""
    names = {(part.population.name, len(part.values)) for part in tensor.parts}
    if len(names) != 1 or len(tensor.parts) < 2 or (tensor.index < 0).any():
        return None
    features = tensor.parts[0].population.features
    number = (tensor.index // features).reshape(len(tensor.index), -1)
    if (number != number[:, :1]).any():
        return None
    first = tensor.parts[0]
    plain = replace(first, scale=1.0, zero_point=0.0, values=np.arange(len(first.values), dtype=np.float64))

    def back(found: Quantized) -> Quantized:
        (part,) = found.parts
        parts = tuple(replace(scaled, population=part.population) for scaled in tensor.parts)
        more = number[:, 0].reshape(-1, *[1] * (found.index.ndim - 1)) * part.population.features
        return Quantized(parts, found.index + more)

    return Quantized((plain,), tensor.index % features), back
