"""Places found without a search over the grid are those that a search finds."""

from __future__ import annotations

import numpy as np
import pytest

from chipsim.chip import load_chip
from qsnnc.place.positions import TIE, _Field


@pytest.mark.parametrize("seed", range(40))
def test_the_best_place_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height = (int(n) for n in rng.integers(1, 9, 2))
    cores = int(rng.integers(1, width * height + 1))
    ports = tuple({(int(rng.integers(width)), int(rng.integers(height))) for _ in range(rng.integers(1, 4))})
    chip = load_chip("xbar1152").model_copy(update={"grid": (width, height), "ports": ports})
    sender, receiver = rng.integers(-1, cores, 40), rng.integers(0, cores, 40)
    apart = sender != receiver
    traffic = sender[apart], receiver[apart], rng.integers(1, 50, int(apart.sum()))
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height), indexing="ij"), axis=-1)
    to_port = np.abs(grid[:, :, None] - np.array(ports)).sum(axis=-1).min(axis=-1)
    field = _Field(traffic, cores, chip)

    def everywhere(core: int) -> np.ndarray:
        along_x, along_y = field.along(core)
        return along_x[:, None] + along_y[None, :] + field.host[core] * to_port

    for core in rng.permutation(cores).tolist():
        cost = np.where(field.owner < 0, everywhere(core) + TIE * to_port, np.inf)
        there = field._best_free(core)
        assert cost[there] == pytest.approx(cost.min())
        field._put(core, *there)
    for core in range(cores):
        cost = everywhere(core)
        found = [value for value, _ in field._best(core)]
        assert found == pytest.approx(np.sort(cost.reshape(-1))[: len(found)].tolist())
        here = tuple(field.position[core].tolist())
        assert field.at(core, here) == [pytest.approx(cost[here])]
