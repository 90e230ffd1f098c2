"""All that stands against a model is found in one walk: root causes, not what follows from them."""

from __future__ import annotations

import numpy as np
import pytest
from networks import Builder

from qsnnc.errors import ModelError, ModelErrors
from qsnnc.frontend.integerize import integerize
from qsnnc.frontend.read import read_onnx


def off_grid(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape)


def problems_of(path) -> list[tuple[str, str]]:
    with pytest.raises(ModelError) as caught:
        integerize(read_onnx(path))
    return [(problem.code, problem.subject) for problem in caught.value.problems]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def network(rng: np.random.Generator, *bad: str) -> Builder:
    """stem, middle, unquantized (no quantizer behind it if bad), last, fc; each with weights off the grid if bad."""

    def weights(name: str, *shape: int) -> np.ndarray:
        return off_grid(rng, *shape) if name in bad else rng.integers(-1, 2, shape).astype(float)

    net = Builder((1, 8, 8))
    net.conv("stem", rng.integers(-20, 21, (2, 1, 3, 3)) / 32, pads=[1] * 4)
    net.quantize("stem/quant", 1, 4)
    net.conv("middle", weights("middle", 3, 2, 3, 3))
    net.node("Relu", "middle/relu")
    net.quantize("middle/quant", 1, 4)
    net.conv("open", weights("open", 3, 3, 3, 3))
    net.node("Relu", "open/relu")
    if "quantizer" not in bad:
        net.quantize("open/quant", 1, 4)
    net.conv("last", weights("last", 3, 3, 3, 3))
    net.quantize("last/quant", 1, 4)
    net.flatten()
    net.gemm("fc", weights("fc", 4, 12))
    return net


@pytest.mark.parametrize("bad", [("middle",), ("middle", "open", "fc"), ("fc",), ("middle", "open", "last", "fc")])
def test_weights_off_the_grid_are_all_named(save, rng, bad) -> None:
    assert problems_of(save(network(rng, *bad).model())) == [("weights-not-quantized", name) for name in bad]


def test_an_unquantized_activation_hides_nothing_behind_it(save, rng) -> None:
    found = problems_of(save(network(rng, "middle", "quantizer", "fc").model()))
    assert found == [
        ("weights-not-quantized", "middle"),
        ("activation-not-quantized", "last"),
        ("weights-not-quantized", "fc"),
    ]


def test_what_reads_sums_that_cannot_be_had_is_no_problem_of_its_own(save, rng) -> None:
    """A matrix on the bare sums of an average pool is fine; behind a broken pool it is not blamed."""
    net = Builder((1, 8, 8))
    net.conv("stem", rng.integers(-20, 21, (2, 1, 3, 3)) / 32, pads=[1] * 4)
    net.quantize("stem/quant", 1, 4)
    net.conv("bad", off_grid(rng, 4, 2, 8, 8))
    net.flatten()
    net.gemm("fc", rng.integers(-1, 2, (4, 4)).astype(float))
    assert problems_of(save(net.model())) == [("weights-not-quantized", "bad")]


def test_a_tensor_that_two_nodes_read_is_reported_once(save, rng) -> None:
    net = Builder((1, 8, 8))
    net.conv("stem", rng.integers(-20, 21, (2, 1, 3, 3)) / 32, pads=[1] * 4)
    net.quantize("stem/quant", 1, 4)
    net.conv("first", rng.integers(-1, 2, (2, 2, 3, 3)).astype(float))
    net.node("Sin", "wave")
    at, shape = net.here, net.shape
    net.node("Floor", "floor")
    net.conv("left", rng.integers(-1, 2, (2, 2, 3, 3)).astype(float))
    left = net.here
    net.here, net.shape = at, shape
    net.node("Floor", "floor2")
    net.conv("right", rng.integers(-1, 2, (2, 2, 3, 3)).astype(float))
    net.node("Add", "sum", left)
    found = problems_of(save(net.model()))
    assert len(found) == len(set(found))


def test_one_line_says_how_many_more_there_are(save, rng) -> None:
    with pytest.raises(ModelErrors) as caught:
        integerize(read_onnx(save(network(rng, "middle", "open", "fc").model())))
    error = caught.value
    assert str(error).startswith("middle: the weights of channel 0")
    assert "2 more: qsnnc check lists them" in str(error)
    assert error.code == "weights-not-quantized"
    assert error.fields == error.problems[0].fields
    assert "more:" not in str(error.problems[0])


def test_every_problem_says_what_is_allowed_and_what_to_do(save, rng) -> None:
    with pytest.raises(ModelErrors) as caught:
        integerize(read_onnx(save(network(rng, "middle", "quantizer", "fc").model())))
    for problem in caught.value.problems:
        said = problem.to_json()
        assert said["allowed"]
        assert said["node"]
        assert said["advice"]
