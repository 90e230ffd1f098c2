"""Models exported for several images at a time: shapes and constants of a batch of four, one image compiled."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.against_reference import equal, finish, ints, small_network, stem, ternary
from support.networks import Builder

import chipsim
from chipsim.datasets import Dataset
from chipsim.engine.compare import compare
from qsnnc import ModelError, compile_model, verify
from qsnnc.frontend.model.batch_axis import free_reshapes
from qsnnc.frontend.model.reference import session


def tokens(net: Builder, batch: int) -> None:
    """A learned token before those of the image, written out for every image."""
    net.node("Reshape", "flat", ints(net, "flat.shape", batch, 3, 36))
    net.node("Transpose", "last", perm=[0, 2, 1])
    token = net.const("token", np.tile(np.array([[[0.5, 1.0, 0.0]]], np.float32), (batch, 1, 1)))
    net.nodes.append(onnx.helper.make_node("Concat", [token, net.here], ["joined"], name="joined", axis=1))
    net.here, net.shape = "joined", (37, 3)


def enlarged(net: Builder, batch: int) -> None:
    sizes = ints(net, "sizes", batch, 3, 12, 12)
    net.node("Resize", "grow", "", "", sizes, coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    net.shape = (3, 12, 12)


def shifted(net: Builder, batch: int) -> None:
    """Positions looked up in a table, a list of them for every image, added to sums."""
    net.conv("mix", ternary(np.random.default_rng(2), 3, 3, 1, 1))
    net.nodes.append(
        onnx.helper.make_node(
            "Gather",
            [net.const("table", np.arange(108).reshape(36, 3).astype(np.float32) % 5 / 4), ints(net, "at", *range(36))],
            ["looked"],
            name="looked",
        )
    )
    net.nodes.append(
        onnx.helper.make_node("Expand", ["looked", ints(net, "expand.shape", batch, 36, 3)], ["every"], name="every")
    )
    net.node("Reshape", "flat", ints(net, "flat.shape", batch, 3, 36))
    net.node("Transpose", "last", perm=[0, 2, 1])
    net.node("Add", "add", "every")
    net.quantize("shift/q", 1, 3)
    net.shape = (36, 3)


@pytest.mark.slow
@pytest.mark.parametrize("host", [False, True])
@pytest.mark.parametrize("part", [tokens, enlarged, shifted])
@pytest.mark.parametrize("batch", [1, 4])
def test_constants_of_a_batch(save, part, host, batch) -> None:
    """On the chip, or before the first quantizer, where the host computes."""
    if host:
        net = Builder((1, 6, 6))
        net.conv("stem", np.random.default_rng(1).integers(-20, 30, (3, 1, 1, 1)) / 4096.0)
        part(net, batch)
        net.quantize("q", 1, 3)
    else:
        net = stem(channels=3)
        part(net, batch)
    finish(net)
    model = net.model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    if batch == 1:
        equal(model, save, certified=False)
        return
    path = save(model)
    images = np.random.default_rng(0).integers(0, 256, (8, 1, 6, 6)).astype(np.uint8)
    done = compile_model(path)
    data = Dataset("random", "test", images, None)
    assert chipsim.compare(done.mapping, path, data).equal
    run = session(path.read_bytes())
    wanted = [run.run(None, {"image": images[i : i + 4].astype(np.float32)})[0] for i in (0, 4)]
    np.testing.assert_array_equal(chipsim.run(done.mapping, data).scores, np.concatenate(wanted))


def test_a_constant_that_differs_from_image_to_image_is_refused(save) -> None:
    net = stem(channels=3)
    net.node("Add", "own", net.const("own.k", np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1)))
    net.quantize("q", 1, 3)
    net.conv("conv", ternary(np.random.default_rng(1), 4, 3, 3, 3))
    model = finish(net).model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    with pytest.raises(ModelError, match="differs between the") as caught:
        compile_model(save(model))
    assert (caught.value.subject, caught.value.code) == ("own", "batch-moved")


def test_images_that_are_each_others_weights_are_refused(save) -> None:
    """On the host, where any operator is allowed: with one image alone the shapes are right."""
    net = Builder((1, 3, 3))
    net.node("Conv", "self", "image", pads=[1] * 4)
    net.quantize("q", 0, 3)
    net.conv("conv", np.ones((2, 1, 3, 3)))
    net.flatten()
    with pytest.raises(ModelError, match="moves the batch axis: 3 images have shape") as caught:
        verify(save(net.model()), np.ones((2, 1, 3, 3), np.float32))
    assert (caught.value.subject, caught.value.code) == ("self", "batch-moved")


@pytest.mark.slow
@pytest.mark.parametrize("batch", [0, 1, 4])
@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("late", [True, False])
def test_a_squeeze_of_all_axes_keeps_the_batch(batch, opset, late, save) -> None:
    """torch's x.squeeze() with no axis, of the scores or of what was pooled."""
    net = Builder((2, 4, 4))
    net.quantize("stem/quant", 1, 4)
    net.conv("conv", np.resize([1.0, -1.0, 0.0], (4, 2, 4, 4)))
    net.quantize("quant", 1, 4)
    net.node("Flatten" if late else "Squeeze", "flat")
    net.gemm("head", np.resize([1.0, -3.0, 2.0], (3, 4)))
    if late:
        net.node("Squeeze", "scores")
    model = net.model(opset=opset)
    if batch:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    model.graph.output[0].type.tensor_type.ClearField("shape")
    path = save(model)
    assert verify(path, limit=8).equal
    images = np.random.default_rng(0).integers(0, 8, (6, 2, 4, 4)).astype(np.float32)
    mapping, dataset = compile_model(path).mapping, Dataset("images", "test", images, None)
    assert chipsim.run(mapping, dataset).scores.shape == (6, 3)
    if late or batch != 1:  # a Gemm of one image without a batch is none that onnxruntime loads
        assert compare(mapping, path, dataset).equal


def test_reshape_by_the_shape_of_the_images(save) -> None:
    """Reshape(x, Concat(Shape(x)[0], -1)), as torch's TorchScript exporter writes it."""
    net = small_network()
    nodes = [node for node in net.nodes if node.op_type != "Flatten"]
    before, flat = (next(n for n in net.nodes if n.op_type == "Flatten").input[0], "flat")
    at = next(i for i, node in enumerate(nodes) if node.name == "head")
    nodes[at].input[0] = flat
    nodes[at:at] = [
        helper.make_node("Shape", [before], ["shape"], "shape"),
        helper.make_node("Gather", ["shape", net.const("first", np.array([0]))], ["batch"], "gather"),
        helper.make_node("Concat", ["batch", net.const("rest", np.array([-1]))], ["wanted"], "concat", axis=0),
        helper.make_node("Reshape", [before, "wanted"], [flat], "reshape"),
    ]
    net.nodes = nodes
    model = net.model()
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert verify(save(model), limit=10).equal


def test_reshape_with_allowzero_keeps_the_batch() -> None:
    """torch writes allowzero = 1 with every view; a batch kept by a 0 must not be an empty one."""
    node = helper.make_node("Reshape", ["x", "shape"], ["y"], allowzero=1)
    shape = numpy_helper.from_array(np.array([2, -1], np.int64), "shape")
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xy"]
    graph = helper.make_graph([node], "g", value[:1], value[1:], [shape])
    free_reshapes(graph, {"shape": np.array([2, -1])}, 2, "mark")
    assert not graph.node[0].attribute
    assert numpy_helper.to_array(graph.initializer[1]).tolist() == [0, -1]
