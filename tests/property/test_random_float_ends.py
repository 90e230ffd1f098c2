"""Random networks with float layers at the ends, or float weights that are quantized on request: equal to onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from support.networks import Recipe, build

import chipsim
from chipsim.datasets import Dataset
from qsnnc import ModelError, check, verify
from qsnnc.frontend.model.reference import session

KINDS = ("conv", "strided", "padded", "depthwise", "maxpool", "latepool", "avgpool", "bias", "dense")
RECIPES = st.builds(
    Recipe,
    size=st.integers(4, 8),
    channels=st.integers(1, 3),
    k=st.integers(0, 2),
    levels=st.integers(1, 5),
    layers=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3).map(tuple),
    outputs=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
    odd=st.booleans(),
)
#: how the host goes on from the last levels
TAILS = ("", "Softmax", "Sigmoid", "ArgMax", "uneven")


def loosened(model: onnx.ModelProto, rng: np.random.Generator, first: bool, last: bool) -> onnx.ModelProto:
    """Give the first linear layer or the last float weights that lie on no grid."""
    changed = {"stem.weight"} if first else set()
    changed |= {"head.weight", "head.bias"} if last else set()
    for tensor in model.graph.initializer:
        if tensor.name in changed:
            value = numpy_helper.to_array(tensor)
            value = value + rng.normal(0, 0.05, value.shape).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return model


def quantized_image(model: onnx.ModelProto, levels: int) -> None:
    """Round the image to 0 .. ``levels`` before the first layer."""
    names = {"low": np.float32(0), "high": np.float32(levels), "part": np.float32(256 / (levels + 1))}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"image/{name}") for name, value in names.items()
    )
    nodes = [
        helper.make_node("Div", ["image", "image/part"], ["image/small"], name="image/div"),
        helper.make_node("Floor", ["image/small"], ["image/whole"], name="image/floor"),
        helper.make_node("Clip", ["image/whole", "image/low", "image/high"], ["image/levels"], name="image/clip"),
        helper.make_node("Mul", ["image/levels", "image/part"], ["image/value"], name="image/mul"),
    ]
    first = model.graph.node[0]
    first.input[0] = "image/value"
    for node in reversed(nodes):
        model.graph.node.insert(0, node)


def with_tail(model: onnx.ModelProto, tail: str) -> None:
    """Append an operator, or make the values of the last levels uneven."""
    output = model.graph.output[0]
    if tail == "uneven":
        head = next(node for node in model.graph.node if node.name == "head")
        grown = helper.make_node("Exp", [head.input[0]], ["grown"], name="grown")
        model.graph.node.insert(list(model.graph.node).index(head), grown)
        head.input[0] = "grown"
    elif tail:
        axis = {"axis": 1} if tail != "Sigmoid" else {}
        model.graph.node.append(helper.make_node(tail, [output.name], ["end"], name="end", **axis))
        kind = onnx.TensorProto.INT64 if tail == "ArgMax" else onnx.TensorProto.FLOAT
        output.CopyFrom(helper.make_tensor_value_info("end", kind, ["N", "M"]))


@pytest.mark.slow
@given(
    RECIPES,
    st.booleans(),
    st.sampled_from(TAILS),
    st.sampled_from(["auto", "host"]),
    st.sampled_from([None, 3, 15, 31, 255]),
    st.integers(0, 2**32 - 1),
)
def test_float_ends_are_equal(recipe, first, tail, readout, levels, seed) -> None:
    rng = np.random.default_rng(seed)
    model = loosened(build(recipe), rng, first, last=tail == "uneven" or bool(rng.integers(2)))
    if levels is not None:
        quantized_image(model, levels)
    with_tail(model, tail)
    images = rng.integers(0, 256, (12, 1, recipe.size, recipe.size)).astype(np.uint8)
    try:
        found = verify(model, images, readout=readout)
    except ModelError as error:
        true = error.code == "constant-activation"  # every channel of a layer is dead
        # few weights may lie on a grid by chance: the chip's layer, whose input is then no sum of levels
        true |= error.code == "levels-uneven" and tail == "uneven" and readout == "auto"
        if not true:
            raise
        return
    assert found.passes(), found.mismatches
    done = check(model, readout=readout)
    if not done.fits:
        return
    run = chipsim.run(done.mapping, Dataset("drawn", "test", images), batch=12)
    expected = session(model).run(None, {"image": images.astype(np.float32)})[0].astype(np.float32)
    if done.graph.readout == "host" and found.equal:
        assert np.array_equal(run.scores, expected)
    else:
        assert np.allclose(run.scores, expected, atol=1e-4, rtol=1e-5) or not found.equal


@pytest.mark.slow
@given(RECIPES, st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_weights_quantized_on_request_are_equal(recipe, bits, seed) -> None:
    rng = np.random.default_rng(seed)
    model = build(recipe)
    for tensor in model.graph.initializer:
        if tensor.name.endswith(".weight"):
            value = numpy_helper.to_array(tensor)
            value = value + rng.normal(0, 0.1, value.shape).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    images = rng.integers(0, 256, (12, 1, recipe.size, recipe.size)).astype(np.uint8)
    try:
        found = verify(model, images, weight_bits=bits)
    except ModelError as error:
        if error.code != "constant-activation":
            raise
        return
    assert found.passes(), found.mismatches
    if found.weights is None:  # the one weight of a channel lies on a grid of its own
        assert recipe.channels == 1
        return
    assert {change.bits for change in found.weights.weights.values()} == {bits}
