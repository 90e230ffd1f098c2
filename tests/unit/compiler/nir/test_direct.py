"""--input direct: the image enters the first neurons in every step, and the host computes them as the framework does."""

from dataclasses import asdict

import numpy as np
import pytest
from support import format_reader
from support.random_nir import chain, network

import chipsim
from chipsim.datasets import Dataset
from qsnnc import compile_model
from qsnnc.errors import ModelError
from qsnnc.nir.exporting import export_mapping
from qsnnc.nir.integerize import integerize, interpret
from qsnnc.nir.network import Network, Node
from qsnnc.nir.options import NirOptions
from qsnnc.nir.semantics import PROFILES, settings
from qsnnc.nir.writing import to_bytes

RNG = np.random.default_rng(5)
CONV = ("Conv2d", {
    "weight": RNG.normal(size=(3, 1, 3, 3)).astype(np.float32), "bias": RNG.normal(size=3).astype(np.float32),
    "stride": np.array([2, 1]), "padding": np.array([1, 0]), "dilation": np.array([1, 1]), "groups": np.array(1),
})  # fmt: skip
POOL = ("AvgPool2d", {"kernel_size": np.array([2, 2]), "stride": np.array([2, 2]), "padding": np.array([0, 0])})
FLAT = ("Flatten", {"start_dim": np.array(0), "end_dim": np.array(-1)})


def lif(beta, threshold):
    one = np.ones(())
    tau, r = one * 1e-4 / (1 - beta), one / (1 - beta)
    return ("LIF", {"tau": tau, "r": r, "v_leak": 0 * one, "v_threshold": one * threshold, "v_reset": 0 * one})


def expected(images, steps, reset):
    """The spike counts of the two layers, step by step, written out."""
    (_, conv), weight = CONV, DENSE[1]["weight"]
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (0, 0))).astype(np.float32)
    current = np.stack(
        [
            sum(
                padded[:, 0, u : u + 7 : 2, v : v + 6] * conv["weight"][o, 0, u, v] for u in range(3) for v in range(3)
            ) + conv["bias"][o]
            for o in range(3)
        ], axis=1,
    )  # fmt: skip
    v, u, counts = 0.0, 0.0, 0
    for _ in range(steps):
        v = np.float32(0.9) * v + current
        spikes = v > 0.7
        if reset == "value":
            v = np.where(spikes, 0, v)
        pooled = spikes[:, :, :4, :6].reshape(len(images), 3, 2, 2, 3, 2).mean(axis=(3, 5))
        u = 0.5 * u + pooled.reshape(len(images), -1) @ weight.T
        out = u > 1
        u = np.where(out, 0, u)
        counts = counts + out
    return counts


DENSE = ("Linear", {"weight": RNG.integers(-3, 4, (5, 18)).astype(np.float32)})


@pytest.mark.slow
@pytest.mark.parametrize("reset", ["value", "none"])
def test_the_host_computes_the_first_neurons(reset, tmp_path):
    images = RNG.random((9, 1, 8, 8), np.float32)
    found = chain((1, 8, 8), CONV, lif(0.9, 0.7), POOL, FLAT, DENSE, lif(0.5, 1.0))
    stated = {"n1": {"qsnnc.reset": reset}, "n5": {"qsnnc.reset": "value"}}
    nodes = {name: Node(name, node.type, node.values, stated.get(name, {})) for name, node in found.nodes.items()}
    (tmp_path / "net.nir").write_bytes(to_bytes(Network(nodes, found.edges)))
    given = {name: value for name, value in asdict(PROFILES["snntorch-zero"]).items() if name != "reset"}
    done = compile_model(tmp_path / "net.nir", nir=NirOptions(settings=settings(given), steps=6, input="direct"))
    assert [layer.name for layer in done.graph.layers] == ["n5"]
    assert done.graph.encoder.name == "n1"
    wanted = expected(images, 6, reset)
    assert 0 < wanted.sum() < wanted.size * 6
    for engine in ("reference", "fast"):
        got = chipsim.run(done.mapping, Dataset("images", "all", images), engine=engine, threads=1)
        np.testing.assert_array_equal(got.potentials, wanted)
    (tmp_path / "net.map").write_bytes(done.to_bytes())
    np.testing.assert_array_equal(
        format_reader.execute(format_reader.read(str(tmp_path / "net.map")), images).potentials, wanted
    )
    (tmp_path / "out.nir").write_bytes(export_mapping(tmp_path / "net.map"))
    assert compile_model(tmp_path / "out.nir").to_bytes() == done.to_bytes()


def test_an_image_that_reaches_two_populations_is_refused():
    one = ("IF", {"r": np.ones(2), "v_threshold": np.ones(2)})
    nodes = {
        "input": ("Input", {"shape": np.array([2])}),
        "a": one,
        "b": one,
        "output": ("Output", {"shape": np.array([2])}),
    }
    found = network(nodes, [("input", "a"), ("input", "b"), ("a", "output"), ("b", "output")])
    with pytest.raises(ModelError, match="reaches a, b") as error:
        integerize(interpret(found, NirOptions(semantics="spikingjelly", steps=4, input="direct", readout="count")))
    assert error.value.code == "nir-direct"
