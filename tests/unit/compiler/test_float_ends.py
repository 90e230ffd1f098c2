"""Float layers at the ends of a network: the host computes them as the file says, from the levels that the chip hands out."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper
from support.against_reference import stem, ternary
from support.command_line import qsnnc, refused
from support.float_ends import MLPS, counted, float_lenet, mlp, with_levels
from support.networks import Builder
from support.places import ROOT

import chipsim
from chipsim.datasets import Dataset
from qsnnc import ModelError, UsageError, check, compile_model, read_layers, verify


def scores_of(model: onnx.ModelProto, images: np.ndarray, batch: int) -> np.ndarray:
    """onnxruntime's own scores, optimisation off, so many images at a time."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    run = ort.InferenceSession(model.SerializeToString(), options).run
    return np.concatenate([run(None, {"image": images[i : i + batch]})[0] for i in range(0, len(images), batch)])


def drawn(shape: tuple[int, ...], count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)


def data(images: np.ndarray) -> Dataset:
    return Dataset("drawn", "test", images, None)


def classified(net: Builder, weights: np.ndarray, bias: np.ndarray | None = None) -> onnx.ModelProto:
    net.flatten()
    net.gemm("fc", weights, bias)
    return net.model()


def features(*, levels: int = 3) -> Builder:
    net = stem(levels=levels)
    net.conv("conv", ternary(np.random.default_rng(3), 4, 3, 3, 3))
    net.quantize("quant", 1, levels)
    return net


@pytest.mark.slow
@pytest.mark.parametrize("form", ["chain", "qdq"])
def test_a_lenet_with_a_float_classifier_is_equal_in_every_figure(form) -> None:
    """Scores bit for bit in every batch size in which the file gives the same, and counts that follow from the file alone."""
    model = float_lenet(np.random.default_rng(3), form)
    images = drawn((1, 28, 28), 48)
    units = images.astype(np.float32) / np.float32(255)
    done = compile_model(model, keep_dead=True)
    assert (done.graph.readout, done.mapping.layers[-1].kind) == ("host", "features")
    expected = scores_of(model, units, 48)
    count = counted(model, with_levels(model).run(None, {"image": units})[1:])
    for engine, batch in (("reference", 48), ("fast", 48), ("reference", 7), ("fast", 1)):
        run = chipsim.run(done.mapping, data(images), engine=engine, batch=batch)
        assert np.array_equal(run.scores, scores_of(model, units, batch)), (engine, batch)
        assert np.array_equal(run.predictions, expected.argmax(axis=1))
        assert (run.encoder_spikes, run.spikes, run.sops) == (count["encoder"], count["spikes"], count["sops"])
        assert run.output_packets == count["output"]
        assert run.to_json()["readout"] == "host"
        assert run.layers[-1].sops == 0
    left = chipsim.run(compile_model(model).mapping, data(images))
    assert np.array_equal(left.scores, expected)  # neurons that never change are left out
    assert left.sops <= count["sops"]
    assert verify(model, images).equal


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name == "jets" else name for name in MLPS])
def test_the_mlps_that_qonnx_files_hold(tmp_path, save, name) -> None:
    path = save(mlp(np.random.default_rng(7), **MLPS[name]))
    done = compile_model(path)
    wide = MLPS[name]["in_bits"] == 8
    # an image quantizer of 8 bits would take 255 axons for each input: the host computes the first layer too
    assert done.graph.encoder.name == ("fc0" if wide or MLPS[name]["in_bits"] is None else "image")
    assert max(layer.fan_in for layer in done.mapping.layers) <= 256 * 63
    assert verify(path, limit=30).equal
    images = drawn((MLPS[name]["inputs"],), 40)
    compared = chipsim.compare(done.mapping, path, data(images))
    assert compared.equal
    assert compared.largest_score_error == 0


@pytest.mark.slow
def test_who_computes_the_last_layer_is_a_choice() -> None:
    rng = np.random.default_rng(0)
    whole = classified(features(), rng.integers(-7, 8, (5, 64)) / 8)
    images = drawn((1, 6, 6), 30)
    runs = {}
    for place in ("auto", "chip", "host"):
        done = compile_model(whole, readout=place)
        assert done.graph.readout == ("host" if place == "host" else "chip")
        runs[place] = chipsim.run(done.mapping, data(images))
        assert verify(whole, images, readout=place).equal
    assert np.array_equal(runs["chip"].scores, runs["host"].scores)
    assert runs["auto"].sops == runs["chip"].sops > runs["host"].sops
    assert runs["chip"].output_packets == 0 < runs["host"].output_packets
    loose = classified(features(), rng.normal(size=(5, 64)))
    assert compile_model(loose).graph.readout == "host"
    with pytest.raises(ModelError, match=r"--weight-bits 8, or leave the layer to the host with --readout host"):
        compile_model(loose, readout="chip")


