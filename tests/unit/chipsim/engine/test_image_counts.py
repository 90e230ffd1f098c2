"""Counts of each image: sums of rows times weights, and what they are kept as."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chipsim
from chipsim.datasets import Dataset
from chipsim.engine import shared_counts, spool
from chipsim.engine.fast import image_counts
from chipsim.engine.fast.callables import Kernels
from chipsim.engine.fast.counting import runs
from chipsim.engine.fast.memory import address, aligned
from chipsim.engine.fast.native import Code
from chipsim.engine.shared_counts import SharedCounts, Sharing, smallest
from chipsim.report.tables import write_per_image

_KERNELS = Kernels(Code())


@settings(max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 7, 255]),
    st.sampled_from([1, 40, 3000, 40_000]),
    st.sampled_from([1, 30, 400]),
    st.integers(1, 5),
)
def test_sums_of_rows_are_exact(seed: int, bound: int, heaviest: int, rows: int, owners: int) -> None:
    """Also where a product, or the sum of a run, needs more than 16 bits, and where weights are negative."""
    rng = np.random.default_rng(seed)
    values = aligned((rows, 64), np.uint8)
    values[:] = rng.integers(0, bound + 1, values.shape)
    values[:, 0] = bound  # as large as can be
    owner = rng.integers(0, owners, rows)
    kinds = rng.integers(-heaviest, heaviest + 1, (2, 4))
    kinds[0, 0] = kinds[1, 1] = 0
    kinds[:, 2] = heaviest
    one, other = kinds[:, rng.integers(0, 4, rows)]
    table = runs(owner, 64 * np.arange(rows), np.full(rows, bound), (one, other), owners)
    sums = aligned((2, 64), np.int32)
    for number in range(owners):
        sums[:] = 5  # what was counted before
        given = address(table.table), number, address(values), address(sums), address(sums) + 4 * 64
        _KERNELS["count_runs"](*given)
        mine = owner == number
        for weight, found in zip((one, other), sums, strict=True):
            np.testing.assert_array_equal(found, 5 + weight[mine] @ values[mine].astype(np.int64))


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize(("columns", "images"), [(1, 1), (16, 64), (37, 19), (48, 50)])
def test_rows_become_columns(bits: int, columns: int, images: int) -> None:
    rng = np.random.default_rng(columns)
    counts = aligned((60, 64), np.int32)
    counts[:] = rng.integers(0, 200, counts.shape)
    rows = rng.integers(0, 60, columns)
    padded = np.pad(rows, (0, -columns % 16)).astype(np.uint32)
    out = np.full((images + 1, columns), 77, f"u{bits // 8}")
    _KERNELS[f"by_image{bits}"](columns, images, address(padded), address(counts), address(out))
    np.testing.assert_array_equal(out[:-1], counts[rows, :images].T)
    assert (out[-1] == 77).all(), "nothing is written beyond"


def test_counts_are_made_of_those_that_are_kept() -> None:
    rng = np.random.default_rng(0)
    factor, silent = np.array([3, 0, 5]), np.array([False, True, False])
    sharing = Sharing(
        np.array([0, 0, 1]), factor, np.array([2]), np.array([7, 0, 0]), np.array([1, 0, 0]), silent, (np.dtype("u1"),) * 3
    )
    kept = SharedCounts.empty(sharing, 9)
    for name, array in kept.arrays().items():
        array[:] = rng.integers(0, 200, array.shape)
        assert array.shape == {"spikes": (9, 3), "rest": (9, 1), "events": (9, 2)}.get(name, (9,))
    events = kept.events.astype(int)[:, [0, 0, 1]]
    spikes, sops = kept.spikes.astype(int), events * factor + [7, 0, 0]
    sops[:, 2] += kept.rest[:, 0]
    spikes[:, 1] = sops[:, 1] = 0
    whole = kept.whole()
    assert whole is kept.whole()
    np.testing.assert_array_equal(whole.spikes, spikes)
    np.testing.assert_array_equal(whole.sops, sops)
    np.testing.assert_array_equal(whole.events, events + np.array([1, 0, 0]))
    np.testing.assert_array_equal(kept.sent(), kept.encoder_spikes + spikes.sum(axis=1))
    assert whole.sops.dtype == whole.spikes.dtype == whole.events.dtype == np.int32
    np.testing.assert_array_equal(kept.rows(2, 4).of("sops", slice(0, 4)), sops[2:6])


def test_as_few_bytes_as_hold_a_count() -> None:
    given = ((0, 255), (0, 256), (0, 65536), (-1, 5), (-32769, 0), (0, 0))
    assert [smallest(*each).str[1:] for each in given] == ["u1", "u2", "i4", "i2", "i4", "u1"]


@pytest.mark.parametrize("threads", [1, 2])
def test_files_hold_what_memory_does_not(small, tmp_path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """Whole counts, in memory and in files, and those that are written are those of the reference engine."""
    mapping, data = small[0].mapping, small[2]
    images = np.random.default_rng(3).integers(0, 256, (300, *data.images.shape[1:])).astype(np.uint8)
    data = Dataset("random", "test", images)
    want = chipsim.run(mapping, data, engine="reference", per_image=True).by_image
    for limit in (1 << 20, 0):
        for module in (spool, image_counts):
            monkeypatch.setattr(module, "IN_MEMORY", limit)
        monkeypatch.setattr(shared_counts, "PART", 1 << 12)
        result = chipsim.run(mapping, data, per_image=True, threads=threads, batch=64)
        with open(tmp_path / "each.npz", "wb") as file:
            write_per_image(result, file)
        with np.load(tmp_path / "each.npz") as file:
            for name, kind in (("spikes", "spikes"), ("sops", "sops"), ("axon_events", "events")):
                np.testing.assert_array_equal(file[name], getattr(want, kind))
                np.testing.assert_array_equal(getattr(result.by_image, kind), getattr(want, kind))
                assert file[name].dtype == np.int32
            np.testing.assert_array_equal(file["encoder_spikes"], want.encoder_spikes)
