"""Accumulators and quantizers to layers: integer thresholds, and which of them are beyond doubt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qsnnc.frontend.certify import propagate, sum_error
from qsnnc.frontend.linear import Accumulator
from qsnnc.frontend.read import Model
from qsnnc.frontend.region import Levels, Region, thresholds
from qsnnc.ir.layers import Doubt, Int, Layer


def layer_of(root: Accumulator, region: Region, levels: Levels, tensor: str, shape: tuple[int, ...]) -> Layer:
    """A layer whose levels are those of the region's end.

    Where f_c falls, the channel's weights are negated: p <= U becomes -p >= -U.
    """
    rising = _turned(root, levels.falling)
    f = region.function()
    limits = thresholds(f, levels, rising.value, rising.reach)
    return Layer(
        name=root.name,
        tensor=tensor,
        tensor_shape=shape,
        shape=root.shape,
        levels=levels.count,
        scale=levels.scale,
        zero_point=levels.zero_point,
        kind=root.kind,
        connections=rising.connections,
        thresholds=limits,
        border=rising.border,
        reach=rising.reach,
        exact_sums=bool(rising.exact.all()),
        doubts=doubts(rising, region, levels, limits),
    )


def readout_of(root: Accumulator, tensor: str, model: Model) -> Layer:
    """The layer whose potentials the host reads."""
    classes, channels = root.scale.shape
    return Layer(
        name=root.name,
        tensor=tensor,
        tensor_shape=model.shapes.get(tensor, root.shape),
        shape=root.shape,
        levels=0,
        scale=float(root.scale.reshape(-1)[0]),
        zero_point=0.0,
        kind=root.kind,
        connections=root.connections,
        thresholds=np.zeros((classes, channels, 0), np.int64),
        border=root.border,
        reach=root.reach,
        exact_sums=bool(root.exact.all()),
    )


def _turned(root: Accumulator, falling: np.ndarray) -> Accumulator:  # type: ignore[type-arg]
    if not falling.any():
        return root
    sign = np.where(falling, -1, 1)
    connections = tuple(replace(link, weights=link.weights * sign[:, None, None, None]) for link in root.connections)
    reach = np.where(falling[None, :, None], -root.reach[..., ::-1], root.reach)
    return replace(root, connections=connections, reach=reach, scale=root.scale * sign)


def doubts(root: Accumulator, region: Region, levels: Levels, limits: Int) -> tuple[Doubt, ...]:
    """Thresholds whose nearest reachable potentials, T and T - 1, float rounding could move across the decision."""
    classes, channels, count = limits.shape
    error = np.where(root.exact, 0.0, sum_error(root.terms, root.magnitude))
    error = np.where(np.isfinite(error), error, np.inf)
    cut = levels.scale * (np.arange(count) + 0.5 + levels.zero_point)[:, None]
    low, high = root.reach[..., :1], root.reach[..., 1:]
    found = np.zeros(limits.shape, bool)
    for potential, reachable, above in ((limits, limits <= high, True), (limits - 1, limits - 1 >= low, False)):
        real = root.scale[..., None] * potential + root.offset[..., None]
        x = real.transpose(0, 2, 1).reshape(-1, channels)
        slack = error + np.where(root.exact, 0.0, np.spacing(np.abs(x).astype(np.float32)).astype(np.float64))
        bounds = propagate(region, (x - slack, x + slack))
        if bounds is None:
            found |= reachable
            continue
        bottom, top = (np.broadcast_to(b, x.shape).reshape(classes, count, channels) for b in bounds)
        sure = (bottom > cut if above else top < cut).transpose(0, 2, 1)
        found |= reachable & ~sure
    unit = np.abs(root.scale)
    return tuple(Doubt(int(c), int(k), int(i), float(error[c] / unit[k, c])) for k, c, i in np.argwhere(found))
