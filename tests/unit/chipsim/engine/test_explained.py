"""compare explains what verify explains: float rounding at thresholds that the mapping marks, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from support.against_reference import half_quantized_anew
from support.command_line import call_text
from support.networks import Builder, Recipe, build

import chipsim
from chipsim.datasets import Dataset
from chipsim.errors import MappingError
from chipsim.mapping import Mapping, read_mapping, write_mapping
from chipsim.mapping.program import MARGIN
from chipsim.mapping.write import to_bytes
from qsnnc import compile_model, read_layers, verify
from qsnnc.ir.layers import LayerGraph
from qsnnc.ir.uncertain import Uncertain, UncertainThresholds
from qsnnc.pipeline import compile_layers
from qsnnc.verification import compare as verification

RECIPE = Recipe(8, 3, 1, 3, ("conv", "maxpool", "conv"), 4, seed=5, odd=False)


def images(count: int, *shape: int) -> Dataset:
    rng = np.random.default_rng(1)
    return Dataset("random", "test", rng.integers(0, 256, (count, *shape)).astype(np.uint8), rng.integers(0, 4, count))


def averaged(scale: float, kernel: tuple[int, int], top: int) -> onnx.ModelProto:
    """Averages of levels, which are rounded to levels of the same scale: many sums lie between two of them."""
    net = Builder((1, 8, 8))
    net.conv("stem", np.random.default_rng(0).integers(-20, 21, (3, 1, 3, 3)) / 32.0)
    zero = net.const("zero", np.uint8(0))
    low, high = net.const("low", np.float32(0)), net.const("high", np.float32(top * scale))
    for name in ("q0", "q1"):
        if name == "q1":
            net.node("AveragePool", "pool", kernel_shape=kernel, strides=kernel)
        step = net.const(f"{name}.scale", np.float32(scale))
        net.node("Clip", f"{name}.clip", low, high)
        net.node("QuantizeLinear", f"{name}.up", step, zero)
        net.node("DequantizeLinear", f"{name}.down", step, zero)
    net.shape = (3, 6 // kernel[0], 6 // kernel[1])
    net.flatten()
    net.gemm("head", np.random.default_rng(1).integers(-3, 4, (4, net.shape[0])) / 4.0)
    return net.model()


@pytest.fixture
def ties(save) -> Path:
    return save(averaged(0.013, (6, 6), 15))


@pytest.mark.parametrize(("scale", "kernel", "top"), [(0.013, (6, 6), 15), (0.37, (3, 2), 15), (0.07, (2, 3), 15)])
def test_ties_of_an_average_pool(save, scale, kernel, top) -> None:
    ties, data = save(averaged(scale, kernel, top)), images(200, 8, 8)
    mapping = compile_model(ties).mapping
    found, said = chipsim.compare(mapping, ties, data), verify(ties, data.images, labels=data.labels)
    assert said.passes()
    assert said.explained == found.explained > 0
    assert found.passes
    assert not found.equal
    assert (found.largest, found.largest_in) == (said.largest, said.largest_in)
    agreement = said.agreement
    assert (found.predictions_changed, found.accuracy) == (agreement.changed, (agreement.model, agreement.integer))
    strict = chipsim.compare(mapping, ties, data, strict=True)
    assert not strict.passes
    assert not strict.explained
    assert strict.difference.layer == said.mismatches[0].layer


def test_the_command_exits_as_verify_does(ties: Path, tmp_path: Path) -> None:
    data = images(200, 8, 8)
    np.savez(tmp_path / "data.npz", images=data.images, labels=data.labels)
    file = tmp_path / "ties.map"
    write_mapping(compile_model(ties).mapping, file)
    common = ("chipsim", "compare", file, "--model", ties, "--dataset", tmp_path / "data.npz")
    done = call_text(*common)
    assert done.returncode == 0
    assert done.stdout.startswith("explained: ")
    assert "differ by float rounding at a threshold that qsnnc verify lists" in done.stdout
    assert "accuracy is" in done.stdout
    done = call_text(*common, "--strict")
    assert done.returncode == 1
    assert ": the model has " in done.stdout
    done = call_text("chipsim", "compare", file, "--model", tmp_path / "data.npz", "--dataset", "digits", "--strict")
    assert done.returncode == 2
    assert done.stderr.startswith("error[option-unused]: --strict: has no effect on recorded trains")


def changed(graph: LayerGraph, name: str, **changes: object) -> LayerGraph:
    layers = tuple(replace(layer, **changes) if layer.name == name else layer for layer in graph.layers)
    return replace(graph, layers=layers)


def defect(graph: LayerGraph, name: str, channel: int, by: int, bound: float, about: int) -> LayerGraph:
    """Move a threshold of one channel, and mark all those of a channel as uncertain."""
    layer = graph.population(name)
    thresholds = layer.thresholds.copy()
    thresholds[:, channel, 1] += by
    spans = UncertainThresholds.of(Uncertain(about, 0, level, bound) for level in range(layer.levels))
    return changed(graph, name, thresholds=np.sort(thresholds, axis=2), uncertain=spans)


def agree(monkeypatch: pytest.MonkeyPatch, path: Path, graph: LayerGraph, data: Dataset, *, keep_dead: bool) -> bool:
    """Let verify and compare see another layer graph; both say the same. Return whether it passes."""
    front = verification.front
    monkeypatch.setattr(verification, "front", lambda *args, **more: (front(*args, **more)[0], graph))
    said = verify(path, data.images)
    found = chipsim.compare(compile_layers(graph, keep_dead=keep_dead).mapping, path, data)
    assert not said.equal
    assert found.passes == said.passes()
    if found.passes:
        assert (found.explained, found.largest) == (said.explained, said.largest)
    else:
        assert found.difference.layer in {mismatch.layer for mismatch in said.mismatches if not mismatch.attributed}
    return found.passes


@pytest.mark.parametrize(
    ("by", "bound", "about", "explained"),
    [(1, 0.0, 1, True), (4, 0.0, 1, False), (4, 4.0, 1, True), (1, 9.0, 0, False)],
)
def test_only_potentials_within_the_margin_are_explained(save, monkeypatch, by, bound, about, explained) -> None:
    path = save(build(RECIPE))
    graph = defect(read_layers(path), "conv2", 1, by, bound, about)
    assert agree(monkeypatch, path, graph, images(100, 8, 8), keep_dead=True) == explained


@pytest.mark.parametrize(("by", "bound", "explained"), [(1, 0.0, True), (3, 0.0, False), (3, 3.0, True)])
def test_an_uncertain_decision_that_no_tensor_shows_is_followed(save, monkeypatch, by, bound, explained) -> None:
    path = save(half_quantized_anew().model())
    graph = read_layers(path)
    inner = next(layer for layer in graph.layers if layer.levels and not layer.tensor)
    graph = defect(graph, inner.name, 3, by, bound, 3)
    assert agree(monkeypatch, path, graph, images(100, *graph.input.shape), keep_dead=True) == explained


def test_margins_are_kept_and_checked(ties: Path, tmp_path: Path) -> None:
    mapping = compile_model(ties).mapping
    assert mapping.arrays[MARGIN].any()
    assert mapping.slack > 0
    write_mapping(mapping, tmp_path / "a.map")
    again = read_mapping(tmp_path / "a.map")
    assert again.slack == mapping.slack
    np.testing.assert_array_equal(again.arrays[MARGIN], mapping.arrays[MARGIN])
    readout = np.repeat(mapping.core_layer, np.diff(mapping.neuron_offset)) == mapping.readout
    for neuron, margin in ((0, -1), (int(np.flatnonzero(readout)[0]), 1)):
        arrays = {**mapping.arrays, MARGIN: mapping.arrays[MARGIN].copy()}
        arrays[MARGIN][neuron] = margin
        with pytest.raises(MappingError, match="allowed: 0, or more if it fires"):
            chipsim.run(replace(mapping, arrays=arrays), images(1, 8, 8))
    with pytest.raises(MappingError, match="is certified, and the file has margins"):
        chipsim.run(replace(mapping, exactness="certified"), images(1, 8, 8))
    wrong = {**mapping.arrays, MARGIN: mapping.arrays[MARGIN][:-1]}
    with pytest.raises(MappingError, match="neuron_margin: has shape"):
        chipsim.run(replace(mapping, arrays=wrong), images(1, 8, 8))
    for slack in (-1.0, float("inf"), float("nan")):
        (tmp_path / "b.map").write_bytes(to_bytes(replace(mapping, slack=slack)))
        with pytest.raises(MappingError, match="slack"):
            read_mapping(tmp_path / "b.map")


def test_a_mapping_that_tells_nothing_explains_nothing(ties: Path) -> None:
    mapping = compile_model(ties).mapping
    plain: Mapping = replace(mapping, arrays={k: v for k, v in mapping.arrays.items() if k != MARGIN}, slack=0.0)
    assert b"neuron_margin" not in to_bytes(plain)
    found = chipsim.compare(plain, ties, images(200, 8, 8))
    assert not found.passes


def test_a_decision_that_rounding_can_change_is_not_left_out(save) -> None:
    """The neurons of a channel never fire on the chip; the model's do, within the margin."""
    path, data = save(build(RECIPE)), images(60, 8, 8)
    graph = read_layers(path)
    layer = graph.population("conv2")
    thresholds = layer.thresholds.copy()
    thresholds[:, 1] = layer.reach[:, 1, 1:] + 1
    spans = UncertainThresholds.of([Uncertain(1, 0, 0, 1e6, 3)])
    one, other = (
        changed(graph, "conv2", thresholds=thresholds, uncertain=each) for each in (UncertainThresholds.of(), spans)
    )
    certain, mapping = (compile_layers(each).mapping for each in (one, other))
    removed = [next(entry.removed for entry in each.layers if entry.name == "conv2") for each in (certain, mapping)]
    assert removed[0] - removed[1] == layer.neurons // layer.shape[0]
    found = chipsim.compare(mapping, path, data)
    assert found.passes
    assert found.explained
    assert found.left_out == 0
    said = str(replace(found, left_out=1234))
    assert said == f"{found}; left out: 1,234 neurons, which cannot change the output"
