"""Models of an opset for which onnxruntime has no kernels: onnx's ReferenceEvaluator is the reference."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.places import ZOO

import chipsim
from chipsim.datasets import Dataset
from chipsim.onnx_evaluator import older_forms
from qsnnc import compile_model, verify
from qsnnc.errors import ModelError
from qsnnc.frontend.importer.read import read_onnx
from qsnnc.frontend.model.reference import session, with_kernels

NEWEST = onnx.defs.onnx_opset_version()


@pytest.fixture
def newest() -> onnx.ModelProto:
    """A network with 2-bit integers, in the newest opset that onnx knows."""
    model = onnx.load(str(ZOO / "std_int2_op25.onnx"))
    model.opset_import[0].version = NEWEST
    return model


@pytest.mark.slow
def test_two_bit_integers_of_the_newest_opset(newest, save) -> None:
    path = save(newest)
    done = compile_model(path)
    images = np.random.default_rng(0).random((5, 1, 28, 28)).astype(np.float32)
    assert chipsim.compare(done.mapping, path, Dataset("images", "test", images, None)).equal
    assert verify(path, images).equal


def test_the_reference_is_that_which_can_run_it(newest) -> None:
    run = session(read_onnx(newest).reference, evaluator=True)
    images = np.random.default_rng(0).random((2, 1, 28, 28)).astype(np.float32)
    try:
        plain = session(newest)
    except ModelError:
        assert run.executor == "onnx"
        plain = session(with_kernels(newest))
    else:  # an onnxruntime that has these kernels
        assert run.executor == "onnxruntime"
    (found,), (wanted,) = (one.run(None, {"x": images}) for one in (run, plain))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=0.3)  # ties of float sums may fall to the next level


def test_an_operator_whose_text_changed_is_not_lowered() -> None:
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT16)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in "xy"]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)])
    versions = [form.opset_import[0].version for form in older_forms(model)]
    docs = [onnx.defs.get_schema("Cast", version, "").doc for version in (24, *versions)]
    assert len(set(docs)) == 1
