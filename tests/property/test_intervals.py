"""The law of interval rules: whatever onnxruntime makes of a number in the interval lies in the rule's interval."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from qsnnc.frontend.importer.read import read_onnx
from qsnnc.frontend.quantizers.error_bounds import propagate
from qsnnc.frontend.quantizers.region import Region

CHANNELS = 3


def f32(value: object) -> np.ndarray:
    return np.asarray(value, np.float32)


def chain(*steps: tuple[str, dict[str, object]] | tuple[str, dict[str, object], dict[str, object]]) -> onnx.ModelProto:
    """Operators one after the other; constants by name, ``x`` is what came before, an empty name is left out."""
    nodes, constants, here = [], [], "x"
    for number, (op, inputs, *attributes) in enumerate(steps):
        names = []
        for key, value in inputs.items():
            if key == "x" or value is None:
                names.append(here if key == "x" else "")
            else:
                names.append(f"{key}{number}")
                constants.append(numpy_helper.from_array(np.asarray(value), names[-1]))
        nodes.append(helper.make_node(op, names, [f"t{number}"], **(attributes[0] if attributes else {})))
        here = f"t{number}"
    nodes.append(helper.make_node("Cast", [here], ["end"], to=1))
    graph = helper.make_graph(
        nodes, "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", CHANNELS, 1, 1])],
        [helper.make_tensor_value_info("end", TensorProto.FLOAT, ["N", CHANNELS, 1, 1])],
        constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def per_channel(*values: float) -> np.ndarray:
    return f32(values).reshape(1, CHANNELS, 1, 1)


Q8 = {"x": 0, "scale": f32(0.3), "zero": np.uint8(7)}
CHAINS = {
    "QuantizeLinear": chain(("QuantizeLinear", Q8)),
    "QuantizeLinear, a power of two": chain(("QuantizeLinear", {"x": 0, "scale": f32(0.25), "zero": np.int8(0)})),
    "QuantizeLinear, no zero point": chain(("QuantizeLinear", {"x": 0, "scale": f32(0.7)}, {"output_dtype": TensorProto.INT8})),
    "QuantizeLinear, Clip, DequantizeLinear": chain(
        ("QuantizeLinear", Q8),
        ("Clip", {"x": 0, "low": np.uint8(3), "high": np.uint8(9)}),
        ("DequantizeLinear", {"x": 0, "scale": f32(0.3), "zero": np.uint8(7)}),
    ),
    "BatchNormalization, QuantizeLinear": chain(
        ("BatchNormalization", {"x": 0, "g": f32([1.3, -0.2, 0.01]), "b": f32([0.4, 9, -3]), "m": f32([5, -7, 0.1]), "v": f32([2, 0.3, 1])}),
        ("QuantizeLinear", Q8),
    ),
    "Sign": chain(("Sign", {"x": 0})),
    "Abs": chain(("Abs", {"x": 0})),
    "Abs of a sum": chain(("Add", {"x": 0, "b": per_channel(0.1, -3, 0)}), ("Abs", {"x": 0})),
    "Sum": chain(("Sum", {"x": 0, "b": per_channel(0.1, 0.2, 0.3), "c": f32(1e7)})),
    "Greater": chain(("Greater", {"x": 0, "b": per_channel(0, 1, -1)})),
    "Less": chain(("Less", {"x": 0, "b": per_channel(0, 1, -1)})),
    "GreaterOrEqual, Not": chain(("GreaterOrEqual", {"x": 0, "b": f32(1)}), ("Not", {"x": 0})),
    "LessOrEqual": chain(("LessOrEqual", {"x": 0, "b": f32(1)})),
    "Less, Where": chain(("Less", {"x": 0, "b": f32(0.5)}), ("Where", {"x": 0, "yes": f32(-1), "no": f32(1)})),
    "Cast": chain(("Mul", {"x": 0, "f": f32(1.7)}), ("Cast", {"x": 0}, {"to": TensorProto.INT32})),
    "Clip above only": chain(("Clip", {"x": 0, "low": None, "high": f32(2)})),
    "Mul, Add, Floor": chain(("Mul", {"x": 0, "f": per_channel(0.1, -3, 1e-3)}), ("Add", {"x": 0, "b": f32(0.5)}), ("Floor", {"x": 0})),
}  # fmt: skip


@pytest.fixture(scope="module", params=CHAINS, ids=lambda name: name)
def region(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("chain") / "chain.onnx"
    path.write_bytes(CHAINS[request.param].SerializeToString())
    model = read_onnx(path)
    return Region(model, model.input, model.output, model.nodes, (1,))


@settings(max_examples=40)
@given(centre=st.floats(-300, 300, width=32), spread=st.sampled_from([0.0, 1e-6, 0.01, 1.0, 50.0]))
@example(centre=0.0, spread=0.0)
@example(centre=0.5, spread=0.0)  # ties
@example(centre=1.05, spread=1e-7)
def test_holds_what_onnxruntime_computes(region, centre, spread):
    low, high = np.full((1, CHANNELS), centre - spread), np.full((1, CHANNELS), centre + spread)
    found = propagate(region, (low, high))
    assert found is not None, "no rule"
    points = np.linspace(low, high, 17)[:, 0].astype(np.float32)
    points = points[(points >= low[0, 0]) & (points <= high[0, 0])]
    values = region.function()(np.repeat(points[:, None], CHANNELS, axis=1))
    assert (values >= found[0]).all()
    assert (values <= found[1]).all()


def test_a_float8_is_no_interval_of_integers(tmp_path):
    import ml_dtypes

    zero = np.zeros((), ml_dtypes.float8_e4m3fn)
    path = tmp_path / "float8.onnx"
    path.write_bytes(chain(("QuantizeLinear", {"x": 0, "scale": f32(0.3), "zero": zero})).SerializeToString())
    model = read_onnx(path)
    bounds = np.zeros((1, CHANNELS)), np.ones((1, CHANNELS))
    assert propagate(Region(model, model.input, model.output, model.nodes, (1,)), bounds) is None
