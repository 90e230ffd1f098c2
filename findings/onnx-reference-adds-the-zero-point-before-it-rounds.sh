#!/bin/sh
# onnx 1.23.2: QLinearMatMul and QLinearConv of the ReferenceEvaluator add the zero point and then round.
#
# The standard's text of QLinearMatMul rounds x / scale half to even and adds the zero point to that, and so does onnxruntime
# 1.32.0 in both. The two orders differ by one at every tie whose output zero point is odd: 0.5 with zero point 3 is 4 in one
# and 3 in the other. Scales that are powers of two meet ties in every image. Needs a package index.
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

IMAGES = np.array([1, 3, 5, 7], np.uint8)  # 0.5, 1.5, 2.5 and 3.5 with the output's scale


def both(op: str, weight: np.ndarray, zero: int) -> list[list[int]]:
    """What the two make of the images by one QLinearConv or QLinearMatMul with scales 0.5, 1 and 1."""
    x = IMAGES.reshape(4, *[1] * (weight.ndim - 1))
    constants = {
        "xs": np.float32(0.5), "xz": np.uint8(0), "w": weight, "ws": np.float32(1), "wz": np.uint8(0),
        "ys": np.float32(1), "yz": np.uint8(zero),
    }  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *constants], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, x.shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = ReferenceEvaluator(model).run(None, {"x": x})[0], session.run(None, {"x": x})[0]
    return [each.reshape(-1).tolist() for each in found]


seen = {
    "QLinearConv, zero point 3": both("QLinearConv", np.ones((1, 1, 1, 1), np.uint8), 3),
    "QLinearConv, zero point 2": both("QLinearConv", np.ones((1, 1, 1, 1), np.uint8), 2),
    "QLinearMatMul, zero point 3": both("QLinearMatMul", np.ones((1, 1), np.uint8), 3),
}
for name, (evaluator, runtime) in seen.items():
    print(f"{name}: ReferenceEvaluator {evaluator}, onnxruntime {runtime}")
as_seen = list(seen.values()) == [[[4, 4, 6, 6], [3, 5, 5, 7]], [[2, 4, 4, 6], [2, 4, 4, 6]], [[4, 4, 6, 6], [3, 5, 5, 7]]]
print("as described" if as_seen else "the behaviour has changed")
sys.exit(not as_seen)
PY
