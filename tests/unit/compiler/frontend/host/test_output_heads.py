"""Several linear layers that the host computes one output from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import helper
from support.against_reference import equal, ints, stem, ternary
from support.networks import Builder

from qsnnc import ModelError, verify


def trunk(rng: np.random.Generator) -> Builder:
    net = stem(channels=3)
    net.conv("conv", ternary(rng, 4, 3, 3, 3), pads=[1] * 4)
    net.quantize("trunk", 0, 3)
    return net


def head(net: Builder, name: str, weights: np.ndarray, **attributes: object) -> str:
    """A head on the tensor that is here, which stays so."""
    here, shape = net.here, net.shape
    bias = np.arange(len(weights)) / 4
    net.gemm(name, weights, bias) if weights.ndim == 2 else net.conv(name, weights, bias, **attributes)
    end, net.here, net.shape = net.here, here, shape
    return end


def end(net: Builder, op: str, *inputs: str, shape: tuple[int, ...], **attributes: object) -> Builder:
    net.nodes.append(helper.make_node(op, inputs, ["scores"], "scores", **attributes))
    net.here, net.shape = "scores", shape
    return net


def two_kernels(rng: np.random.Generator) -> Builder:
    """Heads of one map: classes through a sigmoid beside boxes; padding makes border classes of one of them."""
    net = trunk(rng)
    classes = head(net, "classes", ternary(rng, 2, 4, 1, 1))
    boxes = head(net, "boxes", rng.integers(-3, 4, (4, 2, 3, 3)).astype(float), pads=[1] * 4, group=2)
    net.nodes.append(helper.make_node("Abs", [classes], ["sure"], "abs"))
    return end(net, "Concat", boxes, "sure", axis=1, shape=(6, 6, 6))


def two_maps(rng: np.random.Generator) -> Builder:
    """Heads of maps of different sizes, as detectors have them."""
    net = trunk(rng)
    fine = head(net, "fine", ternary(rng, 2, 4, 3, 3), pads=[1] * 4)
    net.conv("down", ternary(rng, 4, 4, 2, 2), strides=[2, 2])
    net.quantize("down/quant", -1, 3)
    coarse = head(net, "coarse", ternary(rng, 2, 4, 1, 1))
    shape = ints(net, "flat", 0, 2, -1)
    for name in (fine, coarse):
        net.nodes.append(helper.make_node("Reshape", [name, shape], [f"{name}.flat"], f"{name}/flat"))
    return end(net, "Concat", f"{coarse}.flat", f"{fine}.flat", axis=2, shape=(2, 45))


def dueling(rng: np.random.Generator) -> Builder:
    net = trunk(rng)
    net.flatten()
    value = head(net, "value", ternary(rng, 1, 144))
    advantage = head(net, "advantage", ternary(rng, 4, 144))
    return end(net, "Add", advantage, value, shape=(4,))


def levels_and_scores(rng: np.random.Generator) -> Builder:
    """One of them is an activation that is read out as levels."""
    net = trunk(rng)
    scores = head(net, "other", ternary(rng, 2, 4, 1, 1))
    return end(net, "Concat", net.here, scores, axis=1, shape=(6, 6, 6))


@pytest.mark.slow
@pytest.mark.parametrize("build", [two_kernels, two_maps, dueling, levels_and_scores])
def test_heads_that_the_host_joins(build: Callable[[np.random.Generator], Builder], save) -> None:
    equal(build(np.random.default_rng(5)), save, certified=False)


def test_the_image_beside_a_head_is_refused(save) -> None:
    net = trunk(np.random.default_rng(5))
    scores = head(net, "other", ternary(np.random.default_rng(6), 1, 4, 1, 1))
    with pytest.raises(ModelError, match="the output is computed from 2 tensors"):
        verify(save(end(net, "Mul", scores, "image", shape=(1, 6, 6)).model()))
