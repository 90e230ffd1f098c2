"""What counts as a quantizer, and the grid that its values lie on."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper
from support.against_reference import equal, finish, head, stem, ternary, with_activation

from qsnnc import verify
from qsnnc.frontend.quantizers.levels import uniform_levels


def test_a_wide_gap_between_levels_is_a_number_of_steps() -> None:
    """67 levels that no channel takes, and float32 rounding in all others."""
    step = 0.0042680502
    taken = np.concatenate([np.arange(10), np.arange(76, 255)])
    values = (np.float32(step) * taken.astype(np.float32)).astype(np.float64)
    assert uniform_levels("end", values, np.zeros(1, bool)).count == 254


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ([0, 32, 63.5], 127),
        ([0, 1000, 1999.5], 3999),
        ([0, 0.5, 1], 2),
        (np.float32(0.1) * np.arange(16, dtype=np.float32), 15),
    ],
)
def test_grid_of_values_with_float32_rounding(values, count) -> None:
    """A value clipped by an integer type is its own level, even 0.01 of a step from the next."""
    found = uniform_levels("end", np.asarray(values, np.float64), np.zeros(1, bool))
    assert found.count == count
    said = found.scale * (np.arange(count + 1) + found.zero_point)
    np.testing.assert_allclose(said[np.searchsorted(found.values, values)], values, rtol=1e-6)


@pytest.mark.slow
def test_leaky_relu_with_levels_below_zero(save) -> None:
    rng = np.random.default_rng(2)
    net = stem(channels=2)
    net.conv("conv", ternary(rng, 3, 2, 2, 2))
    net.node("LeakyRelu", "leaky", alpha=0.25)
    net.node("Round", "round")
    net.node("Clip", "clip", net.const("lo", np.float32(-2)), net.const("hi", np.float32(3)))
    net.conv("conv2", ternary(rng, 2, 3, 2, 2), pads=[1] * 4)
    net.quantize("q", 0, 3)
    equal(finish(net, net.shape), save, certified=False)


@pytest.mark.slow
def test_constant_minus_levels(save) -> None:
    net = stem(channels=3)
    net.nodes.append(helper.make_node("Sub", [net.const("top", np.float32(1.5)), net.here], ["turned"], name="turn"))
    net.here = "turned"
    net.conv("conv", ternary(np.random.default_rng(4), 2, 3, 2, 2), pads=[1] * 4)
    net.quantize("q", 0, 3)
    equal(finish(net, net.shape), save, certified=False)


@pytest.mark.slow
def test_quantizer_written_as_a_sum_of_comparisons(save) -> None:
    net = stem()
    net.conv("conv", np.resize([1.0, -1.0], (2, 3, 1, 1)))
    root, parts = net.here, []
    for i, cut in enumerate((0.5, 1.25, 3.0)):
        net.here = root
        net.node("Greater", f"above{i}", net.const(f"cut{i}", np.float32(cut)))
        net.node("Cast", f"one{i}", to=TensorProto.FLOAT)
        parts.append(net.here)
    net.here = parts[0]
    net.node("Add", "two", parts[1])
    net.node("Add", "three", parts[2])
    net.flatten()
    head(net, 72)
    equal(net, save, certified=False)


@pytest.mark.slow
def test_residual_sum_quantized_by_comparisons_and_read_out(save) -> None:
    net = stem()
    levels = net.here
    net.conv("conv", ternary(np.random.default_rng(5), 3, 3, 1, 1))
    net.node("Add", "add", levels)
    sums = net.here
    for name, bound in (("a", 0.5), ("b", 1.5)):
        net.here = sums
        net.node("Greater", f"{name}/greater", net.const(f"{name}.bound", np.float32(bound)))
        net.node("Cast", f"{name}/level", to=1)
    net.node("Add", "both", "a/level_out")
    equal(net, save)


def test_pact_quantizer(save) -> None:
    """0.5 * (|x| - |x - a| + a), as published: rounding error is large far from the origin; the clamp lies within the sums' range."""
    net = with_activation(
        ("Abs", (["conv_out"], ["size"]), {}),
        ("Sub", (["conv_out", "alpha"], ["shifted"]), {}),
        ("Abs", (["shifted"], ["other"]), {}),
        ("Sub", (["size", "other"], ["parted"]), {}),
        ("Add", (["parted", "alpha"], ["twice"]), {}),
        ("Mul", (["twice", "half"], ["activated"]), {}),
    )
    net.const("alpha", np.float32(1.7))
    net.const("half", np.float32(0.5))
    assert verify(save(net.model()), limit=20).equal
