"""The numbers of the advice, held against what the changed network takes when it is compiled."""

from __future__ import annotations

import re

import numpy as np
import pytest
from support.networks import Builder, Recipe, build

from chipsim.chip import ChipSpec, load_chip
from qsnnc.compilation import FailedCompilation
from qsnnc.narrower import activations
from qsnnc.options import Placing
from qsnnc.partition.advice import Counted, holding
from qsnnc.pipeline import check, compile_model
from qsnnc.reading import front


def small(across: int, down: int, **limits: int) -> ChipSpec:
    """The preset xbar1152 with few cores."""
    chip = load_chip("xbar1152").model_copy(update={"grid": (across, down), **limits})
    return ChipSpec.model_validate(chip.model_dump(mode="json"))


def several(levels: int, weights: int, size: int = 12, pool: bool = False) -> Builder:
    """Two convolutions, with weights to +-``weights``, and a classifier."""
    rng = np.random.default_rng(levels + weights)
    net = Builder((1, size, size))
    net.conv("stem", rng.integers(-20, 21, (8, 1, 3, 3)) / 32, pads=[1] * 4)
    net.quantize("stem/quant", 0, levels)
    net.conv("middle", rng.integers(-weights, weights + 1, (12, 8, 3, 3)).astype(float))
    net.quantize("middle/quant", 0, levels)
    if pool:
        net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[2, 2])
        net.shape = (net.shape[0], *(size // 2 for size in net.shape[1:]))
    net.flatten()
    return net


NETWORKS = [
    (several(63, 100, 7), small(5, 5)),
    (several(15, 7, pool=True), small(3, 2)),
    (several(7, 1), small(2, 1)),
    (several(31, 127, 8), small(5, 5, columns=256)),
]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, FailedCompilation]]:
    """Networks that their chips do not hold, with what is said of them."""
    folder = tmp_path_factory.mktemp("advice")
    found = []
    for number, (net, chip) in enumerate(NETWORKS):
        path = folder / f"{number}.onnx"
        net.gemm("fc", np.random.default_rng(1).integers(-1, 2, (4, *net.shape)).astype(float))
        path.write_bytes(net.model().SerializeToString())
        said = check(path, chip)
        assert isinstance(said, FailedCompilation)
        found.append((str(path), said))
    return found


@pytest.mark.slow
def test_each_number_is_that_of_the_changed_network(refused: list[tuple[str, FailedCompilation]]) -> None:
    kinds = set()
    for path, said in refused:
        chip = said.chip
        assert isinstance(chip, ChipSpec)
        model, graph = front(path)
        for each in said.alternatives:
            kinds.add((each.levels is not None, each.weight_bits is not None, each.grid is not None))
            levels = {} if each.levels is None else activations(model, graph, each.levels)
            changed = {"levels": levels, "weight_bits": each.weight_bits, "placing": Placing(effort=0)}
            grid = chip.grid if each.fits else each.grid
            assert grid is not None
            larger = chip.model_copy(update={"grid": grid})
            assert compile_model(path, larger, **changed).cores == each.cores
    assert {(False, False, True), (True, False, False), (True, True, False)} <= kinds


@pytest.mark.slow
def test_one_output_says_one_number_for_the_network(refused: list[tuple[str, FailedCompilation]]) -> None:
    for _, said in refused:
        violation = said.violations[-1]
        assert violation.code == "cores"
        assert violation.found == said.cores
        needed = re.search(r"needs? (?:about |at least )?([0-9,]+) cores", violation.advice)
        assert needed is not None
        assert int(needed[1].replace(",", "")) == said.cores
        assert said.alternatives
        assert all(f"{each.cores:,} cores with" in violation.advice for each in said.alternatives if each.levels)
        (grid,) = (each for each in said.alternatives if each.change == "a larger grid")
        assert f"A grid of {grid.grid[0]} x {grid.grid[1]} holds it" in violation.advice


def test_the_grid_that_would_do_keeps_what_the_chip_has() -> None:
    chip = small(4, 4)
    assert holding(chip, Counted(400, estimated=False)) == (20, 20)
    assert holding(chip, Counted(16, estimated=False)) is None
    assert holding(chip, Counted(400, estimated=True)) is None
    assert holding(chip, Counted(400, estimated=False, beyond=1)) is None
    wide = ChipSpec.model_validate({**chip.model_dump(mode="json"), "grid": [30, 2], "dead_cores": [[0, 0], [1, 0]]})
    columns, rows = holding(wide, Counted(100, estimated=False)) or (0, 0)
    assert (columns, rows) == (30, 4)
    assert columns * rows - 2 >= 100 > columns * (rows - 1) - 2


@pytest.mark.slow
def test_a_layer_that_fits_on_no_core_has_no_number(tmp_path) -> None:
    from qsnnc.explain.tables import compilation_json

    path = tmp_path / "wide.onnx"
    path.write_bytes(build(Recipe(9, 2, 1, 15, ("conv", "conv"), 3, 1, odd=True)).SerializeToString())
    said = check(path, small(1, 1, axons=16, max_fold=1))
    assert isinstance(said, FailedCompilation)
    rows = {row["name"]: row for row in compilation_json(said)["layers"]}
    beyond = {violation.layer for violation in said.violations if violation.code == "fan-in"}
    assert beyond
    assert all((rows[name]["cores"] is None) == (name in beyond) for name in rows)
