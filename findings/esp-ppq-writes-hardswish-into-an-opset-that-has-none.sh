#!/bin/sh
# esp-ppq 1.3.12: a network with a HardSwish, quantized and exported for onnxruntime, is one that onnxruntime cannot load.
#
# The exporter writes opset 13 whatever the opset of the network that it read, and HardSwish came with opset 14. (Nothing is
# wrong inside: with the number set to 14 by hand the file loads, which is tried here as well.) Raise the number, or write
# such activations as Mul and HardSigmoid before quantizing. Needs a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  torch==2.13.0 esp-ppq==1.3.12 onnx==1.19.1 onnxruntime==1.32.0
"$folder/venv/bin/python" -W ignore - "$folder" <<'PY' 2>/dev/null
import io
import sys
from contextlib import redirect_stdout

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

with redirect_stdout(io.StringIO()):
    from esp_ppq import TargetPlatform
    from esp_ppq.api import export_ppq_graph, quantize_onnx_model

folder = sys.argv[1]
weights = numpy_helper.from_array(np.full((2, 1, 1, 1), 0.5, np.float32), "w")
nodes = [helper.make_node("Conv", ["x", "w"], ["c"], "conv"), helper.make_node("HardSwish", ["c"], ["y"], "swish")]
shown = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n, 4, 4]) for name, n in (("x", 1), ("y", 2))]
graph = helper.make_graph(nodes, "g", shown[:1], shown[1:], [weights])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model)
onnx.save(model, f"{folder}/float.onnx")
images = [torch.rand(1, 1, 4, 4) for _ in range(8)]
with redirect_stdout(io.StringIO()):
    quantized = quantize_onnx_model(f"{folder}/float.onnx", images, 8, [1, 1, 4, 4], TargetPlatform.ONNXRUNTIME, device="cpu")
    export_ppq_graph(quantized, TargetPlatform.ONNXRUNTIME, f"{folder}/quantized.onnx", config_save_to=f"{folder}/q.json")
written = onnx.load(f"{folder}/quantized.onnx")
opsets = {entry.domain: entry.version for entry in written.opset_import}
raised = onnx.ModelProto()
raised.CopyFrom(written)
raised.opset_import[0].version = 14
onnxruntime.InferenceSession(raised.SerializeToString(), providers=["CPUExecutionProvider"])
try:
    onnxruntime.InferenceSession(f"{folder}/quantized.onnx", providers=["CPUExecutionProvider"])
    said = "loads it"
except Exception as error:
    said = str(error).split("Error ")[-1]
print("opset 17 became", opsets, "with", sorted({node.op_type for node in written.graph.node}))
print("onnxruntime:", said)
sys.exit(not (opsets[""] == 13 and "No Op registered for HardSwish" in said))
PY
