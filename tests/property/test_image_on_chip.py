"""The image itself enters the chip: every code of the pixels gives the network's own scores."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from support.networks import Builder, Recipe, build
from test_equality import recipes, reference

import chipsim
from chipsim.chip import ChipSpec, load_chip
from chipsim.datasets import Dataset
from chipsim.engine.host import session as host_session
from chipsim.errors import InputError
from chipsim.mapping.pixels import prepare
from qsnnc import ModelError, check, compile_model, verify
from qsnnc.frontend.model.reference import session
from qsnnc.ir.execute import execute
from qsnnc.ir.layers import verify_layers
from qsnnc.lower.codes import codes, digits, encode
from qsnnc.pipeline import read_layers

ROOMY = load_chip("xbar1152").model_copy(update={"grid": (60, 60)})


@settings(max_examples=300)
@given(st.integers(3, 300), st.integers(-128, 0), st.integers(0, 127), st.sampled_from([1, 2, 4, 8]))
def test_every_level_is_a_sum_of_digits(levels: int, low: int, high: int, bits: int) -> None:
    code = digits(levels, low, high, bits)
    if code is None:
        assert low < 0
        assert bits == 1
        return
    assert sum(code.coefficients) == levels
    half = 1 << (len(code.coefficients) - 1)
    for level in range(levels + 1):
        upper = level >= half
        rest = level - upper * code.coefficients[-1]
        assert 0 <= rest < half
    top, bottom = (1, 0) if bits == 1 else ((1 << (bits - 1)) - 1, 1 << (bits - 1))
    for coefficient, senders in zip(code.coefficients, code.senders, strict=True):
        assert high * coefficient <= senders * top
        assert -low * coefficient <= senders * bottom
        assert senders == 1 or high * coefficient > (senders - 1) * top or -low * coefficient > (senders - 1) * bottom


@settings(max_examples=12)
@given(recipes, st.sampled_from(["raw", "unit", "0.3,0.4"]))
def test_every_code_computes_the_same(recipe: Recipe, pixels: str) -> None:
    """The layer graph in each code has the levels of the graph before, and its encoder's bits are the pixels."""
    model = build(recipe)
    onnx.helper.set_model_props(model, {})
    images = np.random.default_rng(recipe.seed).integers(0, 256, (4, recipe.size, recipe.size)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "net.onnx"
        path.write_bytes(model.SerializeToString())
        try:
            graph = read_layers(path, pixels=pixels, encoder="chip")
        except ModelError as error:
            assume(error.code != "constant-activation")
            raise
    given_ = {"image": prepare(images, graph.input, "random")}
    whole = execute(graph, images[:, None])
    (levels,) = host_session(graph.encoder_onnx, "encoder").run(None, given_)
    np.testing.assert_array_equal(levels, images[:, None])
    found = codes(graph, ROOMY)
    assert len(found) >= 2
    for code in found[1:]:
        coded = encode(graph, code)
        verify_layers(coded)
        (bits,) = host_session(coded.encoder_onnx, "encoder").run(None, given_)
        assert set(np.unique(bits)) <= {0, 1}
        part = execute(coded, bits)
        for layer in graph.layers:
            np.testing.assert_array_equal(part[layer.name], whole[layer.name])


@pytest.mark.slow
@settings(max_examples=20)
@given(recipes, st.integers(0, 3), st.booleans())
def test_scores_are_the_networks(recipe: Recipe, which: int, keep: bool) -> None:
    model = build(recipe)
    chip = ROOMY.model_copy(update={"weight_bits": [(1, 2, 4, 8), (2, 8), (4, 8), (8,)][which]})
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "net.onnx"
        path.write_bytes(model.SerializeToString())
        try:
            done, host = (check(path, chip, encoder=where, keep_dead=keep) for where in ("chip", "host"))
        except ModelError as error:
            assume(error.code != "constant-activation")
            raise
    assert done.fits
    assert done.code is not None
    images = np.random.default_rng(recipe.seed).integers(0, 256, (5, recipe.size, recipe.size)).astype(np.uint8)
    data = Dataset("random", "test", images, None)
    result, other = (chipsim.run(one.mapping, data, threads=1) for one in (done, host))
    np.testing.assert_array_equal(result.scores, reference(model, images))
    assert done.graph.certified == host.graph.certified
    if keep:  # dead neurons of the first layer are left out where it is on the chip
        assert result.paper_sops == other.paper_sops  # it leaves the first layer out, wherever that is
        own = {layer.name: (layer.spikes, layer.sops) for layer in result.layers}
        assert all(own[layer.name] == (layer.spikes, layer.sops) for layer in other.layers)
        assert own[host.graph.encoder.name][0] == other.encoder_spikes
    assert result.ticks_per_image == other.ticks_per_image + 1


def quantized_input(levels: int, dtype: type = np.uint8) -> onnx.ModelProto:
    """An image that the network quantizes itself, then a convolution without a quantizer between."""
    net = Builder((2, 5, 5))
    names = [net.const("scale", np.float32(1 / levels)), net.const("zero", dtype(0))]
    net.node("QuantizeLinear", "q", *names)
    if levels < 255:
        net.node("Min", "few", net.const("most", dtype(levels)))
    net.node("DequantizeLinear", "dq", *names)
    rng = np.random.default_rng(levels)
    net.conv("first", rng.integers(-1, 2, (3, 2, 3, 3)) / 2)
    net.quantize("first/quant", 1, 3)
    net.flatten()
    net.gemm("head", rng.integers(-3, 4, (4, 27)) / 4)
    return net.model({"other": "none"})


@pytest.mark.parametrize(("levels", "per_pixel"), [(3, 2), (15, 5), (100, 19), (255, 9)])
def test_a_network_that_quantizes_its_image(save, levels, per_pixel) -> None:
    """Its own levels enter, on any float image; few levels on wide weights are plain bits."""
    model = quantized_input(levels)
    done = compile_model(save(model), encoder="chip")
    assert done.code is not None
    assert done.code.neurons == per_pixel
    assert done.graph.encoder_exact
    images = np.random.default_rng(0).normal(0.5, 0.7, (20, 2, 5, 5)).astype(np.float32)
    result = chipsim.run(done.mapping, Dataset("floats", "test", images, None))
    expected = session(model).run(None, {"image": images})[0]
    np.testing.assert_allclose(result.scores, expected, rtol=1e-5)
    assert verify(save(model), images, encoder="chip").equal


@pytest.mark.slow
def test_floats_that_are_no_pixels_are_refused(save) -> None:
    recipe = Recipe(6, 2, 1, 2, ("conv",), 3, seed=2, odd=False)
    model = build(recipe)
    path = save(model)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 1, 6, 6)).astype(np.float32)
    mapping = compile_model(path, ROOMY, encoder="chip").mapping
    result = chipsim.run(mapping, Dataset("floats", "test", pixels, None))
    np.testing.assert_array_equal(result.scores, session(model).run(None, {"image": pixels})[0])
    for wrong in (0.5, -1.0, 256.0, 1e9, 2.0**31):
        bad = pixels.copy()
        bad[2, 0, 1, 1] = wrong
        with pytest.raises(InputError, match="other than whole numbers") as caught:
            chipsim.run(mapping, Dataset("floats", "test", bad, None))
        assert caught.value.code == "data-not-pixels"
        assert caught.value.exit_code == 3
        chipsim.run(compile_model(path, ROOMY).mapping, Dataset("floats", "test", bad, None))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_inputs_of_whole_numbers(save, dtype) -> None:
    rng = np.random.default_rng(1)
    weights = {
        "w": rng.integers(-3, 4, (3, 1, 3, 3)).astype(np.float32),
        "h": rng.integers(-3, 4, (27, 4)).astype(np.float32),
        "low": np.float32(0),
        "high": np.float32(4),
        "down": np.float32(1 / 64),
        "half": np.float32(0.5),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "half"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "w"], ["sum"], name="first", pads=[1, 1, 0, 0]),
        helper.make_node("Mul", ["sum", "down"], ["small"]),
        helper.make_node("Round", ["small"], ["round"]),
        helper.make_node("Clip", ["round", "low", "high"], ["level"]),
        helper.make_node("Flatten", ["level"], ["flat"]),
        helper.make_node("MatMul", ["flat", "h"], ["scores"], name="head"),
    ]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", kind, ["N", 1, 4, 4])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    images = rng.integers(-128, 256, (6, 1, 4, 4)).astype(dtype)
    path = save(model)
    done = compile_model(path, encoder="chip")
    result = chipsim.run(done.mapping, Dataset("whole", "test", images, None))
    np.testing.assert_array_equal(result.scores, session(model).run(None, {"image": images})[0])
    assert done.graph.certified
    assert verify(path, images, encoder="chip").equal


