"""Nonmonotonic activations whose operators are quantized one by one, as onnxruntime does: functions of levels."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper, parser
from support.against_reference import equal, finish, stem, ternary
from support.networks import Builder

from qsnnc import verify


def levels_of(net: Builder, name: str, scale: float, zero: int) -> tuple[str, str]:
    """QuantizeLinear, to int8 if the zero point is negative; return its parameters."""
    typed = np.int8(zero) if zero < 0 else np.uint8(zero)
    given = net.const(f"{name}.scale", np.float32(scale)), net.const(f"{name}.zero", typed)
    net.node("QuantizeLinear", name, *given)
    return given


@pytest.mark.slow
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_it_is_added_to_levels_of_another_scale(save, form) -> None:
    """HardSwish as onnxruntime quantizes it: the gate has levels of its own, so that it falls here and there by a level."""
    rng = np.random.default_rng(4)
    net = stem()
    net.conv("conv", rng.integers(-7, 8, (4, 3, 3, 3)) / 16.0)
    sums = net.here
    net.node("HardSigmoid", "gate", alpha=1 / 6)
    net.node("DequantizeLinear", "gate/float", *levels_of(net, "gate/levels", 1 / 21, 0))
    net.node("Mul", "product", sums)
    turning = levels_of(net, "turning", 0.083, 40)
    levels = net.here
    net.node("DequantizeLinear", "turning/float", *turning)
    back = net.here
    net.conv("next", ternary(rng, 4, 4, 1, 1))
    other = levels_of(net, "other", 0.171, 90)
    if form == "QDQ":
        net.node("DequantizeLinear", "other/float", *other)
        net.node("Add", "add", back)
        together = levels_of(net, "sums", 0.31, 100)
    else:
        together = net.const("sums.scale", np.float32(0.31)), net.const("sums.zero", np.uint8(100))
        net.node("QLinearAdd", "add", *other, levels, *turning, *together, domain="com.microsoft")
    net.node("DequantizeLinear", "sums/float", *together)
    model = finish(net).model()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    found = verify(save(model), limit=20)
    assert found.equal
    assert {"conv.falls", "add"} <= set(found.thresholds)


@pytest.mark.slow
@pytest.mark.parametrize("behind", ["largest", "sum of branches", "moved", "moved levels", "concatenated"])
def test_it_turns_on_the_levels_behind_another_operator(save, behind) -> None:
    """As onnxruntime quantizes a network: each operator is quantized before the activation, which is quantized again."""
    rng = np.random.default_rng(4)
    net = stem()
    first = net.here
    net.conv("conv", ternary(rng, 3, 3, 3, 3), pads=[1] * 4)
    if behind == "largest":
        net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[2, 2])
        net.shape = (3, 3, 3)
    elif behind == "sum of branches":
        net.node("DequantizeLinear", "one/float", *levels_of(net, "one", 0.137, 110))
        net.node("Add", "add", first)
    elif behind == "moved":
        net.node("Transpose", "last", perm=[0, 2, 3, 1])
    elif behind == "concatenated":
        left = net.here
        net.here = first
        net.conv("side", ternary(rng, 2, 3, 1, 1))
        net.node("Concat", "cat", left, axis=1)
        net.shape = (5, 6, 6)
    given = levels_of(net, "levels", 0.25, 128)
    if behind == "moved levels":
        net.node("Transpose", "last", perm=[0, 2, 3, 1])
    net.node("DequantizeLinear", "float", *given)
    before = net.here
    net.node("HardSigmoid", "gate", alpha=1 / 6)
    net.node("Mul", "product", before)
    net.node("DequantizeLinear", "turning/float", *levels_of(net, "turning", 0.15, 4))
    if behind.startswith("moved"):
        net.node("Transpose", "first", perm=[0, 3, 1, 2])
    net.conv("next", ternary(rng, 2, net.shape[0], 1, 1))
    net.quantize("q", 0, 3)
    done, _ = equal(finish(net), save, certified=False)
    assert any(layer.name.endswith(".falls") for layer in done.graph.layers)


@pytest.mark.slow
def test_the_lowest_level_lies_in_a_dip_between_two_steps(save) -> None:
    """HardSwish of levels, as onnxruntime quantizes it: it has its lowest level at ten of 256 levels alone."""
    rng = np.random.default_rng(4)
    net = stem()
    net.conv("conv", rng.integers(-127, 128, (3, 3, 3, 3)) * 32.0)
    net.node("Mul", "small", net.const("small.k", np.float32(1 / 4325)))
    inner = levels_of(net, "inner", 0.0206771, -43)
    net.node("DequantizeLinear", "inner/float", *inner)
    before = net.here
    net.node("HardSigmoid", "gate", alpha=1 / 6)
    net.node("DequantizeLinear", "gate/float", *levels_of(net, "gate/levels", 1 / 255, -128))
    net.node("Mul", "product", before)
    net.node("DequantizeLinear", "turning/float", *levels_of(net, "turning", 0.0152478, -103))
    net.conv("next", ternary(rng, 2, 3, 1, 1))
    net.quantize("q", 0, 3)
    found = verify(save(finish(net).model()), limit=60)
    assert found.equal


def test_levels_of_four_bits_that_it_turns_on(save) -> None:
    """onnxruntime computes with integers of four bits but hands none out."""
    model = parser.parse_model(FOUR_BITS)
    assert verify(model, limit=30).equal


FOUR_BITS = """<ir_version: 10, opset_import: ["" : 21]>
net (float[N, 4] x) => (float[N, 2] y)
<float step = {30}, int4 zero = {0}, float[4, 3] w = {0.5, 1, -0.5, -1, 0.5, 1, 1, -1, 0.5, 0.5, 0.5, -1},
 float small = {0.01}, float unit = {0.35}, float gated = {0.14}, float last = {0.2}, float[3, 2] v = {1, 0, -1, 1, 0, 1}> {
  i = QuantizeLinear (x, step, zero)
  a = DequantizeLinear (i, step, zero)
  s = MatMul (a, w)
  t = Mul (s, small)
  j = QuantizeLinear (t, unit, zero)
  b = DequantizeLinear (j, unit, zero)
  g = HardSigmoid <alpha: float = 0.166667> (b)
  k = QuantizeLinear (g, gated, zero)
  h = DequantizeLinear (k, gated, zero)
  p = Mul (b, h)
  q = QuantizeLinear (p, last, zero)
  c = DequantizeLinear (q, last, zero)
  y = MatMul (c, v)
}"""
