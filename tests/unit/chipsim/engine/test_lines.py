"""Lines are numbered as a dictionary of them would number them, also where their marks do not tell them apart."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipsim.engine.fast import lines


def by_dictionary(rows: np.ndarray) -> tuple[list[int], list[int]]:
    known: dict[bytes, int] = {}
    of, first = [], []
    for place, row in enumerate(rows):
        number = known.setdefault(row.tobytes(), len(known))
        of.append(number)
        if number == len(first):
            first.append(place)
    return of, first


def check(content: np.ndarray) -> None:
    for axis, rows in enumerate((content, np.ascontiguousarray(content.T))):
        of, first = lines.numbered(content, axis)
        assert (of.tolist(), first.tolist()) == by_dictionary(rows)


@settings(deadline=None)
@given(seed=st.integers(0, 1 << 32), height=st.integers(0, 40), width=st.integers(0, 40), kinds=st.integers(1, 256))
def test_lines_are_numbered_in_the_order_of_their_appearance(seed: int, height: int, width: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    low = int(rng.integers(-128, 129 - kinds))
    some = rng.integers(low, low + kinds, (3, width)).astype(np.int8)
    check(some[rng.integers(0, 3, height)])
    check(rng.integers(low, low + kinds, (height, width)).astype(np.int8))


def test_lines_of_one_mark_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "mix", np.zeros_like)
    check(np.random.default_rng(0).integers(-1, 2, (50, 3)).astype(np.int8))


@given(st.lists(st.integers(-3, 3)), st.randoms())
def test_places_in_another_order(values: list[int], random: Random) -> None:
    rows = np.array(random.sample(values, len(values)), np.int32)
    line = np.array(values, np.int32)
    place = lines.places_of(line, rows)
    np.testing.assert_array_equal(rows[place], line)
    assert sorted(place.tolist()) == list(range(len(rows)))


@given(st.sets(st.integers(-(2**31), 2**31 - 1), min_size=1), st.randoms(use_true_random=False))
def test_places_among_others(values: set[int], random: Random) -> None:
    rows = np.array(random.sample(sorted(values), len(values)), np.int32)
    line = np.array(random.sample(sorted(values), random.randint(0, len(values))), np.int32)
    np.testing.assert_array_equal(rows[lines.places_among(line, rows)], line)