@pytest.mark.parametrize(("values", "on_grid"), [(256, True), (511, False)])
def test_weights_of_more_than_8_bits_are_the_hosts(values, on_grid) -> None:
    weights = np.resize(np.arange(values) - values // 2, (8, 64)) / 256
    assert compile_model(classified(features(), weights)).graph.readout == ("chip" if on_grid else "host")


def pooled(net: Builder) -> None:
    net.node("GlobalAveragePool", "pool")
    net.shape = (net.shape[0], 1, 1)
    net.flatten()
    net.gemm("fc", np.random.default_rng(0).normal(size=(5, 4)), np.random.default_rng(1).normal(size=5))


def convolved(net: Builder) -> None:
    net.conv("fc", np.random.default_rng(0).normal(size=(5, 4, 1, 1)))
    net.node("GlobalAveragePool", "pool")
    net.shape = (5, 1, 1)
    net.flatten()


def scaled(net: Builder) -> None:
    """Floats that no scale and offset give to the bit, so that each is looked up by its level."""
    net.node("Mul", "third", net.const("third.by", np.float32(1 / 3)))
    net.node("Add", "shift", net.const("shift.by", np.float32(0.1)))
    net.node("Exp", "exp")
    net.flatten()
    net.gemm("fc", np.random.default_rng(0).normal(size=(5, 64)))


def padded(net: Builder) -> None:
    """Constants among the levels."""
    net.node("Pad", "pad", net.const("pads", np.array([0, 0, 1, 0, 0, 0, 0, 2])), net.const("fill", np.float32(0.3)))
    net.shape = (4, 5, 6)
    net.flatten()
    net.gemm("fc", np.random.default_rng(0).normal(size=(5, 120)))


def two_heads(net: Builder) -> None:
    """Two linear layers of the same features, one of them float: the host computes both."""
    net.flatten()
    before = net.here
    rng = np.random.default_rng(0)
    net.gemm("value", rng.normal(size=(5, 64)))
    value, net.here = net.here, before
    net.gemm("advantage", rng.integers(-3, 4, (5, 64)) / 8)
    net.node("Add", "sum", value)
    net.shape = (5,)


def two_places(net: Builder) -> None:
    """The classifier reads two activations of different scale."""
    first = net.here
    net.conv("more", ternary(np.random.default_rng(5), 2, 4, 3, 3))
    net.quantize("more/quant", 3, 3)
    net.flatten()
    net.nodes.append(helper.make_node("Flatten", [first], ["flat"], name="flat"))
    net.node("Concat", "concat", "flat", axis=1)
    net.shape = (8 + 64,)
    net.gemm("fc", np.random.default_rng(0).normal(size=(5, 72)))


def sums(net: Builder) -> None:
    """The classifier reads a residual sum that nothing quantizes."""
    first = net.here
    net.conv("more", ternary(np.random.default_rng(5), 4, 4, 1, 1))
    net.quantize("more/quant", 1, 3)
    net.node("Add", "sum", first)
    net.flatten()
    net.gemm("fc", np.random.default_rng(0).normal(size=(5, 64)))


@pytest.mark.parametrize("end", [pooled, convolved, scaled, padded, two_heads, two_places, sums])
@pytest.mark.parametrize("chip", ["xbar1152", pytest.param("paicore25", marks=pytest.mark.slow)])
def test_the_host_computes_whatever_follows_the_last_levels(end, chip, save) -> None:
    net = features()
    end(net)
    path = save(net.model())
    images = drawn((1, 6, 6), 40)
    done = compile_model(path, chip)
    assert done.graph.readout == "host"
    run = chipsim.run(done.mapping, data(images))
    assert np.array_equal(run.scores, scores_of(net.model(), images.astype(np.float32), 40))
    assert (run.readout, run.output_packets > 0) == ("host", True)
    assert not done.graph.certified  # float sums of the host depend on their order
    assert verify(path, images).equal


def test_levels_that_are_the_output_are_no_synaptic_operations() -> None:
    net = features()
    done = compile_model(net.model())
    assert (done.graph.readout, done.mapping.layers[-1].kind) == ("chip", "output")
    run = chipsim.run(done.mapping, data(drawn((1, 6, 6), 20)))
    assert [layer.sops > 0 for layer in run.layers] == [True, False]
    assert run.output_packets == run.layers[0].spikes


@pytest.mark.slow
def test_the_hosts_part_ends_at_a_layer_by_name(tmp_path, save) -> None:
    net = features(levels=20)
    net.conv("last", ternary(np.random.default_rng(3), 4, 4, 3, 3))
    net.quantize("last/quant", 1, 3)
    path = save(classified(net, ternary(np.random.default_rng(0), 5, 16)), "net.onnx")
    names = {"host": "stem", "stem": "stem", "conv": "conv", "quant/level": "conv", "conv_out": "conv", "last": "last"}
    for given, ends in names.items():
        done = compile_model(path, encoder=given)
        assert done.graph.encoder.name == ends, given
        assert verify(path, limit=20, encoder=given).equal
    line = refused(qsnnc("check", path, "--encoder", "fc", cwd=tmp_path), 2, "--encoder: unknown layer 'fc'")
    assert line.endswith("host, chip, or a layer that another one follows: stem, conv, last")
    done = qsnnc("compile", path, "--encoder", "conv", "-o", "net.map", "--json", "c.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "c.json").read_text())
    assert (said["encoder"], said["readout"], said["weight_bits_changed"]) == ("conv", "chip", {})


def quantized_image(bits: int, first: np.ndarray) -> Builder:
    """A network with a quantizer of its own on the image."""
    net = Builder((1, 6, 6))
    net.quantize("image/quant", 0, (1 << bits) - 1)
    net.conv("first", first)
    net.node("Mul", "small", net.const("small.by", np.float32(1 / 256)))
    net.quantize("first/quant", 1, 3)
    net.conv("second", ternary(np.random.default_rng(3), 4, 3, 3, 3))
    net.quantize("second/quant", 1, 3)
    return net


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "ends"), [(4, "image"), (5, "first"), (8, "first")])
def test_a_wide_image_is_encoded_directly(bits, ends) -> None:
    net = quantized_image(bits, ternary(np.random.default_rng(1), 3, 1, 3, 3))
    model = classified(net, ternary(np.random.default_rng(0), 5, 16))
    assert compile_model(model).graph.encoder.name == ends
    assert verify(model, limit=20).equal
    assert compile_model(model).graph.direct_encoding == (ends == "first")
    assert not compile_model(model, encoder="first").graph.direct_encoding
    assert compile_model(model, encoder="image/quant/level").graph.encoder.name == "image"


