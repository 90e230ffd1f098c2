#!/bin/sh
# onnxruntime 1.32.0: QLinearAveragePool divides by other numbers than the AveragePool that it stands for.
#
# With ceil_mode and count_include_pad (torch's AvgPool2d(ceil_mode=True)), the last window may reach beyond the padding.
# AveragePool divides by the part inside, as the standard's text says; com.microsoft's QLinearAveragePool, which
# quantize_static writes in its place, divides by the size of the whole window: 30, alone in a window of two, becomes 15. What
# was calibrated is not what runs. Whoever quantizes such a network should use QuantFormat.QDQ. Needs a package index.
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

windows = {"kernel_shape": [1, 2], "strides": [1, 2], "ceil_mode": 1, "count_include_pad": 1}
one = [numpy_helper.from_array(np.float32(1), "s"), numpy_helper.from_array(np.uint8(0), "z")]
x = np.array([10, 20, 30], np.uint8).reshape(1, 1, 1, 3)


def computed(node, kind, value, constants):
    shown = [helper.make_tensor_value_info("x", kind, [1, 1, 1, 3])], [helper.make_tensor_value_info("y", kind, None)]
    graph = helper.make_graph([node], "g", *shown, constants)
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": value})[0].reshape(-1).tolist()


plain = computed(helper.make_node("AveragePool", ["x"], ["y"], **windows), TensorProto.FLOAT, x.astype(np.float32), [])
quantized = helper.make_node("QLinearAveragePool", ["x", "s", "z", "s", "z"], ["y"], domain="com.microsoft", **windows)
integer = computed(quantized, TensorProto.UINT8, x, one)
print("onnxruntime 1.32.0, averages of 10, 20 | 30: AveragePool", plain, "QLinearAveragePool", integer)
sys.exit((plain, integer) != ([15, 30], [15, 15]))
PY
