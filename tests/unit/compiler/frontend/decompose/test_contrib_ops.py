"""Networks with quantizers and integer operators of com.microsoft."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.against_reference import equal, finish, ints, stem
from support.networks import Builder


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "opset"), [(TensorProto.INT8, 10), (TensorProto.UINT8, 13), (TensorProto.INT16, 21)])
def test_integer_operators_between_quantizers(kind, opset, save) -> None:
    """Clip and Transpose on integers keep their type."""
    net = stem() if opset > 10 else Builder((1, 6, 6))
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    constants = [net.const("unit", np.float32(0.5)), net.const("zero", dtype.type(3))]
    net.node("QuantizeLinear", "q", *constants, domain="com.microsoft", **({} if opset > 10 else {"axis": 1}))
    if opset > 11 and dtype.itemsize == 1:
        net.node("Clip", "clip", net.const("low", dtype.type(4)), net.const("high", dtype.type(6)))
    net.node("Transpose", "turn", perm=[0, 1, 3, 2])
    net.node("DequantizeLinear", "dq", *constants, domain="com.microsoft")
    if opset == 10:
        net.node("Clip", "clip", min=0.0, max=2.0)
    model = finish(net).model(opset=opset)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    equal(model, save)


@pytest.mark.slow
def test_global_average_pool_over_one_axis(save) -> None:
    net = stem()
    net.node("Reshape", "flat", ints(net, "flat.shape", 0, 3, 36))
    scale, zero = net.const("s", np.float32(1)), net.const("z", np.uint8(0))
    net.node("QuantizeLinear", "q", scale, zero)
    net.nodes.append(
        helper.make_node(
            "QLinearGlobalAveragePool",
            [net.here, scale, zero, scale, zero],
            ["pooled"],
            name="pool",
            domain="com.microsoft",
            channels_last=0,
        )
    )
    net.here = "pooled"
    net.node("DequantizeLinear", "dq", scale, zero)
    model = finish(net, (3, 1)).model(opset=17)
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    equal(model, save, certified=False)
