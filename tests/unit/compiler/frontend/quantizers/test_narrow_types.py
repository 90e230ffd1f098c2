"""Integers narrower than a byte, which onnxruntime computes but does not return: levels that are moved, and with float16."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from qsnnc import verify

NET = """<ir_version: 10, opset_import: ["" : 21]>
net (float[N, 3, 4] x) => (float[N, 2] y)
<float scale = {{0.25}}, {kind} zero = {{0}}, float[12, 2] w = {{1,0,-1,1,0,1,2,-2,1,1,0,0,1,0,-1,1,0,1,2,-2,1,1,0,0}}> {{
  q = QuantizeLinear (x, scale, zero)
  {move}
  flat = Flatten (levels)
  y = MatMul (flat, w)
}}"""
MOVES = {
    "none": "levels = DequantizeLinear (q, scale, zero)",
    "Transpose": "m = Transpose<perm: ints = [0, 2, 1]> (q)\n  levels = DequantizeLinear (m, scale, zero)",
}


def network(kind: str, move: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(NET.format(kind=kind, move=MOVES[move]))
    for node in model.graph.node:
        node.name = node.output[0]
    return model


def in_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    return model


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("kind", ["uint4", "int4", "uint8"])
def test_levels_of_four_bits_are_equal_where_they_are_moved_and_in_float16(kind, half, move, save) -> None:
    model = network(kind, move)
    images = np.random.default_rng(0).uniform(-1, 4, (20, 3, 4)).astype(np.float16 if half else np.float32)
    found = verify(save(in_float16(model) if half else model), images)
    assert found.equal
    assert found.exactness == "certified"
    assert found.images == len(images)
