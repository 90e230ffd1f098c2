"""Max and average pools: padding, ceil mode, the whole map, one behind the other."""

from __future__ import annotations

import numpy as np
import pytest
from support.against_reference import equal, finish, head, stem, ternary
from support.networks import Builder

from qsnnc import compile_model
from qsnnc.errors import ModelError


@pytest.mark.slow
@pytest.mark.parametrize("include", [0, 1])
def test_padded_average_pool_has_a_divisor_per_border_class(save, include) -> None:
    net = stem()
    net.node("AveragePool", "pool", kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=include)
    net.quantize("q", 2, 6)
    net.flatten()
    net.shape = (48,)
    head(net, 48)
    done, _ = equal(net, save)
    pool = next(layer for layer in done.graph.layers if layer.name == "pool")
    assert len(np.unique(pool.border)) == (1 if include else 3)  # divided by 4 everywhere, or by 1, 2 and 4


@pytest.mark.slow
@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize("include", [0, 1])
def test_average_pool_with_ceil_mode_and_padding(save, ceil, include) -> None:
    net = stem(shape=(1, 5, 7))
    options = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}
    net.node("AveragePool", "pool", ceil_mode=ceil, count_include_pad=include, **options)
    net.quantize("q", 3, 12)
    size = (3, 3, 4)
    finish(net, size)
    equal(net, save, shape=(1, 5, 7), opset=19, certified=False)


@pytest.mark.slow
@pytest.mark.parametrize("op", ["GlobalAveragePool", "ReduceMean", "GlobalMaxPool"])
def test_pools_over_the_whole_map(save, op) -> None:
    net = stem(shape=(1, 4, 4))
    options = {"axes": [2, 3], "keepdims": 1} if op == "ReduceMean" else {}
    net.node(op, "pool", **options)
    net.quantize("q", 2, 6)
    net.flatten()
    net.shape = (3,)
    head(net, 3)
    equal(net, save, shape=(1, 4, 4))


@pytest.mark.slow
def test_max_pool_with_ceil_mode(save) -> None:
    net = stem(shape=(1, 5, 5))
    net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    net.flatten()
    net.shape = (27,)
    head(net, 27)
    equal(net, save, shape=(1, 5, 5))


@pytest.mark.slow
def test_max_pool_of_a_max_pool_of_sums(save) -> None:
    net = stem(channels=3)
    net.conv("conv", ternary(np.random.default_rng(5), 2, 3, 1, 1))
    net.node("MaxPool", "pool1", kernel_shape=[2, 2])
    net.node("MaxPool", "pool2", kernel_shape=[2, 2], strides=[2, 2])
    net.shape = (2, 2, 2)
    net.quantize("q", 0, 3)
    equal(finish(net, net.shape), save, certified=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("window", "bias"),
    [({"kernel_shape": [2, 2], "strides": [2, 2]}, None), ({"kernel_shape": [3, 2], "strides": [1, 2]}, [0.5, -1.5, 2])],
)
def test_average_pool_behind_a_convolution_without_a_quantizer_is_one_wider_kernel(save, window, bias) -> None:
    net = stem()
    weights = ternary(np.random.default_rng(2), 3, 3, 3, 3)
    net.conv("conv", weights, None if bias is None else np.array(bias), pads=[1, 1, 1, 1])
    net.node("AveragePool", "pool", **window)
    net.quantize("q", 2, 6)
    finish(net, (3, 3, 3) if bias is None else (3, 4, 3))
    done, _ = equal(net, save, certified=bias is None)  # by a third: float32 rounds
    layer = next(layer for layer in done.graph.layers if layer.name == "pool")
    kernel = window["kernel_shape"]
    assert layer.connections[0].weights.shape[2:] == (3 + kernel[0] - 1, 3 + kernel[1] - 1)
    assert "conv" not in [layer.name for layer in done.graph.layers]


def test_average_pool_with_padding_behind_a_convolution_is_refused(save) -> None:
    net = stem()
    net.conv("conv", ternary(np.random.default_rng(2), 3, 3, 3, 3))
    net.node("AveragePool", "pool", kernel_shape=[2, 2], pads=[1, 1, 1, 1])
    net.quantize("q", 2, 6)
    finish(net, (3, 5, 5))
    with pytest.raises(ModelError, match="pool: reads 'conv_out', which is not quantized"):
        compile_model(save(net.model()))


def test_a_mean_of_a_mean_over_the_channels_of_a_signal(save) -> None:
    net = Builder((1, 6))
    net.node("Conv", "stem", net.const("stem.weight", ternary(np.random.default_rng(1), 4, 1, 2).astype(np.float32) / 64))
    net.quantize("stem/quant", 1, 3)
    net.node("ReduceMean", "first", axes=[1], keepdims=1)
    net.node("ReduceMean", "second", axes=[1], keepdims=1)
    net.quantize("q", 3, 7)
    equal(finish(net, (1, 5)), save, (1, 6))
