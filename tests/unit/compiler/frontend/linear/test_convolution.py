"""Convolutions: padding, groups, dilation, one axis, and levels below zero in the padding."""

from __future__ import annotations

import numpy as np
import pytest
from support.against_reference import equal, finish, head, stem, ternary
from support.networks import Builder


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"}, {"auto_pad": "VALID"}])
def test_auto_pad(save, options) -> None:
    rng = np.random.default_rng(4)
    net = stem()
    net.node("Conv", "conv", net.const("conv.weight", ternary(rng, 2, 3, 2, 2).astype(np.float32)), **options)
    net.quantize("q", 0, 3)
    net.flatten()
    size = 50 if options["auto_pad"] == "VALID" else 72
    net.shape = (size,)
    head(net, size)
    equal(net, save)


@pytest.mark.slow
def test_dilation_and_groups(save) -> None:
    rng = np.random.default_rng(5)
    net = stem(channels=4)
    net.conv("conv", ternary(rng, 6, 2, 2, 2), dilations=[2, 3], group=2)
    net.quantize("q", 0, 3)
    net.flatten()
    head(net, int(np.prod(net.shape)))
    equal(net, save)


@pytest.mark.slow
def test_one_dimensional_convolution(save) -> None:
    rng = np.random.default_rng(6)
    net = Builder((1, 12))
    net.node("Conv", "stem", net.const("stem.weight", (rng.integers(-9, 10, (2, 1, 3)) / 1024).astype(np.float32)))
    net.quantize("q0", 1, 3)
    net.node("Conv", "conv", net.const("conv.weight", ternary(rng, 3, 2, 3).astype(np.float32)), strides=[2], pads=[1, 0])
    net.quantize("q1", 0, 2)
    net.node("Flatten", "flat")
    net.shape = (15,)
    head(net, 15)
    equal(net, save, shape=(1, 12))


@pytest.mark.slow
def test_padding_of_levels_below_zero_makes_border_classes(save) -> None:
    rng = np.random.default_rng(8)
    net = Builder((1, 6, 6))
    net.conv("stem", np.array([1, -1]).reshape(2, 1, 1, 1) / 128.0)
    net.node("Round", "round")
    low, high = net.const("low", np.float32(-1)), net.const("high", np.float32(2))
    net.node("Clip", "clip", low, high)
    net.conv("conv", ternary(rng, 3, 2, 3, 3), pads=[1, 1, 1, 1])
    net.quantize("q", 0, 3)
    net.flatten()
    head(net, 108)
    done, _ = equal(net, save)
    assert done.graph.encoder.zero_point == -1
    conv = next(layer for layer in done.graph.layers if layer.name == "conv")
    assert len(np.unique(conv.border)) == 9


@pytest.mark.slow
def test_padded_convolution_of_levels_minus_one_and_one(save) -> None:
    rng = np.random.default_rng(3)
    net = Builder((1, 6, 6))
    net.conv("stem", np.array([1, -1]).reshape(2, 1, 1, 1) / 64.0, np.array([-1.0, 2.0]))
    net.node("GreaterOrEqual", "above", net.const("zero", np.float32(0)))
    net.node("Where", "sign", net.const("one", np.float32(1)), net.const("minus", np.float32(-1)))
    net.conv("conv", ternary(rng, 3, 2, 3, 3), pads=[1] * 4)
    net.quantize("q", 0, 3)
    equal(finish(net, net.shape), save, certified=False)


def test_weights_that_are_all_zero(save) -> None:
    net = stem(channels=2)
    net.conv("conv", np.zeros((2, 2, 3, 3)), np.array([1.0, 0.0]))
    net.quantize("q", 0, 3)
    equal(finish(net, net.shape), save, certified=False)