@pytest.mark.slow
def test_a_first_layer_of_float_weights_is_the_hosts_even_where_the_image_is_narrow() -> None:
    net = quantized_image(4, np.random.default_rng(1).normal(size=(3, 1, 3, 3)))
    model = classified(net, ternary(np.random.default_rng(0), 5, 16))
    assert compile_model(model).graph.encoder.name == "first"
    assert verify(model, limit=20).passes()
    with pytest.raises(ModelError, match="first: the weights of channel 0"):
        compile_model(model, encoder="image/quant/level")


@pytest.mark.slow
def test_what_the_host_computes_is_said_in_a_line_each(tmp_path, save) -> None:
    net = quantized_image(8, ternary(np.random.default_rng(1), 3, 1, 3, 3))
    path = save(classified(net, np.random.default_rng(0).normal(size=(5, 16))))
    done = qsnnc("check", path, cwd=tmp_path)
    said = " ".join(done.stdout.split())
    assert "readout: the host computes fc, as the file says, from the levels of second " in said
    assert "encoder: the host computes first too and hands over its activation (direct encoding) " in said
    done = qsnnc("compile", path, "-o", "net.map", "--json", "c.json", cwd=tmp_path)
    said = json.loads((tmp_path / "c.json").read_text())
    assert (said["encoder"], said["readout"]) == ("first", "host")


def test_places_that_do_not_exist_are_refused() -> None:
    model = classified(features(), ternary(np.random.default_rng(0), 5, 64))
    for options in ({"encoder": "nowhere"}, {"encoder": ""}, {"readout": "nowhere"}):
        with pytest.raises(UsageError):
            check(model, **options)


@pytest.mark.parametrize(
    ("inputs", "place", "code"), [(64, "host", None), (600, "host", "host-integers"), (600, "auto", None)]
)
def test_integer_sums_that_floats_do_not_hold_stay_on_the_chip(inputs, place, code) -> None:
    """The host computes a decomposed integer operator in float32; the file adds up integers of any size."""
    net = Builder((inputs,))
    step, zero = net.const("step", np.float32(1.0)), net.const("zero", np.uint8(0))
    net.node("QuantizeLinear", "q", step, zero)
    weights = net.const("fc.weight", np.random.default_rng(0).choice([-127, 127], (inputs, 4)).astype(np.int8))
    scales = [net.const("fc.scale", np.float32(1.0)), net.const("fc.zero", np.int8(0))]
    net.node("MatMulInteger", "fc", weights, zero, scales[1])
    net.node("Cast", "cast", to=onnx.TensorProto.FLOAT)
    net.shape = (4,)
    model = net.model()
    if code is not None:
        with pytest.raises(ModelError) as caught:
            check(model, readout=place)
        assert (caught.value.code, caught.value.subject) == (code, "fc")
        return
    assert verify(model, drawn((inputs,), 20), readout=place).equal
    assert check(model, readout=place).graph.readout == ("host" if place == "host" else "chip")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["opt_ort_all", "ort_qop_u8s8"])
def test_the_host_hands_over_any_layer_of_integer_operators(name) -> None:
    """Their decomposed forms have tensors that the file does not have."""
    path = next((ROOT / "tests").rglob(f"{name}.onnx"))
    graph = read_layers(path)
    layers = [layer.name for layer in graph.layers if layer.kind in ("convolution", "dense")]
    for layer in layers[:2]:
        found = verify(path, limit=8, encoder=layer)
        assert found.passes(), found.mismatches
