"""What onnxruntime's quantize_static makes of a float network with branches."""

from __future__ import annotations

import logging
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.command_line import qsnnc, unlabelled

from qsnnc import verify


def float_network(batch: int | str = "N") -> onnx.ModelProto:
    """A depthwise convolution, two concatenated branches and pools, in floats."""
    rng = np.random.default_rng(10)
    constants, nodes, node = {}, [], helper.make_node

    def conv(x: str, name: str, *shape: int, **attributes) -> str:
        constants[f"{name}.w"] = rng.normal(0, 0.4, shape).astype(np.float32)
        constants[f"{name}.b"] = rng.normal(0, 0.1, shape[0]).astype(np.float32)
        nodes.append(node("Conv", [x, f"{name}.w", f"{name}.b"], [name], name=name, **attributes))
        nodes.append(node("Relu", [name], [f"{name}.r"], name=f"{name}.relu"))
        return f"{name}.r"

    x = conv("image", "c1", 4, 1, 3, 3, pads=[1] * 4, strides=[2, 2])
    x = conv(x, "dw", 4, 1, 3, 3, pads=[1] * 4, group=4)
    operands = [conv(x, "b1", 4, 4, 1, 1), conv(x, "b2", 4, 4, 3, 3, pads=[1] * 4)]
    nodes.append(node("Concat", operands, ["cat"], name="cat", axis=1))
    nodes.append(node("MaxPool", ["cat"], ["pool"], name="pool", kernel_shape=[2, 2], strides=[2, 2]))
    nodes.append(node("GlobalAveragePool", ["pool"], ["gap"], name="gap"))
    nodes.append(node("Flatten", ["gap"], ["flat"], name="flat"))
    constants["fc.w"] = rng.normal(0, 0.4, (8, 5)).astype(np.float32)
    nodes.append(node("Gemm", ["flat", "fc.w"], ["y"], name="fc"))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 1, 12, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 5])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_quantized_network_is_equal(save, tmp_path, form) -> None:
    from onnxruntime import quantization

    logging.getLogger().setLevel(logging.ERROR)

    class Images(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            self.left = [{"image": rng.random((1, 1, 12, 12)).astype(np.float32)} for _ in range(4)]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return self.left.pop() if self.left else None

    quantization.quantize_static(
        str(save(float_network())),
        str(tmp_path / "quantized.onnx"),
        Images(),
        quant_format=quantization.QuantFormat[form],
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=form == "QDQ",
    )
    found = verify(tmp_path / "quantized.onnx", limit=20)
    assert found.equal, str(found.mismatches[0])


@pytest.mark.parametrize(("verb", "batch"), [("verify", "N"), ("check", "N"), ("check", 1), ("check", 3)])
def test_the_refusal_of_a_float_network_says_five_lines_that_quantize_it(save, tmp_path, verb, batch) -> None:
    path = save(float_network(batch), "float.onnx")
    done = qsnnc(verb, path, "--json", "v.json", cwd=tmp_path)
    assert done.returncode == 3
    said, *lines = done.stderr.splitlines()
    assert unlabelled(said).startswith(f"{path}: nothing in it is quantized")
    assert len(lines) == 5
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, cwd=tmp_path, capture_output=True)
    assert verify(path.with_suffix(".quantized.onnx"), limit=20).passes()


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_a_network_of_other_floats_is_sent_to_float32_first(save, tmp_path, kind) -> None:
    """onnxruntime leaves doubles as they are, and gives scales in float16 to what is in float16."""
    model = float_network()
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = kind
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name))
    done = qsnnc("check", save(model, "other.onnx"), cwd=tmp_path)
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"or export it in float32, which onnxruntime can quantize, instead of {dtype}")
