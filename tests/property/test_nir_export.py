"""Any mapping leaves as NIR and comes back: the same bytes, and nodes that by themselves mean the same network."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from support.random_graphs import STEPS, Plan, build
from support.random_nir import draw

from chipsim.errors import ReportedError
from chipsim.mapping.program import MARGIN
from chipsim.mapping.write import to_bytes as map_bytes
from qsnnc import compile_layers, compile_model
from qsnnc.ir.execute import execute, execute_steps, read_out
from qsnnc.ir.stored import of_mapping
from qsnnc.nir.export import NotExpressible, export
from qsnnc.nir.exported import DESCRIPTION, stored_graph
from qsnnc.nir.integerize import integerize, interpret
from qsnnc.nir.network import Network
from qsnnc.nir.options import NirOptions
from qsnnc.nir.reading import read_nir
from qsnnc.nir.semantics import settings as semantics
from qsnnc.nir.writing import to_bytes


def there_and_back(done, directory):
    """The mapping's bytes after its network went through a NIR file; the file's network.

    What a mapping tells of float rounding is of the ONNX file, and a NIR file's network is integers.
    """
    path = directory / "out.nir"
    path.write_bytes(to_bytes(export(of_mapping(done.mapping))))
    again = compile_model(path, done.chip)
    assert untold(again) == untold(done)
    return read_nir(path)


def untold(done):
    """The mapping's bytes without what it tells of float rounding."""
    arrays = {name: array for name, array in done.mapping.arrays.items() if name != MARGIN}
    return map_bytes(replace(done.mapping, arrays=arrays, slack=0.0))


def anonymous(network):
    """The network without the description: nodes, edges and settings alone."""
    return Network(network.nodes, network.edges, {k: v for k, v in network.metadata.items() if k != DESCRIPTION})


@pytest.mark.slow
@given(st.integers(0, 2**32), st.integers(1, 8))
@example(100291, 5)  # thresholds between two potentials, less than what a spike subtracts
@settings(deadline=None, max_examples=15)
def test_a_network_from_nir_comes_back_as_the_same_bytes(tmp_path_factory, seed, steps):
    drawn, network = draw(seed)
    directory = tmp_path_factory.mktemp("nir")
    (directory / "net.nir").write_bytes(to_bytes(network))
    stated = NirOptions(settings=semantics(drawn.semantics), steps=steps, input="spikes")
    try:
        done = compile_model(directory / "net.nir", nir=stated)
    except ReportedError:
        assume(False)
    nodes = anonymous(there_and_back(done, directory))
    other = integerize(interpret(nodes, NirOptions())).graph
    spikes = (np.random.default_rng(seed).random((3, steps, *done.graph.encoder.tensor_shape)) < 0.5).astype(np.uint8)
    expected, found = execute_steps(done.graph, spikes), execute_steps(other, spikes)
    np.testing.assert_array_equal(read_out(other, found), read_out(done.graph, expected))


def plans():
    step = st.lists(st.sampled_from(STEPS), min_size=1, max_size=5).map(tuple)
    size = st.tuples(st.integers(4, 7), st.integers(4, 7))
    return st.builds(
        Plan, size, st.integers(1, 3), step, st.integers(1, 5), st.booleans(), st.sampled_from(["scores", "levels"]),
        st.integers(0, 2**32),
    )  # fmt: skip


