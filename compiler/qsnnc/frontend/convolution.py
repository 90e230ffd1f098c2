"""Conv with constant weights."""

from __future__ import annotations

import numpy as np

from qsnnc.frontend.convolve import convolve
from qsnnc.frontend.linear import Arm, Sums
from qsnnc.frontend.matrices import constant, settled
from qsnnc.frontend.pools import window_of
from qsnnc.frontend.read import Model, Node
from qsnnc.frontend.tensors import Accumulator, Quantized, as_map, natural


def convolution(model: Model, node: Node, tensor: Quantized, name: str) -> Accumulator:
    """Any stride, padding, dilation and number of groups, over one or two axes."""
    weights = constant(model, node, 1)
    bias = constant(model, node, 2) if len(node.inputs) > 2 and node.inputs[2] else np.zeros(len(weights))
    out = model.shapes[node.outputs[0]]
    window = window_of(node, weights.shape[2:], tensor.index.shape[1:], out[1:])
    kernel = weights.reshape(*weights.shape[:2], *window.kernel)
    arm = Arm(tensor, as_map(tensor.index.shape, node), kernel, int(node.attributes.get("group", 1)), window)
    shape = as_map(out, node)
    return settled(model, convolve(Sums(name, "convolution", node, shape, natural(shape, out)), [arm], bias))
