"""Operators behind the last layer, which the host computes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper
from support.against_reference import equal, head, ints, small_network, stem, ternary

from qsnnc import verify


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
