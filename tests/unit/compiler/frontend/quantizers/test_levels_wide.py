"""16-bit activations: proved without a chip, and told to be too many for any."""

from __future__ import annotations

import numpy as np
import pytest
from support.networks import Builder

from qsnnc import DoesNotFit, compile_model, verify


def wide(dtype: type = np.uint16, scale: float = 2.0**-8, *, normed: bool = False) -> Builder:
    """Two quantizers of 65,536 levels, a convolution between them."""
    net = Builder((1, 6, 6))
    step, zero = net.const("step", np.float32(scale)), net.const("zero", dtype(0))

    def quantizer(name: str) -> None:
        net.node("QuantizeLinear", f"{name}/q", step, zero)
        net.node("DequantizeLinear", f"{name}/dq", step, zero)

    quantizer("image")
    net.conv("conv", np.resize([1.0, -1.0, 0.0, 1.0], (3, 1, 3, 3)), np.array([0.5, 3.0, -1.0]))
    if normed:
        net.node("Mul", "scales", net.const("own", np.float32([0.5, 2.0, -1.0]).reshape(3, 1, 1)))
    net.node("Relu", "relu")
    quantizer("conv")
    net.flatten()
    net.gemm("head", np.resize([1.0, -3.0, 2.0], (3, 48)))
    return net


@pytest.mark.slow
@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_sixteen_bits_are_equal_on_every_input(save, dtype, normed) -> None:
    found = verify(save(wide(dtype, normed=normed).model(opset=21)), limit=20)
    assert found.equal
    assert not any(found.uncertain.values())


@pytest.mark.slow
def test_doubts_of_many_levels_are_runs(save) -> None:
    found = verify(save(wide(scale=0.0037).model(opset=21)), limit=20)
    assert found.passes()
    uncertain = found.uncertain["conv"]
    assert len(uncertain) < sum(span.count for span in uncertain) <= found.thresholds["conv"]


@pytest.mark.slow
def test_no_chip_holds_them(save) -> None:
    with pytest.raises(DoesNotFit) as caught:
        compile_model(save(wide().model(opset=21)))
    assert caught.value.exit_code == 4
