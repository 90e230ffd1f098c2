"""--levels: the network that is compiled is the ONNX network with a Clip at that activation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.command_line import qsnnc, unlabelled
from support.networks import Builder
from support.random_graphs import Plan, build

import chipsim
from chipsim.datasets import Dataset
from chipsim.engine.paicore.compare import compare_program
from chipsim.engine.result import Exceeded
from chipsim.errors import MappingError, ReportedError, UsageError
from chipsim.mapping import validate_mapping, write_mapping
from chipsim.mapping.program import CEILING
from chipsim.mapping.write import to_bytes
from chipsim.report.screen import run_screen
from qsnnc.errors import ModelError
from qsnnc.explain.tables import unwatched_lines
from qsnnc.frontend.importer.clip_activations import BEFORE, clip
from qsnnc.frontend.model.reference import session
from qsnnc.options import FrontendOptions
from qsnnc.pipeline import check, compile_model, read_layers
from qsnnc.reading import front
from qsnnc.verification import random_images, verify


def network(kind: str = "float", opset: int = 17) -> onnx.ModelProto:
    """Two activations whose type says 0..15 (or 0..255); only a person knows that 4 and 3 are enough."""
    rng = np.random.default_rng(1)
    net = Builder((1, 6, 6))

    def quantize(name: str) -> None:
        if kind == "float":
            net.quantize(f"{name}/quant", 1, 15)
            return
        scale, zero = net.const(f"{name}.scale", np.float32(0.5)), net.const(f"{name}.zero", np.uint8(0))
        net.node("QuantizeLinear", f"{name}/q", scale, zero)
        net.node("DequantizeLinear", f"{name}/dq", scale, zero)

    net.conv("first", rng.integers(-20, 21, (3, 1, 3, 3)) / 256)
    quantize("first")
    net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[1, 1])
    net.shape = (3, 3, 3)
    net.conv("second", rng.integers(-1, 2, (4, 3, 2, 2)).astype(float))
    quantize("second")
    net.flatten()
    net.gemm("head", rng.integers(-3, 4, (3, 16)) / 2)
    return net.model(opset=opset)


def level_counts(path: Path, **levels: int) -> dict[str, int]:
    graph = read_layers(path, levels=levels)
    return {entry.name: entry.levels for entry in (graph.encoder, *graph.layers)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float", "typed"])
def test_the_reference_is_the_model_with_a_clip(save, kind) -> None:
    path = save(network(kind))
    model, graph = front(path, FrontendOptions(levels={"first": 4, "second": 3}))
    assert {entry.name: entry.levels for entry in (graph.encoder, *graph.layers) if entry.levels} == {
        "first": 4, "pool": 4, "second": 3,
    }  # fmt: skip
    # by hand: a Minimum behind both activations
    by_hand = onnx.load(str(path))
    for name, most in (("first", 2.0), ("second", 1.5)):
        tensor = graph.population(name).tensor
        for node in by_hand.graph.node:
            node.input[:] = [f"{tensor}/low" if entry == tensor else entry for entry in node.input]
        by_hand.graph.initializer.append(numpy_helper.from_array(np.array(most, np.float32), f"{name}/top"))
        after = next(i for i, node in enumerate(by_hand.graph.node) if tensor in node.output) + 1
        by_hand.graph.node.insert(after, helper.make_node("Min", [tensor, f"{name}/top"], [f"{tensor}/low"]))
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 6, 6)).astype(np.float32)
    (expected,) = session(by_hand).run(None, {"image": images})
    (found,) = session(model.reference).run(None, {"image": images})
    (plain,) = session(path.read_bytes()).run(None, {"image": images})
    assert np.array_equal(found, expected)
    assert not np.array_equal(found, plain)
    assert verify(path, limit=50, levels={"first": 4, "second": 3}).equal


@pytest.mark.parametrize("name", ["first", "first/quant/round", "first/quant/level_out", "first_out", "pool"])
def test_a_layer_a_node_or_a_tensor_names_the_activation(save, name) -> None:
    assert level_counts(save(network()), **{name: 4}) == {"first": 4, "pool": 4, "second": 15, "head": 0}


def test_more_levels_than_there_are_change_nothing(save) -> None:
    path = save(network())
    assert level_counts(path, first=15, second=99) == level_counts(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chip", "options"), [("xbar1152", {}), ("paicore25", {"code": "thermometer"}), ("paicore25", {"code": "value"})]
)
def test_a_comparison_names_the_layer_whose_levels_were_too_few(save, chip, options) -> None:
    """Not the one behind it: the neurons of its highest level fire as those of the model would."""
    path = save(network())
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 6, 6)).astype(np.uint8)
    compared = (compare_program if options else chipsim.compare)(
        compile_model(path, chip, levels={"second": 1}, **options).mapping, path, Dataset("", "test", images, None)
    )
    assert compared.difference is not None
    assert compared.difference.exceeds
    assert compared.difference.layer == "second"
    assert " the model has level " in str(compared.difference)
    assert "--levels left 1 as the highest" in str(compared.difference)


def exceeded(path: Path, levels: dict[str, int], images: np.ndarray) -> np.ndarray:
    """Which images exceed which limit, (images, limits), by the model with a Clip at each of them."""
    whole = read_layers(path)
    entries = [whole.population(name) for name in levels]
    limits = {e.tensor: e.scale * (n + e.zero_point) for e, n in zip(entries, levels.values(), strict=True)}
    model = clip(onnx.load(str(path)), limits)
    before = [entry.tensor + BEFORE for entry in entries]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in before)
    values = session(model).run(before, {"image": images.astype(np.float32)})
    return np.stack(
        [(v > limits[e.tensor]).reshape(len(v), -1).any(axis=1) for v, e in zip(values, entries, strict=True)], 1
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "keep_dead", "kind", "levels"),
    [
        ("fast", False, "float", {"first": 9, "second": 3}),
        ("fast", True, "float", {"second": 6}),
        ("fast", False, "typed", {"second": 1}),
        ("reference", False, "float", {"first": 4}),
        ("reference", False, "float", {"first": 9, "second": 1}),
    ],
)
def test_a_run_counts_the_images_that_exceed(save, tmp_path, engine, keep_dead, kind, levels) -> None:
    path = save(network(kind))
    file = tmp_path / "limited.map"
    compiled = compile_model(path, "xbar1152", levels=levels, keep_dead=keep_dead)
    write_mapping(compiled.mapping, file)
    assert compiled.mapping.watched == tuple(levels)
    images = np.random.default_rng(2).integers(0, 256, (60, 1, 6, 6)) // np.arange(1, 61)[:, None, None, None]
    result = chipsim.run(file, Dataset("", "test", images.astype(np.uint8), None), engine=engine, batch=7, threads=2)
    right = exceeded(path, levels, images)
    assert result.exceeded is not None
    assert result.exceeded.layers == dict(zip(levels, right.sum(axis=0).tolist(), strict=True))
    assert result.exceeded.images == right.any(axis=1).sum()
    assert result.exceeded.images > 0
    assert result.to_json()["levels_exceeded"] == {"images": result.exceeded.images, "layers": result.exceeded.layers}


@pytest.mark.slow
def test_nothing_is_counted_where_nothing_is_limited(save) -> None:
    path, images = save(network()), Dataset("", "test", np.zeros((2, 1, 6, 6), np.uint8), None)
    plain, more = compile_model(path).mapping, compile_model(path, levels={"first": 15}).mapping
    assert to_bytes(plain) == to_bytes(more)
    assert chipsim.run(plain, images).to_json()["levels_exceeded"] is None
    limited = compile_model(path, levels={"second": 3}).mapping
    assert chipsim.run(limited, images).exceeded == Exceeded(0, {"second": 0})
    assert (
        chipsim.run(limited, images, faults={"dead_neurons": {"rate": 0.1, "seed": 1}}).exceeded is None
    )  # another network


@pytest.mark.slow
def test_a_ceiling_is_checked(save) -> None:
    mapping = compile_model(save(network()), levels={"second": 3}).mapping
    arrays = {
        **mapping.arrays,
        CEILING: np.where(mapping.neuron_element == 0, -5000, mapping.arrays[CEILING]).astype(np.int32),
    }
    for bad in (replace(mapping, arrays=arrays), replace(mapping, watched=("head",)), replace(mapping, watched=("first",))):
        with pytest.raises(MappingError) as caught:
            validate_mapping(bad)
        assert caught.value.code == "map-rule"


@pytest.mark.slow
def test_the_mapping_has_the_fewer_neurons(save) -> None:
    path = save(network())
    whole, limited = compile_model(path), compile_model(path, levels={"first": 4, "second": 3})
    assert sum(entry.neurons for entry in limited.layers) < sum(entry.neurons for entry in whole.layers) / 2


@pytest.mark.slow
def test_unknown_names_list_the_known_ones(save) -> None:
    with pytest.raises(UsageError) as caught:
        check(save(network()), levels={"thrid": 4})
    assert caught.value.fields["allowed"] == ["first", "pool", "second"]
    with pytest.raises(UsageError, match="at least 1 level"):
        check(save(network()), levels={"first": 0})


@pytest.mark.parametrize("name", ["first", "first/quant/clip", "pool", "image"])
def test_an_activation_of_the_host_is_not_taken_for_the_one_that_it_hands_over(name, save) -> None:
    path = save(network())
    with pytest.raises(UsageError, match="unknown activation") as caught:
        check(path, levels={name: 1}, encoder="second")
    assert caught.value.fields["allowed"] == ["second"]
    graph = read_layers(path, levels={"second/quant/clip": 3}, encoder="second")
    assert graph.encoder.levels == 3


@pytest.mark.parametrize(
    ("given", "code"), [("first=4", 0), ("first", 2), ("=4", 2), ("first=", 2), ("first=-1", 2), ("first=four", 2), ("odd=4", 2)]
)  # fmt: skip
def test_the_option(save, tmp_path, given, code) -> None:
    done = qsnnc("check", save(network()), "--levels", given, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == (code != 0)
    if code:
        assert unlabelled(done.stderr).startswith("--levels: ")


@pytest.mark.parametrize(
    ("opset", "dtype"), [(10, np.float32), (11, np.float32), (17, np.float32), (17, np.uint8), (12, np.int8)]
)
def test_a_clip_in_every_opset(opset, dtype) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    ends = [helper.make_tensor_value_info(name, kind, ["N", 4]) for name in ("x", "z")]
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["y"], ["z"])]
    model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", opset)],
                              ir_version=8)  # fmt: skip
    (found,) = session(clip(model, {"y": 3.0})).run(None, {"x": np.array([[0, 2, 3, 9]], dtype)})
    assert found.tolist() == [[0, 2, 3, 3]]
    (found,) = session(clip(model, {"z": 2.0})).run(None, {"x": np.array([[0, 2, 3, 9]], dtype)})
    assert found.tolist() == [[0, 2, 2, 2]]


def test_an_integer_tensor_in_an_old_opset_is_refused() -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.UINT8, ["N", 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    with pytest.raises(ModelError, match="opset 12") as caught:
        clip(model, {"y": 3.0})
    assert isinstance(caught.value, ReportedError)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.013996684, 0.0236672495, 0.1, 1 / 3, 0.00687010382])
def test_a_scale_that_float32_does_not_hold_is_limited_at_every_level(save, scale) -> None:
    """The file computes levels with its own scale; a Clip just above one of them would be a level of its own."""
    net = Builder((1, 4, 4))
    net.conv("first", np.array([[[[3.0]]], [[[-2.0]]]]))
    names = net.const("scale", np.float32(scale)), net.const("zero", np.uint8(0))
    net.node("QuantizeLinear", "q", *names)
    net.node("DequantizeLinear", "dq", *names)
    net.flatten()
    net.gemm("head", np.ones((3, 32)))
    path = save(net.model())
    for level in (1, 2, 7, 15, 100, 254):
        assert level_counts(path, first=level)["first"] == level
    assert verify(path, levels={"first": 15}, limit=5).passes(strict=False)


def test_a_limit_that_a_run_cannot_watch_is_named(save) -> None:
    """On a PAICORE, and where a pool takes the largest levels of an activation that the limit narrows with it."""
    (line,) = unwatched_lines(check(save(network("typed")), "paicore25", levels={"first": 3}))
    assert line.startswith("levels: chipsim run does not count images beyond the limit of first (on chip 'paicore25')")
    path = save(build(Plan((4, 4), 2, ("latepool", "falling", "maxpool"), 3, signed=True, ending="scores", seed=39)))
    found = check(path, levels={"pool10": 1})
    assert found.fits
    assert found.graph.watched == ()
    (line,) = unwatched_lines(found)
    assert "beyond the limit of pool10 (the limit changes more of the network than a number of levels)" in line
    assert unwatched_lines(check(save(network()), levels={"second": 3})) == []


def test_a_run_repeats_which_limits_it_does_not_watch(save, tmp_path) -> None:
    path = save(build(Plan((4, 4), 2, ("latepool", "falling", "maxpool"), 3, signed=True, ending="scores", seed=39)))
    done = compile_model(path, levels={"pool10": 1})
    chipsim.write_mapping(done.mapping, tmp_path / "limited.map")
    mapping = chipsim.read_mapping(tmp_path / "limited.map")
    images = random_images(mapping.input, 2, 0)
    result = chipsim.run(mapping, Dataset("random", "test", images, None))
    assert result.exceeded is None
    assert result.to_json()["levels_unwatched"] == ["pool10"]
    assert "beyond the limit of pool10 are not counted" in " ".join(run_screen(result, "limited.map").split())


def test_a_ceiling_that_is_always_met_is_no_lower_than_its_threshold(save) -> None:
    """An activation of a large bias, which no image leaves at a level within the limit."""
    net = Builder((1, 3, 3))
    net.quantize("stem", 0, 3)
    net.conv("always", np.ones((1, 1, 3, 3)), np.array([6.0]))
    net.quantize("high", 0, 15)
    net.flatten()
    net.gemm("head", np.array([[1.0], [-1.0]]))
    found = compile_model(save(net.model()), levels={"always": 2})
    images = Dataset("", "test", np.zeros((3, 1, 3, 3), np.uint8), None)
    assert chipsim.run(found.mapping, images).exceeded == Exceeded(3, {"always": 3})


def test_a_shape_that_the_file_states_wrongly_is_not_read(save) -> None:
    """As other programs write it which change a constant and leave its entry in ``value_info``."""
    model = network()
    model.graph.value_info.append(helper.make_tensor_value_info("head.weight", TensorProto.FLOAT, []))
    model.graph.value_info.append(helper.make_tensor_value_info("pool_out", TensorProto.FLOAT, [1]))
    path, levels = save(network()), {"second": 3}
    right = level_counts(path, **levels)
    assert level_counts(save(model), **levels) == right
