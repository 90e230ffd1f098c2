"""Forms of the ONNX standard that older files use, and operators that it lacks."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from onnx import TensorProto, helper
from support.against_reference import equal, head
from support.networks import Builder, Recipe, build
from support.published import network

import chipsim
from chipsim.datasets import Dataset
from chipsim.engine.compare import compare
from qsnnc import ModelError, check, compile_model, verify
from qsnnc.frontend.model.reference import session


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


UNREAD = {
    "of a type and shape of its own": helper.make_tensor_value_info("mask", TensorProto.BOOL, ["M", "any", 3]),
    "without a shape": helper.make_tensor_value_info("mask", TensorProto.FLOAT, None),
    "a sequence": helper.make_tensor_sequence_value_info("mask", TensorProto.FLOAT, None),
}


@pytest.mark.parametrize("read", [False, True], ids=["by nothing", "by what the output does not need"])
@pytest.mark.parametrize("kind", UNREAD)
def test_an_input_that_the_output_does_not_need_is_left_out(kind, read, save, caplog) -> None:
    model = build(Recipe(size=4, channels=2, k=0, levels=3, layers=("dense",), outputs=3, seed=1, odd=False))
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 4, 4)).astype(np.uint8)
    wanted = session(model).run(None, {"image": images.astype(np.float32)})[0]
    model.graph.input.insert(0, UNREAD[kind])
    if read:
        model.graph.node.append(helper.make_node("Identity", ["mask"], ["unread"]))
    path = save(model)
    with caplog.at_level(logging.INFO, logger="chipsim"):
        done = compile_model(path)
    said = {record.getMessage() for record in caplog.records}
    assert said == {"the input 'mask' is left out: nothing that the output needs reads it"}
    data = Dataset("five", "test", images)
    np.testing.assert_array_equal(chipsim.run(done.mapping, data).scores, wanted)
    assert verify(path, images).equal
    assert compare(done.mapping, path, data).equal
