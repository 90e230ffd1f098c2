"""A network on a PAICORE 2.5 gives what the ONNX network gives: every level of every layer, and the scores."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.networks import Recipe, build

from chipsim.datasets import Dataset
from chipsim.engine.paicore.compare import compare_program
from chipsim.engine.paicore.run import run_program
from chipsim.errors import InputError
from chipsim.paicore import Program, write_program
from chipsim.paicore import words as w
from chipsim.paicore.memory import load
from qsnnc import compile_model
from qsnnc.errors import DoesNotFit

BLOCKS = st.sampled_from(["conv", "maxpool", "avgpool", "strided", "pad"])


def digits(seed: int, size: int, count: int = 5) -> Dataset:
    images = np.random.default_rng(seed).integers(0, 256, (count, size, size)).astype(np.uint8)
    return Dataset("random", "test", images, np.arange(count, dtype=np.int64) % 3)


def compiled(recipe: Recipe, folder: Path, coding: str = "auto") -> tuple[Program, Path]:
    path = folder / "model.onnx"
    path.write_bytes(build(recipe).SerializeToString())
    program = compile_model(path, "paicore25", code=coding).mapping
    assert isinstance(program, Program)
    return program, path


@pytest.mark.slow
@given(
    seed=st.integers(0, 1 << 16), size=st.integers(5, 8), channels=st.integers(1, 4), levels=st.integers(1, 3),
    first=st.sampled_from(["conv", "maxpool"]), odd=st.booleans(),
)  # fmt: skip
def test_the_words_give_what_the_network_gives(
    tmp_path_factory: pytest.TempPathFactory, seed: int, size: int, channels: int, levels: int, first: str, odd: bool
) -> None:
    recipe = Recipe(size, channels, 1, levels, ("conv", first), 3, seed=seed, odd=odd)
    try:
        program, path = compiled(recipe, tmp_path_factory.mktemp("net"))
    except DoesNotFit:
        return
    data = digits(seed, size)
    found = compare_program(program, path, data)
    assert found.equal, str(found.difference)
    fast, reference = (run_program(program, data, engine=name) for name in ("fast", "reference"))
    assert (fast.potentials == reference.potentials).all()
    assert fast.cores == reference.cores


@pytest.fixture
def small(tmp_path: Path) -> tuple[Program, Path]:
    return compiled(Recipe(6, 2, 1, 2, ("conv", "maxpool"), 3, seed=5, odd=True), tmp_path, "thermometer")


def test_a_changed_threshold_is_found(small: tuple[Program, Path], tmp_path: Path) -> None:
    program, path = small
    words = program.words.copy()
    core = load(words)[0]
    row = np.flatnonzero((words == core.rows[0, 0]) & (np.roll(words, -1) == core.rows[0, 1]))[0] + 2  # its first Part 2
    part2 = w.PART2.one(words[row : row + 2])
    words[row : row + 2] = w.PART2.pack(part2 | {"threshold": 1000})  # never reached
    changed = replace(program, words=words)
    found = compare_program(changed, path, digits(1, 6, 20))
    assert found.difference is not None
    assert re.search(r"image \d+, feature \d+: the model has \d, the chip \d \(core 0, neuron \d+", str(found.difference))
    write_program(changed, tmp_path / "changed.paicore")


def test_another_model_is_refused(small: tuple[Program, Path], tmp_path: Path) -> None:
    program, _ = small
    other = tmp_path / "other.onnx"
    other.write_bytes(build(Recipe(6, 2, 1, 2, ("conv", "maxpool"), 3, seed=6, odd=True)).SerializeToString())
    with pytest.raises(InputError, match="is not the model that the mapping was compiled from"):
        compare_program(program, other, digits(1, 6))
