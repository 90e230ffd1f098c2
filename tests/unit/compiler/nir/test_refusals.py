"""What is refused in a NIR network: by the name of the node, with the reason and what to do."""

import numpy as np
import pytest
from support.random_nir import chain, network

from chipsim.errors import UsageError
from qsnnc.errors import ModelError
from qsnnc.nir.integerize import integerize, interpret
from qsnnc.nir.options import NirOptions
from qsnnc.nir.semantics import settings

ONE = np.ones(2)
DENSE = ("Affine", {"weight": np.array([[1.0, -2.0], [3.0, 0.5]]), "bias": np.zeros(2)})
IF = ("IF", {"r": ONE, "v_threshold": 2 * ONE})


def lif(**change):
    return ("LIF", {"tau": 2 * ONE, "r": 2 * ONE, "v_leak": 0 * ONE, "v_threshold": 2 * ONE, "v_reset": 0 * ONE} | change)


def compile_(found, semantics="nir", steps=4, **options):
    given = {"settings": settings({"dt": 1.0})} | options
    return integerize(interpret(found, NirOptions(semantics=semantics, steps=steps, input="spikes", **given)))


def refusal(found, *said, code, **options):
    with pytest.raises(ModelError) as error:
        compile_(found, **options)
    assert error.value.code == code, error.value
    for text in said:
        assert text in str(error.value)
    assert "\n" not in str(error.value)
    return error.value


@pytest.mark.parametrize("kind", ["CubaLIF", "CubaLI", "Threshold", "Delay", "Banana"])
def test_nodes_that_are_not_supported_are_refused_by_name(kind):
    refusal(chain((2,), DENSE, (kind, {}), DENSE, IF), "n1", kind, code="nir-node")


@pytest.mark.parametrize("kind", ["I", "LI"])
def test_potentials_are_not_passed_on_inside_the_network(kind):
    node = (kind, {"r": ONE, "tau": 2 * ONE, "v_leak": 0 * ONE})
    refusal(chain((2,), DENSE, node, DENSE, IF), "n1", f"use {kind}F", code="nir-node")
    assert compile_(chain((2,), DENSE, IF, DENSE, node), readout="last").graph.readout_of == "last"


def test_cycles_are_refused_with_their_nodes():
    nodes = {
        "input": ("Input", {"shape": np.array([2])}),
        "a": DENSE,
        "b": IF,
        "output": ("Output", {"shape": np.array([2])}),
    }
    edges = [("input", "a"), ("a", "b"), ("b", "output")]
    refusal(network(nodes, [*edges, ("b", "a")]), "in a cycle", "a -> b -> a", "recurrent", code="nir-graph")
    refusal(network(nodes, [*edges, ("b", "b")]), "b: reads itself", code="nir-graph")


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_a_threshold_is_a_number_above_zero(value):
    refusal(
        chain((2,), DENSE, ("IF", {"r": ONE, "v_threshold": np.array([1.0, value])})),
        "n1",
        "v_threshold",
        code="nir-parameter",
    )


def test_a_leak_potential_must_be_where_potentials_start_and_are_reset():
    refusal(chain((2,), DENSE, lif(v_leak=ONE)), "v_leak is 1", code="nir-parameter")
    compile_(chain((2,), DENSE, lif(v_leak=-ONE, v_reset=-ONE)), settings=settings({"dt": 1.0, "start": "reset"}))


def test_infinite_time_constants_are_snntorchs_alone():
    forever = lif(tau=np.inf * ONE, r=np.inf * ONE)
    refusal(chain((2,), DENSE, forever), "tau is infinite", "snntorch", code="nir-parameter")
    refusal(chain((2,), DENSE, lif(r=np.inf * ONE)), "r is infinite", code="nir-parameter")
    assert compile_(chain((2,), DENSE, forever), semantics="snntorch").graph.layers[0].dynamics.leak == (1, 0)


def test_averages_of_no_power_of_two_are_refused():
    node = {"kernel_size": np.array([3, 3]), "stride": np.array([3, 3]), "padding": np.array([0, 0])}
    one = ("IF", {"r": np.ones(()), "v_threshold": np.ones(())})
    refusal(chain((1, 6, 6), ("AvgPool2d", node), one), "3 x 3", "SumPool2d", code="nir-parameter")
    compile_(chain((1, 6, 6), ("SumPool2d", node), one))


