"""A quotation of onnxruntime holds what it says is wrong, not where in its source."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from chipsim.quoting import MOST, quote


def message(*nodes: tuple[str, list[str]], opset: int = 17, ir: int = 8, **constants: np.ndarray) -> str:
    """What onnxruntime says of a small model on an input of shape (2, 3)."""
    made = [helper.make_node(op, ["x", *inputs], ["y"], name="node") for op, inputs in nodes]
    graph = helper.make_graph(
        made,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", "K"))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    with pytest.raises(Exception) as caught:  # noqa: PT011  # onnxruntime raises several types of its own
        ort.InferenceSession(model.SerializeToString(), options).run(None, {"x": np.zeros((2, 3), np.float32)})
    return str(caught.value)


def test_the_shape_that_does_not_fit_is_quoted() -> None:
    said = quote(message(("Reshape", ["s"]), s=np.array([5, 7])))
    assert said.endswith("cannot be reshaped to the requested shape. Input shape:{2,3}, requested shape:{5,7}")
    assert "/onnxruntime" not in said
    assert "::" not in said


def test_the_version_that_is_too_new_is_quoted() -> None:
    assert quote(message(("Relu", []), ir=99)).startswith("Unsupported model IR version: 99")
    said = quote(message(("Relu", []), opset=99))
    assert len(said) <= MOST
    assert "Opset 99 is under development" in said
    assert "till opset" in said  # it stands at the end of a long message


@pytest.mark.parametrize("text", ["plain", "a (b) c", "unclosed /a/b.cc:1 f(", "", "x" * 5000])
def test_any_text_is_quoted_in_one_short_line(text) -> None:
    assert len(quote(text)) <= MOST
    assert "\n" not in quote(f"{text}\n{text}")
    if len(text) < MOST and ".cc" not in text:
        assert quote(text) == text
