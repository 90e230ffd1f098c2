"""Quantizers and factors with a scale per channel, and what reads them."""

from __future__ import annotations

import numpy as np
import pytest
from support.against_reference import equal, finish, ints, stem, ternary
from support.networks import Builder

from qsnnc import ModelError, verify

SCALES = np.array([0.5, 0.3, 0.7, 1.1])


def per_channel_quantizer(scales: np.ndarray = SCALES, *, pooled: bool = False, zero: float = 0.0) -> Builder:
    """A network that ends in a quantizer with a scale per channel."""
    net = stem(channels=3)
    net.conv("conv", ternary(np.random.default_rng(6), 4, 3, 3, 3), np.array([0.25, -0.5, 0.125, 1.0]), pads=[1] * 4)
    if pooled:
        net.node("MaxPool", "early", kernel_shape=[2, 2], strides=[2, 2])
        net.shape = (4, 3, 3)
    scale = net.const("scale", (scales * [1, 1, -1 if pooled else 1, 1]).astype(np.float32).reshape(4, 1, 1))
    net.node("Div", "div", scale)
    net.node("Round", "round")
    net.node("Clip", "clip", net.const("low", np.float32(zero)), net.const("high", np.float32(zero + 3)))
    net.node("Mul", "mul", scale)
    return net


@pytest.mark.slow
@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("zero", [0.0, -1.0])
def test_depthwise_convolution_of_per_channel_scales(pooled, zero, save) -> None:
    net = per_channel_quantizer(pooled=pooled, zero=zero)
    net.conv("depthwise", ternary(np.random.default_rng(7), 4, 1, 3, 3), group=4, pads=[1] * 4)
    net.quantize("q", 1, 3)
    done, _ = equal(finish(net), save, certified=False)
    layer = next(layer for layer in done.graph.layers if layer.name == "depthwise")
    assert len(layer.connections) == 1, "one kernel, though it reads four scales"
    assert layer.connections[0].groups == 4


@pytest.mark.slow
def test_depthwise_convolution_of_a_per_channel_encoder(save) -> None:
    """The first quantizer has a scale per channel, as in Brevitas' MobileNet."""
    net = Builder((1, 6, 6))
    net.conv("stem", np.random.default_rng(5).integers(-3, 5, (4, 1, 3, 3)) / 2048, pads=[1] * 4)
    scale = net.const("scale", SCALES.astype(np.float32).reshape(4, 1, 1))
    net.node("Div", "div", scale)
    net.node("Round", "round")
    net.node("Clip", "clip", net.const("low", np.float32(0)), net.const("high", np.float32(3)))
    net.node("Mul", "mul", scale)
    net.conv("depthwise", ternary(np.random.default_rng(7), 4, 1, 3, 3), group=4, pads=[1] * 4)
    net.quantize("q", 1, 3)
    done, _ = equal(finish(net), save, certified=False)
    assert (done.graph.encoder.levels, done.graph.encoder.tensor) == (3, "")


@pytest.mark.slow
def test_pool_and_residual_sum_of_per_channel_scales(save) -> None:
    net = per_channel_quantizer()
    first = net.here
    net.node("MaxPool", "pool", kernel_shape=[3, 3], pads=[1] * 4)
    net.node("Add", "add", first)
    net.quantize("q", 1, 3)
    done, _ = equal(finish(net), save, certified=False)
    pools = [layer for layer in done.graph.layers if layer.kind == "pool"]
    assert len(pools) == 1, "one population, though it has four scales"


@pytest.mark.slow
def test_scales_of_channels_in_small_ratios_become_weights(save) -> None:
    """0.5, 0.3, 0.7 and 1.1 are 5, 3, 7 and 11 tenths."""
    net = per_channel_quantizer()
    net.conv("mixes", np.ones((2, 4, 1, 1)))
    net.quantize("q", 1, 3)
    done, _ = equal(finish(net), save, certified=False)
    layer = next(layer for layer in done.graph.layers if layer.name == "mixes")
    assert layer.connections[0].weights[0].reshape(-1).tolist() == [5, 3, 7, 11]


def test_convolution_of_scales_without_small_ratios_is_refused(save) -> None:
    net = per_channel_quantizer(np.sqrt([0.2, 0.3, 0.5, 0.7]))
    net.conv("mixes", np.ones((2, 4, 1, 1)))
    net.quantize("q", 1, 3)
    with pytest.raises(ModelError, match="for all channels") as caught:
        verify(save(finish(net).model()))
    assert caught.value.subject == "mixes"
    assert caught.value.code == "concat-scales"


def test_convolution_of_levels_times_a_factor_per_channel_is_refused(save) -> None:
    net = stem(channels=2)
    net.conv("conv", ternary(np.random.default_rng(8), 2, 2, 2, 2))
    net.quantize("q", 0, 3)
    net.node("Mul", "scales", net.const("own", np.float32([0.3, 0.4711]).reshape(2, 1, 1)))
    net.conv("next", ternary(np.random.default_rng(9), 2, 2, 2, 2))
    net.quantize("q2", 0, 3)
    with pytest.raises(ModelError, match="give its inputs one scale for all channels") as caught:
        equal(finish(net, net.shape), save)
    assert caught.value.code == "concat-scales"


@pytest.mark.slow
def test_batch_norm_between_quantizer_and_convolution(save) -> None:
    net = stem(channels=2)
    net.batch_norm("bn", [2.0, 4.0], [0.5, 1.0], [0.0, 0.0], [1 - 1e-5] * 2)
    net.conv("conv", ternary(np.random.default_rng(7), 2, 2, 3, 3))
    net.quantize("q", 0, 3)
    equal(finish(net, net.shape), save, certified=False)


@pytest.mark.slow
def test_batch_norm_behind_a_slice_of_one_channel(save) -> None:
    net = stem()
    net.conv("conv", ternary(np.random.default_rng(2), 3, 3, 2, 2))
    net.node("Slice", "cut", ints(net, "starts", 1), ints(net, "ends", 2), ints(net, "axes", 1))
    net.batch_norm("bn", [-0.5], [1.0], [0.5], [1.0 - 1e-5])
    net.quantize("quant", 1, 3)
    equal(finish(net, (1, 5, 5)), save, certified=False)
