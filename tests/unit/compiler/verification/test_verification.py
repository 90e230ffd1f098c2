"""verify: a defect is found where it arises and can be run again alone; only rounding explains a difference."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from support.against_reference import half_quantized_anew, stem
from support.command_line import qsnnc
from support.networks import Builder, Recipe, build

from qsnnc.frontend.model.reference import session
from qsnnc.ir.execute import run as execute
from qsnnc.ir.layers import LayerGraph
from qsnnc.ir.uncertain import Uncertain, UncertainThresholds
from qsnnc.pipeline import check
from qsnnc.reading import front
from qsnnc.verification import compare, explain, result, verify

RECIPE = Recipe(8, 3, 1, 3, ("conv", "maxpool", "conv"), 4, seed=5, odd=False)


@pytest.fixture
def path(save) -> Path:
    return save(build(RECIPE), "net.onnx")


def with_layer(graph: LayerGraph, name: str, **changes: object) -> LayerGraph:
    layers = tuple(replace(layer, **changes) if layer.name == name else layer for layer in graph.layers)
    return replace(graph, layers=layers)


def shifted(graph: LayerGraph, name: str, channel: int, level: int, by: int) -> LayerGraph:
    """A defect: one threshold of one channel is wrong."""
    layer = graph.population(name)
    thresholds = layer.thresholds.copy()
    thresholds[:, channel, level] += by
    return with_layer(graph, name, thresholds=np.sort(thresholds, axis=2))


@pytest.fixture
def inject(monkeypatch):
    """Let verify see another layer graph."""

    def use(change) -> None:
        def other(*arguments: object, **options: object):
            model, graph = front(*arguments, **options)
            return model, change(graph)

        monkeypatch.setattr(compare, "front", other)

    return use


def run(path: Path) -> tuple[onnx.ModelProto, np.ndarray, dict[str, np.ndarray]]:
    """Run a reproduction by what lies in its two files alone."""
    data = dict(np.load(f"{path}.npz"))
    model = onnx.load(f"{path}.onnx")
    feeds = {value.name: data[value.name] for value in model.graph.input}
    (value,) = session(model).run(None, feeds)
    return model, value, data


@pytest.mark.slow
@pytest.mark.parametrize(("layer", "channel"), [("conv0", 1), ("conv2", 1)])
def test_a_defect_is_named_and_reproduced(path, tmp_path, inject, layer, channel) -> None:
    inject(lambda graph: shifted(graph, layer, channel, 1, 2))
    found = verify(path, limit=40, repro=tmp_path / "out")
    assert not found.equal
    (mismatch,) = found.mismatches
    assert (mismatch.layer, mismatch.channel, mismatch.attributed) == (layer, channel, False)
    model, value, data = run(tmp_path / "out" / "net.repro")
    assert np.array_equal(value, data["qsnnc.expected"])
    assert found.reproduction.same
    flat = [data[f"qsnnc.{side}"].reshape(-1)[mismatch.element] for side in ("expected", "found")]
    step = front(path)[1].population(layer).scale
    assert flat == [mismatch.expected * step, mismatch.found * step]
    # nothing but what stands between the last equal activation and the first different one
    operators = [node.op_type for node in model.graph.node]
    assert operators == ["Conv", "BatchNormalization", "Mul", "Round", "Clip", "Mul"]
    assert len(model.graph.input) == 1
    assert {tensor.name for tensor in model.graph.initializer} <= {n for node in model.graph.node for n in node.input}


def test_a_wrong_weight_of_the_last_layer_is_reproduced_from_its_input(path, tmp_path, inject) -> None:
    def change(graph: LayerGraph) -> LayerGraph:
        head = graph.layers[-1]
        weights = head.connections[0].weights.copy()
        weights[2, 0, 0, 0] += 1
        return with_layer(graph, head.name, connections=(replace(head.connections[0], weights=weights),))

    inject(change)
    found = verify(path, limit=40, repro=tmp_path)
    (mismatch,) = found.mismatches
    assert mismatch.channel == 2
    model, value, data = run(tmp_path / "net.repro")
    assert np.array_equal(value, data["qsnnc.expected"])
    assert [node.op_type for node in model.graph.node] == ["Flatten", "Gemm"]


def test_the_first_layer_in_order_comes_first(path, inject) -> None:
    inject(lambda graph: shifted(shifted(graph, "conv2", 0, 1, 2), "conv0", 0, 1, 2))
    assert [mismatch.layer for mismatch in verify(path, limit=60).mismatches] == ["conv0", "conv2"]


@pytest.mark.parametrize(
    ("by", "bound", "explained"),
    [(1, 0.0, True), (4, 0.0, False), (4, 4.0, True)],
)
def test_only_potentials_inside_the_bound_are_explained(path, inject, by, bound, explained) -> None:
    """A span about a threshold does not excuse a potential that is far from it."""

    def change(graph: LayerGraph) -> LayerGraph:
        moved = shifted(graph, "conv2", 1, 2, by)
        uncertain = UncertainThresholds.of(Uncertain(1, 0, level, bound) for level in range(3))
        return with_layer(moved, "conv2", uncertain=uncertain)

    inject(change)
    found = verify(path, limit=100)
    assert not found.equal  # a difference is a difference
    (mismatch,) = found.mismatches
    assert mismatch.attributed == found.passes() == explained
    assert not found.passes(strict=True)
    assert found.differences >= mismatch.differences > 0
    assert found.explained + found.unexplained == found.differences
    assert found.largest_in == "conv2"


def test_a_doubt_about_another_channel_explains_nothing(path, inject) -> None:
    inject(
        lambda graph: with_layer(
            shifted(graph, "conv2", 1, 1, 1),
            "conv2",
            uncertain=UncertainThresholds.of(Uncertain(0, 0, level, 9.0) for level in range(3)),
        )
    )
    (mismatch,) = verify(path, limit=100).mismatches
    assert not mismatch.attributed


@pytest.mark.slow
def test_a_difference_below_a_pool_is_explained_by_what_the_pool_reads(save, inject) -> None:
    """Where the pool stands before the quantizer, the graph has only the pool's levels."""
    path = save(build(Recipe(8, 3, 1, 3, ("latepool",), 4, seed=5, odd=False)))
    graph = front(path)[1]
    inner = next(layer for layer in graph.layers if not layer.tensor and layer.levels)

    def moved(graph: LayerGraph, by: int, bound: float) -> LayerGraph:
        uncertain = UncertainThresholds.of(Uncertain(1, 0, level, bound) for level in range(3))
        return with_layer(shifted(graph, inner.name, 1, 1, by), inner.name, uncertain=uncertain)

    for by, bound, explained in ((1, 0.0, True), (4, 0.0, False)):
        inject(lambda graph, by=by, bound=bound: moved(graph, by, bound))
        (mismatch,) = verify(path, limit=100).mismatches
        assert mismatch.attributed == explained


