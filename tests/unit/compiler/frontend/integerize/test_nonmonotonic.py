"""Activations that rise and fall again: a layer for the steps up, one for the steps down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import helper, numpy_helper
from support.against_reference import equal, finish, stem, ternary, turning, with_activation
from support.networks import Builder

from qsnnc import ModelError, compile_model, verify
from qsnnc.ir.execute import run
from qsnnc.ir.uncertain import Uncertain, UncertainThresholds
from qsnnc.verification.explain import Uncertainty


def dipping(op: str, *, channels: int = 4, pads: int = 0, **options: float) -> Builder:
    rng = np.random.default_rng(4)
    net = stem()
    gamma = np.resize([1.0, 0.5, -1.0, 0.25], channels).reshape(-1, 1, 1, 1)
    net.conv("conv", ternary(rng, channels, 3, 3, 3) * gamma, np.resize([0.0, 0.5, -0.5, 1.0], channels), pads=[pads] * 4)
    turning(net, "act", op, **options)
    return net


def reads(net: Builder, how: str) -> Builder:
    """What stands behind the activation."""
    rng = np.random.default_rng(5)
    if how == "conv":
        net.conv("next", ternary(rng, 3, 4, 3, 3), np.array([0.5, 0, -1]), pads=[1] * 4)
        net.quantize("q", 0, 3)
    elif how == "average":
        net.node("AveragePool", "pool", kernel_shape=[2, 2], strides=[2, 2])
        net.shape = (4, 2, 2)
        net.quantize("q", 2, 3)
    elif how == "largest":
        net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[2, 2])
        net.shape = (4, 2, 2)
    elif how == "residual":
        first = net.here
        net.conv("next", ternary(rng, 4, 4, 3, 3), pads=[1] * 4)
        net.node("Add", "add", first)
        turning(net, "again", "Mish")
        net.conv("last", ternary(rng, 2, 4, 1, 1))
        net.quantize("q", 1, 3)
    elif how == "concat":
        first = net.here
        net.conv("next", ternary(rng, 2, 4, 1, 1))
        net.quantize("q1", 3, 7)
        net.node("Concat", "cat", first, axis=1)
        net.shape = (6, *net.shape[1:])
        net.conv("last", ternary(rng, 2, 6, 1, 1))
        net.quantize("q", 1, 3)
    return net


@pytest.mark.slow
@pytest.mark.parametrize("op", ["SiLU", "HardSwish", "Mish", "Abs"])
@pytest.mark.parametrize("how", ["conv", "average", "largest", "residual", "concat", "matrix"])
def test_what_reads_it_reads_steps_up_and_steps_down(save, op, how) -> None:
    net = finish(reads(dipping(op), how))
    done, _ = equal(net, save, certified=False, opset=18)
    names = [layer.name for layer in done.graph.layers]
    assert "conv.falls" in names, names


@pytest.mark.slow
@pytest.mark.parametrize("op", ["SiLU", "Gelu", "HardSwish"])
@pytest.mark.parametrize("how", ["conv", "average", "largest", "residual", "matrix"])
def test_a_rounding_without_a_clip_has_the_levels_that_its_sums_reach(save, op, how) -> None:
    done, _ = equal(finish(reads(dipping(op, clip=False), how)), save, certified=False, opset=20)
    up, down = (done.graph.population(name) for name in ("conv", "conv.falls"))
    assert up.levels > 15 + down.levels


@pytest.mark.slow
def test_windows_at_the_border_have_steps_of_their_own(save) -> None:
    net = dipping("SiLU", pads=1)
    net.shape = (4, 6, 6)
    done, _ = equal(finish(reads(net, "conv")), save, certified=False)
    up, down = (done.graph.population(name) for name in ("conv", "conv.falls"))
    assert up.levels <= 15
    assert 1 <= down.levels <= 3


@pytest.mark.slow
def test_levels_that_rise_and_fall_are_read_out(save) -> None:
    net = dipping("SiLU")
    equal(net, save, certified=False)


@pytest.mark.slow
def test_the_host_may_hand_over_what_rises_and_falls(save) -> None:
    net = Builder((1, 6, 6))
    net.conv("first", np.random.default_rng(1).integers(-20, 30, (3, 1, 2, 2)) / 2048.0)
    turning(net, "act", "SiLU")
    net.conv("next", ternary(np.random.default_rng(2), 3, 3, 3, 3))
    net.quantize("q", 0, 3)
    done, _ = equal(finish(net), save, certified=False)
    assert not done.graph.encoder_exact


@pytest.mark.slow
def test_where_no_sum_reaches_the_fall_one_layer_is_enough(save) -> None:
    """All sums are positive: the first layer's levels, and weights, are."""
    net = stem()
    net.conv("conv", np.ones((2, 3, 1, 1)))
    turning(net, "act", "SiLU")
    done, _ = equal(finish(net), save, certified=False)
    assert [layer.name for layer in done.graph.layers] == ["conv", "head"]