@pytest.mark.parametrize("encoder", ["host", "chip"])
def test_branches_straight_from_the_image(save, encoder: str) -> None:
    """Two first layers are two readers of the pixels; the host computes both, and their sum."""
    rng = np.random.default_rng(3)
    net = Builder((1, 5, 5))
    operands = []
    for name in ("left", "right"):
        net.here, net.shape = "image", (1, 5, 5)
        net.conv(name, rng.integers(-4, 5, (2, 1, 3, 3)) / 8, pads=[1, 1, 1, 1])
        net.node("Mul", f"{name}/less", net.const(f"{name}.less", np.float32(1 / 64)))
        net.quantize(f"{name}/quant", 1, 3)
        operands.append(net.here)
    net.node("Add", "join", operands[0])
    net.quantize("join/quant", 0, 3)
    net.flatten()
    net.gemm("head", rng.integers(-3, 4, (3, 50)) / 4)
    model = net.model()
    done = compile_model(save(model), encoder=encoder)
    images = rng.integers(0, 256, (6, 5, 5)).astype(np.uint8)
    result = chipsim.run(done.mapping, Dataset("random", "test", images, None))
    np.testing.assert_array_equal(result.scores, reference(model, images))
    assert chipsim.compare(done.mapping, save(model), Dataset("random", "test", images, None)).equal


