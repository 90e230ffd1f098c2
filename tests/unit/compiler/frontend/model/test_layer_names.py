"""Layer names that a person recognises, from what the exporters write."""

from __future__ import annotations

import pytest
from onnx import helper
from support.against_reference import equal, head, stem

from qsnnc.frontend.model.layer_names import readable
from qsnnc.frontend.model.model import Node


@pytest.mark.parametrize(
    ("node", "op", "expected"),
    [
        ("/features/conv2/Conv", "Conv", "features.conv2"),
        ("/features/features.1/features.1.0/Conv", "Conv", "features.1.0"),  # nested sequences, torch's TorchScript exporter
        ("/block1/conv1/conv1.0/Conv", "Conv", "block1.conv1.0"),
        ("/block1/short/short.0/Conv_2", "Conv", "block1.short.0"),
        ("/conv1/conv10/Conv", "Conv", "conv1.conv10"),  # not the same module
        ("node_Conv_19", "Conv", "node_Conv_19"),
        ("Conv_0", "Conv", "Conv_0"),  # QKeras
        ("/5/Conv", "Conv", "5"),  # Brevitas
    ],
)
def test_a_layer_is_named_after_its_node(node, op, expected):
    proto = helper.make_node(op, ["x", "frozen_param0"], ["y"], node)
    assert readable(Node(node, op, ("x", "frozen_param0"), ("y",), {}, proto)) == expected


@pytest.mark.parametrize(
    ("output", "expected"),
    [("scores", "scores"), ("/fc/Gemm_output_0", "fc"), ("model/dense/MatMul", "model.dense.MatMul")],
)
def test_or_after_its_output(save, output, expected):
    net = stem()
    net.flatten()
    head(net, 108)
    model = net.model()
    (node,) = (node for node in model.graph.node if node.name == "head")
    node.name = ""
    for entry in model.graph.node:
        entry.input[:] = [output if name == node.output[0] else name for name in entry.input]
    model.graph.output[0].name = node.output[0] = output
    done, _ = equal(model, save)
    assert done.graph.layers[-1].name == expected


@pytest.mark.slow
def test_layers_of_a_compiled_network_are_named_readably(save) -> None:
    net = stem()
    net.flatten()
    head(net, 108)
    model = net.model()
    for node in model.graph.node:
        if node.name in ("stem", "head"):
            node.name = f"/features/{node.name}/{node.op_type}"
    done, _ = equal(model, save)
    assert [done.graph.encoder.name, *(layer.name for layer in done.graph.layers)] == ["features.stem", "features.head"]
