"""Uncertain thresholds as arrays say what they say one by one."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qsnnc.frontend.layers.columns import Columns
from qsnnc.ir.uncertain import LONG, Uncertain, UncertainThresholds

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


@given(SPANS, st.integers(0, 4))
def test_json_lists_the_first_spans_and_counts_all(spans: list[Uncertain], most: int) -> None:
    found = UncertainThresholds.of(spans)
    rows = [asdict(span) | ({} if np.isfinite(span.bound) else {"bound": None}) for span in spans]
    assert found.to_json() == rows
    assert found.to_json(most) == rows[:most]
    bound = max((span.bound for span in spans), default=0.0)
    assert found.total_json() == {
        "thresholds": sum(span.count for span in spans),
        "spans": len(spans),
        "channels": len({span.channel for span in spans}),
        "largest_bound": bound if np.isfinite(bound) else None,
    }
    json.dumps([found.to_json(), found.total_json()], allow_nan=False)


@given(SPANS, st.sampled_from([1, LONG]))
def test_bounds_of_every_threshold(spans: list[Uncertain], longer: int) -> None:
    """Short spans, and long ones, which are written one by one."""
    spans = [replace(span, level=span.level * longer, count=span.count * longer) for span in spans]
    expected = np.full((CLASSES, CHANNELS, LEVELS * longer), np.nan)
    for span in spans:
        expected[span.border_class, span.channel, span.level : span.level + span.count] = span.bound
    found = UncertainThresholds.of(spans)
    np.testing.assert_array_equal(found.bounds(expected.shape), expected)
    margins = np.where(np.isnan(expected), 0, np.floor(np.minimum(np.nan_to_num(expected), 5.0)) + 1)
    np.testing.assert_array_equal(found.margins(expected.shape, 5.0), margins)


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
