"""Spike for spike what six frameworks compute: the integer network, and the float one, on the files that they wrote."""

import numpy as np
import pytest
from support.frameworks import DIRECTORY, EXAMPLES, STEPS

from qsnnc.errors import ModelError
from qsnnc.ir.execute import execute_steps, read_out
from qsnnc.ir.layers import verify_layers
from qsnnc.nir.integerize import integerize, interpret
from qsnnc.nir.options import NirOptions
from qsnnc.nir.reading import read_nir
from qsnnc.nir.reference import trains
from qsnnc.nir.semantics import settings


def interpreted(example, tmp_path):
    options = NirOptions(semantics=example.semantics, settings=settings(example.settings), steps=STEPS, input="spikes")
    return interpret(read_nir(example.write(tmp_path)), options)


@pytest.mark.slow
@pytest.mark.parametrize("example", [e for e in EXAMPLES if not e.many], ids=lambda e: e.name)
def test_every_spike_of_every_layer_is_that_of_the_framework(example, tmp_path):
    spikes, expected = example.trains()
    network = interpreted(example, tmp_path)
    for found, wanted in zip(trains(network, spikes).values(), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    graph = integerize(network).graph
    verify_layers(graph)
    found = execute_steps(graph, spikes)
    for layer, wanted in zip(graph.layers, expected, strict=True):
        np.testing.assert_array_equal(found[layer.name].reshape(wanted.shape), wanted)
    np.testing.assert_array_equal(read_out(graph, found), expected[-1].reshape(*expected[-1].shape[:2], -1).sum(axis=1))


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.many], ids=lambda e: e.name)
def test_several_spikes_a_step_are_executed_in_floats_and_refused_for_the_chip(example, tmp_path):
    spikes, expected = example.trains()
    network = interpreted(example, tmp_path)
    for found, wanted in zip(trains(network, spikes).values(), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    with pytest.raises(ModelError, match="several spikes in one step") as error:
        integerize(network)
    assert error.value.code == "nir-multi-spike"


def test_files_of_two_frameworks_mean_different_trains():
    trains = {e.name: e.trains() for e in EXAMPLES}
    assert (trains["sinabs_mlp"][0] == trains["norse_mlp"][0]).all()
    assert (trains["sinabs_mlp"][1][0] != trains["norse_mlp"][1][0]).any()


def test_every_file_is_an_example():
    assert {path.name.removesuffix(".nir.gz") for path in DIRECTORY.glob("*.nir.gz")} == {e.name for e in EXAMPLES}
