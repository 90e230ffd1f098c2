#!/bin/sh
# onnxruntime 1.32.0: whether com.microsoft's QGemm gives floats or integers hangs on y_zero_point, not on y_scale.
#
# Its schema makes both optional and says of y_scale: "The output is full precision(float32) if it is not provided." With a
# y_scale and no y_zero_point the result is float32 all the same, and divided by y_scale: no longer the product. With a
# y_zero_point and no y_scale it is rounded to uint8 as if the scale were 1. A reader that goes by y_scale is wrong by a
# factor in the first case and by type in the second. Needs a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.19.1 onnxruntime==1.32.0
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

NUMBERS = {
    "a_scale": np.float32(0.5), "a_zero": np.uint8(0), "b": np.array([[3], [5]], np.uint8), "b_scale": np.float32(0.5),
    "b_zero": np.uint8(0), "y_scale": np.float32(2), "y_zero": np.uint8(10),
}


def result(y_scale: str, y_zero: str, kind: int) -> np.ndarray:
    """1 * 3 + 2 * 5 = 13 in steps of 0.25: the product is 3.25."""
    names = ["a", "a_scale", "a_zero", "b", "b_scale", "b_zero", "", y_scale, y_zero]
    node = helper.make_node("QGemm", names, ["y"], domain="com.microsoft")
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [1, 2])],
        [helper.make_tensor_value_info("y", kind, [1, 1])],
        [numpy_helper.from_array(np.asarray(NUMBERS[name]), name) for name in NUMBERS if name in names],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"a": np.array([[1, 2]], np.uint8)})[0]


found = {
    "neither": result("", "", TensorProto.FLOAT),
    "both": result("y_scale", "y_zero", TensorProto.UINT8),
    "y_scale alone": result("y_scale", "", TensorProto.FLOAT),
    "y_zero_point alone": result("", "y_zero", TensorProto.UINT8),
}
for name, value in found.items():
    print(f"{name:18} {value.dtype} {value.item()}")
seen = {name: (str(value.dtype), value.item()) for name, value in found.items()}
sys.exit(
    seen
    != {
        "neither": ("float32", 3.25),
        "both": ("uint8", 12),
        "y_scale alone": ("float32", 1.625),
        "y_zero_point alone": ("uint8", 13),
    }
)
PY
