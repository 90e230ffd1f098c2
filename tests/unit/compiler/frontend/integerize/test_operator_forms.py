"""Other spellings and operators: each compiled, run and held against onnxruntime, bit for bit."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.against_reference import equal, head, stem, ternary
from support.networks import Builder

from qsnnc import verify


def test_matmul_and_add(save) -> None:
    rng = np.random.default_rng(0)
    net = stem()
    net.flatten()
    net.node("MatMul", "fc1", net.const("fc1.weight", ternary(rng, 108, 8).astype(np.float32)))
    net.node("Add", "fc1_bias", net.const("fc1.bias", (rng.integers(-4, 5, 8) / 2).astype(np.float32)))
    net.shape = (8,)
    net.quantize("q", 1, 3)
    net.node("MatMul", "fc2", net.const("fc2.weight", rng.integers(-9, 10, (8, 4)).astype(np.float32)))
    net.node("Add", "fc2_bias", net.const("fc2.bias", np.float32([1, 2, -3, 0.5])))
    net.shape = (4,)
    equal(net, save)


@pytest.mark.parametrize("shape", [[1, -1], [0, -1], [-1, 108], [1, 108]])
def test_reshape_to_a_constant_shape(save, shape) -> None:
    net = stem()
    net.node("Reshape", "flat", net.const("shape", np.array(shape, np.int64)))
    net.shape = (108,)
    head(net, 108)
    model = net.model()
    if shape[0] == 1:
        for value in (model.graph.input[0], model.graph.output[0]):
            value.type.tensor_type.shape.dim[0].dim_value = 1
    equal(model, save)


def test_transpose_before_a_matrix_becomes_an_order_of_columns(save) -> None:
    net = stem()
    net.node("Transpose", "turn", perm=[0, 2, 3, 1])
    net.flatten()
    net.shape = (108,)
    head(net, 108)
    equal(net, save)


def test_residual_arms_of_different_depth(save) -> None:
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


def test_residual_arms_of_different_scale(save) -> None:
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


@pytest.mark.parametrize("include", [0, 1])
def test_padded_average_pool(save, include) -> None:
    net = stem()
    net.node("AveragePool", "pool", kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=include)
    net.quantize("q", 2, 6)
    net.flatten()
    net.shape = (48,)
    head(net, 48)
    done, _ = equal(net, save)
    pool = next(layer for layer in done.graph.layers if layer.name == "pool")
    assert len(np.unique(pool.border)) == (1 if include else 3)  # divided by 4 everywhere, or by 1, 2 and 4


@pytest.mark.parametrize("op", ["GlobalAveragePool", "ReduceMean", "GlobalMaxPool"])
def test_pools_over_the_whole_map(save, op) -> None:
    net = stem(shape=(1, 4, 4))
    options = {"axes": [2, 3], "keepdims": 1} if op == "ReduceMean" else {}
    net.node(op, "pool", **options)
    net.quantize("q", 2, 6)
    net.flatten()
    net.shape = (3,)
    head(net, 3)
    equal(net, save, shape=(1, 4, 4))


@pytest.mark.parametrize("options", [{"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"}, {"auto_pad": "VALID"}])
def test_auto_pad(save, options) -> None:
    rng = np.random.default_rng(4)
    net = stem()
    net.node("Conv", "conv", net.const("conv.weight", ternary(rng, 2, 3, 2, 2).astype(np.float32)), **options)
    net.quantize("q", 0, 3)
    net.flatten()
    size = 50 if options["auto_pad"] == "VALID" else 72
    net.shape = (size,)
    head(net, size)
    equal(net, save)


def test_dilation_and_groups(save) -> None:
    rng = np.random.default_rng(5)
    net = stem(channels=4)
    net.conv("conv", ternary(rng, 6, 2, 2, 2), dilations=[2, 3], group=2)
    net.quantize("q", 0, 3)
    net.flatten()
    head(net, int(np.prod(net.shape)))
    equal(net, save)


def test_ceil_mode(save) -> None:
    net = stem(shape=(1, 5, 5))
    net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    net.flatten()
    net.shape = (27,)
    head(net, 27)
    equal(net, save, shape=(1, 5, 5))


def test_one_dimensional_convolution(save) -> None:
    rng = np.random.default_rng(6)
    net = Builder((1, 12))
    net.node("Conv", "stem", net.const("stem.weight", (rng.integers(-9, 10, (2, 1, 3)) / 1024).astype(np.float32)))
    net.quantize("q0", 1, 3)
    net.node("Conv", "conv", net.const("conv.weight", ternary(rng, 3, 2, 3).astype(np.float32)), strides=[2], pads=[1, 0])
    net.quantize("q1", 0, 2)
    net.node("Flatten", "flat")
    net.shape = (15,)
    head(net, 15)
    equal(net, save, shape=(1, 12))


@pytest.mark.parametrize("op", ["Softmax", "ArgMax", "Sigmoid"])
def test_the_end_of_the_graph_runs_on_the_host(save, op) -> None:
    net = stem()
    net.flatten()
    head(net, 108)
    options = {"axis": 1, "keepdims": 0} if op == "ArgMax" else {}
    net.node(op, "end", **options)
    model = net.model()
    if op == "ArgMax":
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info(net.here, TensorProto.INT64, ["N"]))
    _, result = equal(model, save)
    if op == "ArgMax":
        np.testing.assert_array_equal(result.predictions, result.scores.reshape(-1))


def test_an_output_that_is_quantized_is_read_out_as_levels(save) -> None:
    rng = np.random.default_rng(7)
    net = stem()
    net.conv("conv", ternary(rng, 2, 3, 3, 3))
    net.quantize("q", 1, 3)
    done, result = equal(net, save)
    assert done.mapping.layers[-1].levels == 0
    assert result.potentials.max() <= 3
    np.testing.assert_array_equal(result.potentials / 2, result.scores.reshape(9, -1))


def test_signed_levels_with_zero_padding_have_border_classes(save) -> None:
    rng = np.random.default_rng(8)
    net = Builder((1, 6, 6))
    net.conv("stem", np.array([1, -1]).reshape(2, 1, 1, 1) / 128.0)
    net.node("Round", "round")
    low, high = net.const("low", np.float32(-1)), net.const("high", np.float32(2))
    net.node("Clip", "clip", low, high)
    net.conv("conv", ternary(rng, 3, 2, 3, 3), pads=[1, 1, 1, 1])
    net.quantize("q", 0, 3)
    net.flatten()
    head(net, 108)
    done, _ = equal(net, save)
    assert done.graph.encoder.zero_point == -1
    conv = next(layer for layer in done.graph.layers if layer.name == "conv")
    assert len(np.unique(conv.border)) == 9


def test_old_opset_with_bounds_as_attributes(save) -> None:
    net = Builder((1, 6, 6))
    net.conv("stem", np.array([3, -1, 5]).reshape(3, 1, 1, 1) / 1024.0)
    net.node("Floor", "floor")
    net.node("Clip", "clip", min=0.0, max=1.0)
    net.flatten()
    head(net, 108)
    equal(net, save, opset=10)


def test_initializers_as_inputs_and_weights_as_constant_nodes(save) -> None:
    net = stem()
    net.flatten()
    head(net, 108)
    model = net.model()
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    equal(model, save)
    for tensor in list(model.graph.initializer):
        model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
    del model.graph.initializer[:]
    del model.graph.input[1:]
    equal(model, save)


def test_external_data(tmp_path) -> None:
    net = stem()
    net.flatten()
    head(net, 108)
    path = tmp_path / "external.onnx"
    onnx.save_model(net.model(), str(path), save_as_external_data=True, location="external.data", size_threshold=0)
    assert (tmp_path / "external.data").exists()
    assert verify(path, limit=5).equal


def test_names_with_slashes_become_readable(save) -> None:
    net = stem()
    net.flatten()
    head(net, 108)
    model = net.model()
    for node in model.graph.node:
        if node.name in ("stem", "head"):
            node.name = f"/features/{node.name}/{node.op_type}"
    done, _ = equal(model, save)
    assert [done.graph.encoder.name, *(layer.name for layer in done.graph.layers)] == ["features.stem", "features.head"]


def test_batch_norm_that_is_shared_by_a_sum_of_comparisons(save) -> None:
    """A quantizer spelled as comparisons, cast and added up."""
    net = stem()
    net.conv("conv", np.resize([1.0, -1.0], (2, 3, 1, 1)))
    root, parts = net.here, []
    for i, cut in enumerate((0.5, 1.25, 3.0)):
        net.here = root
        net.node("Greater", f"above{i}", net.const(f"cut{i}", np.float32(cut)))
        net.node("Cast", f"one{i}", to=TensorProto.FLOAT)
        parts.append(net.here)
    net.here = parts[0]
    net.node("Add", "two", parts[1])
    net.node("Add", "three", parts[2])
    net.flatten()
    head(net, 72)
    equal(net, save, certified=False)
