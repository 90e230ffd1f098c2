"""Forms of the ONNX standard that older files use, and operators that it lacks."""

from __future__ import annotations

import numpy as np
import pytest
from support.against_reference import equal, head
from support.networks import Builder
from support.published import network

from qsnnc import ModelError, check


def test_clip_bounds_as_attributes_in_opset_10(save) -> None:
    net = Builder((1, 6, 6))
    net.conv("stem", np.array([3, -1, 5]).reshape(3, 1, 1, 1) / 1024.0)
    net.node("Floor", "floor")
    net.node("Clip", "clip", min=0.0, max=1.0)
    net.flatten()
    head(net, 108)
    equal(net, save, opset=10)


@pytest.mark.parametrize(
    ("op", "advice"),
    [
        ("HardSwish", "it came with opset 14: export to that or a newer one"),
        ("Swish", "it came with opset 24: export to that or a newer one"),
        ("FakeLUT", "export with standard ONNX operators"),
    ],
)
def test_an_unknown_operator_is_refused_with_what_to_do(op, advice, save) -> None:
    model = network(f"y = {op}(x)", "float unused = {0}", '"" : 13', outputs=4)
    with pytest.raises(ModelError) as caught:
        check(save(model))
    assert str(caught.value) == f"y: operator {op} is unknown in opset 13; {advice}"
    assert caught.value.exit_code == 3
