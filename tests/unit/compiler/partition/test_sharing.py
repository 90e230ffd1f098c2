"""The bound by sharing is never above the fewest cores there are, found by trying all tilings of small layers."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsnnc.partition.sharing import fewest_cores


def fewest_of_all(tiles: np.ndarray, width: np.ndarray, size: np.ndarray, limits: list[tuple[int, int]]) -> int:
    """The fewest cores of any tiling: every content of a core, then every way to hold all neurons."""
    contents = []
    for held in product(*(range(count + 1) for count in size.tolist())):
        read = {tile for output, count in enumerate(held) if count for tile in tiles[output].tolist() if tile >= 0}
        axons = sum(int(width[tile]) for tile in read)
        if any(held) and any(sum(held) <= room and axons <= most for room, most in limits):
            contents.append(held)

    @cache
    def cores(left: tuple[int, ...]) -> int:
        if not any(left):
            return 0
        first = next(output for output, count in enumerate(left) if count)
        fitting = (c for c in contents if c[first] and all(n <= most for n, most in zip(c, left, strict=True)))
        return 1 + min(cores(tuple(most - n for n, most in zip(c, left, strict=True))) for c in fitting)

    return cores(tuple(size.tolist()))


@st.composite
def layers(draw):
    outputs, count = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    taps = int(rng.integers(1, 4))
    tiles = rng.integers(-1, count, (outputs, taps))
    width, size = rng.integers(1, 4, count), rng.integers(0, 5, outputs)
    needed = max(sum(int(width[tile]) for tile in set(row.tolist()) - {-1}) for row in tiles)
    axons = max(1, -(-needed // 2))
    room = int(rng.integers(2, 7))
    return tiles, width, size, [(room, axons), (max(1, room // 2), 2 * axons)]


@pytest.mark.slow
@given(layer=layers(), budget=st.sampled_from([0, 1, 3, 1000]))
@settings(max_examples=120, deadline=None)
def test_never_above_the_fewest_cores_of_all_tilings(layer, budget: int) -> None:
    assert fewest_cores(*layer, budget=budget) <= fewest_of_all(*layer)


def windows(side: int) -> np.ndarray:
    """Windows of 3 x 3 on a padded map, (side * side, 9)."""
    padded = np.full((side + 2, side + 2), -1)
    padded[1:-1, 1:-1] = np.arange(side * side).reshape(side, side)
    return np.stack([padded[y : y + side, x : x + side].reshape(-1) for y in range(3) for x in range(3)], axis=1)


@pytest.mark.parametrize(
    ("side", "axons", "neurons", "cores"),
    [
        # 12 tiles a core: two positions inside share one, and with the border's more neurons fit than columns. Those three
        # or more from the border are charged 1/192 a neuron, the others 1/256
        (32, 96, 96, 469),  # 26 * 26 * 96 / 192 + 348 * 96 / 256 = 468.5
        # 6 tiles a core: inside a position takes fold 2, 128 neurons; at the border it is alone, in the corners not
        (16, 192, 192, 351),  # 196 * 192 / 128 + 48 + 12 * 192 / 256
        (8, 192, 384, 158),  # 36 * 384 / 128 + 16 * 2 + 12 * 384 / 256
    ],
)
def test_layers_whose_border_can_be_counted_by_hand(side: int, axons: int, neurons: int, cores: int) -> None:
    limits = [(512 // (2 * fold), 1152 * fold) for fold in (1, 2, 4, 8)]
    size = np.full(side * side, neurons)
    assert fewest_cores(windows(side), np.full(side * side, axons), size, limits) == cores
