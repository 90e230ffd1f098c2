"""Max pools over levels and constants."""

from __future__ import annotations

import numpy as np
import pytest
from support.against_reference import equal, finish, stem, ternary

from qsnnc import ModelError, verify


@pytest.mark.slow
def test_a_channel_with_one_level_is_pooled(save) -> None:
    """A second quantizer leaves one value; the map is concatenated to levels before a max pool."""
    net = stem(channels=2)
    first = net.here
    net.node("Neg", "neg")
    net.node("Clip", "clip", net.const("low", np.float32(0)), net.const("high", np.float32(3)))
    net.node("Concat", "cat", first, axis=1)
    net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[2, 2])
    net.shape = (4, 3, 3)
    equal(finish(net), save)


@pytest.mark.slow
def test_a_constant_channel_is_pooled(save) -> None:
    net = stem(channels=2)
    plane = net.const("plane", (np.arange(36).reshape(1, 1, 6, 6) % 5 / 2).astype(np.float32))
    net.node("Concat", "cat", plane, axis=1)
    net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[2, 2])
    net.shape = (3, 3, 3)
    model = finish(net).model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    equal(model, save)


@pytest.mark.parametrize("shape", [(6, 6), (6, 1), (1, 6), (6, 6, 6)])
@pytest.mark.parametrize("flat", [False, True])
def test_a_quantizer_behind_it_that_differs_between_positions_is_refused(shape, flat) -> None:
    """As the smoothing of NNCF's preset for transformers: a factor for each feature, before a matrix."""
    net = stem()
    net.conv("conv", ternary(np.random.default_rng(4), 6, 3, 1, 1))
    net.node("MaxPool", "pool", kernel_shape=[3, 3], pads=[1] * 4)
    factors = np.broadcast_to(np.resize(np.float32([0.5, 1, 2, 1.5, 0.75]), shape), (6, 6, 6))
    if flat:
        net.flatten()
    net.node("Mul", "smooth", net.const("factors", factors.reshape(-1) if flat else np.resize(factors, shape)))
    net.quantize("q", 0, 3)
    with pytest.raises(ModelError, match="differ from position to position") as caught:
        verify(finish(net).model(), limit=1)
    assert (caught.value.code, caught.value.exit_code, caught.value.fields["node"]) == ("reordered", 3, "pool")
