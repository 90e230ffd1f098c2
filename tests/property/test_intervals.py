"""The law of interval rules: whatever onnxruntime makes of a number in the interval lies in the rule's interval."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from qsnnc.frontend.importer.read import read_onnx
from qsnnc.frontend.model.operators import ELEMENTWISE
from qsnnc.frontend.quantizers.error_bounds import propagate
from qsnnc.frontend.quantizers.region import Region

CHANNELS = 3
#: functions that kernels approximate
CURVED = set("Celu Elu Erf Gelu Mish Selu Sigmoid Softplus Softsign Swish Tanh".split())


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
    opset = 24 if any(step[0] == "Swish" for step in steps) else 21
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


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
    "Sub, from a constant": chain(("Sub", {"a": per_channel(0.1, -3, 1e3), "x": 0})),
    "Neg": chain(("Neg", {"x": 0})),
    "Div by a per-channel scale": chain(("Div", {"x": 0, "d": per_channel(0.3, -7, 1e-3)})),
    "Reciprocal": chain(("Add", {"x": 0, "b": f32(700)}), ("Reciprocal", {"x": 0})),
    "Min, Max of several": chain(
        ("Min", {"x": 0, "a": per_channel(3, 5, 1e3), "b": f32(100)}),
        ("Max", {"x": 0, "a": per_channel(-1, 0.5, -9), "b": f32(-100)}),
    ),
    "Mean": chain(("Mean", {"x": 0, "b": per_channel(0.1, 0.2, -0.3), "c": f32(1e3)})),
    "Equal": chain(("Round", {"x": 0}), ("Equal", {"x": 0, "b": per_channel(0, 1, -1)})),
    "And, Or, Xor": chain(
        ("Greater", {"x": 0, "b": f32(0.25)}),
        ("And", {"x": 0, "b": np.array([True, True, False]).reshape(1, 3, 1, 1)}),
        ("Or", {"x": 0, "b": np.array([False, True, False]).reshape(1, 3, 1, 1)}),
        ("Xor", {"x": 0, "b": np.array([False, True, True]).reshape(1, 3, 1, 1)}),
    ),
    "CastLike": chain(("Mul", {"x": 0, "f": f32(1.7)}), ("CastLike", {"x": 0, "like": np.int32(3)})),
    "DequantizeLinear with a per-channel scale": chain(
        ("QuantizeLinear", {"x": 0, "s": f32([0.3, 0.25, 7]), "z": np.int8([0, -3, 5])}, {"axis": 1}),
        ("DequantizeLinear", {"x": 0, "s": f32([0.3, 0.25, 7]), "z": np.int8([0, -3, 5])}, {"axis": 1}),
    ),
    "Relu": chain(("Relu", {"x": 0})),
    "Ceil": chain(("Mul", {"x": 0, "f": f32(0.1)}), ("Ceil", {"x": 0})),
    "LeakyRelu": chain(("LeakyRelu", {"x": 0}, {"alpha": 0.1})),
    "LeakyRelu with a negative slope": chain(("LeakyRelu", {"x": 0}, {"alpha": -0.3})),
    "PRelu": chain(("PRelu", {"x": 0, "slope": f32([0.25, -0.1, 1.7]).reshape(3, 1, 1)})),
    "HardSigmoid": chain(("Mul", {"x": 0, "f": per_channel(0.01, -0.3, 1)}), ("HardSigmoid", {"x": 0})),
    "HardSigmoid that falls": chain(("HardSigmoid", {"x": 0}, {"alpha": -0.03, "beta": 0.7})),
    "ThresholdedRelu": chain(("ThresholdedRelu", {"x": 0}, {"alpha": 0.7})),
    "ThresholdedRelu below zero": chain(("ThresholdedRelu", {"x": 0}, {"alpha": -0.7})),
    "Shrink": chain(("Shrink", {"x": 0}, {"lambd": 0.7, "bias": 0.3})),
    "Elu": chain(("Elu", {"x": 0}, {"alpha": 1.7})),
    "Elu that falls below zero": chain(("Elu", {"x": 0}, {"alpha": -1.7})),
    "Selu that falls": chain(("Selu", {"x": 0}, {"alpha": 0.7, "gamma": -1.3})),
    "Celu": chain(("Celu", {"x": 0}, {"alpha": 0.7})),
    "Selu": chain(("Selu", {"x": 0})),
    "Selu of other constants": chain(("Selu", {"x": 0}, {"alpha": 30.0, "gamma": 3.0})),
    "Sqrt": chain(("Abs", {"x": 0}), ("Sqrt", {"x": 0})),
    "Log": chain(("Abs", {"x": 0}), ("Add", {"x": 0, "b": f32(1e-4)}), ("Log", {"x": 0})),
    "Gelu by tanh": chain(("Gelu", {"x": 0}, {"approximate": "tanh"})),
    "Swish with a steep gate": chain(("Swish", {"x": 0}, {"alpha": 1.7})),
    "Exp that overflows": chain(("Exp", {"x": 0}), ("Min", {"x": 0, "top": f32(1e30)})),
    **{op: chain((op, {"x": 0})) for op in "Erf Sigmoid Softplus Softsign Tanh Gelu HardSwish Mish Swish".split()},
    "Mul, Add, Floor": chain(("Mul", {"x": 0, "f": per_channel(0.1, -3, 1e-3)}), ("Add", {"x": 0, "b": f32(0.5)}), ("Floor", {"x": 0})),
}  # fmt: skip


@pytest.fixture(scope="module", params=CHAINS, ids=lambda name: name)
def region(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("chain") / "chain.onnx"
    path.write_bytes(CHAINS[request.param].SerializeToString())
    model = read_onnx(path)
    return Region(model, model.input, model.output, model.nodes, (1,))


@pytest.mark.slow
@settings(max_examples=40)
@given(centre=st.floats(-300, 300, width=32), spread=st.sampled_from([0.0, 1e-6, 0.01, 1.0, 50.0]))
@example(centre=0.0, spread=0.0)
@example(centre=0.5, spread=0.0)  # ties
@example(centre=1.05, spread=1e-7)
@example(centre=-0.7, spread=0.01)
@example(centre=88.5, spread=0.5)
def test_holds_what_onnxruntime_computes(region, centre, spread):
    low, high = np.full((1, CHANNELS), centre - spread), np.full((1, CHANNELS), centre + spread)
    found = propagate(region, (low, high))
    assert found is not None, "no rule"
    points = np.linspace(low, high, 17)[:, 0].astype(np.float32)
    points = points[(points >= low[0, 0]) & (points <= high[0, 0])]
    values = region.function()(np.repeat(points[:, None], CHANNELS, axis=1))
    assert (values >= found[0]).all()
    assert (values <= found[1]).all()


@pytest.mark.parametrize("name", sorted(ELEMENTWISE - {"Mod", "Pow", "Dropout", "Identity"}))
def test_every_rule_is_tested(name):
    assert any(node.op_type == name for model in CHAINS.values() for node in model.graph.node)


@pytest.mark.parametrize("name", sorted(name for name in CHAINS if CHAINS[name].graph.node[0].op_type in CURVED))
def test_the_error_of_a_smooth_function_is_far_below_its_bound(name, tmp_path):
    path = tmp_path / "chain.onnx"
    path.write_bytes(CHAINS[name].SerializeToString())
    model = read_onnx(path)
    region = Region(model, model.input, model.output, model.nodes, (1,))
    rng = np.random.default_rng(0)
    points = np.concatenate(
        [rng.uniform(-20, 20, 1 << 16), rng.choice([-1, 1], 1 << 16) * 2.0 ** rng.uniform(-40, 6, 1 << 16)]
    )
    x = np.repeat(points.astype(np.float32)[:, None], CHANNELS, axis=1)
    found = propagate(region, (x.astype(np.float64), x.astype(np.float64)))
    assert found is not None
    off = np.abs(region.function()(x) - (found[0] + found[1]) / 2) / ((found[1] - found[0]) / 2)
    assert np.nan_to_num(off).max() < 0.25


def test_no_number_of_float32_is_overlooked_where_a_bound_is_none(tmp_path):
    """Infinity times zero bounds nothing."""
    path = tmp_path / "chain.onnx"
    path.write_bytes(
        chain(("Mul", {"x": 0, "f": per_channel(0, 1, 1)}), ("Greater", {"x": 0, "b": f32(1)})).SerializeToString()
    )
    model = read_onnx(path)
    bounds = np.full((1, CHANNELS), -np.inf), np.full((1, CHANNELS), np.inf)
    found = propagate(Region(model, model.input, model.output, model.nodes, (1,)), bounds)
    assert found is not None
    assert found[0].tolist() == [[0, 0, 0]]
    assert found[1].tolist() == [[1, 1, 1]]


def test_a_float8_is_no_interval_of_integers(tmp_path):
    import ml_dtypes

    zero = np.zeros((), ml_dtypes.float8_e4m3fn)
    path = tmp_path / "float8.onnx"
    path.write_bytes(chain(("QuantizeLinear", {"x": 0, "scale": f32(0.3), "zero": zero})).SerializeToString())
    model = read_onnx(path)
    bounds = np.zeros((1, CHANNELS)), np.ones((1, CHANNELS))
    assert propagate(Region(model, model.input, model.output, model.nodes, (1,)), bounds) is None