def test_same_padding_with_a_stride_is_refused():
    conv = {
        "weight": np.ones((1, 1, 3, 3)), "bias": np.zeros(1), "stride": np.array([2, 2]), "padding": "same",
        "dilation": np.array([1, 1]), "groups": np.array(1),
    }  # fmt: skip
    one = ("IF", {"r": np.ones(()), "v_threshold": np.ones(())})
    refusal(chain((1, 6, 6), ("Conv2d", conv), one), "'same' with stride 2", code="nir-parameter")
    shape = compile_(chain((1, 6, 6), ("Conv2d", conv | {"stride": np.array(1)}), one)).graph.layers[0].shape
    assert shape == (1, 6, 6)


def test_weights_on_no_grid_are_refused_with_the_nearest_value():
    weights = np.random.default_rng(0).normal(size=(2, 2))
    error = refusal(chain((2,), ("Linear", {"weight": weights}), IF), "nearest is", "--weight-bits 8", code="nir-grid")
    assert error.fields["found"] in np.abs(weights)
    assert abs(error.fields["allowed"] - error.fields["found"]) < 0.02
    assert compile_(chain((2,), ("Linear", {"weight": weights}), IF), weight_bits=8).rounded["n1"].changed


def test_what_is_off_the_grid_by_rounding_is_taken():
    bent = DENSE[1]["weight"] * (1 + 1e-6)
    found = compile_(chain((2,), ("Linear", {"weight": bent}), lif(tau=2 * ONE * (1 + 1e-6)))).graph.layers[0]
    exact = compile_(chain((2,), ("Linear", {"weight": DENSE[1]["weight"]}), lif())).graph.layers[0]
    np.testing.assert_array_equal(found.connections[0].weights, exact.connections[0].weights)
    assert found.dynamics.leak == exact.dynamics.leak == (1, 1)


def test_a_leak_that_is_no_power_of_two_fraction_is_refused_with_the_nearest():
    refusal(chain((2,), DENSE, lif(tau=10 * ONE)), "0.9", "0.875", code="nir-leak")
    assert compile_(chain((2,), DENSE, lif(tau=10 * ONE)), tolerance=0.03).graph.layers[0].dynamics.leak == (7, 3)


def test_a_leak_that_needs_too_many_fraction_bits_is_refused():
    refusal(chain((2,), DENSE, lif()), "fraction bits", steps=40, code="nir-width")


def test_neurons_of_a_layer_leak_alike():
    refusal(chain((2,), DENSE, lif(tau=np.array([2.0, 4.0]))), "2 different rates", code="nir-parameter")


def test_a_subtracted_threshold_lies_on_the_grid_and_another_need_not():
    off = ("IF", {"r": ONE, "v_threshold": np.full(2, 1.037)})
    refusal(
        chain((2,), DENSE, off), "1.037", "subtracts", code="nir-grid", settings=settings({"dt": 1.0, "reset": "subtract"})
    )
    found = compile_(chain((2,), DENSE, off))
    assert found.graph.layers[0].thresholds.tolist() == [[[3], [3]]]  # 1.5 in halves: the next above 1.037
    assert found.between == {"n1": 2}


def test_a_reset_value_contradicts_a_subtracting_reset():
    node = ("IF", {"r": ONE, "v_threshold": 2 * ONE, "v_reset": -ONE})
    refusal(
        chain((2,), DENSE, node), "v_reset is -1", code="nir-parameter", settings=settings({"dt": 1.0, "reset": "subtract"})
    )


def test_several_spikes_a_step_are_refused_unless_they_cannot_happen():
    many = settings({"dt": 1.0, "spikes": "many", "reset": "subtract", "compare": ">="})
    refusal(chain((2,), DENSE, IF), "several spikes", "SingleSpike", code="nir-multi-spike", settings=many)
    large = ("IF", {"r": ONE, "v_threshold": 4 * ONE})
    compile_(chain((2,), DENSE, large), settings=many)


def test_shapes_are_computed_and_compared():
    refusal(chain((3,), DENSE, IF), "n0: 'weight' has shape (2, 2)", code="nir-shape")
    refusal(chain((2,), DENSE, ("IF", {"r": np.ones(3), "v_threshold": np.ones(3)})), "(3,)", "(2,)", code="nir-shape")
    refusal(chain((2, 2, 2, 2), DENSE, IF), code="nir-shape")


