"""The compiler's parts for PAICORE 2.5, each by its law: folds, tables, signals, input maps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.paicores import chip

from chipsim.paicore import words as w
from chipsim.paicore.memory import transitions
from qsnnc.targets.paicore25.activation import Channels, NoTable, share, words_of
from qsnnc.targets.paicore25.folding import fewest_rows, fold
from qsnnc.targets.paicore25.layout import lcn_of
from qsnnc.targets.paicore25.routes import place, signals


def unfolded(fold_row: dict[str, int], of: str) -> list[int]:
    return transitions(fold_row, of).tolist()


@given(
    st.lists(st.tuples(st.integers(-3, 40), st.integers(0, 30)), max_size=40),
    st.integers(1, 4),
    st.sampled_from([25, 2047]),
)
def test_folds_stand_for_their_neurons(steps: list[tuple[int, int]], repeat: int, most: int) -> None:
    every = steps * repeat
    offset = np.cumsum([100, *(a for a, _ in every)])
    address = np.cumsum([0, *(b for _, b in every)])
    found = fold(offset, address, most)
    at = 0
    for each in found:
        assert each.start == at
        at += each.number
        names = ("y", "x", "xy")
        row = {"number": each.number, **{f"range_{n}": r for n, r in zip(names, each.ranges, strict=True)}}
        for of, by, values in (("skew", each.skew, offset), ("axon", each.axon, address)):
            row |= {f"{of}_{n}": v for n, v in zip(names, by, strict=True)}
            assert max(by) <= most
            wanted = values[each.start : each.start + each.number] - values[each.start]
            assert unfolded(row, of) == wanted.tolist()
    assert at == len(offset)
    assert sum(each.rows for each in found) >= fewest_rows(len(offset))


def test_a_map_is_one_fold() -> None:
    rows, columns = np.indices((6, 7))
    found = fold((rows * 90 + columns * 3).reshape(-1), (rows * 40 + columns).reshape(-1), 2047)
    assert [(each.number, each.ranges) for each in found] == [(42, (7, 6, 1))]
    assert found[0].rows == fewest_rows(42) == 13
    # cut short, it is still one
    assert len(fold((rows * 90 + columns * 3).reshape(-1)[:31], (rows * 40 + columns).reshape(-1)[:31], 2047)) == 1


@given(st.integers(1, 6), st.integers(1, 15), st.sampled_from([1, 7, 127]), st.integers(0, 2**32 - 1))
def test_every_channel_decides_as_before(count: int, levels: int, most: int, seed: int) -> None:
    """For every potential that is reached, the table says what the channel's own thresholds say."""
    rng = np.random.default_rng(seed)
    steps = rng.uniform(0.3, 12, count) if rng.random() < 0.7 else np.full(count, 3.0)
    start = rng.uniform(-60, 60, count)
    thresholds = np.ceil(start[:, None] + steps[:, None] * np.arange(levels)).astype(np.int64)
    if rng.random() < 0.3:
        thresholds = np.sort(rng.integers(-50, 50, (count, levels)), axis=1)
    low, high = thresholds[:, 0] - rng.integers(-5, 30, count), thresholds[:, -1] + rng.integers(-5, 30, count)
    high = np.maximum(low, high)
    channels = Channels(thresholds, low, high, np.arange(count), np.full(count, most))
    try:
        found = share(channels, (1 << 19) - 1, 100)
    except NoTable:
        assert levels * 200 * most > 1 << 19  # an offset of 20 bits reaches everything here
        return
    bits = next(b for b in (1, 2, 4, 8) if levels < 1 << b)
    for channel in range(count):
        potential = np.arange(low[channel], high[channel] + 1)
        wanted = (potential[:, None] >= thresholds[channel]).sum(axis=1)
        moved = potential * found.multiplier[channel] + found.offset[channel]
        table = w.TABLE.unpack(words_of(found.tables[found.table[channel]], bits)[:, None])
        block = 256 >> bits
        prefix = np.zeros(len(moved), np.int64)
        for bit in reversed(range(bits)):
            tried = prefix | 1 << bit
            prefix = np.where(moved >= table["threshold"][tried * block], tried, prefix)
        assert (table["value"][prefix * block] == wanted).all()


def test_batch_norms_share_a_table_where_weights_can_be_multiplied() -> None:
    steps = np.array([5.0, 6.3, 7.77, 10.01, 25.2])
    thresholds = np.ceil(steps[:, None] * np.arange(8) - 20 + steps[:, None] / 3).astype(np.int64)
    wide = np.full(5, 1 << 12)

    def tables(most: int) -> int:
        return len(share(Channels(thresholds, -wide, wide, np.arange(5), np.full(5, most)), (1 << 19) - 1, 9).tables)

    assert tables(1) == 5
    assert tables(127) == 1


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(2, 8)), min_size=1, unique=True))
def test_signals_reach_every_core_once(places: list[tuple[int, int]]) -> None:
    found = signals(places)
    if found is None:
        return
    send, receive = found
    links = [(k, xy) for k, mask in enumerate(send) for xy, bit in w.DIRECTIONS.items() if mask >> bit & 1]
    assert len(links) == len(places) - 1
    heard = {0}
    for k, (dx, dy) in sorted(links, key=lambda link: link[0]):
        there = places.index((places[k][0] + dx, places[k][1] + dy))
        heard.add(there)
        assert receive[there] >> (w.DIRECTIONS[dx, dy] ^ 1) & 1
    assert heard == set(range(len(places)))
    assert all(mask >> w.PARTICIPANT & 1 for mask in send)


@given(
    st.lists(st.integers(0, 7), max_size=9),
    st.integers(0, 20),
    st.lists(st.tuples(st.integers(0, 8), st.integers(2, 8)), max_size=3),
)
def test_runs_are_vertical_and_apart(runs: list[int], single: int, dead: list[tuple[int, int]]) -> None:
    assume(sum(runs) + single > 0)
    spec = chip(dead_cores=tuple(dead))
    found = place(runs, single, spec)
    if found is None:
        return
    taken, alone = found
    every = [*(xy for run in taken for xy in run), *alone]
    assert len(set(every)) == len(every) == sum(runs) + single
    assert set(every) <= set(spec.places)
    for run, size in zip(taken, runs, strict=True):
        assert len(run) == size
        assert all(b == (a[0], a[1] + 1) for a, b in pairwise(run))


@pytest.mark.parametrize(("bits", "code"), [(1, 0), (512, 0), (513, 1), (1024, 1), (1025, 2), (65_536, 7)])
def test_lcn(bits: int, code: int) -> None:
    assert lcn_of(bits) == code