def shifted_inside(path: Path, by: int, bound: float) -> Callable[[LayerGraph], LayerGraph]:
    """Move a threshold of the layer that no tensor shows, all of whose thresholds are uncertain within a bound."""
    inner = next(layer for layer in front(path)[1].layers if layer.levels and not layer.tensor)
    uncertain = UncertainThresholds.of(Uncertain(3, 0, level, bound) for level in range(inner.levels))
    return lambda graph: with_layer(shifted(graph, inner.name, 3, 1, by), inner.name, uncertain=uncertain)


@pytest.mark.slow
@pytest.mark.parametrize(("by", "bound", "explained"), [(1, 0.0, True), (3, 0.0, False), (3, 3.0, True)])
def test_an_open_decision_that_no_tensor_shows_is_followed_to_what_reads_it(save, inject, by, bound, explained) -> None:
    path = save(half_quantized_anew().model())
    inject(shifted_inside(path, by, bound))
    found = verify(path, limit=100)
    assert found.mismatches
    assert found.passes() == explained


@pytest.mark.slow
@pytest.mark.parametrize(("by", "bound"), [(1, 0.0), (2, 1.0), (3, 0.0), (3, 3.0)])
def test_images_are_explained_together_as_each_alone(save, inject, monkeypatch, by, bound) -> None:
    path = save(half_quantized_anew().model())
    inject(shifted_inside(path, by, bound))
    together = verify(path, limit=100).to_json()
    assert together["differences"] > together["samples"] / 10
    monkeypatch.setattr(explain, "MOST_POTENTIALS", 1)
    assert verify(path, limit=100).to_json() == together


def test_the_json_lists_some_thresholds_and_counts_all(path, inject, monkeypatch) -> None:
    uncertain = UncertainThresholds.of(Uncertain(channel, 0, level, 0.5, 2) for channel in (0, 1) for level in (0, 1))
    inject(lambda graph: with_layer(graph, "conv2", uncertain=uncertain))
    monkeypatch.setattr(result, "MOST_SPANS", 3)
    said = verify(path, limit=5).to_json()
    assert said["uncertain_thresholds"] == {"conv2": uncertain.to_json()[:3]}
    assert said["uncertain_totals"] == {"conv2": {"thresholds": 8, "spans": 4, "channels": 2, "largest_bound": 0.5}}


