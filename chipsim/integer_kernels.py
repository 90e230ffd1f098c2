"""Give 8-bit weights the signedness of their activations, so that every processor computes the same products.

On x86 processors without VNNI, onnxruntime multiplies uint8 by int8 with sums of two products that saturate at 16 bits (its
page "Quantize ONNX models", section on U8S8): 255 * 127 * 2 becomes 32,767. Operands of equal signedness use another
kernel. The weights are therefore converted to the type of the activations: an offset of 128 on the weights and on their
zero point changes no result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

#: positions of the activation, the weights and the weights' zero point among an operator's inputs
PRODUCTS = {
    "QLinearConv": (0, 3, 5),
    "QLinearMatMul": (0, 3, 5),
    "QGemm": (0, 3, 5),
    "ConvInteger": (0, 1, 3),
    "MatMulInteger": (0, 1, 3),
}


def of_one_signedness(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Give constant weights of integer products the type of the activation that they multiply.

    Parameters
    ----------
    proto : ModelProto
        With all initializers loaded; it is not changed.

    Returns
    -------
    ModelProto
        The same object if nothing had to be done, otherwise a copy with more initializers.
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
    """Return the index of each node whose 8-bit constant weights differ in signedness, with the activation's type."""
    import onnx
    from onnx import helper

    bytes_ = {onnx.TensorProto.UINT8, onnx.TensorProto.INT8}
    known = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    constant = set(known)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto)
    except Exception:  # noqa: BLE001  # onnx raises several types; running the model reports the error
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
        if node.op_type.startswith("QLinear") or node.op_type == "QGemm":  # the zero point gives the type
            known.setdefault(node.input[data], known.get(node.input[2], 0))
        types = known.get(node.input[data], 0), known[node.input[weights]]
        if set(types) == bytes_:
            found.append((number, np.dtype(helper.tensor_dtype_to_np_dtype(types[0]))))
    return found


def _moved(value: Array, dtype: np.dtype[Any]) -> Array:
    """Convert int8 to uint8 by adding 128, or uint8 to int8 by subtracting it."""
    return np.asarray(value.astype(np.int16) + (128 if dtype == np.uint8 else -128)).astype(dtype)
