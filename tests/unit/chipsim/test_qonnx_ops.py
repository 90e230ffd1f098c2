"""QONNX's operators: the rewriting into standard ones, held against the qonnx package itself, bit for bit."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chipsim.errors import InputError
from chipsim.qonnx_ops import rewrite
from qsnnc.frontend.model.reference import session

MODES = ["ROUND", "HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN"]
GENERAL, LAST = "qonnx.custom_op.general", "qonnx.custom_op.channels_last"


def one_node(
    op: str, constants: list[np.ndarray], domain: str = GENERAL, version: int = 1, opset: int = 17, **attributes
) -> onnx.ModelProto:
    constants = [np.float32(value) if isinstance(value, float) else value for value in constants]
    names = [f"c{number}" for number in range(len(constants))]
    node = helper.make_node(op, ["x", *names], ["y"], name="n", domain=domain, **attributes)
    shape = ["N", 3, 4, 4]
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in zip(names, constants, strict=True)],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(domain, version)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def values(scale: float, seed: int) -> np.ndarray:
    """Multiples of a quarter step, so that every tie is met, and anything else."""
    rng = np.random.default_rng(seed)
    grid = rng.integers(-80, 81, (4, 3, 4, 4)) / 4 * scale
    return np.concatenate([grid, rng.normal(0, 8 * scale, (4, 3, 4, 4))]).astype(np.float32)


def ours(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    return session(rewrite(model)).run(None, {"x": x})[0]


def theirs(model: onnx.ModelProto, x: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """The qonnx package runs its own operator; some need a tensor ``like`` the result."""
    registry = pytest.importorskip("qonnx.custom_op.registry")
    node = model.graph.node[0]
    context = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer} | {"x": x, "y": like}
    version = next(entry.version for entry in model.opset_import if entry.domain == node.domain)
    registry.getCustomOp(node, onnx_opset_version=version).execute_node(context, model.graph)
    return np.asarray(context["y"], np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("op", ["Quant", "IntQuant"])
def test_quant(op, mode) -> None:
    cases = itertools.product((0.25, 0.1), (0.0, 3.0), (1, 2, 4, 8), (0, 1), (0, 1))
    for seed, (scale, zero, bits, signed, narrow) in enumerate(cases):
        if bits == 1 and narrow and not signed:
            continue  # a single level
        constants = [np.float32(scale), np.float32(zero), np.float32(bits)]
        model = one_node(op, constants, signed=signed, narrow=narrow, rounding_mode=mode)
        x = values(scale, seed)
        np.testing.assert_array_equal(ours(model, x), theirs(model, x), err_msg=f"{scale} {zero} {bits} {signed} {narrow}")


@pytest.mark.parametrize(
    "kinds", list(itertools.product((np.float32, np.float64, np.int8), (np.float32, np.int64, np.int16), ("i8", "f8")))
)
def test_parameters_of_any_type(kinds) -> None:
    """As NumPy promotes them: a scale of doubles divides doubles, a zero point of int64 is added to doubles."""
    for seed, (scale, zero, mode) in enumerate(itertools.product((0.25, 0.1, 2.0), (0, 3), ("ROUND", "HALF_UP"))):
        if kinds[0] == np.int8 and scale < 1:
            continue
        constants = [np.array(value, kind) for value, kind in zip((scale, zero, 4), kinds, strict=True)]
        model = one_node("Quant", constants, signed=0, narrow=0, rounding_mode=mode)
        x = values(scale, seed)
        np.testing.assert_array_equal(ours(model, x), theirs(model, x), err_msg=f"{scale} {zero} {mode}")


@pytest.mark.parametrize("opset", [7, 9, 10])
def test_beside_an_old_opset(opset) -> None:
    model = one_node("Quant", [np.float32(v) for v in (0.1, 3, 4)], opset=opset, signed=1, narrow=0)
    x = values(0.1, 5)
    np.testing.assert_array_equal(ours(model, x), theirs(model, x))


def test_quant_with_a_scale_a_channel() -> None:
    constants = [np.array([0.5, 0.25, 0.1], np.float32).reshape(1, 3, 1, 1), np.float32(0), np.float32(4)]
    model = one_node("Quant", constants, signed=1, narrow=0)
    x = values(0.25, 0)
    np.testing.assert_array_equal(ours(model, x), theirs(model, x))


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_bipolar(scale) -> None:
    model = one_node("BipolarQuant", [np.float32(scale)])
    x = values(0.25, 1)
    np.testing.assert_array_equal(ours(model, x), theirs(model, x))


@pytest.mark.parametrize("mode", MODES)
def test_trunc(mode) -> None:
    for seed, (scale, bits) in enumerate(itertools.product((0.25, 0.1), (4, 6))):
        x = np.round(values(scale, seed) / scale).astype(np.float32) * np.float32(scale)
        first = one_node("Trunc", [np.float32(scale), np.float32(0), np.float32(8), np.float32(bits)], rounding_mode=mode)
        np.testing.assert_array_equal(ours(first, x), theirs(first, x))
        constants = [np.float32(v) for v in (scale, 0, 8, scale * 2.0 ** (8 - bits), bits)]
        second = one_node("Trunc", constants, version=2, rounding_mode=mode, signed=1, narrow=0)
        np.testing.assert_array_equal(ours(second, x), theirs(second, x))


def test_multi_threshold() -> None:
    rng = np.random.default_rng(2)
    options = {"out_dtype": "UINT4", "out_scale": 0.5, "out_bias": -1.0}
    for domain, rows, layout in itertools.product((GENERAL,), (1, 3), ("NCHW", "NHWC", "")):
        if layout == "NHWC" and rows == 3:
            continue
        model = one_node(
            "MultiThreshold",
            [np.sort(rng.normal(0, 2, (rows, 7))).astype(np.float32)],
            domain,
            data_layout=layout,
            **options,
        )
        x = values(0.5, 3)
        np.testing.assert_array_equal(ours(model, x), theirs(model, x))


def test_other_domains_are_the_same_operators() -> None:
    x = values(0.25, 4)
    constants = [np.float32(0.25), np.float32(0), np.float32(4)]
    for domain in ("onnx.brevitas", "finn.custom_op.general"):
        model, standard = (one_node("Quant", constants, name, signed=1, narrow=0) for name in (domain, GENERAL))
        np.testing.assert_array_equal(ours(model, x), ours(standard, x))


WINDOW = {"kernel_shape": [2, 3], "strides": [2, 1], "pads": [1, 0, 0, 1], "dilations": [1, 1]}
CHANNELS_LAST = {
    "Conv": ([(6, 2, 3, 2), (6,)], {**WINDOW, "group": 2}, (4, 2, 3, 6)),
    "MaxPool": ([], {**WINDOW, "ceil_mode": 0}, (4, 2, 3, 4)),
    "BatchNormalization": ([(4,)] * 4, {"epsilon": 1e-3, "momentum": 0.9, "training_mode": 0}, (4, 4, 4, 4)),
}


def channels_last(op: str) -> onnx.ModelProto:
    """Make an operator on four images of 4 x 4 positions and four channels, or six behind the convolution."""
    rng = np.random.default_rng(6)
    shapes, attributes, out = CHANNELS_LAST[op]
    model = one_node(op, [rng.uniform(0.5, 2, s).astype(np.float32) for s in shapes], LAST, version=17, **attributes)
    del model.graph.input[:], model.graph.output[:]
    model.graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 4, 4]))
    model.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *out[1:]]))
    return model


@pytest.mark.parametrize("op", CHANNELS_LAST)
def test_channels_last(op) -> None:
    model, x = channels_last(op), np.random.default_rng(7).normal(0, 2, (4, 4, 4, 4)).astype(np.float32)
    found = ours(model, x)
    assert found.shape == CHANNELS_LAST[op][2]
    np.testing.assert_array_equal(found, theirs(model, x, np.zeros_like(found)))


def test_what_is_refused_of_channels_last() -> None:
    model = channels_last("MaxPool")
    del model.graph.node[0].attribute[:]
    with pytest.raises(InputError, match=r"^n: MaxPool without kernel_shape, which qonnx requires"):
        rewrite(model)
    model = channels_last("BatchNormalization")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.ClearField("shape")
    with pytest.raises(InputError, match=r"^n: the file states no shape of its input"):
        rewrite(model)
    model.graph.node[0].op_type = "AveragePool"
    with pytest.raises(InputError, match=r"allowed in that domain: Conv, MaxPool, BatchNormalization"):
        rewrite(model)


@pytest.mark.parametrize(
    ("op", "attributes", "code"),
    [
        ("Quant", {"rounding_mode": "STOCHASTIC"}, "model-attribute"),
        ("Quant", {"scaling": 1}, "model-attribute"),
        ("FloatQuant", {}, "model-operator"),
        ("MultiThreshold", {"data_layout": "NDHWC"}, "model-attribute"),
    ],
)
def test_what_is_refused(op, attributes, code) -> None:
    with pytest.raises(InputError, match=r"^n: ") as caught:
        rewrite(one_node(op, [np.ones((1, 1)), np.float32(0), np.float32(4)], **attributes))
    assert caught.value.code == code
