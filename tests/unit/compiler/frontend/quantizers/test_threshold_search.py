"""A threshold is the smallest potential that reaches its level, however wrong the guess was that its search began with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsnnc.frontend.quantizers import threshold_search
from qsnnc.frontend.quantizers.levels import Levels
from qsnnc.frontend.quantizers.region import Float

SHAPES = {
    "straight": lambda x: x,
    "bent": np.tanh,
    "kinked": lambda x: np.where(x < 0, x / 8, x),
    "flat": lambda x: np.clip(x, -0.3, 0.2),
    "steep": lambda x: np.sign(x) * 9,
}


@given(
    shape=st.sampled_from(sorted(SHAPES)),
    count=st.sampled_from([1, 2, 3, 15, 40]),
    alone=st.booleans(),
    falls=st.booleans(),
    unit=st.sampled_from([1e-7, 1e-3, 0.02, 1.0]),
    seed=st.integers(0, 1 << 30),
)
def test_thresholds_are_those_of_every_potential_tried(
    shape: str, count: int, alone: bool, falls: bool, unit: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    channels, classes = 3, 2
    gain = np.ones((1, channels)) if alone else rng.uniform(0.2, 3, (1, channels))
    sign = -1 if falls else 1

    def quantized(x: Float, gain: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        level = np.round(SHAPES[shape](sign * x.astype(np.float64) * gain) * 10)
        return np.clip(level, 0, count) * 0.5

    levels = Levels(count, 0.5, 0.0, np.arange(count + 1) * 0.5, np.zeros(channels, bool))
    scale = sign * rng.uniform(0.5, 2, (classes, channels)) * unit
    offset = rng.normal(0, 1, (classes, channels)) * rng.integers(0, 2)
    low = rng.integers(-300, 100, (classes, channels))
    reach = np.stack([low, low + rng.integers(0, 400, low.shape)], axis=-1)
    one = (lambda x: quantized(x, np.ones((1, 1)))) if alone else None
    found = threshold_search.thresholds(lambda x: quantized(x, gain), one, levels, (scale, offset), reach)
    for k, channel in np.ndindex(classes, channels):
        every = np.arange(reach[k, channel, 0], reach[k, channel, 1] + 1)
        x = (scale[k, channel] * every + offset[k, channel]).astype(np.float32)
        y = quantized(x[:, None], gain[:, channel : channel + 1])[:, 0]
        expected = [every[0] + int((y <= cut).sum()) for cut in levels.cuts]
        assert found[k, channel].tolist() == expected


@pytest.mark.parametrize("wrong", [-7, 0, 1, 1000])
def test_a_guess_that_is_wrong_is_mended(wrong: int, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = Levels(3, 1.0, 0.0, np.arange(4.0), np.zeros(1, bool))
    reach = np.array([[[-20, 20]]])
    guess = np.clip(np.full((1, 1, 3), wrong), -20, 21)
    monkeypatch.setattr(threshold_search, "_guessed", lambda *_: guess.copy())
    sums = np.full((1, 1), 0.25), np.zeros((1, 1))
    found = threshold_search.thresholds(lambda x: np.clip(np.round(x), 0, 3).astype(float), None, levels, sums, reach)
    assert found.tolist() == [[[3, 6, 11]]]  # 0.5 rounds to 0, 1.5 and 2.5 to 2
