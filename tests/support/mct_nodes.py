"""Networks of one quantizer of Sony's Model Compression Toolkit each, for its kernels and for those here."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: channels of the weights, (CHANNELS, 3, 2)
CHANNELS = 5
#: ends of ranges: around zero, and on one side of it
LOW = np.array([-0.7, -1.3, 0.1, -2.0, -0.05], np.float32)
HIGH = np.array([0.9, 0.4, 1.7, -0.5, 3.1], np.float32)
TABLE = np.array([-113, -50, -7, 0, 3, 20, 64, 101], np.float32)

#: operator, constants behind the weights, attributes
NODES: dict[str, tuple[str, list[np.ndarray], dict[str, object]]] = {
    "POT, unsigned": ("ActivationPOTQuantizer", [], {"threshold": 2.0, "signed": 0, "num_bits": 4}),
    "POT, signed": ("ActivationPOTQuantizer", [], {"threshold": 0.5, "signed": 1, "num_bits": 8}),
    "symmetric, unsigned": ("ActivationSymmetricQuantizer", [], {"threshold": 1.3712345, "signed": 0, "num_bits": 8}),
    "symmetric, signed": ("ActivationSymmetricQuantizer", [], {"threshold": 0.71345678, "signed": 1, "num_bits": 3}),
    "uniform": ("ActivationUniformQuantizer", [], {"min_range": -0.6312345, "max_range": 1.7198765, "num_bits": 4}),
    "uniform, above zero": ("ActivationUniformQuantizer", [], {"min_range": 0.3, "max_range": 1.9, "num_bits": 8}),
    "uniform, below zero": ("ActivationUniformQuantizer", [], {"min_range": -1.9, "max_range": -0.2, "num_bits": 5}),
    "weights, POT": (
        "WeightsPOTQuantizer", [np.array([0.5, 1, 2, 0.25, 4], np.float32)],
        {"num_bits": 8, "per_channel": 1, "channel_axis": 0, "signed": 1},
    ),
    "weights, POT, one scale": (
        "WeightsPOTQuantizer", [np.array([2], np.float32)], {"num_bits": 4, "per_channel": 0, "channel_axis": 0, "signed": 1}
    ),
    "weights, symmetric": (
        "WeightsSymmetricQuantizer", [np.array([0.31, 1.7, 2.2], np.float32)],
        {"num_bits": 8, "per_channel": 1, "channel_axis": 1, "signed": 1},
    ),
    "weights, symmetric, one scale": (
        "WeightsSymmetricQuantizer", [np.array([1.23], np.float32)],
        {"num_bits": 2, "per_channel": 0, "channel_axis": 0, "signed": 1},
    ),
    "weights, uniform": (
        "WeightsUniformQuantizer", [LOW, HIGH], {"num_bits": 8, "per_channel": 1, "channel_axis": 0, "signed": 1}
    ),
    "weights, uniform, one scale": (
        "WeightsUniformQuantizer", [LOW[:1], HIGH[:1]], {"num_bits": 3, "per_channel": 0, "channel_axis": 0, "signed": 1}
    ),
    "weights, table, POT": (
        "WeightsLUTPOTQuantizer", [TABLE, np.array([0.5, 1, 2, 0.25, 4], np.float32)],
        {"num_bits": 3, "per_channel": 1, "channel_axis": 0, "input_rank": 3, "lut_values_bitwidth": 8, "eps": 1e-8, "signed": 1},
    ),
    "weights, table, symmetric": (
        "WeightsLUTSymmetricQuantizer", [TABLE, np.array([1.31], np.float32)],
        {"num_bits": 3, "per_channel": 0, "channel_axis": 0, "input_rank": 4, "lut_values_bitwidth": 8, "eps": 1e-8, "signed": 1},
    ),
}  # fmt: skip


def values(name: str) -> np.ndarray:
    """What the quantizer is given: also values between levels, and beyond them."""
    op, _, given = NODES[name]
    random = np.random.default_rng(len(name))
    x = random.normal(0, 1.5, (CHANNELS, 3, 2) if op.startswith("Weights") else (200, 3)).astype(np.float32)
    if "threshold" in given:
        scale = float(given["threshold"]) / 2 ** (int(given["num_bits"]) - int(given["signed"]))
        x[::4] = (np.round(x[::4] / scale) + 0.5) * scale
    return x


def network(name: str) -> onnx.ModelProto:
    """A model of one quantizer."""
    op, constants, attributes = NODES[name]
    names = [f"c{number}" for number in range(len(constants))]
    node = helper.make_node(op, ["x", *names], ["y"], "quantizer", domain="mct_quantizers", **attributes)
    shape = list(values(name).shape)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, each) for value, each in zip(constants, names, strict=True)],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("mct_quantizers", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)
