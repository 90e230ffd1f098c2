"""Is an ONNX file of this folder exact on every input? Read from its own initializers, in float64.

Exact means: every float32 partial sum of a convolution and of the classifier is exact in any order, and no
reachable accumulator lies within the rounding of batch norm of a decision of the quantizer.
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
    """How far a convolution's decisions are from its reachable sums.

    ``units`` is the smallest distance between a decision within reach and an integer accumulator, in
    accumulator units (infinite where no decision is within reach); ``safety`` the smallest ratio of a batch
    norm value's distance from its decision to the bound of that value's float32 error (above 1: no rounding
    turns it).
    """

    name: str
    units: float
    safety: float


def dyadic_unit(values: F64) -> float:
    """Largest power of two that divides every value."""
    for exponent in range(60):
        scaled = values * 2.0**exponent
        if (scaled == np.round(scaled)).all():
            return 2.0**-exponent
    raise ValueError("no power of two divides the weights")


def margins(proto: onnx.ModelProto) -> list[LayerMargin]:
    """Certify a quantized network; one entry a convolution.

    Raises
    ------
    ValueError
        A float32 sum could round, or rounding could turn a decision.
    """
    constants = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in proto.graph.initializer}
    reader = {name: node for node in proto.graph.node for name in node.input[:1]}
    found = []
    step, top = (
        1.0,
        float(PIXEL_MAX),
    )  # of the values that a layer reads: their grid, and the largest in grid units
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
            decisions = (2 * np.arange(int(levels)) + 1) / (2 * up)
            found.append(_margin(node.name, unit, low, high, norm, float(np.float32(epsilon)), decisions))
            step, top = down, levels
        elif node.op_type == "Gemm":
            _reach(node.name, constants[node.input[1]], constants[node.input[2]], step, top)
    return found


def _reach(name: str, weights: F64, bias: F64 | None, step: float, top: float) -> tuple[float, F64, F64]:
    """Accumulator unit, and the reach of each channel's sum in units; refuses sums that could round."""
    offset = np.zeros(len(weights)) if bias is None else bias
    unit = min(dyadic_unit(weights) * step, 1.0 if bias is None else dyadic_unit(bias))
    grid = weights * step / unit
    largest = np.abs(grid).sum(axis=1) * top + np.abs(offset) / unit
    if (largest >= EXACT_BELOW).any():
        raise ValueError(f"{name}: a float32 sum could round ({largest.max():.0f} units, below 2**24 is exact)")
    return unit, np.minimum(grid, 0).sum(axis=1) * top, np.maximum(grid, 0).sum(axis=1) * top


def _margin(
    name: str, unit: float, low: F64, high: F64, norm: dict[str, F64], epsilon: float, decisions: F64
) -> LayerMargin:
    factor = norm["gamma"] / np.sqrt(norm["var"] + epsilon)
    shift = norm["beta"] - norm["mean"] * factor
    units, safety = np.inf, np.inf
    for c in np.flatnonzero(factor):  # a factor of zero gives beta, whatever the sum
        at = (decisions - shift[c]) / factor[c] / unit
        for t, decision in zip(at, decisions, strict=True):
            # float32 batch norm is monotone: only the reachable sums next to the decision can be turned
            for p in (np.floor(t), np.floor(t) + 1):
                if not low[c] <= p <= high[c]:
                    continue
                value = p * unit * factor[c]
                size = abs(value) + 2 * abs(norm["mean"][c] * factor[c]) + abs(norm["beta"][c])
                units = min(units, abs(t - p))
                safety = min(safety, abs(value + shift[c] - decision) / (8 * UNIT_ROUNDOFF * size))
    if safety <= 1:
        raise ValueError(f"{name}: rounding could turn a decision ({units:.3g} units from a reachable sum)")
    return LayerMargin(name, float(units), float(safety))
