"""Operators that the host computes: their names, and those behind the last layer."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.against_reference import equal, head, ints, small_network, stem, ternary

import chipsim
from chipsim.datasets import Dataset
from qsnnc import ModelError, compile_model, verify
from qsnnc.frontend.model.reference import session


@pytest.mark.slow
@pytest.mark.parametrize("op", ["Softmax", "ArgMax", "Sigmoid"])
def test_operator_on_the_scores(save, op) -> None:
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


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
def test_either_output_of_topk(which, save) -> None:
    net = stem()
    net.flatten()
    head(net, 108)
    net.nodes.append(helper.make_node("TopK", [net.here, ints(net, "k", 2)], ["values", "indices"], name="top", axis=1))
    net.here, net.shape = ("values", "indices")[which], (2,)
    model = net.model()
    if which:
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    equal(model, save)


def test_quantized_softmax(save) -> None:
    """As quantize_static writes it behind the last matrix."""
    net = small_network()
    step, zero = net.const("step", np.float32(2.0)), net.const("zero", np.uint8(100))
    net.node("QuantizeLinear", "scores", step, zero)
    unit, none = net.const("unit", np.float32(1 / 256)), net.const("none", np.uint8(0))
    net.node("QLinearSoftmax", "softmax", step, zero, unit, none, domain="com.microsoft", axis=-1, opset=13)
    net.node("DequantizeLinear", "real", unit, none)
    model = net.model()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    found = verify(save(model), limit=10)
    assert found.equal


@pytest.mark.slow
def test_quantized_output_is_read_out_as_levels(save) -> None:
    rng = np.random.default_rng(7)
    net = stem()
    net.conv("conv", ternary(rng, 2, 3, 3, 3))
    net.quantize("q", 1, 3)
    done, result = equal(net, save)
    assert done.mapping.layers[-1].levels == 0
    assert result.potentials.max() <= 3
    np.testing.assert_array_equal(result.potentials / 2, result.scores.reshape(9, -1))


NAMED = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 4] given) => (float[N, 2] last)
<float s = {0.5}, uint8 z = {0}, float[4, 3] w = {1,0,-1,1,0,1,2,-2,1,1,0,0}, float[3, 2] w2 = {1, -1, 2, 1, 0, 1}> {
  q = QuantizeLinear (given, s, z)
  first = DequantizeLinear (q, s, z)
  sums = MatMul (first, w)
  q2 = QuantizeLinear (sums, s, z)
  second = DequantizeLinear (q2, s, z)
  last = MatMul (second, w2)
}"""


def named(tensor: str, name: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(NAMED)
    for node in model.graph.node:
        node.name = node.output[0]
        for own in (node.input, node.output):
            own[:] = [name if each == tensor else each for each in own]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.name = name if value.name == tensor else value.name
    return model


@pytest.mark.parametrize("readout", ["chip", "host"])
@pytest.mark.parametrize("name", ["levels", "potentials", "qsnnc.value"])
@pytest.mark.parametrize("tensor", ["q", "first", "second", "s"])
def test_tensors_may_be_called_as_those_that_are_added(tensor, name, readout, save) -> None:
    path = save(named(tensor, name))
    images = np.random.default_rng(0).uniform(0, 3, (5, 4)).astype(np.float32)
    done = compile_model(path, readout=readout)
    (right,) = session(path.read_bytes()).run(None, {"given": images})
    np.testing.assert_array_equal(chipsim.run(done.mapping, Dataset("images", "test", images, None)).scores, right)


@pytest.mark.parametrize(("tensor", "name"), [("given", "levels"), ("last", "potentials")])
def test_an_end_that_is_called_as_the_other_end_of_its_part_is_refused(tensor, name, save) -> None:
    with pytest.raises(ModelError, match=f"its (in|out)put is called '{name}'.*rename it") as caught:
        compile_model(save(named(tensor, name)))
    assert caught.value.code == "model-ends"
