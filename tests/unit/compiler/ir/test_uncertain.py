"""Uncertain thresholds as arrays say what they say one by one."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qsnnc.frontend.layers.columns import Columns
from qsnnc.ir.uncertain import Uncertain, UncertainThresholds

CLASSES, CHANNELS, LEVELS = 3, 4, 9
SPANS = st.lists(
    st.builds(
        Uncertain,
        channel=st.integers(0, CHANNELS - 1),
        border_class=st.integers(0, CLASSES - 1),
        level=st.integers(0, LEVELS - 3),
        bound=st.sampled_from([0.0, 0.5, 7.25, np.inf]),
        count=st.integers(1, 3),
    ),
    max_size=12,
)


@given(SPANS)
def test_spans_come_back(spans: list[Uncertain]) -> None:
    found = UncertainThresholds.of(spans)
    assert list(found) == spans
    assert (len(found), bool(found), found.total) == (len(spans), bool(spans), sum(span.count for span in spans))
    assert found.to_json() == [asdict(span) for span in spans]


@given(SPANS)
def test_bounds_of_every_threshold(spans: list[Uncertain]) -> None:
    expected = np.full((CLASSES, CHANNELS, LEVELS), np.nan)
    for span in spans:
        expected[span.border_class, span.channel, span.level : span.level + span.count] = span.bound
    np.testing.assert_array_equal(UncertainThresholds.of(spans).bounds(expected.shape), expected)


@given(SPANS, st.integers(0, 1 << 30))
def test_thresholds_of_functions_become_those_of_the_layer(spans: list[Uncertain], seed: int) -> None:
    """Functions that apply to the same sums share a threshold: the first has its place, the last its bound."""
    rng = np.random.default_rng(seed)
    border, channel = rng.integers(0, 2, (CLASSES, CHANNELS)), rng.integers(0, 3, (CLASSES, CHANNELS))
    seen = Columns(border, channel, rng.random((CLASSES, CHANNELS)) < 0.7)
    expected = {}
    for span in spans:
        at = span.border_class, span.channel
        if seen.shown[at]:
            moved = Uncertain(int(channel[at]), int(border[at]), span.level, span.bound, span.count)
            expected[moved.border_class, moved.channel, moved.level] = moved
    assert list(seen.back_uncertain(UncertainThresholds.of(spans))) == list(expected.values())
