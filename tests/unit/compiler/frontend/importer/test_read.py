"""Forms of the ONNX standard that older files use, and operators that it lacks."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from onnx import TensorProto, helper
from support.against_reference import equal, head
from support.networks import Builder, Recipe, build
from support.published import CONSTANTS, IMAGES, LEVELS, SECOND, WEIGHTS, network

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


NOTHING = "em = Slice(s, zeros, zeros, ones)"
PARTS = {
    **{
        f"{op} over nothing": f"{NOTHING} r = {op}<axes = [1]>(em) t = Add(s, r)"
        for op in "ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceSumSquare".split()
    },
    "ReduceSum over nothing": f"{NOTHING} r = ReduceSum(em, ones) t = Add(s, r)",
    "over nothing, without the axis": f"{NOTHING} r = ReduceSum<keepdims = 0>(em, ones) u = Unsqueeze(r, ones) t = Add(s, u)",
    "over nothing, and all axes": f"{NOTHING} r = ReduceSum(em) t = Add(s, r)",
    "a sum over no levels": "em = Slice(a, zeros, zeros, ones) r = ReduceSum(em, ones) t = Add(s, r)",
    "a sum over no pixels": "em = Slice(x, zeros, zeros, ones) r = ReduceSum(em, ones) t = Add(s, r)",
    "a part of no elements": "em, o = Split<axis = 1>(s, parts) r = ReduceSum(em, ones) t = Add(o, r)",
    "no entries": "em = Gather<axis = 1>(s, none) r = ReduceSum(em, ones) t = Add(s, r)",
    "a product over nothing": "em = Gather<axis = 1>(s, none) r = MatMul(em, rows) t = Add(s, r)",
    "padded from nothing": f"{NOTHING} r = Pad(em, pads, half) t = Add(s, r)",
    "two of nothing": f"{NOTHING} e = Relu(em) c = Concat<axis = 1>(em, e) r = ReduceSum(c, ones) t = Add(s, r)",
}


@pytest.mark.parametrize("kind", PARTS)
def test_a_tensor_without_elements_is_a_constant(kind, save) -> None:
    """What follows from it is the same for every image, and as onnxruntime has it."""
    numbers = "int64[1] zeros = {0}, int64[1] ones = {1}, int64[2] parts = {0, 3}, int64[0] none = {}, float half = {0.5}"
    constants = f"{CONSTANTS}, {WEIGHTS}, {SECOND}, {numbers}, float[0,3] rows = {{}}, int64[4] pads = {{0, 1, 0, 2}}"
    body = f"{LEVELS.format(domain='')} s = MatMul(a, w) {PARTS[kind]} n = Round(t) b = Clip(n, lowest, highest) y = MatMul(b, v)"
    path = save(network(body, constants))
    wanted = session(path.read_bytes()).run(None, {"x": IMAGES})[0]
    done, data = compile_model(path), Dataset("two", "test", IMAGES)
    np.testing.assert_array_equal(chipsim.run(done.mapping, data).scores, wanted)
    assert verify(path, IMAGES).equal
    assert compare(done.mapping, path, data).equal


def test_an_output_without_elements_is_refused(save) -> None:
    with pytest.raises(ModelError, match="the output 'y' is the same for every image"):
        check(save(network(f"s = Relu(x) {NOTHING} y = Relu(em)", "int64[1] zeros = {0}, int64[1] ones = {1}", outputs=0)))


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
