#!/bin/sh
# onnxruntime 1.32.0: quantize_static makes a file of a float16 network of opset 17 that onnxruntime cannot load.
#
# It gives the quantizers of float16 tensors scales in float16, which QuantizeLinear and DequantizeLinear take from opset 19
# on, and leaves the opset as it is. No error is raised and no warning given. A network in float64 is worse off: it comes back
# without a quantizer, and nothing says so (tried here as well). Export in float32, quantize, and convert to float16 after
# that if need be. Needs a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0
"$folder/venv/bin/python" - "$folder" <<'PY' 2>/dev/null
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_static


def quantized(dtype, opset):
    """Quantize a network of one Gemm whose tensors are of a type."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    rng = np.random.default_rng(0)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"], "gemm")],
        "g",
        [helper.make_tensor_value_info("x", kind, ["N", 4])],
        [helper.make_tensor_value_info("y", kind, ["N", 3])],
        [numpy_helper.from_array(rng.normal(size=size).astype(dtype), name) for name, size in (("w", (4, 3)), ("b", 3))],
    )
    given, made = f"{sys.argv[1]}/given.onnx", f"{sys.argv[1]}/made.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), given)
    onnxruntime.InferenceSession(given, providers=["CPUExecutionProvider"])
    images = iter([{"x": rng.random((1, 4)).astype(dtype)} for _ in range(10)])
    reader = type("Images", (), {"get_next": lambda self: next(images, None)})()
    quantize_static(given, made, reader, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    try:
        onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
        loads = True
    except Exception:
        loads = False
    return loads, sum(node.op_type == "QuantizeLinear" for node in onnx.load(made).graph.node)


found = {(kind, opset): quantized(kind, opset) for kind, opset in
         (("float32", 17), ("float16", 17), ("float16", 21), ("float64", 17))}
for (kind, opset), (loads, quantizers) in found.items():
    print(f"{kind}, opset {opset}: {quantizers} QuantizeLinear, onnxruntime {'loads it' if loads else 'cannot load it'}")
right = {("float32", 17): (True, 2), ("float16", 17): (False, 2), ("float16", 21): (True, 2), ("float64", 17): (True, 0)}
sys.exit(found != right)
PY
