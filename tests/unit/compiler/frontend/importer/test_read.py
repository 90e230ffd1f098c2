"""Forms of the ONNX standard that older files use."""

from __future__ import annotations

import numpy as np
from support.against_reference import equal, head
from support.networks import Builder


def test_clip_bounds_as_attributes_in_opset_10(save) -> None:
    net = Builder((1, 6, 6))
    net.conv("stem", np.array([3, -1, 5]).reshape(3, 1, 1, 1) / 1024.0)
    net.node("Floor", "floor")
    net.node("Clip", "clip", min=0.0, max=1.0)
    net.flatten()
    head(net, 108)
    equal(net, save, opset=10)
