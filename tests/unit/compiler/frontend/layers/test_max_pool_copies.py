"""Max pools whose windows do not lie along the rows and columns of one layer."""

from __future__ import annotations

import numpy as np
import pytest
from support.against_reference import equal, finish, ints, stem, ternary
from support.networks import Builder


def reordered(net: Builder, how: str) -> Builder:
    """A max pool of levels that were transposed, reshaped, padded or are taken over channels."""
    pool = {"kernel_shape": [2, 2], "strides": [1, 1], "pads": [1, 0, 0, 1]}
    if how == "transpose":
        net.node("Transpose", "turn", perm=[0, 2, 3, 1])
        net.node("MaxPool", "pool", **pool)
        return finish(net, (6, 6, 3))
    if how == "reshape":
        net.node("Reshape", "deal", ints(net, "shape", 0, 4, 9, 3))
        net.node("MaxPool", "pool", **pool, dilations=[2, 1])
        return finish(net, (4, 8, 3))
    if how == "edge":
        net.node("Pad", "edge", ints(net, "pads", 0, 0, 1, 1, 0, 0, 0, 1), "", mode="edge")
        net.node("MaxPool", "pool", kernel_shape=[3, 2], strides=[2, 2])
        return finish(net, (3, 3, 4))
    if how == "constant":
        net.node("Transpose", "turn", perm=[0, 2, 1, 3])
        net.node("Pad", "one", ints(net, "pads", 0, 0, 0, 2, 0, 0, 0, 0), net.const("value", np.float32(0.5)))
        net.node("MaxPool", "pool", kernel_shape=[2, 2])
        return finish(net, (6, 2, 7))
    net.node("ReduceMax", "most", axes=[1], keepdims=how == "kept")
    return finish(net, (1, 6, 6))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["transpose", "reshape", "edge", "constant", "kept", "channels"])
@pytest.mark.parametrize("late", [False, True])
def test_max_pool_of_reordered_levels(how, late, save) -> None:
    """Quantized before the pool, or behind it by a decreasing function."""
    net = stem()
    net.conv("conv", ternary(np.random.default_rng(3), 3, 3, 1, 1))
    if not late:
        net.quantize("quant", 1, 3)
    net = reordered(net, how)
    if late:
        at = next(i for i, node in enumerate(net.nodes) if node.op_type in ("MaxPool", "ReduceMax"))
        after, (pooled,) = net.nodes[at + 1 :], net.nodes[at].output
        net.nodes[at].output[0] = net.here = "pooled"
        del net.nodes[at + 1 :]
        net.node("Neg", "neg")
        net.quantize("quant", 1, 3)
        net.nodes[-1].output[0] = pooled
        net.nodes += after
        net.here = after[-1].output[0]
    equal(net, save)
