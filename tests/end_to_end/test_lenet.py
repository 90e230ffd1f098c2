"""The trained LeNet on MNIST and on the digits: equality on every image, accuracy, noise, cores."""

from __future__ import annotations

import numpy as np
import pytest

import chipsim
from chipsim.datasets import load_dataset
from qsnnc import Placing, compile_model
from qsnnc.frontend.model.reference import session

BATCHES = (1, 7, 200)


@pytest.fixture(scope="module")
def mnist(mnist_dir):
    return load_dataset("mnist", "test", mnist_dir)


@pytest.fixture(scope="module")
def result(lenet, mnist):
    return chipsim.run(lenet.mapping, mnist)


def scores(path, images: np.ndarray, batch: int) -> np.ndarray:
    run = session(path.read_bytes())
    pixels = images[:, None].astype(np.float32)
    return np.concatenate([run.run(None, {"image": pixels[i : i + batch]})[0] for i in range(0, len(pixels), batch)])


def test_takes_the_fewest_cores(lenet) -> None:
    assert [(layer.name, layer.cores, layer.bound) for layer in lenet.mapping.layers] == [
        ("conv2", 288, 288),
        ("down1", 36, 36),
        ("conv3", 64, 64),
        ("down2", 8, 8),
        ("conv4", 8, 8),
        ("fc", 1, 1),
    ]
    assert lenet.cores_bound == 405
    assert {layer.limiting for layer in lenet.mapping.layers} == {"columns"}


def test_is_certified(lenet) -> None:
    assert lenet.graph.encoder_exact
    assert lenet.mapping.exactness == "certified"


def test_neurons_are_the_paper_s(lenet) -> None:
    assert lenet.mapping.encoder_neurons == 50_176
    assert lenet.mapping.neurons == 57_344 + 10  # and the ten that are read out
    assert lenet.mapping.ticks == 7


def test_scores_equal_onnxruntime_on_every_mnist_image(lenet_onnx, mnist, result) -> None:
    np.testing.assert_array_equal(result.scores, scores(lenet_onnx, mnist.images, 200))


@pytest.mark.parametrize("batch", BATCHES)
def test_model_gives_the_same_bits_in_any_batch(lenet_onnx, batch) -> None:
    images = load_dataset("digits").images[:400]
    np.testing.assert_array_equal(scores(lenet_onnx, images, batch), scores(lenet_onnx, images, 400))


def test_accuracy_on_mnist(result) -> None:
    assert result.images == 10_000
    assert result.accuracy >= 0.9940


@pytest.mark.parametrize(("noise", "least"), [(0.1, 0.993), (0.2, 0.991)])
def test_accuracy_with_lost_encoder_spikes(lenet, mnist, result, noise, least) -> None:
    noisy = chipsim.run(lenet.mapping, mnist, noise=noise, seed=1)
    assert noisy.accuracy >= least
    share = noisy.encoder_spikes / result.encoder_spikes
    assert abs(share - (1 - noise)) < 0.001


def test_every_level_of_the_digits(lenet, lenet_onnx) -> None:
    found = chipsim.compare(lenet.mapping, lenet_onnx, "digits", limit=300)
    assert found.equal, str(found.difference)
    assert found.images == 300


def test_digits_accuracy(lenet) -> None:
    result = chipsim.run(lenet.mapping, "digits")
    assert result.images == 899
    assert result.accuracy >= 0.95


@pytest.mark.parametrize("calibrated", [False, True])
def test_its_placement_is_neither_slow_nor_crowded(lenet, lenet_onnx, calibrated) -> None:
    """On images that it was not calibrated on; row by row 18,000 cycles, and 6,000 flits on a link."""
    mapping = lenet.mapping
    if calibrated:
        images = load_dataset("digits", "train").head(100).images
        mapping = compile_model(lenet_onnx, placing=Placing(images=images)).mapping
    found = chipsim.profile(mapping, "digits", timing_limit=6)
    assert found.chip_cycles.mean() <= 7000
    assert found.busiest_link is not None
    assert found.busiest_link.load < 1000
