"""An edited graph is the activation that was asked for, level by level, and compiles to that many levels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from support.networks import Builder
from support.places import ROOT

from qsnnc.fitting.edit import Narrowed, around_zero, can_drop, edited, narrowed, narrowed_levels
from qsnnc.frontend.model.reference import session
from qsnnc.ir.layers import Population
from qsnnc.reading import front
from qsnnc.verification import verify
from qsnnc.verification.inner import Reference

ZOO = ROOT / "tests" / "zoo"


def network(kind: str) -> onnx.ModelProto:
    """Two activations of sixteen levels: floats from zero, signed ones, half-integer ones, or of an integer type."""
    rng = np.random.default_rng(3)
    net = Builder((1, 6, 6))

    def quantize(name: str) -> None:
        if kind == "float":
            net.quantize(name, 1, 15)
        elif kind == "typed":
            names = net.const(f"{name}.scale", np.float32(0.3)), net.const(f"{name}.zero", np.uint8(0))
            net.node("QuantizeLinear", f"{name}/q", *names)
            net.node("Clip", f"{name}/clip", "", net.const(f"{name}.top", np.uint8(15)))
            net.node("DequantizeLinear", f"{name}/dq", *names)
        else:
            half = np.float32(0.5 if kind == "half" else 0.0)
            net.node("Add", f"{name}/shift", net.const(f"{name}.shift", half))
            net.node("Round", f"{name}/round")
            bounds = [net.const(f"{name}.{end}", np.float32(value)) for end, value in (("low", -7), ("high", 8))]
            net.node("Clip", f"{name}/clip", *bounds)
            net.node("Sub", f"{name}/back", net.const(f"{name}.back", half))

    net.conv("first", rng.integers(-20, 21, (4, 1, 3, 3)) / 256)
    quantize("first")
    net.conv("second", rng.integers(-2, 3, (6, 4, 2, 2)).astype(float))
    quantize("second")
    net.flatten()
    net.gemm("head", rng.integers(-3, 4, (3, 54)) / 2)
    return net.model()


CHANGES = [Narrowed(3), Narrowed(7, 2.0), Narrowed(5, 3.0), Narrowed(4, 3.5), Narrowed(1, 8.0)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float", "typed", "signed", "half"])
def test_a_narrowed_activation_is_what_its_table_says(save, kind) -> None:
    path = save(network(kind))
    proto = onnx.load(path)
    model, graph = front(path)
    entry = graph.layers[0]
    assert entry.levels == 15
    assert around_zero(entry) == (kind != "half")
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 6, 6)).astype(np.float32)

    def levels(source: onnx.ModelProto, of: Population) -> np.ndarray:
        probe = onnx.ModelProto()
        probe.CopyFrom(source)
        probe.graph.output.append(onnx.ValueInfoProto(name=of.tensor))
        value = session(probe).run([of.tensor], {model.input: images})[0]
        return value.astype(np.float64) / of.scale - of.zero_point

    before = np.rint(levels(proto, entry)).astype(int)
    assert len(np.unique(before)) > 8
    for wanted in CHANGES:
        change = narrowed(entry, wanted.levels, wanted.step)
        after = edited(proto, [(entry, change)])
        onnx.checker.check_model(after)
        table = narrowed_levels(entry, change)
        assert np.allclose(levels(after, entry), table[before], atol=1e-4)
        assert len(np.unique(table)) <= change.levels + 1
        found = front(after)[1]
        assert found.layers[0].levels <= change.levels
        assert [layer.name for layer in found.layers] == [layer.name for layer in graph.layers]
        assert verify(after, limit=3).passes(strict=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float", "typed", "signed"])
def test_channels_that_are_left_out_cost_no_neuron(save, kind) -> None:
    from chipsim.chip import load_chip
    from qsnnc.pipeline import compile_layers

    path = save(network(kind))
    _, graph = front(path)
    entry = graph.layers[0]
    assert can_drop(entry)
    after = edited(onnx.load(path), [(entry, narrowed(entry, entry.levels, without=(1, 4)))])
    found = front(after)[1]
    compiled = compile_layers(found, load_chip("xbar1152"))
    whole = compile_layers(graph, load_chip("xbar1152"))
    alive = {layer.layer.name: layer for layer in compiled.layers}
    # levels below zero stay as neurons that always fire, for the readout layer has no thresholds to take their part
    above = 15 if kind != "signed" else 8
    assert whole.layers[0].removed.neurons < 2 * 9 * above <= alive["second"].removed.neurons
    assert alive["head"].fan_in <= alive["second"].neurons
    assert verify(after, limit=3).passes(strict=False)


def test_a_clip_is_what_the_option_does() -> None:
    plain = Population("a", "a", (4, 2, 2), (4, 2, 2), 15, 0.5, 0.0)
    signed = Population("a", "a", (4, 2, 2), (4, 2, 2), 15, 0.5, -7.0)
    assert narrowed(plain, 4).is_clip
    assert not narrowed(plain, 4, 2.0).is_clip
    assert not narrowed(plain, 15, without=(0,)).is_clip
    assert not narrowed(signed, 4).is_clip  # --levels keeps the lowest values, which would be all negative
    assert narrowed_levels(signed, narrowed(signed, 4)).min() == 5  # -2 to 2: levels 5 to 9 of the old ones


@pytest.mark.slow
def test_an_integer_tensor_of_another_domains_operator_keeps_its_type() -> None:
    """Shape inference knows no type behind com.microsoft's QGemm; onnxruntime does."""
    proto = onnx.load(ZOO / "ort_qop_u8u8.onnx")
    model, graph = front(proto)
    entry = next(entry for entry in graph.layers if entry.kind == "dense" and entry.levels)
    after = edited(model.reference, [(entry, narrowed(entry, 15, 17.0))])
    images = np.random.default_rng(0).integers(0, 256, (4, *graph.input.shape)).astype(graph.input.dtype)
    before, now = (
        Reference(replace(model, reference=source), [entry.tensor])(images)[1] for source in (model.reference, after)
    )
    assert before.dtype == now.dtype == np.uint8
    table = narrowed_levels(entry, narrowed(entry, 15, 17.0)) + entry.zero_point
    assert (now == entry.scale * table[np.rint(before / entry.scale - entry.zero_point).astype(int)]).all()
    assert len(np.unique(now)) > 3
