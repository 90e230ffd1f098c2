"""The details that decide whether thresholds are exact, each on a network made for it."""

from __future__ import annotations

import numpy as np
import pytest
from support.networks import Builder

import chipsim
from chipsim.chip import load_chip
from chipsim.datasets import Dataset
from qsnnc import DoesNotFit, compile_model, read_layers
from qsnnc.frontend.layers import thresholds
from qsnnc.frontend.model.reference import session


def network(gamma, beta, mean, var, *, k: int = 1, levels: int = 4, weights=None, bias=None, pool: str = "") -> Builder:
    """An encoder, a ternary 1x1 convolution with the batch norm under test, a classifier."""
    channels = len(gamma)
    net = Builder((1, 6, 6))
    net.conv("stem", np.full((3, 1, 1, 1), 1 / 64.0))
    net.batch_norm("stem/bn", np.ones(3), np.zeros(3), np.array([0.3, 0.8, 1.6]), np.ones(3))
    net.quantize("stem/quant", 1, 4)
    if weights is None:
        weights = np.resize([1.0, -1.0, 1.0, 0.0, 1.0, 1.0], (channels, 3, 1, 1))
    net.conv("conv", weights, bias)
    net.batch_norm("bn", gamma, beta, mean, var)
    if pool == "before":
        net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1])
    net.quantize("quant", k, levels)
    if pool == "after":
        net.node("MaxPool", "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    size = {"": 6, "before": 3, "after": 3}[pool]
    net.shape = (channels, size, size)
    net.flatten()
    net.gemm("head", np.resize([1.0, -3.0, 2.0, 5.0, -7.0], (4, channels * size * size)))
    return net


def run(net: Builder, save, chip="xbar1152"):
    """Compile and hold against onnxruntime on ramps that meet every pixel value."""
    model = net.model()
    images = np.resize(np.random.default_rng(0).permutation(256), (40, 6, 6)).astype(np.uint8)
    done = compile_model(save(model), chip)
    result = chipsim.run(done.mapping, Dataset("ramp", "test", images, None))
    expected = session(model).run(None, {"image": images[:, None].astype(np.float32)})[0]
    np.testing.assert_array_equal(result.scores, expected)
    return done


def layer(done, name="conv"):
    return next(entry for entry in done.graph.layers if entry.name == name)


def brute_force(done, model_bn, k: int, levels: int):
    """Thresholds by evaluating batch norm and quantizer, in float32, on every reachable accumulator."""
    gamma, beta, mean, var = (np.asarray(v, np.float32) for v in model_bn)
    entry = layer(done)
    for channel in range(len(gamma)):
        low, high = entry.reach[0, channel]
        p = np.arange(low, high + 1)
        rising = done.graph.layers[0].connections[0].weights[channel]
        original = np.resize([1.0, -1.0, 1.0, 0.0, 1.0, 1.0], (len(gamma), 3, 1, 1))[channel]
        sign = -1 if (rising != original).any() else 1
        x = (sign * p / 2).astype(np.float32)
        scale = gamma[channel] / np.sqrt(var[channel] + np.float32(1e-5))
        y = x * scale + (beta[channel] - mean[channel] * scale)
        level = np.clip(np.round(y * np.float32(2**k)), 0, levels)
        for i in range(levels):
            above = p[level > i]
            wanted = above[0] if len(above) else high + 1
            assert entry.thresholds[0, channel, i] == wanted, (channel, i)


def test_negative_gamma_is_mapped_as_a_rising_map_of_negated_weights(save) -> None:
    bn = ([-0.7, 0.7], [1.0, 0.2], [0.3, 0.1], [1.0, 1.0])
    done = run(network(*bn), save)
    weights = layer(done).connections[0].weights
    assert (weights[0].ravel() == [-1, 1, -1]).all()  # negated
    assert (weights[1].ravel() == [0, 1, 1]).all()
    brute_force(done, bn, 1, 4)


@pytest.mark.slow
def test_gamma_zero_makes_a_constant_channel(save) -> None:
    done = run(network([0.0, 0.0, 0.6], [0.8, -1.0, 0.1], [0.0, 0.0, 0.2], [1.0, 1.0, 1.0]), save)
    entry = layer(done)
    low, high = entry.reach[0, 0]
    assert entry.levels == 4
    assert entry.thresholds[0, 0].tolist() == [low, low, high + 1, high + 1]  # level 2 whatever comes in
    assert entry.thresholds[0, 1].tolist() == [entry.reach[0, 1, 1] + 1] * 4


@pytest.mark.slow
def test_dead_and_always_firing_channels(save) -> None:
    done = run(network([0.5, 0.5, 0.5], [-90.0, 90.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]), save)
    entry = layer(done)
    assert (entry.thresholds[0, 0] == entry.reach[0, 0, 1] + 1).all()  # never
    assert (entry.thresholds[0, 1] == entry.reach[0, 1, 0]).all()  # always: fires on silence
    result = chipsim.run(done.mapping, Dataset("black", "test", np.zeros((2, 6, 6), np.uint8), None))
    assert result.layers[0].spikes >= 2 * 36 * 4


@pytest.mark.slow
def test_equal_thresholds_of_a_steep_batch_norm(save) -> None:
    bn = ([900.0, -900.0], [0.0, 0.0], [0.6, 0.6], [1.0, 1.0])
    done = run(network(*bn), save)
    assert len(set(layer(done).thresholds[0, 0].tolist())) == 1
    brute_force(done, bn, 1, 4)


@pytest.mark.slow
@pytest.mark.parametrize(("k", "levels"), [(0, 1), (0, 4), (1, 2), (2, 7)])
def test_ties_round_half_to_even(save, k, levels) -> None:
    bn = ([1.0, 0.5, -0.25], [0.25, 0.5, 1.0], [0.0, 0.25, 0.5], [1.0 - 1e-5] * 3)
    brute_force(run(network(*bn, k=k, levels=levels), save), bn, k, levels)


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["before", "after"])
def test_max_pool_is_any_or_all(save, pool) -> None:
    done = run(network([-0.7, 0.7, 0.4], [1.0, 0.2, 0.3], [0.3, 0.1, 0.0], [1.0] * 3, pool=pool), save)
    assert layer(done, "pool").connections[0].level_wise


