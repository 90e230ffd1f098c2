"""What is read out of a NIR network, and weights that are rounded layer by layer."""

import json

import numpy as np
import pytest
from support.command_line import qsnnc
from support.random_nir import chain

import chipsim
from chipsim.datasets import Dataset
from chipsim.errors import UsageError
from chipsim.mapping import read_mapping
from qsnnc import compile_model
from qsnnc.errors import ModelError
from qsnnc.ir.stored import of_mapping
from qsnnc.nir.export import export
from qsnnc.nir.integerize import integerize, interpret
from qsnnc.nir.network import Network, Node
from qsnnc.nir.options import NirOptions
from qsnnc.nir.reference import trains
from qsnnc.nir.semantics import settings
from qsnnc.nir.writing import to_bytes

RNG = np.random.default_rng(11)
STEPS = 7
ONE = np.ones(())


def dense(outputs, inputs, scale=1.0):
    weight = RNG.integers(-3, 4, (outputs, inputs)) * scale
    return ("Affine", {"weight": weight, "bias": RNG.integers(-1, 2, outputs) * scale})


def lif(kind="LIF"):
    values = {"tau": 2 * ONE, "r": 2 * ONE, "v_leak": 0 * ONE}
    return (kind, values | ({"v_threshold": 2 * ONE, "v_reset": 0 * ONE} if kind == "LIF" else {}))


FIRST, LAST = dense(5, 6), dense(4, 5)
#: the last node, what of it is stated, and what is read
READ = [
    (lif("LI"), {}, "last"),
    (lif("LI"), {}, "largest"),
    (("I", {"r": ONE}), {}, "last"),
    (lif(), {"qsnnc.reset": "none"}, "last"),
    (lif(), {"qsnnc.reset": "none"}, "largest"),
    (lif(), {"qsnnc.reset": "none"}, "count"),
    (lif(), {}, "count"),
    (None, {}, "count"),
    (None, {}, "last"),
    (None, {}, "largest"),
]


def network(node, stated):
    found = chain((6,), FIRST, lif(), LAST, *([node] if node else []))
    nodes = dict(found.nodes)
    if stated:
        nodes["n3"] = Node("n3", node[0], node[1], stated)
    return Network(nodes, found.edges)


def options(score, **more):
    single = settings({"dt": 1.0, "compare": ">=", "reset": None})
    return NirOptions(settings=single, steps=STEPS, input="spikes", readout=score, **more)


@pytest.mark.slow
@pytest.mark.parametrize(("node", "stated", "score"), READ)
def test_every_readout_is_what_the_floats_give_on_both_engines(node, stated, score, tmp_path):
    path = tmp_path / "net.nir"
    found = network(node, stated)
    found = Network(found.nodes, found.edges, {"qsnnc.semantics": "nir"})
    path.write_bytes(to_bytes(found))
    mapping = compile_model(path, nir=options(score)).mapping
    spikes = (RNG.random((9, STEPS, 6)) < 0.5).astype(np.uint8)
    out = list(trains(interpret(found, options(score)), spikes).values())[-1].reshape(9, STEPS, -1)
    if node is None and score == "count":
        wanted = out[:, -1]  # accumulated already
    else:
        wanted = {"count": out.sum(axis=1), "last": out[:, -1], "largest": out.max(axis=1)}[score]
    assert len(np.unique(wanted)) > 2
    for engine in ("reference", "fast"):
        got = chipsim.run(mapping, Dataset("s", "all", spikes), engine=engine, threads=1)
        np.testing.assert_array_equal(got.scores, wanted.astype(np.float32))
        np.testing.assert_array_equal(got.predictions, wanted.argmax(axis=1))


@pytest.mark.parametrize("score", ["last", "largest"])
def test_a_potential_that_spikes_reset_is_not_read_out(score):
    with pytest.raises(ModelError, match=f"n3: --score {score} reads a potential, and a spike .* resets it") as error:
        integerize(interpret(network(lif(), {}), options(score, semantics="nir")))
    assert error.value.code == "nir-readout"


def test_what_is_read_out_must_be_said_of_an_output_that_does_not_spike():
    with pytest.raises(ModelError, match="--score count"):
        interpret(network(lif("LI"), {}), options(None, semantics="nir"))
    with pytest.raises(UsageError, match="--score"):
        options("mean")


def test_bits_of_single_layers(tmp_path):
    found = chain((6,), FIRST, lif(), dense(4, 5, 0.37), lif())
    stated = options(None, semantics="nir", layer_bits={"n1": 2})
    rounded = integerize(interpret(found, stated)).rounded
    assert list(rounded) == ["n1"]
    assert (rounded["n1"].bits, rounded["n1"].changed > 0) == (2, True)
    both = integerize(interpret(found, options(None, semantics="nir", weight_bits=8, layer_bits={"n1": 2}))).rounded
    assert {name: each.bits for name, each in both.items()} == {"n1": 2, "n3": 8}
    with pytest.raises(UsageError, match="no layer is called 'n2'; allowed: n1, n3") as error:
        integerize(interpret(found, options(None, semantics="nir", layer_bits={"n2": 2})))
    assert error.value.code == "layer-unknown"


@pytest.mark.slow
def test_bits_of_single_layers_on_the_command_line(tmp_path):
    (tmp_path / "net.nir").write_bytes(to_bytes(chain((6,), FIRST, lif(), LAST, lif())))
    words = ("--semantics", "nir", "--dt", 1, "--steps", 4, "--input", "spikes")
    done = qsnnc(
        "compile",
        tmp_path / "net.nir",
        *words,
        "--weight-bits",
        "n1=2",
        "-o",
        tmp_path / "a.map",
        "--json",
        tmp_path / "a.json",
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads((tmp_path / "a.json").read_text())["weight_bits_changed"]) == {"n1"}
    done = qsnnc("compile", tmp_path / "net.nir", *words, "--weight-bits", "x=2", "-o", tmp_path / "b.map")
    assert (done.returncode, (tmp_path / "b.map").exists()) == (2, False)
    assert "no layer is called 'x'" in done.stderr


@pytest.mark.slow
def test_the_committed_examples_leave_as_nir(tmp_path):
    for name in ("tiny-mini", "lenet-xbar1152"):
        assert export(of_mapping(read_mapping(f"mappings/{name}.map"))).nodes
