"""Products of bytes that every processor computes alike.

onnxruntime multiplies uint8 by int8 with sums of two products that saturate at 16 bits, on x86 processors without VNNI
(its page "Quantize ONNX models", section on U8S8): 255 * 127 * 2 becomes 32,767. Bytes of one signedness take another
kernel. So the reference is given weights of the activations' own type: adding 128 to weights and to their zero point
changes no result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

#: by operator: inputs that are the activation, the weights, and the weights' zero point
PRODUCTS = {
    "QLinearConv": (0, 3, 5),
    "QLinearMatMul": (0, 3, 5),
    "QGemm": (0, 3, 5),
    "ConvInteger": (0, 1, 3),
    "MatMulInteger": (0, 1, 3),
}


def of_one_signedness(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Give constant weights of integer products the type of the activation that they meet.

    Parameters
    ----------
    proto : ModelProto
        Its initializers are all there; it is not changed.

    Returns
    -------
    ModelProto
        The same model where nothing was to be done, else a copy with more initializers.
    """
    if not any(node.op_type in PRODUCTS for node in proto.graph.node):
        return proto
    from onnx import numpy_helper

    mixed = _mixed(proto)
    if not mixed:
        return proto
    changed = type(proto)()
    changed.CopyFrom(proto)
    values = {tensor.name: tensor for tensor in proto.graph.initializer}
    for number, dtype in mixed:
        node = changed.graph.node[number]
        _, weights, zero = PRODUCTS[node.op_type]
        while len(node.input) <= zero:
            node.input.append("")
        value = numpy_helper.to_array(values[node.input[weights]])
        offset = numpy_helper.to_array(values[node.input[zero]]) if node.input[zero] else np.zeros((), value.dtype)
        for position, moved in ((weights, _moved(value, dtype)), (zero, _moved(offset, dtype))):
            node.input[position] = f"{node.output[0]}/{dtype}.{position}"
            changed.graph.initializer.append(numpy_helper.from_array(moved, node.input[position]))
    return changed


def _mixed(proto: onnx.ModelProto) -> list[tuple[int, np.dtype[Any]]]:
    """Nodes, by number, whose constant weights are bytes of the other signedness, and the activation's type."""
    import onnx
    from onnx import helper

    bytes_ = {onnx.TensorProto.UINT8, onnx.TensorProto.INT8}
    known = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    constant = set(known)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto)
    except Exception:  # noqa: BLE001  # onnx raises several types; whoever runs the model says what is wrong with it
        return []
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        known.setdefault(value.name, value.type.tensor_type.elem_type)
    found = []
    for number, node in enumerate(proto.graph.node):
        data, weights, zero = PRODUCTS.get(node.op_type, (0, 0, 0))
        if not weights or len(node.input) <= weights or node.input[weights] not in constant:
            continue
        if len(node.input) > zero and node.input[zero] and node.input[zero] not in constant:
            continue
        if node.op_type.startswith("QLinear") or node.op_type == "QGemm":  # typed by the zero point, wherever that stands
            known.setdefault(node.input[data], known.get(node.input[2], 0))
        types = known.get(node.input[data], 0), known[node.input[weights]]
        if set(types) == bytes_:
            found.append((number, np.dtype(helper.tensor_dtype_to_np_dtype(types[0]))))
    return found


def _moved(value: Array, dtype: np.dtype[Any]) -> Array:
    """The same bytes with an offset of 128, up into uint8 or down into int8."""
    return np.asarray(value.astype(np.int16) + (128 if dtype == np.uint8 else -128)).astype(dtype)
