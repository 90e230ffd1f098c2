"""The layer graph's execution against its definition, written out in loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsnnc.ir import execute
from qsnnc.ir.layers import Connection, Layer


def layer(connections, shape, thresholds, border=None) -> Layer:
    levels = thresholds.shape[2]
    border = np.zeros(shape[1:], np.int64) if border is None else border
    reach = np.zeros((*thresholds.shape[:2], 2), np.int64)
    return Layer("layer", "t", shape, shape, levels, 1.0, 0.0, "any", connections, thresholds, border, reach, True)


def slow_potential(link: Connection, levels: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    out = np.zeros((len(levels), *shape), np.int64)
    per_group, per_out = link.weights.shape[1], shape[0] // link.groups
    for n, o, r, c in np.ndindex(out.shape):
        for i, u, v in np.ndindex(link.weights.shape[1:]):
            row = r * link.strides[0] - link.pads[0] + u * link.dilations[0]
            column = c * link.strides[1] - link.pads[1] + v * link.dilations[1]
            if 0 <= row < levels.shape[2] and 0 <= column < levels.shape[3]:
                source = o // per_out * per_group + i
                out[n, o, r, c] += link.weights[o, i, u, v] * levels[n, source, row, column]
    return out


@st.composite
def maps(draw):
    groups = draw(st.integers(1, 3))
    per_in, per_out = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    strides, dilations = (draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) for _ in range(2))
    pads = draw(st.tuples(*[st.integers(0, 2)] * 4))
    size = draw(st.tuples(st.integers(3, 6), st.integers(3, 6)))
    out = []
    for axis in (0, 1):
        span = (kernel[axis] - 1) * dilations[axis] + 1
        out.append((size[axis] + pads[axis] + pads[axis + 2] - span) // strides[axis] + 1)
    if min(out) < 1:
        dilations, out = (1, 1), [(size[a] + pads[a] + pads[a + 2] - kernel[a]) // strides[a] + 1 for a in (0, 1)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    huge = draw(st.booleans())  # sums beyond float32's integers
    weights = rng.integers(-255, 256, (groups * per_out, per_in, *kernel)) * (10**7 if huge else 1)
    levels = rng.integers(0, 256, (2, groups * per_in, *size))
    return Connection("s", weights, strides, pads, dilations, groups), levels, (groups * per_out, *out), rng


@settings(max_examples=60)
@given(maps(), st.sampled_from([1 << 26, 64]))
def test_a_linear_map_is_its_definition(drawn, chunk) -> None:
    link, levels, shape, _ = drawn
    before, execute.CHUNK = execute.CHUNK, chunk
    try:
        found = execute.convolve(link, levels, shape)
    finally:
        execute.CHUNK = before
    assert (found == slow_potential(link, levels, shape)).all()


@settings(max_examples=60)
@given(maps(), st.sampled_from([1, 3, 15, 16, 17, 40]))
def test_a_level_is_the_number_of_thresholds_that_the_potential_reaches(drawn, count) -> None:
    link, levels, shape, rng = drawn
    classes = 3
    thresholds = np.sort(rng.integers(-60_000, 60_000, (classes, shape[0], count)), axis=2)
    border = rng.integers(0, classes, shape[1:])
    here = layer((link,), shape, thresholds, border)
    potential = slow_potential(link, levels, shape)
    expected = (potential[..., None] >= thresholds[border].transpose(2, 0, 1, 3)).sum(axis=-1)
    assert (execute.run(here, {"s": levels}) == expected).all()


@settings(max_examples=60)
@given(maps(), st.sampled_from(["any", "all", "some"]))
def test_a_pool_by_rank_is_the_pool_level_by_level(drawn, kind) -> None:
    link, levels, _, rng = drawn
    count = 7
    levels = levels % (count + 1)
    channels = levels.shape[1]
    pool = Connection("s", np.ones((channels, 1, *link.weights.shape[2:]), np.int64), link.strides, link.pads,
                      link.dilations, channels, level_wise=True)  # fmt: skip
    shape = (channels, *drawn[2][1:])
    taps = link.weights.shape[2] * link.weights.shape[3]
    high = {"any": 2, "all": taps + 1, "some": taps + 2}[kind]
    wanted = rng.integers({"any": 1, "all": taps, "some": 0}[kind], high, (2, channels, 1))
    thresholds = np.repeat(wanted, count, axis=2)
    border = rng.integers(0, 2, shape[1:])
    here = layer((pool,), shape, thresholds, border)
    expected = execute.fire(here, execute.potentials(here, {"s": levels}))
    assert (execute.run(here, {"s": levels}) == expected).all()


def test_potentials_beyond_float64_are_refused() -> None:
    link = Connection("s", np.full((1, 1, 1, 1), 2**50))
    with pytest.raises(AssertionError):
        execute.convolve(link, np.full((1, 1, 1, 1), 9), (1, 1, 1))
