"""The law of the project: chipsim(compile(net))(x) == onnxruntime(net)(x), or a clear DoesNotFit."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.networks import Recipe, build

import chipsim
from chipsim.chip import ChipSpec, load_chip
from chipsim.datasets import Dataset
from qsnnc import ModelError, check, verify
from qsnnc.compilation import Compilation, FailedCompilation
from qsnnc.frontend.model.reference import session

KINDS = ["conv", "strided", "padded", "depthwise", "maxpool", "latepool", "avgpool", "bias", "dense"]

recipes = st.builds(
    Recipe,
    size=st.integers(4, 9),
    channels=st.integers(1, 4),
    k=st.integers(0, 2),
    levels=st.integers(1, 5),
    layers=st.lists(st.sampled_from(KINDS), max_size=4).map(tuple),
    outputs=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
    odd=st.booleans(),
)


@st.composite
def chips(draw: st.DrawFn) -> ChipSpec:
    """Small chips on which every limit bites now and then."""
    changes = {
        "grid": (draw(st.integers(2, 24)), draw(st.integers(2, 24))),
        "axons": draw(st.sampled_from([16, 40, 64, 200])),
        "columns": draw(st.sampled_from([16, 48, 64, 130])),
        "max_fold": draw(st.sampled_from([1, 4, 16])),
        "targets": draw(st.sampled_from([16, 64, 128, 1000])),
        "potential_bits": 14,
        "threshold_bits": draw(st.sampled_from([9, 13])),
    }
    return load_chip("mini").model_copy(update=changes)


def compiled(model: onnx.ModelProto, chip: ChipSpec, *, keep_dead: bool = False) -> Compilation | FailedCompilation:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "net.onnx"
        path.write_bytes(model.SerializeToString())
        try:
            return check(path, chip, keep_dead=keep_dead)
        except ModelError as error:  # every channel of a layer may come out dead
            assume(error.code != "constant-activation")
            raise


def reference(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    return session(model).run(None, {"image": images[:, None].astype(np.float32)})[0]


@settings(max_examples=150)
@given(recipes, chips())
def test_random_network_on_random_chip(recipe: Recipe, chip: ChipSpec) -> None:
    model = build(recipe)
    done = compiled(model, chip)
    if not done.fits:
        assert_really_does_not_fit(done)
        return
    images = np.random.default_rng(recipe.seed).integers(0, 256, (5, recipe.size, recipe.size)).astype(np.uint8)
    result = chipsim.run(done.mapping, Dataset("random", "test", images, None), threads=1)
    np.testing.assert_array_equal(result.scores, reference(model, images))
    for layer in done.mapping.layers:
        assert layer.cores >= layer.bound


def assert_really_does_not_fit(done: FailedCompilation) -> None:
    """The limit that is named is broken by a need that can be seen in the layer itself."""
    names = {layer.layer.name for layer in done.layers}
    for violation in done.violations:
        assert violation.layer in names
        assert violation.found > violation.allowed
        entry = next(layer for layer in done.layers if layer.layer.name == violation.layer)
        if violation.limit == "axons":
            source_levels = done.graph.population(entry.layer.connections[0].source).levels
            kernel = entry.layer.connections[0].weights
            most = int(np.prod(kernel.shape[1:])) * (1 if entry.layer.connections[0].level_wise else source_levels)
            assert violation.found <= most
            assert violation.allowed == done.chip.max_fold * done.chip.axons
        elif violation.limit == "potential":
            assert np.abs(entry.layer.reach).max() >= done.chip.threshold_max
        elif violation.limit == "cores":
            assert sum(layer.cores for layer in done.layers) > done.chip.cores
        elif violation.limit == "targets":
            assert violation.allowed == done.chip.targets


@pytest.mark.slow
@settings(max_examples=40)
@given(recipes)
def test_counts_do_not_depend_on_tiling_chip_batch_or_threads(recipe: Recipe) -> None:
    model = build(recipe)
    images = np.random.default_rng(recipe.seed).integers(0, 256, (7, recipe.size, recipe.size)).astype(np.uint8)
    data = Dataset("random", "test", images, None)
    narrow = load_chip("mini").model_copy(
        update={"grid": (40, 40), "max_fold": 16, "targets": 2000, "potential_bits": 20, "threshold_bits": 19}
    )
    results = []
    for chip, batch, threads in ((load_chip("xbar1152"), 7, 1), (load_chip("xbar1152"), 2, 3), (narrow, 3, 2)):
        done = compiled(model, chip)
        assume(done.fits)
        results.append(chipsim.run(done.mapping, data, batch=batch, threads=threads, noise=0.1, seed=3))
    first = results[0]
    for other in results[1:]:
        np.testing.assert_array_equal(first.scores, other.scores)
        np.testing.assert_array_equal(first.potentials, other.potentials)
        for name in ("spikes", "sops", "encoder_spikes", "paper_sops"):
            assert getattr(first, name) == getattr(other, name), name
        assert [(e.name, e.spikes, e.sops) for e in first.layers] == [(e.name, e.spikes, e.sops) for e in other.layers]
    for result in results:
        assert sum(core.spikes for core in result.cores) == sum(entry.spikes for entry in result.layers) == result.spikes
        assert sum(core.sops for core in result.cores) == sum(entry.sops for entry in result.layers) == result.sops
        assert sum(core.axon_events for core in result.cores) == result.axon_events == result.packets


@pytest.mark.slow
@settings(max_examples=30)
@given(recipes)
def test_integer_network_equals_the_model_layer_by_layer(recipe: Recipe) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "net.onnx"
        path.write_bytes(build(recipe).SerializeToString())
        try:
            found = verify(path, limit=12, seed=recipe.seed)
        except ModelError as error:
            assume(error.code != "constant-activation")
            raise
    assert found.equal, str(found.mismatches[0])


def test_compiling_twice_gives_the_same_bytes(save) -> None:
    from chipsim.mapping.write import to_bytes

    path = save(build(Recipe(8, 3, 1, 4, ("padded", "latepool", "conv"), 4, seed=3, odd=True)))
    first, second = (to_bytes(check(path).mapping) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("noise", [0.0, 0.25])
def test_independent_reader_of_the_format_agrees(small, tmp_path, noise) -> None:
    from support import format_reader

    done, _, data = small
    path = tmp_path / "small.map"
    chipsim.write_mapping(done.mapping, path)
    mine = chipsim.run(path, data, noise=noise, seed=11)
    theirs = format_reader.execute(format_reader.read(str(path)), data.images, noise, 11)
    assert_same(mine, theirs)


@pytest.mark.slow
@settings(max_examples=15)
@given(recipes)
def test_independent_reader_agrees_on_random_networks(recipe: Recipe) -> None:
    from support import format_reader

    chip = load_chip("mini").model_copy(
        update={"grid": (30, 30), "max_fold": 8, "targets": 512, "potential_bits": 16, "threshold_bits": 15}
    )
    done = compiled(build(recipe), chip)
    assume(done.fits)
    images = np.random.default_rng(recipe.seed).integers(0, 256, (2, recipe.size, recipe.size)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "net.map"
        chipsim.write_mapping(done.mapping, path)
        mine = chipsim.run(path, Dataset("random", "test", images, None))
        assert_same(mine, format_reader.execute(format_reader.read(str(path)), images))


def assert_same(mine, theirs) -> None:
    np.testing.assert_array_equal(mine.potentials, theirs.potentials)
    np.testing.assert_array_equal(mine.scores, theirs.scores)
    assert [core.spikes for core in mine.cores] == theirs.core_spikes.tolist()
    assert [core.sops for core in mine.cores] == theirs.core_sops.tolist()
    assert [core.axon_events for core in mine.cores] == theirs.core_events.tolist()
    assert (mine.encoder_spikes, mine.packets, mine.paper_sops or 0) == (
        theirs.encoder_spikes,
        theirs.packets,
        theirs.paper_sops,
    )
