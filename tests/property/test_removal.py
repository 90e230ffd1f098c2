"""The law of removal: with or without the neurons that decide nothing, every potential and score is the same."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support.networks import Builder, Recipe, batch_norm_values, build
from test_equality import chips, recipes

import chipsim
from chipsim.chip import ChipSpec, load_chip
from chipsim.datasets import Dataset
from chipsim.engine.host import load_host
from chipsim.engine.machine import load
from chipsim.mapping import Mapping
from chipsim.mapping.pixels import prepare
from qsnnc import ModelError, check, compile_model, verify


def spoiled(seed: int, size: int, levels: int, share: float) -> onnx.ModelProto:
    """A network with channels that never fire, always fire, have no weights, or are read by nothing."""
    rng = np.random.default_rng(seed)
    net = Builder((1, size, size))

    def norm(spread: float) -> tuple[np.ndarray, ...]:
        gamma, beta, mean, variance = batch_norm_values(rng, net.shape[0], spread, odd=False)
        kind = rng.random(net.shape[0])
        beta = np.where(kind < share, -1e3, np.where(kind > 1 - share, 1e3, beta))
        beta[0] = 0.5  # one lives
        return gamma, beta, mean, variance

    net.conv("stem", rng.integers(-20, 21, (4, 1, 3, 3)) / 32.0, pads=[1, 1, 1, 1])
    net.batch_norm("stem/bn", *batch_norm_values(rng, 4, 150.0, odd=False))
    net.quantize("stem/quant", 1, levels)
    for name, pads in (("first", [0] * 4), ("padded", [1, 1, 1, 1]), ("last", [0] * 4)):
        weights = rng.integers(-1, 2, (5, net.shape[0], 2, 2)).astype(float)
        weights[rng.random(5) < share] = 0
        weights[:, rng.random(net.shape[0]) < share] = 0
        net.conv(name, weights, pads=pads)
        net.batch_norm(f"{name}/bn", *norm(3.0))
        net.quantize(f"{name}/quant", 1, levels)
        if name == "padded" and min(net.shape[1:]) >= 2:
            net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[2, 2])
            net.shape = (net.shape[0], *(n // 2 for n in net.shape[1:]))
            if min(net.shape[1:]) < 2:
                break
    net.flatten()
    head = rng.integers(-9, 10, (3, net.shape[0])) / 8.0
    head[:, rng.random(net.shape[0]) < share] = 0
    net.gemm("head", head, rng.integers(-9, 10, 3) / 8.0)
    return net.model()


def tied(seed: int) -> onnx.ModelProto:
    """A tested network whose largest and smallest sums lie between two levels: float rounding decides, at the very end."""
    rng = np.random.default_rng(seed)
    net = Builder((1, 6, 6))
    levels, scale = int(rng.integers(1, 8)), float(rng.choice([0.1, 0.013, 0.37, 0.3, 0.07]))

    def quantized(name: str, step: float, most: int) -> None:
        low, high = net.const(f"{name}.low", np.float32(0)), net.const(f"{name}.high", np.float32(most * step))
        unit, zero = net.const(f"{name}.scale", np.float32(step)), net.const(f"{name}.zero", np.uint8(0))
        net.node("Clip", f"{name}.clip", low, high)
        net.node("QuantizeLinear", f"{name}.q", unit, zero)
        net.node("DequantizeLinear", f"{name}.dq", unit, zero)

    net.conv("stem", rng.integers(1, 4, (3, 1, 1, 1)) * levels * scale / 255)
    quantized("stem", scale, levels)
    weights = rng.integers(0, 4, (4, 3, 3, 3))
    weights[rng.random(4) < 0.4] *= -1
    unit = float(rng.choice([0.1, 0.3, 0.7, 1 / 9]))
    most = float(np.abs(weights[0]).sum()) * unit * levels * scale
    halfway = int(rng.integers(0, 3))
    net.conv("conv", weights * unit, np.where((weights < 0).any(axis=(1, 2, 3)), most, 0.0))
    quantized("conv", most / (halfway + 0.5), halfway + int(rng.integers(1, 4)))
    if rng.random() < 0.5:
        net.node("AveragePool", "pool", kernel_shape=[2, 2])
        net.shape = (4, 3, 3)
        quantized("pool", most, 6)
    net.flatten()
    head = rng.integers(-2, 3, (3, net.shape[0])) / 4.0
    head[:, rng.random(net.shape[0]) < 0.2] = 0
    net.gemm("head", head)
    return net.model()


def both(model: onnx.ModelProto, chip: ChipSpec) -> tuple[Mapping, Mapping]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "net.onnx"
        path.write_bytes(model.SerializeToString())
        try:
            full = check(path, chip, keep_dead=True)
            assume(full.fits)
            less = check(path, chip)
        except ModelError as error:
            assume(error.code != "constant-activation")
            raise
    assert less.fits, "what fits with dead neurons fits without"
    return less.mapping, full.mapping


def element_spikes(mapping: Mapping, images: np.ndarray) -> tuple[dict[str, dict[int, np.ndarray]], np.ndarray]:
    """Spikes (images,) of each neuron by layer and element, and the potentials."""
    spikes, potentials = load(mapping).step(load_host(mapping).spikes(prepare(images, mapping.input, "random")))
    owner = np.repeat(mapping.core_layer, np.diff(mapping.neuron_offset))
    found: dict[str, dict[int, np.ndarray]] = {layer.name: {} for layer in mapping.layers}
    for layer, element, fired in zip(owner, mapping.neuron_element, spikes[mapping.encoder_neurons :], strict=True):
        found[mapping.layers[layer].name][int(element)] = fired
    return found, potentials


def assert_the_same(less: Mapping, full: Mapping, size: int, seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (6, size, size)).astype(np.uint8)
    few, potentials = element_spikes(less, images)
    many, all_potentials = element_spikes(full, images)
    np.testing.assert_array_equal(potentials, all_potentials)
    for layer, whole in zip(less.layers, full.layers, strict=True):
        assert (layer.name, layer.neurons + layer.removed) == (whole.name, whole.neurons)
        assert whole.removed == 0
        assert layer.cores <= whole.cores
        for element, fired in few[layer.name].items():
            np.testing.assert_array_equal(fired, many[layer.name][element])
    data = Dataset("random", "test", images, None)
    for noise in (0.0, 0.3):
        a, b = (chipsim.run(mapping, data, noise=noise, seed=5) for mapping in (less, full))
        np.testing.assert_array_equal(a.scores, b.scores)
        np.testing.assert_array_equal(a.potentials, b.potentials)
        assert a.encoder_spikes == b.encoder_spikes
        assert a.sops <= b.sops
        assert a.axon_events <= b.axon_events
    assert sops_between(less, few, few) == sops_between(full, many, few)


def sops_between(mapping: Mapping, fired: dict[str, dict[int, np.ndarray]], kept: dict[str, dict[int, np.ndarray]]) -> int:
    """SOPs on the chip's own spikes, counting only the neurons of ``kept``; the encoder's are left out."""
    layer_of = np.repeat(mapping.core_layer, np.diff(mapping.neuron_offset))
    names = [mapping.layers[layer].name for layer in layer_of]
    elements = mapping.neuron_element.tolist()
    counts = np.array([fired[n][e].sum() if e in kept[n] else 0 for n, e in zip(names, elements, strict=True)])
    there = np.array([e in kept[n] for n, e in zip(names, elements, strict=True)])
    total = 0
    for core in range(mapping.cores):
        sources = mapping.axon_source[mapping.axon_offset[core] : mapping.axon_offset[core + 1]] - mapping.encoder_neurons
        mine = there[mapping.neuron_offset[core] : mapping.neuron_offset[core + 1]]
        fanout = np.count_nonzero(mapping.crossbar(int(mapping.core_crossbar[core]))[:, mine], axis=1)
        inner = sources >= 0
        total += int(counts[sources[inner]].astype(np.int64) @ fanout[inner])
    return total


def assert_nothing_idle(mapping: Mapping) -> None:
    """Each neuron that is left is read, and each axon is read by a weight; but for the read-out's."""
    read = np.zeros(mapping.encoder_neurons + mapping.neurons, bool)
    for core in range(mapping.cores):
        rows = mapping.crossbar(int(mapping.core_crossbar[core])).any(axis=1)
        assert rows.all()
        read[mapping.axon_source[mapping.axon_offset[core] : mapping.axon_offset[core + 1]]] = True
    owner = np.repeat(mapping.core_layer, np.diff(mapping.neuron_offset))
    fires = np.array([layer.levels > 0 for layer in mapping.layers])[owner]
    assert read[mapping.encoder_neurons :][fires].all()