def test_a_largest_of_sums_before_it_is_refused(save) -> None:
    """The largest of two sums need not have the largest level."""
    net = dipping("SiLU")
    pool = helper.make_node("MaxPool", ["conv_out"], ["pool_out"], name="pool", kernel_shape=[2, 2], strides=[2, 2])
    at = next(i for i, node in enumerate(net.nodes) if node.name == "act/small")
    net.nodes[at].input[0] = "pool_out"
    net.nodes.insert(at, pool)
    net.shape = (4, 2, 2)
    with pytest.raises(ModelError) as caught:
        compile_model(save(finish(net).model()))
    assert caught.value.code == "not-monotone"


def test_too_many_sums_to_look_at_are_refused(save, monkeypatch) -> None:
    monkeypatch.setattr("qsnnc.frontend.integerize.nonmonotonic.MOST_POTENTIALS", 10)
    with pytest.raises(ModelError) as caught:
        compile_model(save(finish(dipping("SiLU")).model()))
    assert caught.value.code == "not-monotone"
    assert "over 232 potentials; a nonmonotonic activation may have at most 10" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["between", "again"])
def test_levels_are_looked_at_where_sums_are_too_many_or_there_are_none(save, monkeypatch, way) -> None:
    """A quantizer of 24 levels before the SiLU, or a second activation, that turns, on levels."""
    monkeypatch.setattr("qsnnc.frontend.integerize.nonmonotonic.MOST_POTENTIALS", 100)
    net = stem()
    net.conv("conv", ternary(np.random.default_rng(4), 4, 3, 3, 3) * np.resize([1, 0.5], (4, 1, 1, 1)))
    scale, zero = net.const("s", np.float32(0.3)), net.const("z", np.int8(0))
    net.node("Clip", "clip", net.const("low", np.float32(-3.6)), net.const("high", np.float32(3.6)))
    net.node("QuantizeLinear", "q", scale, zero)
    net.node("DequantizeLinear", "dq", scale, zero)
    if way == "again":
        net.node("Identity", "same")
        net.node("MaxPool", "pool", kernel_shape=[1, 1])
    turning(net, "act", "SiLU", scale=1 / 32, low=-16, high=15)
    done, _ = equal(finish(reads(net, "conv")), save, certified=False)
    names = [layer.name for layer in done.graph.layers]
    before = "pool" if way == "again" else "conv"
    assert [name for name in names if "turned" in name] == [f"{before}.turned", f"{before}.turned.falls"]
    assert not any(layer.uncertain for layer in done.graph.layers[1:])


@pytest.mark.slow
@pytest.mark.parametrize("open_", [False, True])
def test_a_difference_is_explained_by_open_steps_of_what_is_read(save, open_) -> None:
    """The steps have no tensor of the file that they are held against: what reads them differs."""
    done, _ = equal(finish(reads(dipping("SiLU"), "conv")), save, certified=False)
    graph = done.graph
    falls = graph.population("conv.falls")
    span = Uncertain(channel=2, border_class=0, level=0, bound=1e6, count=falls.levels)
    layers = [
        replace(entry, uncertain=UncertainThresholds.of([span] if open_ and entry is falls else []))
        for entry in graph.layers
    ]
    graph = replace(graph, layers=tuple(layers))
    levels = np.random.default_rng(0).integers(0, graph.encoder.levels + 1, (1, *graph.encoder.shape))
    given = {graph.encoder.name: levels}
    for layer in graph.layers[:3]:
        given[layer.name] = run(layer, given)
    reader = graph.layers[2]
    assert reader.name == "next"
    others = {**given, falls.name: given[falls.name].copy()}
    others[falls.name][0, 2] = falls.levels - others[falls.name][0, 2]
    expected = run(reader, others)
    assert (expected != given["next"]).any()
    unexplained = Uncertainty(graph).unexplained(reader, given, given["next"], expected)
    assert unexplained.any() != open_


def test_nonmonotonic_activation_of_integer_operators(save) -> None:
    """SiLU as onnxruntime's quantize_static writes it: QLinearSigmoid and QLinearMul on eight bits."""
    net = stem()
    net.conv("conv", ternary(np.random.default_rng(4), 4, 3, 3, 3))
    scale, zero = net.const("s", np.float32(1 / 16)), net.const("z", np.uint8(128))
    unit, none = net.const("unit", np.float32(1 / 256)), net.const("none", np.uint8(0))
    small, low = net.const("small", np.float32(1 / 32)), net.const("low", np.uint8(20))
    net.node("QuantizeLinear", "q", scale, zero)
    x = net.here
    net.node("QLinearSigmoid", "gate", scale, zero, unit, none, domain="com.microsoft")
    net.node("QLinearMul", "mul", unit, none, x, scale, zero, small, low, domain="com.microsoft")
    net.node("DequantizeLinear", "dq", small, low)
    model = finish(net).model()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    found = verify(save(model), limit=20)
    assert found.equal
    assert any("falls" in name for name in found.thresholds)


