"""Random NIR networks under random semantics: the integer network fires exactly as the float one does."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_nir import draw

from qsnnc.ir.execute import execute_steps, read_out
from qsnnc.ir.layers import verify_layers
from qsnnc.nir.integerize import integerize, interpret
from qsnnc.nir.options import NirOptions
from qsnnc.nir.reference import trains
from qsnnc.nir.semantics import settings as semantics


@given(st.integers(0, 2**32), st.integers(1, 8))
@settings(deadline=None)
def test_integers_fire_as_floats_do(seed, steps):
    drawn, network = draw(seed)
    found = interpret(network, NirOptions(settings=semantics(drawn.semantics), steps=steps, input="spikes"))
    graph = integerize(found).graph
    verify_layers(graph)
    shape = (3, steps, *found.frame.population.tensor_shape)
    spikes = (np.random.default_rng(seed).random(shape) < 0.5).astype(np.uint8)
    expected, levels = trains(found, spikes), execute_steps(graph, spikes)
    for layer in graph.layers:
        wanted = expected[layer.name].reshape(3, steps, -1)
        np.testing.assert_array_equal(levels[layer.name].reshape(wanted.shape), wanted)
    last = expected[graph.layers[-1].name]
    np.testing.assert_array_equal(read_out(graph, levels), last.reshape(3, steps, -1).sum(axis=1))


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=10)
def test_names_and_order_in_the_file_mean_nothing(seed):
    from qsnnc.nir.network import Network, Node

    drawn, network = draw(seed)
    options = NirOptions(settings=semantics(drawn.semantics), steps=3, input="spikes")
    names = list(network.nodes)
    rng = np.random.default_rng(seed)
    new = dict(zip(names, (f"m{number}" for number in rng.permutation(len(names))), strict=True))
    order = rng.permutation(len(names))
    nodes = {new[names[i]]: network.nodes[names[i]] for i in order}
    moved = Network(
        {name: Node(name, node.type, node.values) for name, node in nodes.items()},
        tuple((new[a], new[b]) for a, b in rng.permutation(np.array(network.edges)).tolist()),
    )
    spikes = (rng.random((2, 3, *drawn.nodes[names[0]][1]["shape"])) < 0.5).astype(np.uint8)
    one, other = (integerize(interpret(each, options)).graph for each in (network, moved))
    first, second = (execute_steps(graph, spikes) for graph in (one, other))
    for layer in one.layers:
        np.testing.assert_array_equal(first[layer.name], second[new[layer.name]])
