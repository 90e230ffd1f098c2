"""Residual sums of layers that differ in depth, scale or shape."""

from __future__ import annotations

import numpy as np
import pytest
from support.against_reference import equal, finish, head, stem, ternary


@pytest.mark.slow
def test_branches_of_different_depth(save) -> None:
    rng = np.random.default_rng(2)
    net = stem(channels=4)
    trunk = net.here
    net.conv("conv1", ternary(rng, 4, 4, 3, 3), pads=[1] * 4)
    net.node("Mul", "half", net.const("half.value", np.float32(0.25)))
    net.quantize("q1", 1, 3)
    net.conv("conv2", ternary(rng, 4, 4, 1, 1))
    net.quantize("q2", 1, 3)
    net.node("Add", "join", trunk)
    net.quantize("q3", 1, 5)
    net.flatten()
    head(net, 144)
    done, _ = equal(net, save)
    layers = {layer.name: layer for layer in done.mapping.layers}
    assert layers["join"].tick == layers["conv2"].tick + 1
    assert set(done.mapping.target_delay.tolist()) == {1, 3}


@pytest.mark.slow
def test_branches_of_different_scale(save) -> None:
    net = stem(channels=2)
    trunk = net.here
    net.conv("conv1", np.ones((2, 2, 1, 1)))
    net.quantize("q1", 2, 6)
    net.node("Add", "join", trunk)
    net.quantize("q2", 1, 5)
    net.flatten()
    head(net, 72)
    done, _ = equal(net, save)
    join = next(layer for layer in done.graph.layers if layer.name == "join")
    assert sorted(int(link.weights[0, 0, 0, 0]) for link in join.connections) == [1, 2]


@pytest.mark.slow
def test_sum_of_a_map_and_its_broadcast_maximum(save) -> None:
    net = stem(channels=3)
    whole = net.here
    net.node("GlobalMaxPool", "pool")
    net.node("Add", "add", whole)
    net.shape = (3, 6, 6)
    net.quantize("q", 1, 5)
    equal(finish(net, net.shape), save, certified=False)