@pytest.mark.slow
@settings(max_examples=30, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.integers(0, 2**32 - 1), st.integers(4, 9), st.integers(1, 4), st.sampled_from([0.0, 0.2, 0.35]), chips())
def test_equal_with_and_without(seed: int, size: int, levels: int, share: float, chip: ChipSpec) -> None:
    less, full = both(spoiled(seed, size, levels, share), chip)
    assert_the_same(less, full, size, seed)
    assert_nothing_idle(less)


@pytest.mark.slow
@settings(max_examples=25)
@given(recipes)
def test_equal_with_and_without_on_random_networks(recipe: Recipe) -> None:
    less, full = both(build(recipe), load_chip("xbar1152"))
    assert_the_same(less, full, recipe.size, recipe.seed)
    assert_nothing_idle(less)


@pytest.mark.slow
@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_compare_explains_what_verify_does(seed: int) -> None:
    """Also where the model fires a neuron that never does on integers, or the other way round."""
    model = tied(seed)
    less, full = both(model, load_chip("xbar1152"))
    assume(less.exactness == "tested")
    images = np.random.default_rng(seed).integers(0, 256, (40, 6, 6)).astype(np.uint8)
    images[::4], images[1::4] = 255, 0
    data = Dataset("random", "test", images, None)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "net.onnx"
        path.write_bytes(model.SerializeToString())
        said = verify(path, images)
        few, many = (chipsim.compare(mapping, path, data) for mapping in (less, full))
    assert said.passes()
    assert few.passes
    assert many.passes
    assert few.explained <= many.explained == said.explained
    assert many.left_out == 0
    assert few.left_out == sum(layer.removed for layer in less.layers)


