"""Several quantizers one after the other, or of one sum."""

from __future__ import annotations

import numpy as np
import pytest
from support.against_reference import equal, finish, stem, ternary

from qsnnc import verify
from qsnnc.frontend.integerize.requantize import _firsts
from qsnnc.frontend.quantizers.levels import Levels


def test_thresholds_between_two_16_bit_quantizers() -> None:
    """65,536 levels each: comparing all pairs would take 4 * 10**9 comparisons."""
    table = np.linspace(0, 65535, 65536)[:, None].repeat(3, axis=1)
    levels = Levels(65535, 1.0, 0.0, table[:, 0], np.zeros(3, bool))
    first = _firsts(table, levels)
    assert first.shape == (3, 65535)
    np.testing.assert_array_equal(first[1], np.arange(1, 65536))


@pytest.mark.slow
def test_two_quantizers_of_one_convolution(save) -> None:
    net = stem(channels=2)
    net.conv("conv", ternary(np.random.default_rng(1), 3, 2, 2, 2))
    sums = net.here
    net.quantize("q1", 1, 3)
    one, net.here = net.here, sums
    net.quantize("q2", 0, 2)
    net.node("Add", "add", one)
    net.quantize("q3", 0, 3)
    equal(finish(net, net.shape), save, certified=False)


@pytest.mark.slow
@pytest.mark.parametrize("op", ["Conv", "Gemm", "MatMul", "MaxPool", "AveragePool", "end"])
def test_a_second_quantizer_with_one_level(op, save) -> None:
    """The output is the same for every image."""
    net = stem()
    net.node("Add", "shift", net.const("shift.k", np.float32(8)))
    net.quantize("dead", 1, 5)
    if op == "Conv":
        net.conv("conv", ternary(np.random.default_rng(6), 2, 3, 3, 3))
        net.quantize("quant", 1, 3)
        finish(net)
    elif op.endswith("Pool"):
        net.node(op, "pool", kernel_shape=[2, 2], strides=[2, 2])
        net.quantize("quant", 0, 3)
        finish(net, (3, 3, 3))
    elif op == "MatMul":
        net.node("MatMul", "mix", net.const("mix.w", np.float32([[1, 0], [0, 1], [1, 1], [0, -1], [1, 0], [0, 1]])))
        net.shape = (3, 6, 2)
    elif op == "Gemm":
        finish(net)
    equal(net, save)


def test_levels_through_elu_and_flatten_to_levels(save) -> None:
    """As onnxruntime's quantizer surrounds an operator it does not know: the values between lie on no grid."""
    net = stem(channels=3)
    net.conv("conv", ternary(np.random.default_rng(3), 3, 3, 3, 3))
    scale, zero = net.const("s", np.float32(0.25)), net.const("z", np.int8(3))
    net.node("QuantizeLinear", "q", scale, zero)
    net.node("DequantizeLinear", "dq", scale, zero)
    net.node("Elu", "elu")
    net.flatten()
    again = net.const("again", np.float32(0.125))
    net.node("QuantizeLinear", "q2", again, zero)
    net.node("DequantizeLinear", "dq2", again, zero)
    net.gemm("head", np.resize([1.0, -3.0, 2.0, 5.0, -7.0], (4, net.shape[0])))
    assert verify(save(net.model()), limit=20).equal
