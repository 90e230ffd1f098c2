"""``--weight-bits``: float weights quantized for the chip, only where asked for, and what that does."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from support.against_reference import stem
from support.command_line import qsnnc, refused
from support.networks import Builder

import chipsim
from chipsim.datasets import Dataset
from qsnnc import ModelError, UsageError, compile_model, verify
from qsnnc.frontend.linear.weight_bits import nearest
from qsnnc.frontend.linear.weight_grid import integer_weights
from qsnnc.ir.weights import bits_needed


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def drawn(count: int = 40) -> np.ndarray:
    return np.random.default_rng(9).integers(0, 256, (count, 1, 6, 6)).astype(np.uint8)


@given(st.integers(0, 10**6), st.integers(2, 8), st.integers(1, 5), st.integers(1, 40))
def test_integers_and_scale_lose_less_than_the_plain_choice(seed, bits, channels, size) -> None:
    draw = np.random.default_rng(seed)
    rows = draw.normal(0, 10.0 ** draw.integers(-6, 6), (channels, size)) * draw.choice([0, 1, 1, 30], (channels, 1))
    rows = rows.astype(np.float32).astype(np.float64)
    integers, scales = nearest(rows, bits)
    most = (1 << (bits - 1)) - 1
    assert np.abs(integers).max(initial=0) <= most
    values = integers * scales[:, None]
    assert np.array_equal(values, values.astype(np.float32)), "float32 holds every weight exactly"
    plain = np.abs(rows).max(axis=1, keepdims=True) / most
    usual = np.rint(rows / np.where(plain > 0, plain, 1)) * plain
    loss, theirs = (((rows - other) ** 2).sum(axis=1) for other in (values, usual))
    assert (loss <= theirs + (rows**2).sum(axis=1) * 2.0**-30).all()  # a scale of 16 bits
    again, scale = integer_weights("layer", "node", values.astype(np.float32))  # the compiler finds the grid again
    assert bits_needed(again) <= bits
    assert np.allclose(again * scale[:, None], values, rtol=1e-6, atol=0)


def test_two_bits_are_the_best_ternary_weights() -> None:
    """Against every threshold: with a sorted row, the best ternary weights keep its largest ones."""
    rows = np.random.default_rng(4).normal(size=(20, 30))
    integers, scales = nearest(rows, 2)
    loss = ((rows - integers * scales[:, None]) ** 2).sum(axis=1)
    size = np.sort(np.abs(rows), axis=1)[:, ::-1]
    kept = np.cumsum(size, axis=1) ** 2 / np.arange(1, 31)
    best = (rows**2).sum(axis=1) - kept.max(axis=1)
    assert (loss <= best * 1.02).all()


def conv(net: Builder) -> None:
    net.conv("middle", rng().normal(size=(4, 3, 3, 3)))


def depthwise(net: Builder) -> None:
    net.conv("middle", rng().normal(size=(3, 1, 3, 3)), group=3)


def transposed(net: Builder) -> None:
    weights = net.const("middle.weight", rng().normal(size=(3, 4, 2, 2)).astype(np.float32))
    net.node("ConvTranspose", "middle", weights, strides=[2, 2])
    net.shape = (4, 12, 12)


def gemm(net: Builder) -> None:
    net.flatten()
    net.gemm("middle", rng().normal(size=(7, 108)))


def gemm_of_columns(net: Builder) -> None:
    net.flatten()
    net.node("Gemm", "middle", net.const("middle.weight", rng().normal(size=(108, 7)).astype(np.float32)))
    net.shape = (7,)


def matmul(net: Builder) -> None:
    net.node("MatMul", "middle", net.const("middle.weight", rng().normal(size=(6, 5)).astype(np.float32)))
    net.shape = (3, 6, 5)


def computed(net: Builder) -> None:
    """Weights that the graph itself scales."""
    data, net.here = net.here, net.const("middle.raw", rng().normal(size=(4, 3, 3, 3)).astype(np.float32))
    net.node("Mul", "scaling", net.const("middle.by", np.float32(0.3)))
    weights, net.here = net.here, data
    net.node("Conv", "middle", weights)
    net.shape = (4, 4, 4)


def network(middle=conv, classifier: np.ndarray | None = None) -> onnx.ModelProto:
    """A layer of float weights between two quantizers, and a classifier, of float weights as well."""
    net = stem(levels=3)
    middle(net)
    net.quantize("middle/quant", 1, 3)
    net.flatten()
    net.gemm("fc", rng().normal(size=(5, net.shape[0])) if classifier is None else classifier(net.shape[0]))
    return net.model()


@pytest.mark.slow
@pytest.mark.parametrize("middle", [conv, depthwise, transposed, gemm, gemm_of_columns, matmul, computed])
def test_every_linear_operator_is_quantized_and_equal(middle) -> None:
    model = network(middle)
    with pytest.raises(ModelError, match=r"middle: the weights of channel 0 .* --weight-bits 8"):
        compile_model(model)
    for bits in (2, 5, 8):
        done = compile_model(model, weight_bits=bits)
        assert [(change.layer, change.bits) for change in done.graph.weights_changed] == [("middle", bits), ("fc", bits)]
        assert done.graph.readout == "chip"
        assert all(bits_needed(link.weights) <= bits for layer in done.graph.layers for link in layer.connections)
        found = verify(model, drawn(), weight_bits=bits)
        assert found.passes(), found.mismatches
        assert set(found.weights.alone) == {"middle", "fc"}


@pytest.mark.slow
def test_the_chip_computes_the_file_with_those_weights() -> None:
    """The same network as a file that somebody else has quantized gives the same mapping but for its name."""
    model = network()
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, bits in (("middle.weight", 4), ("fc.weight", 6)):
        before = numpy_helper.to_array(weights[name])
        integers, scales = nearest(before.reshape(len(before), -1).astype(np.float64), bits)
        after = (integers * scales[:, None]).astype(np.float32).reshape(before.shape)
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        weights[name].CopyFrom(numpy_helper.from_array(after, name))
    theirs, ours = compile_model(model), compile_model(network(), weight_bits={"middle": 4, "fc": 6})
    mine, other = (chipsim.run(done.mapping, Dataset("drawn", "test", drawn())) for done in (ours, theirs))
    assert np.array_equal(mine.scores, other.scores)
    assert (mine.spikes, mine.sops) == (other.spikes, other.sops)


@pytest.mark.slow
def test_only_what_was_asked_for_is_quantized() -> None:
    exact = lambda size: np.resize(np.arange(-7, 8), (5, size)) / 8  # noqa: E731
    model = network(classifier=exact)
    done = compile_model(model, weight_bits=4)
    assert [change.layer for change in done.graph.weights_changed] == ["middle"]  # 4 bits hold the classifier as it is
    done = compile_model(model, weight_bits={"middle": 8, "fc": 3})
    assert [(change.layer, change.bits) for change in done.graph.weights_changed] == [("middle", 8), ("fc", 3)]
    done = compile_model(network(), weight_bits={"middle": 8})
    assert [change.layer for change in done.graph.weights_changed] == ["middle"]
    assert done.graph.readout == "host"  # its float weights are still no grid's
    with pytest.raises(UsageError, match="stem: the host computes it") as caught:  # the host's: as the file has it
        compile_model(model, weight_bits={"stem": 4, "middle": 4})
    assert caught.value.code == "layer-unknown"


@pytest.mark.parametrize(
    ("given", "code"), [("9", "option-value"), ("1", "option-value"), ("fc=", "option-value"),
                        ("=4", "option-value"), ("much", "option-value"), ("9" * 5000, "option-value"),
                        ("nothing=4", "layer-unknown")],
)  # fmt: skip
def test_other_widths_and_names_are_usage_errors(tmp_path, save, given, code) -> None:
    refused(qsnnc("check", save(network()), "--weight-bits", given, cwd=tmp_path), 2, "--weight-bits: ")
    if code == "option-value" and given in "91":
        with pytest.raises(UsageError) as caught:
            verify(network(), weight_bits=int(given))
        assert caught.value.code == code


@pytest.mark.parametrize("given", [("4", "5"), ("fc=4", "8", "fc=5")])
def test_bits_that_are_given_twice_are_a_usage_error(tmp_path, save, given) -> None:
    options = [part for text in given for part in ("--weight-bits", text)]
    line = refused(qsnnc("check", save(network()), *options, cwd=tmp_path), 2, "--weight-bits: ")
    assert line.endswith(" twice; give it once")


@pytest.mark.slow
def test_what_it_does_is_reported_against_the_file(tmp_path, save) -> None:
    path = save(network())
    images = drawn(60)
    np.savez(tmp_path / "data.npz", images=images, labels=np.arange(60) % 5)
    options = ("--weight-bits", 3, "--weight-bits", "fc=2")
    done = qsnnc("verify", path, "--dataset", "data.npz", *options, "--json", "v.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "v.json").read_text())["weight_bits"]
    assert {name: layer["bits"] for name, layer in said["layers"].items()} == {"middle": 3, "fc": 2}

    def run(model: onnx.ModelProto) -> np.ndarray:
        from qsnnc.frontend.model.reference import session

        return session(model).run(None, {"image": images.astype(np.float32)})[0]

    def with_bits(**bits: int) -> onnx.ModelProto:
        model = network()
        for tensor in model.graph.initializer:
            width = bits.get(tensor.name.removesuffix(".weight"))
            if width:
                before = numpy_helper.to_array(tensor)
                integers, scales = nearest(before.reshape(len(before), -1).astype(np.float64), width)
                after = (integers * scales[:, None]).astype(np.float32).reshape(before.shape)
                tensor.CopyFrom(numpy_helper.from_array(after, tensor.name))
        return model

    file = run(network())
    for row, bits in (
        (said["layers"]["middle"], {"middle": 3}),
        (said["layers"]["fc"], {"fc": 2}),
        (said, {"middle": 3, "fc": 2}),
    ):
        scores = run(with_bits(**bits))
        assert row["predictions_changed"] == (scores.argmax(1) != file.argmax(1)).sum()
        assert row["largest"] == pytest.approx(np.abs(scores.astype(float) - file).max())
        assert row["accuracy"] == (scores.argmax(1) == np.arange(60) % 5).mean()
    assert said["accuracy_of_file"] == (file.argmax(1) == np.arange(60) % 5).mean()
    assert "weights of middle alone, 3 bits: " in done.stdout
    assert f"instead of {100 * said['accuracy_of_file']:.2f} %" in done.stdout
    done = qsnnc("compile", path, *options, "-o", "net.map", "--json", "c.json", cwd=tmp_path)
    assert "weights of fc: 2 bits; " in done.stdout
    changed = json.loads((tmp_path / "c.json").read_text())["weight_bits_changed"]
    assert changed["middle"]["bits"] == 3
    assert 0 < changed["middle"]["changed"] <= changed["middle"]["weights"] == 4 * 3 * 9
