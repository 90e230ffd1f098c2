"""The encoder's linear part in whole numbers against onnxruntime: padding, strides, groups, one axis or three."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from chipsim.engine.fast.pixels import Block, as_bytes, blocks, operator


def blocks_of(content: bytes, shape: tuple[int, ...]) -> tuple[list[Block], float] | None:
    found = operator(onnx.load_model_from_string(content).graph, "x")
    return None if found is None else blocks(found, shape)


def linear(op: str, weights: np.ndarray, bias: np.ndarray | None, shape: tuple[int, ...], **attributes: object) -> bytes:
    """One operator of pixels ``x``."""
    operands = {"w": weights.astype(np.float32)} | ({} if bias is None else {"b": bias.astype(np.float32)})
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *operands], ["y"], **attributes)],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in operands.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


CASES = {
    "padded": ("Conv", (4, 2, 3, 3), (2, 6, 5), {"pads": [1, 0, 2, 1]}),
    "strided": ("Conv", (4, 1, 2, 3), (1, 7, 8), {"strides": [2, 3], "dilations": [2, 1], "pads": [0, 1, 1, 0]}),
    "grouped": ("Conv", (6, 2, 3, 3), (4, 5, 5), {"group": 2, "pads": [1, 1, 1, 1]}),
    "depthwise": ("Conv", (3, 1, 3, 3), (3, 5, 5), {"group": 3}),
    "one axis": ("Conv", (4, 2, 5), (2, 12), {"pads": [2, 2], "strides": [2]}),
    "three axes": ("Conv", (3, 1, 2, 2, 2), (1, 4, 3, 5), {}),
    "Gemm": ("Gemm", (20, 7), (20,), {}),
    "Gemm, transposed": ("Gemm", (7, 20), (20,), {"transB": 1}),
    "MatMul": ("MatMul", (20, 7), (20,), {}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("unit", [1.0, 2.0**-7])
def test_blocks_give_what_onnxruntime_gives(name: str, unit: float) -> None:
    op, size, shape, attributes = CASES[name]
    rng = np.random.default_rng(len(name))
    weights = rng.integers(-40, 41, size) * unit
    outputs = size[0] if op == "Conv" or attributes.get("transB") else size[1]
    bias = None if op == "MatMul" else rng.integers(-900, 900, outputs) * unit
    content = linear(op, weights, bias, shape, **attributes)
    images = rng.integers(0, 256, (5, *shape))
    want = ort.InferenceSession(content).run(None, {"x": images.astype(np.float32)})[0].reshape(5, -1)
    found = blocks_of(content, shape)
    assert found is not None
    made, step = found
    got = np.full(want.shape, np.nan)
    for block in made:
        assert np.isnan(got[:, block.outputs]).all(), "each output once"
        got[:, block.outputs] = (images.reshape(5, -1)[:, block.pixels] @ block.weights + block.bias) * step
    np.testing.assert_array_equal(got, want)


def test_what_is_left_to_onnxruntime() -> None:
    def found(*given: object, **attributes: object) -> object:
        return blocks_of(linear(*given, **attributes), given[3])  # type: ignore[arg-type]

    rng = np.random.default_rng(0)
    assert found("Conv", rng.normal(size=(2, 1, 3, 3)), None, (1, 5, 5)) is None, "sums depend on their order"
    assert found("Conv", np.full((2, 1, 1, 1), 32767.0), None, (1, 5, 5)) is not None
    assert found("Conv", np.full((2, 1, 1, 1), 40001.0), None, (1, 5, 5)) is None, "more than 16 bits"
    assert found("Conv", np.ones((2, 1, 3, 3)), None, (1, 5, 5), auto_pad="SAME_UPPER") is None
    assert found("MatMul", np.ones((5, 2)), None, (3, 5)) is None, "a matrix product for each row"


def test_images_that_are_pixels() -> None:
    out = np.zeros((64, 64), np.uint8)
    assert as_bytes(np.array([[0.0, 255.0]], np.float32), False, out)
    assert out[0, :2].tolist() == [0, 255]
    for value in (0.5, -1.0, 256.0, np.nan, np.inf, 1e30):
        assert not as_bytes(np.array([[3.0, value]], np.float32), False, out), value