def test_arrays_that_are_missing_or_not_finite_are_named():
    refusal(chain((2,), ("Affine", {"weight": DENSE[1]["weight"]}), IF), "'bias'", code="nir-corrupt")
    refusal(
        chain((2,), ("Linear", {"weight": np.array([[1, np.nan], [1, 1]])}), IF), "'weight'", "NaN", code="nir-parameter"
    )
    refusal(chain((2,), ("Linear", {"weight": np.array([[1, np.inf], [1, 1]])}), IF), "infinity", code="nir-parameter")


def test_nothing_is_assumed_of_a_file_that_says_nothing():
    found = chain((2,), DENSE, lif(tau=ONE * 2e-4, r=2 * ONE))
    with pytest.raises(ModelError) as error:
        interpret(found, NirOptions(steps=4, input="spikes"))
    assert error.value.code == "nir-semantics"
    for option in ("--compare", "--spikes", "--reset", "--decay", "--gain-lif", "--start", "--delay"):
        assert option in str(error.value)
    assert "--semantics snntorch" in str(error.value), "tau = 1e-4 r"
    assert "identical" in str(error.value)


@pytest.mark.parametrize("profile", ["nir", "rockpool"])
def test_profiles_leave_dt_to_the_user(profile):
    with pytest.raises(ModelError, match="--dt") as error:
        interpret(chain((2,), DENSE, lif()), NirOptions(semantics=profile, steps=4, input="spikes"))
    assert error.value.fields["found"] == ["dt"]


def test_sinabs_leaves_the_gain_of_a_leaky_neuron_to_the_user():
    with pytest.raises(ModelError, match="--gain-lif"):
        interpret(chain((2,), DENSE, lif()), NirOptions(semantics="sinabs", steps=4, input="spikes"))


@pytest.mark.parametrize("missing", ["steps", "input"])
def test_steps_and_input_have_no_default(missing):
    options = {"semantics": "spikingjelly", "steps": 4, "input": "spikes"} | {missing: None}
    with pytest.raises(ModelError, match=f"--{missing}"):
        interpret(chain((2,), DENSE, IF), NirOptions(**options))


@pytest.mark.parametrize(
    ("option", "value"), [("semantics", "brian"), ("input", "light"), ("steps", 0), ("weight_bits", 1), ("tolerance", 1.0)]
)
def test_options_are_checked(option, value):
    with pytest.raises(UsageError):
        NirOptions(**{option: value})


def test_settings_are_checked():
    with pytest.raises(UsageError, match="--reset"):
        settings({"reset": "softly"})
    with pytest.raises(UsageError, match="--dt"):
        settings({"dt": -1})


def test_metadata_states_what_options_would():
    found = chain((2,), DENSE, lif())
    stated = type(found)(
        found.nodes, found.edges,
        {"qsnnc.semantics": "norse", "qsnnc.dt": "1.0", "qsnnc.steps": "4", "qsnnc.input": "spikes"},
    )  # fmt: skip
    one = integerize(interpret(stated, NirOptions())).graph.layers[0]
    other = compile_(found, semantics="norse").graph.layers[0]
    np.testing.assert_array_equal(one.thresholds, other.thresholds)
    wrong = type(found)(found.nodes, found.edges, {"qsnnc.reset": "softly"})
    with pytest.raises(ModelError, match="softly") as error:
        interpret(wrong, NirOptions(semantics="norse", steps=4, input="spikes"))
    assert error.value.code == "nir-metadata"


def test_a_graph_within_a_graph_is_flattened():
    from qsnnc.nir.network import Network, Node

    inner = chain((2,), DENSE, IF)
    nodes = {
        "input": Node("input", "Input", {"shape": np.array([2])}), "block": Node("block", "NIRGraph", {}, {}, inner),
        "output": Node("output", "Output", {"shape": np.array([2])}),
    }  # fmt: skip
    nested = Network(nodes, (("input", "block"), ("block", "output")))
    found, flat = compile_(nested).graph, compile_(inner).graph
    assert [layer.name for layer in found.layers] == ["block.n1"]
    np.testing.assert_array_equal(found.layers[0].connections[0].weights, flat.layers[0].connections[0].weights)
