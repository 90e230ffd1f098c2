"""What is said of networks too large to lay out, held against what is counted where they are laid out."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.command_line import qsnnc
from support.networks import Builder, Recipe, build

from chipsim.chip import ChipSpec, load_chip
from qsnnc.compilation import Compilation, Estimate, FailedCompilation
from qsnnc.explain.screen import compilation_screen
from qsnnc.explain.tables import compilation_json
from qsnnc.lower.neurons import lower
from qsnnc.partition import estimate as judge
from qsnnc.partition.cores import partition
from qsnnc.pipeline import check, compile_model
from qsnnc.reading import front


@pytest.fixture(scope="module")
def chip() -> ChipSpec:
    return load_chip("xbar1152")


@pytest.mark.slow
@settings(max_examples=40)
@given(
    kinds=st.lists(st.sampled_from("conv strided padded depthwise avgpool bias dense".split()), min_size=1, max_size=3),
    levels=st.sampled_from([1, 3, 15]),
    seed=st.integers(0, 10_000),
)
def test_neurons_fan_in_and_synapses_are_those_of_the_lowered_network(tmp_path_factory, chip, kinds, levels, seed) -> None:
    path = tmp_path_factory.mktemp("estimate") / "net.onnx"
    path.write_bytes(build(Recipe(9, 2, 1, levels, tuple(kinds), 3, seed, odd=True)).SerializeToString())
    graph = front(path)[1]
    lowered, _ = lower(graph, chip)
    cores, summaries, _ = partition(graph, lowered, chip)
    assert cores is not None
    found = judge.estimate(graph, chip)
    for guess, real in zip(found, summaries, strict=True):
        assert (guess.layer.name, guess.neurons, guess.fan_in) == (real.layer.name, real.neurons, real.fan_in)
        assert guess.weight_bits == real.weight_bits
        assert guess.synapses == real.synapses
        assert guess.removed.neurons == real.removed.neurons
        assert guess.removed.dead == real.removed.dead
        assert guess.cores <= real.cores


def test_pools_count_at_most_what_their_windows_reach(save, chip) -> None:
    graph = front(save(build(Recipe(12, 3, 1, 4, ("conv", "maxpool", "conv"), 3, seed=3, odd=True))))[1]
    lowered, _ = lower(graph, chip)
    for guess, real in zip(judge.estimate(graph, chip), lowered, strict=True):
        assert guess.neurons >= real.neurons
        assert guess.neurons <= real.layer.neurons


def wide(levels: int, size: int = 64) -> Builder:
    """A quantizer of so many levels on a large image: a neuron for each of them."""
    rng = np.random.default_rng(0)
    net = Builder((1, size, size))
    net.conv("stem", rng.integers(-20, 21, (8, 1, 3, 3)) / 32, pads=[1] * 4)
    net.quantize("stem/quant", 0, levels)
    net.conv("middle", rng.integers(-100, 101, (8, 8, 3, 3)).astype(float), pads=[1] * 4)
    net.quantize("middle/quant", 0, levels)
    net.conv("last", rng.integers(-1, 2, (2, 8, size, size)).astype(float))
    net.flatten()
    return net


@pytest.mark.slow
def test_eight_bits_say_what_it_takes_and_what_would_help(save, tmp_path) -> None:
    path = save(wide(255).model())
    start = time.perf_counter()
    done = qsnnc("check", path, "--json", "-", cwd=tmp_path)
    assert time.perf_counter() - start < 60  # laid out, it takes minutes and gigabytes
    assert done.returncode == 4
    found = json.loads(done.stdout)
    assert found["estimated"]
    assert not found["fits"]
    assert found["cores"] > 20 * found["cores_available"] == 20 * 1024
    layers = {layer["name"]: layer for layer in found["layers"]}
    assert layers["middle"]["neurons"] > 7_000_000
    assert layers["middle"]["levels"] == 255
    codes = {violation["code"]: violation for violation in found["violations"]}
    said = codes["cores"]
    assert list(codes)[-1] == "cores"
    assert said["layer"] == "middle"
    assert said["found"] == found["cores"]
    assert said["allowed"] == 1024
    for words in (" with 15 levels", "Begin with the levels of", "middle alone", "layers that fit on a core"):
        assert words in said["advice"]
    assert codes["fan-in"]["layer"] == "last"
    assert layers["last"]["cores"] is None
    assert found["cores"] == sum(layer["cores"] or 0 for layer in found["layers"])


def test_small_networks_are_laid_out_however_little_the_chip_holds(save) -> None:
    chip = load_chip("mini").model_copy(update={"grid": (1, 1)})
    done = check(save(build(Recipe(6, 2, 1, 2, ("conv",), 3, seed=5, odd=False))), chip)
    assert not done.fits
    assert done.neurons
    cores = [violation for violation in done.violations if violation.code == "cores"]
    assert cores[0].found == sum(entry.cores for entry in done.layers)


def test_levels_that_nothing_reaches_are_not_written_out_by_the_gigabyte(save) -> None:
    """Three levels in a quantizer of 65,535: few neurons are left, but all would be examined."""
    net = Builder((1, 40, 40))
    net.quantize("first", 0, 3)
    net.conv("same", np.ones((1, 1, 1, 1)))
    net.quantize("wide", 0, 65_535)
    net.conv("last", np.ones((1, 1, 1, 1)))
    net.flatten()
    done = check(save(net.model()))
    assert not done.fits
    (found,) = done.violations
    assert (found.code, found.layer, found.found) == ("neurons", "same", 1600 * 65_535 + 1600)
    assert "Use fewer levels" in found.advice


def test_a_large_network_on_a_huge_chip_is_estimated_by_check(save, tmp_path, monkeypatch) -> None:
    """However many cores the chip has, the answer takes seconds."""
    chip = tmp_path / "huge.yaml"
    chip.write_text("base: xbar1152\nname: huge\ngrid: [1000, 1000]\n")
    path = save(build(Recipe(16, 16, 1, 4, ("conv", "conv"), 3, seed=3, odd=False)))
    exact = check(path, str(chip))
    monkeypatch.setattr(judge, "MOST_CORES", 8)
    monkeypatch.setattr(judge, "LARGE", 1000)
    found = check(path, str(chip))
    assert isinstance(exact, Compilation)
    assert isinstance(found, Estimate)
    assert found.fits
    assert not found.violations
    assert 8 < found.cores <= exact.cores
    assert check(path, str(chip), whole=True).cores == compile_model(path, str(chip)).cores == exact.cores
    j = compilation_json(found)
    assert j["fits"]
    assert j["estimated"]
    assert j["placement"] is None
    said = compilation_screen(found, "net.onnx")
    assert said.startswith(f"net.onnx fits: about {found.cores:,} cores, chip 'huge' has 1,000,000 (estimated")
    assert "qsnnc compile lays them out" in said
    small = check(path, load_chip("xbar1152").model_copy(update={"grid": (3, 3)}))  # beyond the chip: does not fit
    assert isinstance(small, FailedCompilation)
    assert small.estimated
