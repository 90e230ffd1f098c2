"""What a published file lacks is supplied, and changes nothing that it computes."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.networks import Recipe, build
from support.published import network, qonnx

import chipsim
from chipsim.datasets import Dataset
from chipsim.errors import InputError
from chipsim.onnx_repair import dense, opset_of, repaired, upgraded
from qsnnc import compile_model
from qsnnc.frontend.model.reference import session

SMALL = Recipe(size=4, channels=2, k=0, levels=3, layers=("dense",), outputs=3, seed=1, odd=False)


def resize(mode: str, scale: float) -> onnx.ModelProto:
    scales = numpy_helper.from_array(np.array([1, 1, scale, scale], np.float32), "scales")
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", [1, 1, 4, 4]), ("y", None))
    ]
    node = helper.make_node("Resize", ["x", "scales"], ["y"], mode=mode)
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [scales])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 10)], ir_version=5)


@pytest.mark.parametrize(("mode", "scale"), list(itertools.product(["nearest", "linear"], [0.5, 1.5, 2.0, 3.0])))
def test_a_resize_samples_the_same_positions_in_a_newer_opset(mode, scale) -> None:
    model = resize(mode, scale)
    newer = upgraded(model, 11, "Quant")
    x = {"x": np.random.default_rng(0).random((1, 1, 4, 4)).astype(np.float32)}
    assert (opset_of(model), opset_of(newer)) == (10, 11)
    np.testing.assert_array_equal(session(newer).run(None, x)[0], session(model).run(None, x)[0])


def test_an_opset_that_cannot_be_converted_is_refused() -> None:
    model = network("y = Identity(x)", "float unused = {0}", '"" : 9', outputs=4)
    model.graph.node.append(helper.make_node("Mystery", ["y"], ["z"], "scan"))
    with pytest.raises(
        InputError, match=r"^Quant: is not supported in opset 9, and onnx cannot convert the model to opset 11"
    ):
        upgraded(model, 11, "Quant")


def test_a_complete_model_is_left_alone() -> None:
    model = qonnx('"" : 13, "qonnx.custom_op.general" : 1')
    assert repaired(model) is model
    assert upgraded(model, 11, "Quant") is model


def _reversed(model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _weights_apart(model: onnx.ModelProto) -> None:
    model.ir_version = 3


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_reversed, "the nodes are put in the order in which they can be run"),
        (_weights_apart, "the file's IR version, which lets weights be no inputs, is supplied"),
        (lambda model: setattr(model.graph, "name", ""), "the file's graph name is supplied"),
    ],
)
def test_what_onnxruntime_runs_all_the_same_is_brought_in_order(damage, said, caplog) -> None:
    model, x = build(SMALL), {"image": np.random.default_rng(0).integers(0, 256, (3, 1, 4, 4)).astype(np.float32)}
    wanted = session(model).run(None, x)[0]
    damage(model)
    np.testing.assert_array_equal(session(model).run(None, x)[0], wanted)
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(model)
    with caplog.at_level(logging.INFO, logger="chipsim"):
        mended = repaired(model)
    onnx.checker.check_model(mended)
    assert [record.getMessage() for record in caplog.records] == [said]
    np.testing.assert_array_equal(session(mended).run(None, x)[0], wanted)
    found = chipsim.run(compile_model(model).mapping, Dataset("three", "test", x["image"].astype(np.uint8)))
    np.testing.assert_array_equal(found.scores, wanted)


def test_nodes_in_a_circle_stay_as_they_are() -> None:
    model = build(SMALL)
    model.graph.node[0].input[0] = model.graph.node[-1].output[0]
    assert repaired(model) is model


def test_imports_of_functions_are_supplied_as_well() -> None:
    model = network("y = mine.F(x)", "float unused = {0}", '"" : 17, "mine" : 1', outputs=4)
    body = helper.make_node("Identity", ["a"], ["b"], domain="ai.onnx")
    quant = helper.make_node("Quant", ["b"], ["c"], domain="onnx.brevitas")
    imports = [helper.make_opsetid("ai.onnx", 17)]
    model.functions.append(helper.make_function("mine", "F", ["a"], ["c"], [body, quant], imports))
    (function,) = repaired(model).functions
    assert {(entry.domain, entry.version) for entry in function.opset_import} == {("", 17), ("onnx.brevitas", 1)}
    assert [node.domain for node in function.node] == ["", "onnx.brevitas"]


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.float64])
def test_both_forms_of_sparse_indices(shape, dtype) -> None:
    full = np.random.default_rng(1).integers(-1, 2, shape).astype(dtype)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    for where in (np.flatnonzero(full), np.argwhere(full)):
        indices = helper.make_tensor("where", TensorProto.INT64, where.shape, where.reshape(-1))
        sparse = helper.make_sparse_tensor(helper.make_tensor("w", kind, [len(where)], full[full != 0]), indices, shape)
        np.testing.assert_array_equal(numpy_helper.to_array(dense(sparse, "w")), full)


def test_a_sparse_tensor_of_nothing() -> None:
    indices = helper.make_tensor("where", TensorProto.INT64, [0, 2], [])
    sparse = helper.make_sparse_tensor(helper.make_tensor("w", TensorProto.FLOAT, [0], []), indices, (2, 3))
    np.testing.assert_array_equal(numpy_helper.to_array(dense(sparse, "w")), np.zeros((2, 3), np.float32))
