#!/bin/sh
# onnx 1.23.2: QuantizeLinear of the ReferenceEvaluator gives the lower end of the range for values beyond int32.
#
# The standard says saturate((x / y_scale) + y_zero_point). The evaluator casts to int32 before it saturates, and on x86 whatever
# int32 cannot hold becomes its smallest number: 3e9 with scale 1 is 0 in uint8 and -128 in int8, where onnxruntime gives 255
# and 127. A sum without a clip over a small scale is enough, and nothing is reported. Needs a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

values = np.array([2e9, 3e9, -2e9, -3e9], np.float32)
seen = {}
for integer, element in ((np.uint8, TensorProto.UINT8), (np.int8, TensorProto.INT8)):
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [len(values)])],
        [helper.make_tensor_value_info("y", element, [len(values)])],
        [numpy_helper.from_array(np.float32(1), "scale"), numpy_helper.from_array(integer(0), "zero")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    theirs = ReferenceEvaluator(model).run(None, {"x": values})[0].tolist()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    seen[integer.__name__] = theirs, session.run(None, {"x": values})[0].tolist()
    print(integer.__name__, "ReferenceEvaluator", theirs, "onnxruntime", seen[integer.__name__][1])
as_seen = seen == {"uint8": ([255, 0, 0, 0], [255, 255, 0, 0]), "int8": ([127, -128, -128, -128], [127, 127, -128, -128])}
print("as described" if as_seen else "the behaviour has changed")
sys.exit(not as_seen)
PY
