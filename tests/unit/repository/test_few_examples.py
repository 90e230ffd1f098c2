"""The profile of few examples lowers the number that a test asks for itself."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies
from support.examples import draw_at_most


@pytest.mark.parametrize(("most", "drawn"), [(5, 5), (50, 20)])
def test_a_property_draws_at_most_so_many(most, drawn) -> None:
    seen = []

    @settings(max_examples=20, database=None)
    @given(strategies.integers(0, 1_000_000))
    def law(value: int) -> None:
        seen.append(value)

    draw_at_most(law, most)
    law()
    assert len(seen) == drawn


def test_other_tests_stay_as_they_are() -> None:
    def plain() -> None: ...

    draw_at_most(plain, 5)
    draw_at_most(None, 5)
    assert not vars(plain)
