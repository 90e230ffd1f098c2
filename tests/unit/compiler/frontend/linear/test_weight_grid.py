"""Distinct magnitudes of many weights are those that sorting all of them gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsnnc.frontend.linear import weight_grid

ODD = (np.nan, np.inf, -np.inf, 1e300, 5e-324, 0.3)


@pytest.mark.filterwarnings("ignore:overflow")
@given(
    seed=st.integers(0, 2**32 - 1),
    largest=st.sampled_from([0, 1, 7, 127, 255, 256, 257]),
    odd=st.lists(st.sampled_from(ODD), max_size=3),
    count=st.integers(1, 200),
)
def test_magnitudes_are_those_of_all_weights_sorted(seed: int, largest: int, odd: list[float], count: int) -> None:
    rng = np.random.default_rng(seed)
    scale = np.float32(rng.uniform(0.001, 3))
    weights = (rng.integers(-largest, largest + 1, count).astype(np.float32) * scale).astype(np.float64)
    weights[rng.integers(0, count, len(odd))] = odd
    found = np.unique(np.abs(weights))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weight_grid, "TOGETHER", int(rng.integers(1, 40)))
        np.testing.assert_array_equal(weight_grid._magnitudes(weights.reshape(1, -1)), found[found != 0])