def test_nothing_is_written_where_nothing_differs(path, tmp_path) -> None:
    found = verify(path, limit=20, repro=tmp_path / "out")
    assert found.equal
    assert found.reproduction is None
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_writes_the_reproduction_and_says_where(path, tmp_path, inject) -> None:
    inject(lambda graph: shifted(graph, "conv2", 1, 1, 2))
    run = ("verify", path, "--limit", 40)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    done = qsnnc(*run, cwd=folder)
    assert done.returncode == 1
    assert "conv2: image" in done.stderr
    assert "--repro DIR" in done.stderr
    assert not list(folder.iterdir()), "nothing is written unasked"
    done = qsnnc(*run, "--json", "v.json", "--repro", ".", cwd=folder)
    assert "net.repro.onnx" in done.stderr
    assert sorted(file.name for file in folder.iterdir()) == ["net.repro.npz", "net.repro.onnx", "v.json"]
    said = json.loads((folder / "v.json").read_text())
    assert said["mismatches"][0]["channel"] == 1
    assert said["reproduction"]["model"] == "net.repro.onnx"
    assert said["reproduction"]["same"]
    qsnnc(*run, "--repro", "deep/down", "-q", cwd=folder)
    assert (folder / "deep" / "down" / "net.repro.npz").exists()


def test_a_difference_is_told_where_no_reproduction_can_be_written(path, tmp_path, inject) -> None:
    inject(lambda graph: shifted(graph, "conv2", 1, 1, 2))
    (tmp_path / "file").write_text("in the way")
    found = verify(path, limit=40, repro=tmp_path / "file")
    assert not found.equal
    assert found.reproduction is None
    assert "cannot write the reproduction" in found.unwritten


def test_a_tensor_of_any_name_can_be_written(save, tmp_path, inject) -> None:
    model = build(RECIPE)
    rename = {name: f"file/{name} é" for node in model.graph.node for name in (*node.input, *node.output)}
    rename["image"] = "file"
    for node in model.graph.node:
        node.input[:] = [rename.get(name, name) for name in node.input]
        node.output[:] = [rename.get(name, name) for name in node.output]
    for value in (*model.graph.initializer, *model.graph.input, *model.graph.output):
        value.name = rename.get(value.name, value.name)
    helper.set_model_props(model, {"qsnnc.pixels": "raw"})
    inject(lambda graph: shifted(graph, graph.layers[0].name, 1, 1, 2))
    verify(save(model), limit=40, repro=tmp_path)
    _, value, data = run(tmp_path / "model.repro")
    assert np.array_equal(value, data["qsnnc.expected"])


def operands(ratio: float, levels: int = 15) -> onnx.ModelProto:
    """A residual sum whose two operands have scales of their own."""
    rng = np.random.default_rng(3)
    net = Builder((2, 6, 6))
    net.quantize("image", 0, 31)

    def operand(name: str, scale: float) -> None:
        net.conv(name, rng.integers(-2, 3, (4, 2, 3, 3)).astype(float))
        net.node("Mul", f"{name}/up", net.const(f"{name}.up", np.float32(0.05 / scale)))
        net.node("Round", f"{name}/round")
        bounds = [net.const(f"{name}.low", np.float32(0)), net.const(f"{name}.high", np.float32(levels))]
        net.node("Clip", f"{name}/clip", *bounds)
        net.node("Mul", f"{name}/level", net.const(f"{name}.down", np.float32(scale)))

    start, shape = net.here, net.shape
    operand("left", 0.1)
    left = net.here
    net.here, net.shape = start, shape
    operand("right", float(np.float32(0.1 * ratio)))
    net.node("Add", "sum", left)
    net.node("Mul", "sum/up", net.const("sum.up", np.float32(4.0)))
    net.quantize("sum/quant", 0, levels)
    net.flatten()
    net.gemm("head", rng.integers(-3, 4, (3, 64)) / 2)
    return net.model()


@pytest.mark.parametrize("ratio", [0.5, 1.5, 0.437865, 2.71828, 0.9173])
def test_operands_of_any_two_scales_are_verified(save, ratio) -> None:
    path = save(operands(ratio))
    found = verify(path, limit=60)
    assert found.passes(), found.mismatches
    assert found.differences <= found.values / 10_000


@pytest.mark.slow
def test_wide_weights_of_a_sum_say_that_its_operands_need_one_scale(save) -> None:
    done = check(save(operands(0.437865, 255)))
    (found,) = [violation for violation in done.violations if violation.code == "weight-bits"]
    assert found.layer == "sum"
    assert found.found > found.allowed == 8
    assert "give them the same scale" in found.advice


