"""Decide whether the sums of a linear operator are exact in any order.

onnxruntime's optimised convolution adds up in another order than its plain one, and float32 sums depend on the order. They
do not where every partial sum is exact: all terms are multiples of one power of two g, and their magnitudes sum to less than
2^24 g. For pixels, whole numbers from 0 to 255, that is a property of the weights alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.engine.host import Array, session

PIXEL = 255
_DIGITS = 24  # of a float32's significand


def quick_session(part: bytes, source: str, plain: Any, shape: tuple[int, ...]) -> Any:
    """Return an optimised session of a linear part if it is bit-exact for all pixels, else None.

    The property is proved from the weights, and the session is tried against the plain one too.
    """
    import onnx

    if not any_order_is_exact(onnx.load_model_from_string(part).graph, source):
        return None
    optimised = session(part, "encoder.onnx", plain=False)
    pixels = np.random.Generator(np.random.PCG64(0)).integers(0, PIXEL + 1, (3, *shape)).astype(np.float32)
    pixels[1] = PIXEL
    (name,) = (end.name for end in plain.get_outputs())
    for images in (pixels, pixels[:1]):
        if not np.array_equal(plain.run([name], {source: images})[0], optimised.run([name], {source: images})[0]):
            return None
    return optimised


def any_order_is_exact(graph: Any, source: str) -> bool:
    """Whether a graph is one Conv, Gemm or MatMul of pixels whose sums are exact in any order."""
    from onnx import helper, numpy_helper

    if len(graph.node) != 1 or graph.node[0].input[0] != source:
        return False
    node = graph.node[0]
    terms = {"Conv": _conv, "Gemm": _gemm, "MatMul": _matmul}.get(node.op_type)
    constant = {tensor.name: tensor for tensor in graph.initializer}
    if terms is None or node.domain or any(name not in constant for name in node.input[1:] if name):
        return False
    weights = [numpy_helper.to_array(constant[name]) for name in node.input[1:] if name]
    if any(w.dtype != np.float32 or not np.isfinite(w).all() for w in weights):
        return False
    sums = terms({a.name: helper.get_attribute_value(a) for a in node.attribute}, weights)
    return sums is not None and _exact(sums, weights)


def _conv(attributes: dict[str, Any], weights: list[Array]) -> npt.NDArray[np.float64] | None:
    return _magnitudes(weights, lambda w: w.sum(axis=tuple(range(1, w.ndim))))


def _gemm(attributes: dict[str, Any], weights: list[Array]) -> npt.NDArray[np.float64] | None:
    if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
        return None
    if weights[0].ndim != 2:
        return None
    return _magnitudes(weights, lambda w: w.sum(axis=1 if attributes.get("transB", 0) else 0))


def _matmul(attributes: dict[str, Any], weights: list[Array]) -> npt.NDArray[np.float64] | None:
    return _magnitudes(weights, lambda w: w.sum(axis=0)) if weights[0].ndim == 2 else None


def _magnitudes(weights: list[Array], add_up: Callable[[Array], Array]) -> npt.NDArray[np.float64]:
    """Largest sum of the terms' magnitudes of each output."""
    total = np.asarray(add_up(np.abs(weights[0].astype(np.float64))) * PIXEL, np.float64)
    return total + sum(float(np.abs(bias.astype(np.float64)).max(initial=0.0)) for bias in weights[1:])


def grid(weights: list[Array]) -> float:
    """Return the largest power of two of which all weights are multiples."""
    every = np.concatenate([w.reshape(-1) for w in weights]).astype(np.float64)
    every = every[every != 0]
    if not len(every):
        return 1.0
    fraction, exponent = np.frexp(every)
    whole = np.abs(fraction * 2.0**_DIGITS).astype(np.int64)
    lowest = exponent - _DIGITS + np.log2((whole & -whole).astype(np.float64)).astype(np.int64)
    return float(2.0 ** int(lowest.min()))


def _exact(sums: npt.NDArray[np.float64], weights: list[Array]) -> bool:
    return bool(sums.max(initial=0) < 2.0**_DIGITS * grid(weights))