@pytest.mark.slow
def test_falling_map_after_a_max_pool_fires_where_all_of_the_window_fire(save) -> None:
    net = Builder((1, 6, 6))
    net.conv("stem", np.full((2, 1, 1, 1), 1 / 64.0))
    net.batch_norm("stem/bn", np.ones(2), np.zeros(2), np.array([0.3, 0.8]), np.ones(2))
    net.quantize("stem/quant", 1, 4)
    net.conv("conv", np.resize([1.0, -1.0, 1.0], (3, 2, 1, 1)))
    net.node("MaxPool", "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    net.shape = (3, 3, 3)
    net.batch_norm("bn", np.array([-0.8, 0.8, -0.5]), np.full(3, 0.9), np.zeros(3), np.ones(3))
    net.quantize("quant", 1, 4)
    net.flatten()
    net.gemm("head", np.resize([1.0, -3.0, 2.0], (4, 27)))
    done = run(net, save)
    pool = layer(done, "pool")
    sizes = pool.thresholds[:, 0, 0][pool.border]  # a falling channel: the valid size of each window
    assert sizes.tolist() == [[4, 6, 6], [6, 9, 9], [6, 9, 9]]
    assert (pool.thresholds[:, 1] == 1).all()


@pytest.mark.slow
def test_the_most_negative_weight_cannot_be_negated(save) -> None:
    weights = np.array([[-128.0], [127.0], [1.0]]).reshape(1, 3, 1, 1)
    run(network([0.01], [0.2], [0.0], [1.0], weights=weights), save)
    with pytest.raises(DoesNotFit, match=r"conv: its weights need 9 bits; chip 'xbar1152' has at most 8"):
        run(network([-0.01], [0.2], [0.0], [1.0], weights=weights), save)


def test_never_and_always_do_not_leave_the_threshold_s_range(save) -> None:
    chip = load_chip("mini").model_copy(update={"grid": (20, 20), "threshold_bits": 4, "potential_bits": 5})
    with pytest.raises(DoesNotFit) as caught:
        run(network([0.5], [-90.0], [0.0], [1.0], weights=np.ones((1, 3, 1, 1))), save, chip)
    first = caught.value.violations[0]
    assert (first.layer, first.limit, first.found, first.allowed) == ("conv", "potential", 13, 7)


@pytest.mark.slow
def test_convolution_bias_on_the_grid_is_exact(save) -> None:
    done = run(network([0.7, -0.7], [0.1, 0.3], [0.2, 0.4], [1.0, 1.0], bias=np.array([0.75, -1.5])), save)
    assert layer(done).exact_sums
    assert layer(done).certified


def test_scales_that_are_no_powers_of_two_are_tested_not_certified(save) -> None:
    weights = np.array([[0.1], [-0.3], [0.2]]).reshape(1, 3, 1, 1)
    model = network([0.7], [0.1], [0.2], [1.0], weights=weights).model()
    done = compile_model(save(model))
    assert layer(done).connections[0].weights.ravel().tolist() == [1, -3, 2]
    assert not layer(done).exact_sums
    assert done.mapping.exactness == "tested"


def test_zero_points_are_neat_or_exact() -> None:
    from qsnnc.frontend.quantizers.levels import zero_point_of

    assert zero_point_of(np.array([-0.5, 1.0]), 1.5) * 1.5 == -0.5
    scale = float(np.float32(0.1))
    rounded = (np.float32(scale) * np.arange(-8, 8, dtype=np.float32)).astype(np.float64)
    assert zero_point_of(rounded, float(np.ptp(rounded) / 15)) == -8.0


@pytest.mark.parametrize(("channels", "levels", "known"), [(64, 200, True), (2, 3, False)])
def test_what_is_known_to_be_uncertain_is_what_bounds_find(
    save, monkeypatch, channels: int, levels: int, known: bool
) -> None:
    """Padding of zeros makes classes that differ in what they reach; sums of many terms are wrong by whole potentials."""
    rng = np.random.default_rng(1)
    net = Builder((1, 8, 8))
    net.conv("stem", rng.normal(0, 1, (channels, 1, 3, 3)).round(3) * 4, pads=[1] * 4)
    net.quantize("stem/quant", 0, levels)
    net.conv("wide", rng.integers(-100, 101, (12, channels, 3, 3)) / 12_000, rng.normal(0, 1, 12), pads=[1] * 4)
    net.quantize("wide/quant", 0, levels)
    net.conv("last", rng.integers(-3, 4, (2, 12, 8, 8)).astype(float))
    net.flatten()
    path = save(net.model())
    found = read_layers(path).population("wide").uncertain
    monkeypatch.setattr(thresholds, "ACROSS", np.inf)
    again = read_layers(path).population("wide").uncertain
    assert all(np.array_equal(getattr(again, name), getattr(found, name)) for name in ("channel", "border_class", "level"))
    assert (found.bound >= 1.5).any() == known