@pytest.mark.slow
@pytest.mark.parametrize("low", [-3.0, 0.0])
def test_a_dip_needs_a_second_layer_only_with_levels_below_zero(save, low) -> None:
    """x * hardsigmoid(x) falls below zero and rises again."""
    net = with_activation(
        ("HardSigmoid", (["conv_out"], ["gate"]), {"alpha": 1 / 6, "beta": 0.5}),
        ("Mul", (["conv_out", "gate"], ["activated"]), {}),
    )
    for tensor in net.constants:
        if tensor.name == "quant.low":
            tensor.CopyFrom(numpy_helper.from_array(np.float32(low), "quant.low"))
        if tensor.name == "quant.up":  # a step of 0.6: only between -2.4 and -0.7 is there a level below zero
            tensor.CopyFrom(numpy_helper.from_array(np.float32(1.0 / 0.6), "quant.up"))
    path = save(net.model())
    assert verify(path, limit=20).equal
    assert any(layer.name.endswith(".falls") for layer in compile_model(path).graph.layers) == (low < 0)


def shallow_dip(scale: float, op: str = "HardSwish") -> Builder:
    """HardSwish, which falls to -0.375 at -1.5, on sums in steps of 1/64."""
    rng = np.random.default_rng(4)
    net = stem()
    net.conv("conv", ternary(rng, 4, 3, 3, 3), np.array([0.0, 0.5, -0.5, 0.25]))
    net.node("Mul", "half", net.const("half.k", np.float32(1 / 64)))
    net.node(op, "turns")
    net.node("Div", "div", net.const("div.k", np.float32(scale)))
    net.node("Round", "round")
    net.node("Clip", "clip", net.const("low", np.float32(-4)), net.const("high", np.float32(3)))
    return finish(net)


@pytest.mark.slow
def test_a_dip_narrower_than_the_sampled_points_is_found(save) -> None:
    """The lowest value lies below half a step by 2e-5, over a hundredth of the input's unit."""
    equal(shallow_dip(0.375 / 0.50005), save, certified=False, opset=18)


@pytest.mark.slow
def test_a_dip_above_half_a_step_needs_no_level(save) -> None:
    equal(shallow_dip(0.375 / 0.4999), save, certified=False, opset=18)


@pytest.mark.slow
def test_an_integer_convolution_reads_it_less_its_zero_point(save) -> None:
    net = stem()
    rng = np.random.default_rng(4)
    net.conv("conv", ternary(rng, 4, 3, 3, 3))
    net.node("HardSwish", "turns")
    scale, zero = net.const("scale", np.float32(0.125)), net.const("zero", np.uint8(8))
    net.node("Clip", "clip", net.const("low", np.float32(-1.0)), net.const("high", np.float32(0.875)))
    net.node("QuantizeLinear", "levels", scale, zero)
    net.node("ConvInteger", "next", net.const("next.weight", rng.integers(-1, 2, (3, 4, 3, 3)).astype(np.int8)), zero)
    net.node("Cast", "float", to=1)
    net.node("Mul", "scaled", scale)
    net.quantize("q", 0, 3)
    done, _ = equal(finish(net, (3, 2, 2)), save, opset=14, certified=False)
    assert [layer.name for layer in done.graph.layers] == ["conv", "conv.falls", "next", "head"]  # none of its levels


def test_a_fall_far_out_is_seen(save) -> None:
    """|x + 24| with x in steps of 1 / 1024 falls below -24,576, beyond the points at which most functions are saturated."""
    net = stem()
    net.conv("conv", 4096 * ternary(np.random.default_rng(4), 4, 3, 3, 3))
    net.node("Mul", "small", net.const("small.k", np.float32(1 / 1024)))
    net.node("Add", "moved", net.const("moved.k", np.float32(24)))
    net.node("Abs", "size")
    net.node("Mul", "less", net.const("less.k", np.float32(1 / 8)))
    net.node("Round", "round")
    net.node("Clip", "clip", net.const("low", np.float32(0)), net.const("high", np.float32(15)))
    done, _ = equal(finish(net), save, certified=False)
    assert [layer.name for layer in done.graph.layers] == ["conv", "conv.falls", "head"]
