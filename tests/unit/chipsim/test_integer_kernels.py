"""Integer products of the reference are right on every processor, whatever the signedness of their operands."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from chipsim.integer_kernels import of_one_signedness

DEPTH = 64


def _model(op: str, activation: type, weights: type, zero: int | None) -> tuple[onnx.ModelProto, np.ndarray, float]:
    """A product whose sums are as large as they can be, its image, and its right result."""
    top = np.iinfo(activation).max
    matrix = np.full((DEPTH, 32), np.iinfo(weights).max, weights)
    image = np.full((1, DEPTH, 4, 4) if "Conv" in op else (1, DEPTH), top, activation)
    stored = np.ascontiguousarray(matrix.T.reshape(32, DEPTH, 1, 1)) if "Conv" in op else matrix
    total = DEPTH * int(top) * (int(matrix[0, 0]) - (zero or 0))
    constants = {"w": stored, "one": np.float32(1), "big": np.float32(100_000), "zx": np.zeros((), activation)}
    if zero is not None or op.startswith("QLinear"):
        constants["zw"] = np.array(zero or 0, weights)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(activation))
    if op.startswith("QLinear"):
        inputs, out, right = ["x", "one", "zx", "w", "one", "zw", "big", "zx"], kind, round(total / 100_000)
    else:
        inputs, out, right = ["x", "w"] + (["zx", "zw"] if zero is not None else []), TensorProto.INT32, total
    graph = helper.make_graph(
        [helper.make_node(op, inputs, ["y"])],
        "g",
        [helper.make_tensor_value_info("x", kind, image.shape)],
        [helper.make_tensor_value_info("y", out, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), image, right


@pytest.mark.parametrize("op", ["MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv"])
@pytest.mark.parametrize(("activation", "weights"), [(np.uint8, np.int8), (np.int8, np.uint8), (np.uint8, np.uint8)])
@pytest.mark.parametrize("zero", [None, 3])
def test_sums_do_not_saturate(op, activation, weights, zero) -> None:
    if op.startswith("QLinear") and activation is np.int8:
        pytest.skip("onnxruntime has no such kernel")
    model, image, right = _model(op, activation, weights, zero)
    before = model.SerializeToString()
    changed = of_one_signedness(model)
    assert model.SerializeToString() == before
    assert (changed is model) == (activation is weights)
    found = ort.InferenceSession(changed.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": image})[0]
    assert (found == right).all()