@pytest.mark.slow
@given(plans(), st.sampled_from(["mini", "xbar1152"]))
@settings(deadline=None, max_examples=15)
def test_a_network_from_onnx_comes_back_as_the_same_bytes(tmp_path_factory, plan, chip):
    try:
        done = compile_model(build(plan), chip)
    except ReportedError:
        assume(False)
    nodes = anonymous(there_and_back(done, tmp_path_factory.mktemp("onnx")))
    graph = of_mapping(done.mapping)
    other = integerize(interpret(nodes, NirOptions())).graph
    levels = np.random.default_rng(plan.seed).integers(0, graph.encoder.levels + 1, (4, *graph.encoder.shape))
    fired = levels[:, :, None] > np.arange(graph.encoder.levels)[:, None, None]  # a channel for each level
    spikes = fired.reshape(4, 1, -1, *graph.encoder.shape[1:]).astype(np.uint8)
    wanted = execute(graph, levels)[graph.layers[-1].name].reshape(4, -1)
    np.testing.assert_array_equal(read_out(other, execute_steps(other, spikes)), wanted)


@pytest.mark.slow
def test_limited_levels_come_back(tmp_path):
    done = compile_model("models/tiny.onnx", "mini", levels={"conv2": 1})
    assert there_and_back(done, tmp_path) is not None


def small(directory, seed=3, steps=3):
    drawn, network = draw(seed)
    (directory / "net.nir").write_bytes(to_bytes(network))
    stated = NirOptions(settings=semantics(drawn.semantics), steps=steps, input="spikes")
    return compile_model(directory / "net.nir", nir=stated)


def test_nodes_that_were_changed_count_and_not_the_description(tmp_path):
    done = small(tmp_path)
    network = export(done.graph)
    assert stored_graph(network) is not None
    for name, node in network.nodes.items():
        if "weight" in node.values:
            node.values["weight"].reshape(-1)[0] += 1
            assert stored_graph(network) is None or (stored_graph(network).layers != done.graph.layers), name
            break
    other = Network(network.nodes, network.edges, network.metadata | {"qsnnc.steps": "9"})
    assert stored_graph(other) is None
    assert interpret(other, NirOptions()).frame.steps == 9


@pytest.mark.parametrize("key", ["encoder", "layers", "input", "output", "steps", "links", "encoder_onnx", "version"])
@pytest.mark.parametrize("value", [None, "x", -1, [], {}, [[[]]], {"name": 3}])
def test_a_description_that_was_damaged_is_refused_in_one_line(tmp_path_factory, key, value):
    network = export(small(tmp_path_factory.getbasetemp()).graph)
    found = json.loads(network.metadata[DESCRIPTION]) | {key: value}
    damaged = Network(network.nodes, network.edges, network.metadata | {DESCRIPTION: json.dumps(found)})
    said = None
    try:
        graph = stored_graph(damaged)
    except ReportedError as error:
        graph, said = None, error
    assert said is None or (said.code, str(said).count("\n")) == ("nir-metadata", 0)
    # what is still a network is the same one, or not believed
    assert graph is None or key in ("encoder_onnx", "links")


def test_neurons_without_memory_leave_as_leaky_ones_that_forget_everything(tmp_path):
    graph = small(tmp_path).graph
    first = replace(graph.layers[0], dynamics=None)
    first = replace(first, thresholds=np.clip(first.thresholds, first.reach[..., :1], first.reach[..., 1:] + 1))
    done = compile_layers(replace(graph, layers=(first, *graph.layers[1:])))
    other = integerize(interpret(anonymous(there_and_back(done, tmp_path)), NirOptions())).graph
    spikes = (np.random.default_rng(0).random((3, 3, *graph.encoder.tensor_shape)) < 0.5).astype(np.uint8)
    for layer, wanted in execute_steps(done.graph, spikes).items():
        if layer in {each.name for each in other.layers}:
            np.testing.assert_array_equal(execute_steps(other, spikes)[layer], wanted)


def test_what_nir_cannot_say_is_refused_by_name(tmp_path):
    graph = small(tmp_path, seed=9).graph
    layer = graph.layers[0]
    model = replace(layer.dynamics, reset="subtract", amount=layer.dynamics.amount + 5)
    with pytest.raises(NotExpressible, match=f"{layer.name}: a spike subtracts something else"):
        export(replace(graph, layers=(replace(layer, dynamics=model), *graph.layers[1:])))