@pytest.mark.slow
def test_removed_neurons_never_change(tmp_path: Path) -> None:
    """On many inputs, a neuron that was removed for a constant output has one; each reason occurs."""
    path = tmp_path / "net.onnx"
    path.write_bytes(spoiled(1, 8, 3, 0.15).SerializeToString())
    done, kept = compile_model(path), compile_model(path, keep_dead=True)
    images = np.random.default_rng(0).integers(0, 256, (200, 8, 8)).astype(np.uint8)
    many, _ = element_spikes(kept.mapping, images)
    for layer, lowered in zip(done.layers, done.neurons, strict=True):
        gone = set(range(layer.layer.neurons)) - set(lowered.output_elements.tolist())
        assert len(gone) == layer.removed.neurons
        still = sum(len(np.unique(many[layer.layer.name][element])) == 1 for element in gone)
        assert still >= layer.removed.dead + layer.removed.constant
    total = [sum(getattr(layer.removed, why) for layer in done.layers) for why in ("dead", "constant", "unread")]
    assert min(total) > 0, total


@pytest.mark.slow
def test_paper_count_loses_whole_channels_only(tmp_path: Path) -> None:
    """A channel of which a window keeps nothing leaves the paper's count; a removed level of one does not."""
    path = tmp_path / "net.onnx"
    path.write_bytes(spoiled(1, 8, 3, 0.15).SerializeToString())
    less, full = compile_model(path).mapping, compile_model(path, keep_dead=True).mapping
    layer = next(i for i, entry in enumerate(full.layers) if entry.name == "first")
    there = np.repeat(less.core_layer, np.diff(less.neuron_offset)) == layer
    rows = less.layers[layer].shape[1] * less.layers[layer].shape[2]
    channels = np.unique(less.neuron_element[there] // (rows * less.layers[layer].levels))
    assert 0 < len(channels) < 5
    # away from the border a 2 x 2 kernel at stride 1 has 4 windows over a position
    inner = np.zeros((4, 8, 8, 3), bool)
    inner[:, 2:6, 2:6] = True
    own = slice(0, less.encoder_neurons)
    assert set(less.dense_fanout[own][inner.reshape(-1)].tolist()) <= {4 * len(channels) * 3, 0}
    assert set(full.dense_fanout[own][inner.reshape(-1)].tolist()) == {4 * 5 * 3}