@pytest.mark.parametrize("end", ["", "ArgMax", "Softmax"])
def test_scores_that_cancel_differ_by_rounding_alone(end, save) -> None:
    """Of large terms nothing is left but their rounding, which decides what the host makes of equal scores."""
    net = Builder((1, 6, 6))
    net.node("Mul", "up", net.const("up.k", np.float32(1 / 100.7)))
    net.node("Round", "round")
    net.node("Clip", "clip", net.const("low", np.float32(0)), net.const("high", np.float32(3)))
    net.node("Mul", "down", net.const("down.k", np.float32(777.7)))
    net.flatten()
    weights = np.random.default_rng(0).integers(-3, 4, (4, 36))
    weights[:, ::2] = -weights[:, 1::2]
    net.gemm("head", weights * np.float32(0.3))
    if end:
        net.node(end, "end", axis=1)
    model = net.model()
    if end == "ArgMax":
        model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    images = np.broadcast_to(np.arange(0, 256, 12, np.uint8)[:, None, None, None], (22, 1, 6, 6))
    found = verify(save(model), images)
    assert found.passes()
    assert found.equal != bool(end)  # what the host makes of them shows


def test_a_wrong_potential_is_no_rounding(path, inject) -> None:
    def wrong(graph: LayerGraph) -> LayerGraph:
        last = graph.layers[-1]
        (link,) = last.connections
        weights = link.weights.copy()
        weights[0, 0] += 1
        return with_layer(graph, last.name, connections=(replace(link, weights=weights),))

    inject(wrong)
    assert not verify(path).passes()


def test_sums_that_only_a_decomposition_has_are_not_asked_for(save) -> None:
    net = stem()
    net.flatten()
    net.node("QuantizeLinear", "q", net.const("unit", np.float32(0.5)), net.const("zero", np.uint8(3)))
    net.node("MatMulInteger", "head", net.const("w", np.resize(np.int8([1, -1, 2]), (108, 4))), "zero")
    net.node("Cast", "real", to=1)
    net.node("Mul", "scaled", "unit")
    net.shape = (4,)
    assert verify(save(net.model())).equal


@pytest.mark.slow
@pytest.mark.parametrize(("by", "bound", "codes"), [(1, 0.0, (0, 1)), (4, 4.0, (0, 1)), (4, 0.0, (1, 1))])
def test_rounding_alone_ends_with_0_and_strictly_with_1(path, tmp_path, inject, by, bound, codes) -> None:
    def change(graph: LayerGraph) -> LayerGraph:
        uncertain = UncertainThresholds.of(Uncertain(1, 0, level, bound) for level in range(3))
        return with_layer(shifted(graph, "conv2", 1, 2, by), "conv2", uncertain=uncertain)

    inject(change)
    images = compare.random_images(front(path)[1].input, 60, 0)
    np.savez(tmp_path / "data.npz", images=images, labels=np.zeros(60, np.int64))
    run = ("verify", path, "--dataset", "data.npz", "--limit", 60)
    done = [qsnnc(*run, *extra, "--json", "v.json", cwd=tmp_path) for extra in ((), ("--strict",))]
    assert tuple(each.returncode for each in done) == codes
    said = json.loads((tmp_path / "v.json").read_text())
    assert said["reference"] == "onnxruntime"
    assert said["differences"] == said["explained"] + said["unexplained"] > 0
    assert said["largest"] == 0.5  # one level of the quantizer
    assert (said["unexplained"] == 0) == (codes[0] == 0)
    assert set(said["uncertain_thresholds"]) == {"conv2"}
    first = done[0].stdout.splitlines()[0]
    assert first.startswith("different: " if codes[0] else "explained: ")
    assert "the largest by 0.5 in conv2" in first
    assert "accuracy is" in first
    assert ("conv2: image" in done[0].stderr) == bool(codes[0])
    assert "conv2: image" in done[1].stderr


@pytest.mark.slow
def test_predictions_are_those_of_the_whole_network_not_of_one_layer(path, inject) -> None:
    """Each layer is compared on the model's levels, so scores are equal; executed alone, the network predicts otherwise."""
    inject(lambda graph: shifted(graph, "conv0", 0, 0, 40))
    images = compare.random_images(front(path)[1].input, 100, 0)
    found = verify(path, images, labels=np.zeros(100, np.int64))
    assert [mismatch.layer for mismatch in found.mismatches] == ["conv0"]
    graph = compare.front(path)[1]
    levels = {
        graph.encoder.name: session(graph.encoder_onnx).run(None, {"image": images.astype(np.float32)})[0].astype(np.int64)
    }
    for layer in graph.layers:
        levels[layer.name] = execute(layer, levels)
    potentials = levels[graph.layers[-1].name].reshape(100, -1)
    own = session(graph.readout_onnx).run(None, {"potentials": potentials})[0].argmax(axis=1)
    model = session(front(path)[0].reference).run(None, {"image": images.astype(np.float32)})[0].argmax(axis=1)
    assert found.agreement.changed == (own != model).sum() > 0
    assert found.agreement.model == (model == 0).mean()
    assert found.agreement.integer == (own == 0).mean()
