"""Channels that are cut out of a file: the same scores as with zeros in their place, from a smaller file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from support.networks import Builder
from support.places import MODELS

from qsnnc.fitting.cut import CannotCut, cut
from qsnnc.fitting.edit import edited, narrowed
from qsnnc.frontend.model.reference import session
from qsnnc.reading import front


def network(seed: int = 0) -> Builder:
    """Two convolutions, a max pool and a dense layer."""
    rng = np.random.default_rng(seed)
    net = Builder((1, 8, 8))
    net.conv("first", rng.integers(-7, 8, (6, 1, 3, 3)) / 64)
    net.quantize("first/quant", 0, 8)
    net.conv("second", rng.integers(-7, 8, (8, 6, 3, 3)) / 16)
    net.quantize("second/quant", 0, 8)
    net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[2, 2])
    net.shape = (8, 2, 2)
    net.flatten()
    net.gemm("fc", rng.integers(-7, 8, (3, 32)) / 8)
    return net


def scores(proto: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    return np.asarray(session(proto).run(None, {proto.graph.input[0].name: images})[0])


def weights(proto: onnx.ModelProto) -> int:
    """Count the numbers of the weights that a node still reads."""
    used = {name for node in proto.graph.node for name in node.input}
    return sum(numpy_helper.to_array(each).size for each in proto.graph.initializer if each.name in used)


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_cut_file_gives_the_scores_of_zeros(save, at: int, seed: int) -> None:
    path = save(network(seed).model())
    proto = onnx.load(path)
    entry = front(path)[1].layers[at]
    without = (1, 4)
    masked = edited(proto, [(entry, narrowed(entry, entry.levels, without=without))])
    smaller = cut(proto, entry.tensor, len(entry.tensor_shape) + 1, entry.tensor_shape[0], without)
    onnx.checker.check_model(smaller)
    images = np.random.default_rng(seed).integers(0, 256, (9, 1, 8, 8)).astype(np.float32)
    assert np.array_equal(scores(smaller, images), scores(masked, images))
    assert weights(smaller) < weights(proto)
    found = front(smaller)[1].layers[at]
    assert found.shape[0] == entry.shape[0] - len(without)


@pytest.mark.slow
def test_batch_normalisation_and_the_trained_network_are_cut(tmp_path: Path) -> None:
    path = MODELS / "lenet-k1b4.onnx"
    proto, graph = onnx.load(path), front(path)[1]
    entry = next(layer for layer in graph.layers if layer.name == "conv4")
    without = tuple(range(0, 256, 3))
    masked = edited(proto, [(entry, narrowed(entry, entry.levels, without=without))])
    smaller = cut(proto, entry.tensor, 4, 256, without)
    images = np.random.default_rng(0).random((5, 1, 28, 28), np.float32)
    shape = [each.dim_value for each in proto.graph.input[0].type.tensor_type.shape.dim][1:]
    images = np.resize(images, (5, *shape)).astype(np.float32)
    assert np.allclose(scores(smaller, images), scores(masked, images), atol=1e-4)
    kept = {each.name: list(each.dims) for each in smaller.graph.initializer if each.name.endswith("/cut")}
    assert [256 - len(without), 32, 4, 4] in kept.values()
    assert [10, 256 - len(without)] in kept.values()


def graph_of(nodes: list[onnx.NodeProto], **constants: np.ndarray) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", 1, ["N", 4, 6, 6])], [value("y", 1, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


W = np.ones((4, 4, 3, 3), np.float32)
CONV = helper.make_node("Conv", ["x", "w"], ["a"])


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([helper.make_node("Conv", ["a", "w"], ["b"], pads=[1] * 4), helper.make_node("Add", ["b", "a"], ["y"])], "Add"),
        ([helper.make_node("Add", ["a", "c"], ["b"]), helper.make_node("Conv", ["b", "w"], ["y"])], "Add"),
        ([helper.make_node("Conv", ["a", "d"], ["y"], group=4)], "groups"),
        ([helper.make_node("Softmax", ["a"], ["b"], axis=1), helper.make_node("Conv", ["b", "w"], ["y"])], "Softmax"),
        ([helper.make_node("Clip", ["a", "one", ""], ["b"]), helper.make_node("Conv", ["b", "w"], ["y"])], "zero"),
        ([helper.make_node("Identity", ["a"], ["y"])], "output"),
    ],
    ids=["residual", "addition", "depthwise", "softmax", "clip", "output"],
)
def test_what_cannot_be_followed_is_not_cut(nodes, said: str) -> None:
    proto = graph_of(
        [CONV, *nodes], w=W, c=np.ones((1, 4, 1, 1), np.float32), d=np.ones((4, 1, 3, 3), np.float32),
        one=np.array(1, np.float32),
    )  # fmt: skip
    with pytest.raises(CannotCut, match=said):
        cut(proto, "a", 4, 4, (1,))


def test_quantized_weights_are_cut_behind_their_scales() -> None:
    dequantize = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0),
        CONV,
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["v"], axis=0),
        helper.make_node("Conv", ["r", "v"], ["y"]),
    ]
    rng = np.random.default_rng(0)
    proto = graph_of(
        dequantize, q=rng.integers(-8, 8, (4, 4, 3, 3)).astype(np.int8), s=rng.random(4).astype(np.float32),
        z=np.zeros(4, np.int8),
    )  # fmt: skip
    smaller = cut(proto, "a", 4, 4, (0, 3))
    images = rng.random((2, 4, 6, 6)).astype(np.float32)
    whole = scores(proto, images)
    probe = onnx.ModelProto()
    probe.CopyFrom(proto)
    mask = np.array([0, 1, 1, 0], np.float32).reshape(1, 4, 1, 1)
    probe.graph.initializer.append(numpy_helper.from_array(mask, "mask"))
    probe.graph.node[2].input[0] = "m"
    probe.graph.node.insert(2, helper.make_node("Mul", ["a", "mask"], ["m"]))
    assert np.allclose(scores(smaller, images), scores(probe, images), atol=1e-5)
    assert not np.allclose(scores(smaller, images), whole)
