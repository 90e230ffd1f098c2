"""Sums of two tensors of levels whose scales have no simple ratio, by enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from support.against_reference import finish, stem, ternary

from qsnnc import verify


@pytest.mark.slow
@pytest.mark.parametrize("last", [False, True])
def test_uncertain_thresholds_belong_to_channels(save, last) -> None:
    """QLinearAdd, which is decomposed, so that its roundings count; as onnxruntime writes it, with the channels last."""
    net = stem()
    scales = [np.float32(0.5), np.float32(67 / 128), np.float32(1)]  # no simple ratio, and ties
    names = [net.const(f"scale{number}", scale) for number, scale in enumerate(scales)]
    zero = net.const("zero", np.uint8(100))
    trunk, levels = net.here, []
    for number, name in enumerate(names[:2]):
        net.here = trunk
        net.conv(f"conv{number}", ternary(np.random.default_rng(number), 3, 3, 3, 3), pads=[1] * 4)
        net.node("QuantizeLinear", f"levels{number}", name, zero)
        if last:
            net.node("Transpose", f"moved{number}", perm=[0, 2, 3, 1])
        levels.append(net.here)
    net.node("QLinearAdd", "add", names[1], zero, levels[0], names[0], zero, names[2], zero, domain="com.microsoft")
    if last:
        net.node("Transpose", "back", perm=[0, 3, 1, 2])
    net.node("DequantizeLinear", "float", names[2], zero)
    model = finish(net).model()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    found = verify(save(model), limit=20)
    assert found.passes()
    assert set(found.uncertain["add"].channel.tolist()) == {0, 1, 2}
