"""Errors and mismatches name the file's nodes, not those that a rewrite put in their place."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from support.against_reference import stem, ternary
from support.float_ends import QONNX, quant

from qsnnc import ModelError, read_layers, verify
from qsnnc.reading import front
from qsnnc.verification import compare


def brevitas(scale: float = 0.5) -> onnx.ModelProto:
    """A network whose activations are QONNX Quant nodes, which onnxruntime does not know."""
    net = stem()
    net.conv("conv", ternary(np.random.default_rng(0), 3, 3, 3, 3))
    quant(net, "act", 2, scale)
    net.flatten()
    net.gemm("fc", ternary(np.random.default_rng(0), 4, 48))
    model = net.model()
    model.opset_import.append(helper.make_opsetid(QONNX, 1))
    return model


def test_a_bad_scale_is_that_of_the_files_quantizer() -> None:
    with pytest.raises(ModelError) as caught:
        read_layers(brevitas(np.nan))
    assert caught.value.subject == "act"
    assert caught.value.fields["node"] == "act"
    assert {problem.subject for problem in caught.value.problems} == {"act"}


def test_a_product_of_two_activations_is_named_as_in_the_file() -> None:
    """QLinearMul becomes several operators, with names of their own."""
    net = stem()
    given = [net.const("step", np.float32(0.5)), net.const("zero", np.uint8(0))]
    net.node("QuantizeLinear", "q", *given)
    first = net.here
    net.node("DequantizeLinear", "dq", *given)
    net.conv("conv", ternary(np.random.default_rng(0), 3, 3, 1, 1))
    net.node("QuantizeLinear", "q2", *given)
    net.node("QLinearMul", "gate", *given, first, *given, *given, domain="com.microsoft")
    net.node("DequantizeLinear", "dq2", *given)
    net.flatten()
    net.gemm("fc", ternary(np.random.default_rng(0), 4, 108))
    model = net.model()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(ModelError) as caught:
        read_layers(model)
    assert caught.value.code == "two-activations"
    assert caught.value.subject == "gate"
    assert "/" not in str(caught.value)


def test_a_mismatch_names_the_quantizer_of_the_file(save, monkeypatch) -> None:
    from dataclasses import replace

    def other(*arguments: object, **options: object):
        model, graph = front(*arguments, **options)
        conv = graph.layers[0]
        moved = np.sort(conv.thresholds + 3, axis=2)
        return model, replace(graph, layers=(replace(conv, thresholds=moved), *graph.layers[1:]))

    monkeypatch.setattr(compare, "front", other)
    found = verify(save(brevitas()), limit=30)
    assert [mismatch.node for mismatch in found.mismatches] == ["act"]


def test_what_the_reference_cannot_run_is_named_as_in_the_file() -> None:
    """A rewritten node on a tensor of the wrong shape fails in onnxruntime, which names it."""
    model = brevitas()
    node = next(node for node in model.graph.node if node.name == "act")
    node.input[1] = "wrong"
    model.graph.initializer.append(numpy_helper.from_array(np.full((1, 7, 1, 1), 0.5, np.float32), "wrong"))
    del model.graph.value_info[:]
    with pytest.raises(ModelError) as caught:
        read_layers(model)
    said = str(caught.value)
    assert "node name: act): [ShapeInferenceError] Incompatible dimensions" in said, said
    assert "flatten" not in said
