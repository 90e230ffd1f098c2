"""Conv with constant weights."""

from __future__ import annotations

import numpy as np

from qsnnc.frontend.convolve import convolve
from qsnnc.frontend.linear import Arm, Sums
from qsnnc.frontend.matrices import constant, settled
from qsnnc.frontend.pools import window_of
from qsnnc.frontend.read import Model, Node
from qsnnc.frontend.tensors import Accumulator, Terms, as_map, natural


def convolution(model: Model, node: Node, terms: Terms, name: str) -> Accumulator:
    """Any stride, padding, dilation and number of groups, over one or two axes."""
    weights = constant(model, node, 1)
    bias = constant(model, node, 2) if len(node.inputs) > 2 and node.inputs[2] else np.zeros(len(weights))
    out = model.shapes[node.outputs[0]]
    window = window_of(node, weights.shape[2:], terms.shape[1:], out[1:])
    kernel = weights.reshape(*weights.shape[:2], *window.kernel)
    seen, groups = as_map(terms.shape, node), int(node.attributes.get("group", 1))
    arms = [
        Arm(tensor, seen, sign * kernel, groups, window) for tensor, sign in zip(terms.tensors, terms.signs, strict=True)
    ]
    shape = as_map(out, node)
    sums = Sums(name, "convolution", node, shape, natural(shape, out))
    return settled(model, terms.read(convolve(sums, arms, bias, written_out=not terms.composed)))
