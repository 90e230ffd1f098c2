#!/bin/sh
# onnxruntime 1.32.0, CPU, all graph optimisation off: a chain of float16 operators is rounded to float16 once, at its end.
#
# It has no float16 kernels for most operators on x86: it casts to float32 before the chain and back after it, and drops the
# casts between two of them. A Mul and an Add of float16 tensors therefore differ from the same two operators one by one, and
# from numpy. The graph that it saves with optimized_model_filepath shows the casts. Needs a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0
"$folder/venv/bin/python" - <<'PY'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

factor, term = np.float16(0.337), np.float16(-1.77)
graph = helper.make_graph(
    [helper.make_node("Mul", ["x", "factor"], ["t"]), helper.make_node("Add", ["t", "term"], ["y"])],
    "g",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["N"])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["N"])],
    [numpy_helper.from_array(np.array(factor), "factor"), numpy_helper.from_array(np.array(term), "term")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
x = np.linspace(-8, 8, 4097).astype(np.float16)
found = session.run(None, {"x": x})[0]
between = x * factor + term  # numpy rounds after each
once = (x.astype(np.float32) * np.float32(factor) + np.float32(term)).astype(np.float16)
print("onnxruntime 1.32.0, of", len(x), "values:", int((found != between).sum()), "differ from float16 operator by operator,",
      int((found != once).sum()), "from float32 rounded once")
sys.exit(not ((found != between).any() and (found == once).all()))
PY
