"""Layer names that a person recognises, from what the exporters write."""

from __future__ import annotations

import pytest
from onnx import helper
from support.against_reference import equal, head, stem

from qsnnc.frontend.model.layer_names import readable
from qsnnc.frontend.model.model import Node


@pytest.mark.parametrize(
    ("node", "op", "weights", "expected"),
    [
        ("/features/conv2/Conv", "Conv", "conv2.weight", "features.conv2"),
        (
            "/features/features.1/features.1.0/Conv",
            "Conv",
            "w",
            "features.1.0",
        ),  # nested sequences, torch's TorchScript exporter
        ("/block1/conv1/conv1.0/Conv", "Conv", "w", "block1.conv1.0"),
        ("/block1/short/short.0/Conv_2", "Conv", "w", "block1.short.0"),
        ("/conv1/conv10/Conv", "Conv", "w", "conv1.conv10"),  # not the same module
        ("node_Conv_19", "Conv", "conv1.weight_DequantizeLinear_Output", "conv1"),
        ("node_linear_1", "Gemm", "fc2.weight", "fc2"),
        ("node_Conv_19", "Conv", "0.weight", "node_Conv_19"),  # a number says less than the node does
        ("/5/Conv", "Conv", "/5/weight_quant/export_handler/Constant_1_output_0", "5"),  # Brevitas
        ("", "MatMul", "onnx::MatMul_12", "matmul"),
    ],
)
def test_readable(node, op, weights, expected):
    proto = helper.make_node(op, ["x", weights], ["y"], node)
    assert readable(Node(node, op, ("x", weights), ("y",), {}, proto), {}) == expected


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
