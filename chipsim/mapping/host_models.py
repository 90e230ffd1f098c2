"""The host's ONNX models of a mapping that was made by hand: levels from pixels, scores from potentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


def encoder_model(shape: tuple[int, ...]) -> bytes:
    """Return an encoder whose levels are the values of ``image``, float32 (N, *shape), rounded towards zero."""
    from onnx import TensorProto, helper

    node = helper.make_node("Cast", ["image"], ["levels"], to=TensorProto.INT32)
    return _model([node], ("image", TensorProto.FLOAT, shape), ("levels", TensorProto.INT32, shape), [])


def readout_model(shape: tuple[int, ...], scale: float) -> bytes:
    """Return a readout that maps ``potentials``, int64 (N, features), to ``scores`` = scale * potential, (N, *shape)."""
    import math

    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["potentials"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["scores"]),
    ]
    constants = [
        numpy_helper.from_array(np.array(scale, np.float32), "scale"),
        numpy_helper.from_array(np.array([0, *shape], np.int64), "shape"),  # 0: as many images as there are
    ]
    potentials = ("potentials", TensorProto.INT64, (math.prod(shape),))
    return _model(nodes, potentials, ("scores", TensorProto.FLOAT, shape), constants)


def _model(nodes: list[Any], given: tuple[str, int, Any], made: tuple[str, int, Any], constants: list[Any]) -> bytes:
    from onnx import helper

    ends = [helper.make_tensor_value_info(name, kind, ["N", *shape]) for name, kind, shape in (given, made)]
    graph = helper.make_graph(nodes, "host", ends[:1], ends[1:], constants)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
