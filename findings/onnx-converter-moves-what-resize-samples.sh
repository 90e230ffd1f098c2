#!/bin/sh
# onnx 1.23.2: version_converter raises a Resize from opset 10 to 11 without saying at which positions it samples.
#
# Opset 11 added coordinate_transformation_mode and made half_pixel its default; Resize in opset 10 is what is called
# asymmetric there. The converter leaves the attribute out, so that a linear Resize computes other numbers after it. Whoever
# converts must add the attribute. Needs a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0
"$folder/venv/bin/python" - <<'PY'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, version_converter

graph = helper.make_graph(
    [helper.make_node("Resize", ["x", "scales"], ["y"], mode="linear")],
    "g",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1, 3])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, 6])],
    [numpy_helper.from_array(np.array([1, 1, 1, 2], np.float32), "scales")],
)
old = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 10)], ir_version=5)
new = version_converter.convert_version(old, 11)
x = np.array([0, 1, 2], np.float32).reshape(1, 1, 1, 3)
found = []
for model in (old, new):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found.append(session.run(None, {"x": x})[0].reshape(-1).tolist())
print("onnx 1.23.2, a linear Resize of 0, 1, 2 in opset 10:", found[0], "and converted to 11:", found[1])
sys.exit(found != [[0, 0.5, 1, 1.5, 2, 2], [0, 0.25, 0.75, 1.25, 1.75, 2]])
PY
