"""Turn a Resize in mode linear into sums of neighbouring levels, one channel per phase of the scale.

With a scale s, output s * q + p reads the inputs q - 1, q and q + 1 with weights that depend only on the phase p; where one
of them lies beyond the border, the value at the border stands for it. That value is read once more, by a window whose
stride is the whole map: all windows but the first, or the last, lie beside the map.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.frontend.linear.accumulate import Operand, Sums
from qsnnc.frontend.linear.convolve import convolve
from qsnnc.frontend.linear.matmul import constant
from qsnnc.frontend.linear.tensors import F64, Accumulator, Terms, as_map
from qsnnc.frontend.linear.views import Window
from qsnnc.frontend.model.model import SINGLE, Model, Node

#: scales whose weights float32 holds exactly, and integers of few bits too
SCALES = (1, 2, 4, 8)
#: coordinates for which the weights repeat from phase to phase: an output lies in the middle of its part of an input, or
#: at the beginning
HALF_PIXEL = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")
ASYMMETRIC = "asymmetric"
#: the first opset whose Resize has a mode of coordinates; before, they are asymmetric
WITH_COORDINATES = 11


def interpolated(model: Model, node: Node, terms: Terms, name: str) -> Accumulator:
    """Turn a Resize or Upsample in mode linear into an accumulator.

    Raises
    ------
    ModelError
        Its weights differ from phase to phase, or float32 does not hold them exactly.
    """
    out = model.shapes[node.outputs[0]]
    seen = as_map(terms.shape, node)
    scales = _scales(model, node, terms.shape, out)
    half = _half_pixel(model, node)
    rows, columns = (_weights(scale, half=half) for scale in scales)
    channels, phases = seen[0], (len(rows), len(columns))
    shape = channels * phases[0] * phases[1], *seen[1:]
    apart = np.arange(int(np.prod(shape))).reshape(channels, *phases, *seen[1:])
    sums = Sums(name, "pool", node, shape, apart.transpose(0, 3, 1, 4, 2).reshape(out))  # type: ignore[arg-type]
    windows = [
        (np.tile(kernel.reshape(phases[0] * phases[1], 1, *kernel.shape[2:]), (channels, 1, 1, 1)), window)
        for kernel, window in _windows(rows, columns, seen[1:])
    ]
    operands = [
        Operand(tensor, seen, sign * kernel, channels, window)
        for tensor, sign in zip(terms.tensors, terms.signs, strict=True)
        for kernel, window in windows
    ]
    return terms.read(convolve(sums, operands, np.zeros(shape[0]), per_channel=False, written_out=not terms.composed))


def _weights(scale: int, *, half: bool) -> F64:
    """Return the weights of the inputs q - 1, q and q + 1 in each phase, (phases, 3)."""
    phase = np.arange(scale)
    place = (phase + 0.5) / scale - 0.5 if half else phase / scale
    return np.stack([np.maximum(0, -place), 1 - np.abs(place), np.maximum(0, place)], axis=1)


def _windows(rows: F64, columns: F64, space: tuple[int, int]) -> Iterator[tuple[F64, Window]]:
    """Iterate over the kernels (phases of rows, phases of columns, taps, taps) of the map and of its borders."""
    for down, (high, begin, step) in _along(rows, space[0]):
        for across, (wide, left, stride) in _along(columns, space[1]):
            end = [
                max(0, (size - 1) * move + taps - size - pad)
                for size, move, taps, pad in zip(space, (step, stride), (high, wide), (begin, left), strict=True)
            ]
            kernel = down[:, None, :, None] * across[None, :, None, :]
            yield kernel, Window((high, wide), (step, stride), (begin, left, end[0], end[1]))


def _along(weights: F64, size: int) -> Iterator[tuple[F64, tuple[int, int, int]]]:
    """Iterate over the weights that are read along an axis, with the number of taps, the padding and the stride."""
    before, own, after = weights.T[:, :, None]
    if not before.any() and not after.any():
        yield own, (1, 0, 1)
        return
    yield weights, (3, 1, 1)
    if before.any():  # of the first window alone: the next ones begin behind the map
        yield before, (1, 0, size)
    if after.any():  # of the last
        yield after, (1, (size - 1) ** 2, size)


def _half_pixel(model: Model, node: Node) -> bool:
    """Return whether an output lies in the middle of its part of an input, not at the beginning."""
    mode = node.attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    if mode == ASYMMETRIC or model.opsets[""] < WITH_COORDINATES:
        return False
    if mode not in HALF_PIXEL:
        raise _refused(
            node,
            f"has coordinates {mode!r}: its weights differ from position to position, and float32 rounds them",
            mode,
            (*HALF_PIXEL, ASYMMETRIC),
        )
    return True


def _scales(model: Model, node: Node, shape: tuple[int, ...], out: tuple[int, ...]) -> tuple[int, int]:
    """Return the scales of rows and columns.

    Raises
    ------
    ModelError
        Others than rows and columns are scaled, or by a factor whose weights are not exact.
    """
    factors = [after / before for before, after in zip(shape, out, strict=True)]
    given = _given(model, node)
    stated = factors if given is None else given
    allowed = len(shape) == 3 and factors[0] == 1 and all(factor in SCALES for factor in factors)
    if not allowed or stated != factors or node.attributes.get("antialias", 0) or model.kind(node.inputs[0]) != SINGLE:
        text = "scales an image by " + " x ".join(f"{factor:g}" for factor in stated)
        text += " with antialias" if node.attributes.get("antialias", 0) else ""
        raise _refused(
            node,
            f"{text}; allowed: rows and columns of float32 (N, C, H, W) by 2, 4 or 8, whose weights are exact",
            stated,
            SCALES,
        )
    return int(factors[1]), int(factors[2])


def _given(model: Model, node: Node) -> list[float] | None:
    """Return the scales of an image's axes that the operator states; None if it states sizes."""
    if node.op.startswith("Resize"):
        position = 2 if len(node.inputs) > 2 else 1  # opset 10: without a region of interest
        if position >= len(node.inputs) or not node.inputs[position]:
            return None
        values = constant(model, node, position)
    else:
        values = np.array(node.attributes["scales"]) if "scales" in node.attributes else constant(model, node, 1)
    if not values.size:
        return None
    axes = node.attributes.get("axes")
    every = np.ones(len(model.shapes[node.inputs[0]]) + 1)
    every[list(range(len(every))) if axes is None else list(axes)] = values
    return [float(value) for value in every[1:]]


def _refused(node: Node, what: str, found: object, allowed: tuple[object, ...]) -> ModelError:
    """Return the error for an interpolation that is not compiled."""
    return ModelError(
        node.name,
        f"{node.op} {what}; use a scale of 2, 4 or 8 with half_pixel or asymmetric coordinates, mode nearest, or a "
        "convolution with the interpolation weights",
        code="model-attribute",
        node=node.name,
        found=found,
        allowed=allowed,
    )
