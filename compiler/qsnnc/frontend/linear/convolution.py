"""Turn Conv and ConvTranspose with constant weights into accumulators."""

from __future__ import annotations

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.frontend.linear.accumulate import Operand, Sums
from qsnnc.frontend.linear.convolve import convolve
from qsnnc.frontend.linear.matmul import constant, with_exact_integer_sums
from qsnnc.frontend.linear.polyphase import spaced
from qsnnc.frontend.linear.pooling import window_of
from qsnnc.frontend.linear.tensors import F64, Accumulator, Quantized, Terms, as_map, natural
from qsnnc.frontend.linear.views import Window
from qsnnc.frontend.model.model import Model, Node


def convolution(model: Model, node: Node, terms: Terms, name: str) -> Accumulator:
    """Turn a Conv over one or two axes into an accumulator; any stride, padding, dilation and number of groups."""
    weights = constant(model, node, 1)
    bias = _bias(model, node, len(weights))
    out = model.shapes[node.outputs[0]]
    window = window_of(node, weights.shape[2:], terms.shape[1:], out[1:])
    kernel = weights.reshape(*weights.shape[:2], *window.kernel)
    seen, groups = as_map(terms.shape, node), int(node.attributes.get("group", 1))
    operands = [
        Operand(tensor, seen, sign * kernel, groups, window) for tensor, sign in zip(terms.tensors, terms.signs, strict=True)
    ]
    shape = as_map(out, node)
    sums = Sums(name, "convolution", node, shape, natural(shape, out))
    return with_exact_integer_sums(model, terms.read(convolve(sums, operands, bias, written_out=not terms.composed)))


def _bias(model: Model, node: Node, channels: int) -> F64:
    """Return the bias of each output channel; zeros without one."""
    if len(node.inputs) < 3 or not node.inputs[2]:
        return np.zeros(channels)
    bias = constant(model, node, 2)
    if bias.shape != (channels,):  # the reference evaluator takes others than the standard does
        text = f"its bias has shape {list(bias.shape)}; expected: {[channels]}, one value for each output channel"
        raise ModelError(node.name, text, code="model-shapes", node=node.name, found=bias.shape, allowed=(channels,))
    return bias


def transposed(model: Model, node: Node, terms: Terms, name: str) -> Accumulator:
    """Turn a ConvTranspose into a convolution with the flipped kernel on the input with zeros inserted."""
    weights = constant(model, node, 1)
    groups = int(node.attributes.get("group", 1))
    plain = window_of(node, weights.shape[2:], terms.shape[1:], model.shapes[node.outputs[0]][1:])
    kernel = weights.reshape(groups, len(weights) // groups, weights.shape[1], *plain.kernel)
    kernel = kernel.transpose(0, 2, 1, 3, 4)[..., ::-1, ::-1].reshape(-1, len(weights) // groups, *plain.kernel)
    bias = _bias(model, node, len(kernel))
    out = as_map(model.shapes[node.outputs[0]], node)
    pads = _cut_at_begin(node, plain, as_map(terms.shape, node)[1:], out[1:])
    operands = []
    for tensor, sign in zip(terms.tensors, terms.signs, strict=True):
        seen = tensor.index.reshape(as_map(terms.shape, node))
        index = spaced(seen, len(tensor.fixed), plain.strides)
        moved = Quantized(tensor.parts, index, np.append(tensor.fixed, 0.0))
        reach = [(size - 1) * step for size, step in zip(plain.kernel, plain.dilations, strict=True)]
        begin = [reach[axis] - pads[axis] for axis in (0, 1)]
        end = [max(0, out[1 + axis] + reach[axis] - index.shape[1 + axis] - begin[axis]) for axis in (0, 1)]
        window = Window(plain.kernel, (1, 1), (begin[0], begin[1], end[0], end[1]), plain.dilations)
        operands.append(Operand(moved, index.shape, sign * kernel, groups, window))  # type: ignore[arg-type]
    sums = Sums(name, "convolution", node, out, natural(out, model.shapes[node.outputs[0]]))
    return with_exact_integer_sums(model, terms.read(convolve(sums, operands, bias, written_out=not terms.composed)))


def _cut_at_begin(node: Node, window: Window, space: tuple[int, ...], out: tuple[int, ...]) -> list[int]:
    """Return how many rows and columns a ConvTranspose cuts off at the top and left; what auto_pad and output_shape give."""
    auto = node.attributes.get("auto_pad", b"NOTSET")
    if "output_shape" not in node.attributes and not auto.startswith(b"SAME"):
        return list(window.pads[:2])
    more = [0, 0, *node.attributes.get("output_padding", ())][-2:]
    cut = []
    for axis in (0, 1):
        reach = (window.kernel[axis] - 1) * window.dilations[axis] + 1
        total = window.strides[axis] * (space[axis] - 1) + more[axis] + reach - out[axis]
        cut.append(total // 2 if auto == b"SAME_UPPER" else total - total // 2)
    return cut