@pytest.mark.slow
def test_a_pool_of_the_pixels_themselves(save) -> None:
    """It compares level by level, so the pixels are thermometers."""
    net = Builder((1, 6, 6))
    net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[2, 2])
    net.shape = (1, 3, 3)
    net.conv("first", np.ones((1, 1, 2, 2)) / 4)
    net.node("Mul", "less", net.const("less", np.float32(1 / 64)))
    net.quantize("quant", 0, 3)
    net.flatten()
    net.gemm("head", np.arange(8).reshape(2, 4) / 4)
    model = net.model()
    done = compile_model(save(model), ROOMY, encoder="chip")
    assert str(done.code) == "a thermometer code of 255 neurons per pixel"
    images = np.random.default_rng(0).integers(0, 256, (6, 6, 6)).astype(np.uint8)
    result = chipsim.run(done.mapping, Dataset("random", "test", images, None))
    np.testing.assert_array_equal(result.scores, reference(model, images))


def scaled(per_channel: bool, op: str = "Mul") -> onnx.ModelProto:
    net = Builder((2, 4, 4))
    value = np.array([0.5, 0.25 if per_channel else 0.5], np.float32).reshape(1, 2, 1, 1)
    net.node(op, "scale", *([net.const("scale.value", value)] if op == "Mul" else []))
    net.conv("first", np.ones((1, 2, 2, 2)))
    net.node("Mul", "less", net.const("less", np.float32(1 / 64)))
    net.quantize("quant", 0, 3)
    net.flatten()
    net.gemm("head", np.arange(18).reshape(2, 9) / 4)
    return net.model()


def test_pixels_that_are_no_levels_are_refused(save) -> None:
    compile_model(save(scaled(per_channel=False)), encoder="chip")
    for model in (scaled(per_channel=True), scaled(per_channel=False, op="Sigmoid")):
        with pytest.raises(ModelError) as caught:
            compile_model(save(model), encoder="chip")
        assert caught.value.code == "pixels-no-grid"
        assert caught.value.exit_code == 3
        assert "--encoder host" in str(caught.value)
        compile_model(save(model))
    model = scaled(per_channel=False)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    with pytest.raises(ModelError):
        compile_model(save(model), encoder="chip")


def narrow() -> ChipSpec:
    return load_chip("mini").model_copy(update={"grid": (30, 30)})


def test_what_does_not_fit_is_said_of_the_best_code(save) -> None:
    """The threshold and potential of eight-bit pixels are too wide for mini."""
    done = check(save(build(Recipe(6, 2, 1, 2, ("conv",), 3, seed=2, odd=False))), narrow(), encoder="chip")
    assert not done.fits
    assert done.code is not None
    assert {v.layer for v in done.violations} == {"stem"}
    assert {"potential", "threshold"} <= {v.code for v in done.violations}
