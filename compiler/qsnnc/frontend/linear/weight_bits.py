"""Quantize float weights to few bits, per output channel, by the scale that loses least (``--weight-bits``).

For each channel the integers q, |q| <= 2^(bits - 1) - 1, and the scale s are chosen for a small squared error
sum (w - s q)^2. The search is deterministic: `SCALES` equally spaced scales from max |w| / max |q| downwards
give q = round(w / s) each, and each q the scale that suits it best, s = <q, w> / <q, q>; the pair of least error is
refined by rounding and fitting in turn until the error no longer falls. The scale is then rounded to `SCALE_BITS` bits, so
that every q s is exactly a float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.frontend.linear.tensors import F64
from qsnnc.frontend.linear.weight_grid import integer_weights
from qsnnc.frontend.model.model import Array, Model, Node
from qsnnc.ir.layers import Int
from qsnnc.ir.weights import bits_needed

#: scales that are tried for each channel
SCALES = 64
#: bits of a scale: together with 8 bits of an integer they fit a float32
SCALE_BITS = 16
#: most times that integers and scale are fitted to each other
ROUNDS = 50
#: widths that can be asked for
FEWEST_BITS, MOST_BITS = 2, 8


@dataclass(frozen=True, slots=True)
class WeightBits:
    """How many bits weights may have: those of every layer, and those of layers by name; None: as the file has them."""

    every: int | None = None
    named: Mapping[str, int] = field(default_factory=dict)

    def of(self, *names: str) -> int | None:
        """Return the bits of a layer that is known by some names; None if it is to stay as it is."""
        return next((self.named[name] for name in names if name in self.named), self.every)

    def __bool__(self) -> bool:
        return self.every is not None or bool(self.named)


@dataclass(frozen=True, slots=True, eq=False)
class ChangedWeights:
    """Weights of a layer that were quantized because it was asked for."""

    layer: str
    node: Node
    position: int  # of the weights among the node's inputs
    bits: int
    weights: Array  # in the shape and dtype of the file's
    changed: int  # how many are another number than before
    error: float  # root of the squared error, relative to that of the weights

    @property
    def tensor(self) -> str:
        """Name of the new weights."""
        return f"{self.node.outputs[0]}/weights"


def channels_of(model: Model, node: Node) -> tuple[int, Int] | None:
    """Find the constant weights of a linear operator.

    Returns
    -------
    position : int
        Of the weights among the node's inputs.
    index : ndarray, int64, (channels, weights of each)
        Where they lie in the flat array. None if the weights are not constant, or of a shape that is refused later.
    """
    position = 0 if node.inputs[0] in model.constants else 1
    weights = model.constants.get(node.inputs[position])
    if weights is None or weights.ndim < 2 or not weights.size or weights.dtype.kind != "f":
        return None
    index: Int = np.asarray(np.arange(weights.size).reshape(weights.shape))
    if node.op == "ConvTranspose":
        groups = int(node.attributes.get("group", 1))
        index = index.reshape(groups, len(weights) // groups, weights.shape[1], -1).swapaxes(1, 2)
        index = index.reshape(groups * weights.shape[1], -1)
    elif node.op == "MatMul" or (node.op == "Gemm" and not node.attributes.get("transB", 0)):
        index = index if position == 0 else index.swapaxes(-1, -2)
        index = index.reshape(-1, index.shape[-1])
    return position, index.reshape(len(index), -1)


def on_grid(model: Model, node: Node, bits: int = MOST_BITS) -> bool:
    """Return whether a node's weights are integers of at most so many bits times a scale per channel; True if unknown."""
    found = channels_of(model, node)
    if found is None:
        return True
    position, index = found
    try:
        integers, _ = integer_weights("", "", model.constants[node.inputs[position]].reshape(-1)[index])
    except ModelError:
        return False
    return bits_needed(integers) <= bits


def quantized(model: Model, node: Node, name: str, bits: int) -> ChangedWeights | None:
    """Quantize a node's weights; None if they have at most so many bits already."""
    found = channels_of(model, node)
    if found is None or on_grid(model, node, bits):
        return None
    position, index = found
    before = model.constants[node.inputs[position]]
    rows = before.reshape(-1)[index].astype(np.float64)
    integers, scales = nearest(rows, bits)
    flat = np.empty(before.size, before.dtype)
    flat[index] = integers * scales[:, None]
    after = flat.reshape(before.shape)
    loss = after.astype(np.float64) - before
    error = float(np.sqrt((loss**2).sum() / max((rows**2).sum(), np.finfo(float).tiny)))
    return ChangedWeights(name, node, position, bits, after, int((after != before).sum()), error)


def nearest(rows: F64, bits: int) -> tuple[Int, F64]:
    """Find integers (channels, weights) and a scale (channels,) of small squared error, by the search described above.

    Parameters
    ----------
    rows : ndarray, float64, (channels, weights)
    bits : int
        2 to 8; the integers are symmetric, so 2 bits are ternary.
    """
    most = (1 << (bits - 1)) - 1
    top = np.abs(rows).max(axis=1) / most
    alive = top > 0
    top = np.where(alive, top, 1.0)
    best, gain = top.copy(), np.full(len(rows), -1.0)
    for part in range(SCALES, 0, -1):
        fitted, found = _fit(rows, _rounded(rows, top * part / SCALES, most))
        better = found > gain
        best, gain = np.where(better, fitted, best), np.where(better, found, gain)
    for _ in range(ROUNDS):
        fitted, found = _fit(rows, _rounded(rows, best, most))
        if not (found > gain).any():
            break
        best, gain = np.where(found > gain, fitted, best), np.maximum(found, gain)
    mantissa, exponent = np.frexp(best)
    scales = np.where(alive, np.ldexp(np.rint(np.ldexp(mantissa, SCALE_BITS)), exponent - SCALE_BITS), 1.0)
    return _rounded(rows, scales, most).astype(np.int64), scales


def _rounded(rows: F64, scales: F64, most: int) -> F64:
    """Return round(w / s), within the range of the integers."""
    return np.asarray(np.clip(np.rint(rows / scales[:, None]), -most, most), np.float64)


def _fit(rows: F64, integers: F64) -> tuple[F64, F64]:
    """Return the best scale for some integers, and by how much it lowers the squared error, by channel."""
    product, size = np.einsum("cw,cw->c", integers, rows), np.einsum("cw,cw->c", integers, integers)
    scales = np.divide(product, size, out=np.ones_like(size), where=(size > 0) & (product > 0))
    return scales, np.divide(product**2, size, out=np.zeros_like(size), where=size > 0)


def with_weights(model: Model, change: ChangedWeights) -> tuple[Model, Node]:
    """Return the model with a constant of new weights, and the node that reads it."""
    node = change.node
    name = change.tensor
    inputs = tuple(name if at == change.position else other for at, other in enumerate(node.inputs))
    proto = type(node.proto)()
    proto.CopyFrom(node.proto)
    proto.input[change.position] = name
    return replace(model, constants={**model.constants, name: change.weights}), replace(node, inputs=inputs, proto=proto)
