"""Prove that an ONNX file of this folder is exact on every input, from its initializers, in float64.

Exact: every float32 partial sum of a convolution and of the classifier is exact in any order, and no sum that an
input can reach lies so near a threshold of the quantizer that the float32 rounding of batch norm could change a level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

F64 = npt.NDArray[np.float64]
PIXEL_MAX = 255
EXACT_BELOW = 2.0**24  # integers that float32 holds
UNIT_ROUNDOFF = 2.0**-24


@dataclass(frozen=True)
class LayerMargin:
    """Distance of a convolution's thresholds from the sums that it can reach.

    ``units`` is the smallest distance between a threshold and a reachable sum, in accumulator units (infinite if
    no threshold is within reach); ``safety`` is the smallest ratio of a batch norm value's distance from its
    threshold to the bound on that value's float32 error (above 1: no rounding changes a level).
    """

    name: str
    units: float
    safety: float


def dyadic_unit(values: F64) -> float:
    """Return the largest power of two that divides every value."""
    for exponent in range(60):
        scaled = values * 2.0**exponent
        if (scaled == np.round(scaled)).all():
            return 2.0**-exponent
    raise ValueError("no power of two divides the weights")


def margins(proto: onnx.ModelProto) -> list[LayerMargin]:
    """Certify a quantized network; return one entry per convolution.

    Raises
    ------
    ValueError
        A float32 sum could round, or rounding could change a level.
    """
    constants = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in proto.graph.initializer}
    reader = {name: node for node in proto.graph.node for name in node.input[:1]}
    found = []
    step, top = (
        1.0,
        float(PIXEL_MAX),
    )  # grid of the values that a layer reads, and the largest in grid units
    for node in proto.graph.node:
        if node.op_type == "Conv":
            weights = constants[node.input[1]].reshape(len(constants[node.input[1]]), -1)
            unit, low, high = _reach(node.name, weights, None, step, top)
            chain = [reader[node.output[0]]]
            while len(chain) < 5:
                chain.append(reader[chain[-1].output[0]])
            kinds = [n.op_type for n in chain]
            if kinds != ["BatchNormalization", "Mul", "Round", "Clip", "Mul"]:
                raise ValueError(f"{node.name}: {kinds} is not a batch norm and a median quantizer")
            up, levels, down = (float(constants[chain[i].input[j]]) for i, j in ((1, 1), (3, 2), (4, 1)))
            if up * down != 1 or np.log2(up) % 1 or float(constants[chain[3].input[1]]) != 0:
                raise ValueError(f"{node.name}: the quantizer's scales are not powers of two, or it starts above 0")
            keys = ("gamma", "beta", "mean", "var")
            norm = dict(zip(keys, (constants[n] for n in chain[0].input[1:]), strict=True))
            epsilon = next(helper.get_attribute_value(a) for a in chain[0].attribute if a.name == "epsilon")
            thresholds = (2 * np.arange(int(levels)) + 1) / (2 * up)
            found.append(_margin(node.name, unit, low, high, norm, float(np.float32(epsilon)), thresholds))
            step, top = down, levels
        elif node.op_type == "Gemm":
            _reach(node.name, constants[node.input[1]], constants[node.input[2]], step, top)
    return found


def _reach(name: str, weights: F64, bias: F64 | None, step: float, top: float) -> tuple[float, F64, F64]:
    """Return the accumulator unit and the lowest and highest sum of each channel in units; refuse sums that could round."""
    offset = np.zeros(len(weights)) if bias is None else bias
    unit = min(dyadic_unit(weights) * step, 1.0 if bias is None else dyadic_unit(bias))
    grid = weights * step / unit
    largest = np.abs(grid).sum(axis=1) * top + np.abs(offset) / unit
    if (largest >= EXACT_BELOW).any():
        raise ValueError(f"{name}: a float32 sum could round ({largest.max():.0f} units, below 2**24 is exact)")
    return unit, np.minimum(grid, 0).sum(axis=1) * top, np.maximum(grid, 0).sum(axis=1) * top


def _margin(
    name: str, unit: float, low: F64, high: F64, norm: dict[str, F64], epsilon: float, thresholds: F64
) -> LayerMargin:
    factor = norm["gamma"] / np.sqrt(norm["var"] + epsilon)
    shift = norm["beta"] - norm["mean"] * factor
    units, safety = np.inf, np.inf
    for c in np.flatnonzero(factor):  # a factor of zero gives beta, whatever the sum
        at = (thresholds - shift[c]) / factor[c] / unit
        for t, threshold in zip(at, thresholds, strict=True):
            # float32 batch norm is monotone: only the reachable sums next to a threshold can change sides
            for p in (np.floor(t), np.floor(t) + 1):
                if not low[c] <= p <= high[c]:
                    continue
                value = p * unit * factor[c]
                size = abs(value) + 2 * abs(norm["mean"][c] * factor[c]) + abs(norm["beta"][c])
                units = min(units, abs(t - p))
                safety = min(safety, abs(value + shift[c] - threshold) / (8 * UNIT_ROUNDOFF * size))
    if safety <= 1:
        raise ValueError(f"{name}: rounding could change a level (a threshold is {units:.3g} units from a reachable sum)")
    return LayerMargin(name, float(units), float(safety))
