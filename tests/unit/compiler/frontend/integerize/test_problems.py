"""All that stands against a model is found in one walk: root causes, not what follows from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper
from support.networks import Builder

from qsnnc.errors import ModelError, ModelErrors
from qsnnc.pipeline import read_layers


def off_grid(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape)


def problems_of(path) -> list[tuple[str, str]]:
    with pytest.raises(ModelError) as caught:
        read_layers(path, readout="chip")
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


def test_a_node_may_have_two_problems(save, rng) -> None:
    """Its input is not quantized, and its own weights lie off the grid."""
    assert problems_of(save(network(rng, "quantizer", "last").model())) == [
        ("activation-not-quantized", "last"),
        ("weights-not-quantized", "last"),
    ]


def test_weights_behind_an_unknown_operator_are_looked_at_as_well(save, rng) -> None:
    net = network(rng, "fc")
    model = net.model()
    flatten = next(node for node in model.graph.node if node.op_type == "Flatten")
    before = flatten.input[0]
    flatten.input[0] = "turned"
    model.graph.node.insert(list(model.graph.node).index(flatten), helper.make_node("Sin", [before], ["turned"], name="sin"))
    assert problems_of(save(model)) == [("model-operator", "sin"), ("weights-not-quantized", "fc")]


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
        read_layers(save(network(rng, "middle", "open", "fc").model()), readout="chip")
    error = caught.value
    assert str(error).startswith("middle: the weights of channel 0")
    assert "2 more: qsnnc check lists them" in str(error)
    assert error.code == "weights-not-quantized"
    assert error.fields == error.problems[0].fields
    assert "more:" not in str(error.problems[0])


def test_every_problem_says_what_is_allowed_and_what_to_do(save, rng) -> None:
    with pytest.raises(ModelErrors) as caught:
        read_layers(save(network(rng, "middle", "quantizer", "fc").model()), readout="chip")
    for problem in caught.value.problems:
        said = problem.to_json()
        assert said["allowed"]
        assert said["node"]
        assert said["advice"]


def branching(rng: np.random.Generator, bad: set[str]) -> Builder:
    """A residual sum, a concatenation and a pooled end; ``bad`` names weights off the grid and quantizers left out."""

    def weights(name: str, *shape: int) -> np.ndarray:
        return off_grid(rng, *shape) if name in bad else rng.integers(-1, 2, shape).astype(float)

    def quantizer(name: str, levels: int = 4) -> None:
        if name not in bad:
            net.quantize(name, 1, levels)

    net = Builder((1, 8, 8))
    net.conv("stem", rng.integers(-20, 21, (4, 1, 3, 3)) / 32, pads=[1] * 4)
    net.quantize("stem/quant", 1, 4)
    start = net.here
    net.conv("arm1", weights("arm1", 4, 4, 3, 3), pads=[1] * 4)
    quantizer("arm1/quant")
    net.conv("arm2", weights("arm2", 4, 4, 3, 3), pads=[1] * 4)
    net.quantize("arm2/quant", 1, 4)
    net.node("Add", "sum", start)
    quantizer("sum/quant", 8)
    trunk = net.here
    net.conv("side", weights("side", 2, 4, 1, 1))
    net.quantize("side/quant", 1, 4)
    net.node("Concat", "cat", trunk, axis=1)
    net.shape = (6, 8, 8)
    net.conv("last", weights("last", 3, 6, 3, 3))
    net.quantize("last/quant", 1, 4)
    net.node("GlobalAveragePool", "pool")
    net.shape = (3, 1, 1)
    net.flatten()
    net.gemm("fc", weights("fc", 5, 3))
    return net


#: who complains of a quantizer that is left out; what reads a sum of levels reads its operands
READERS = {"arm1/quant": ("arm2",), "sum/quant": ()}


@pytest.mark.slow
@settings(max_examples=30)
@given(st.sets(st.sampled_from(["arm1", "arm2", "side", "last", "fc", *READERS]), min_size=1), st.integers(0, 99))
def test_exactly_what_was_broken_is_reported(tmp_path_factory, bad, seed) -> None:
    assume(bad != {"sum/quant"})
    path = tmp_path_factory.mktemp("broken") / "net.onnx"
    path.write_bytes(branching(np.random.default_rng(seed), bad).model().SerializeToString())
    expected = {("weights-not-quantized", name) for name in bad - READERS.keys()}
    expected |= {("activation-not-quantized", name) for left in bad & READERS.keys() for name in READERS[left]}
    if "arm1" in bad:  # arm2 reads sums that cannot be had: what it says of them follows from that
        expected.discard(("activation-not-quantized", "arm2"))
    found = problems_of(path)
    assert len(found) == len(set(found))
    assert set(found) == expected
