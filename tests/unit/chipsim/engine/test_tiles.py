"""Rows and columns in an order that takes fewer tiles, and rows that are packed once for several cores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hand_mappings import HandCore, HandMap, pooled_map, random_map, wide_map

from chipsim.chip import load_chip
from chipsim.engine.count import Counts, ImageCounts
from chipsim.engine.engines import ReferenceEngine
from chipsim.engine.fast import programs, tables, tiles
from chipsim.engine.fast.engine import FastEngine, load_fast
from chipsim.engine.fast.layout import CORE
from chipsim.engine.fast.merge import Merged, MergedCore, make_form, merge
from chipsim.engine.fast.native import Code
from chipsim.engine.host import load_host
from chipsim.mapping import Mapping


def meaning(merged: Merged, mapping: Mapping) -> list[object]:
    """What a core is, whatever the order of its rows and columns."""
    found = []
    for core in sorted(merged.cores, key=lambda core: core.core):
        form, order = merged.forms[core.form], np.argsort(core.rows)
        own = slice(*mapping.neuron_offset[core.core : core.core + 2].tolist())
        weights = form.matrix[order][:, merged.accumulator[own]]
        rows = (core.rows[order], core.events[order], core.sops[order], form.bound[order])
        found.append((core.core, core.largest, weights.tolist(), *(each.tolist() for each in rows)))
    return found


@given(st.integers(0, 2**32 - 1), st.sampled_from([random_map, wide_map, pooled_map]))
def test_another_order_is_the_same_network(seed: int, make: Callable[..., HandMap]) -> None:
    hand = make(np.random.default_rng(seed))
    mapping = hand.build()
    merged = merge(mapping)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "FEW", 0)
        patch.setattr(tiles, "DENSE", 1)
        assert meaning(tiles.in_blocks(merged, mapping), mapping) == meaning(merged, mapping)


def test_places_of_a_convolution_become_blocks() -> None:
    # eight places of 16 channels that read 64 rows each, in an order in which every tile has some weight
    rng = np.random.default_rng(0)
    weights = rng.choice([-1, 0, 1], (64, 16), p=[0.3, 0.4, 0.3])
    weights[:, 0] = 1  # no row without a weight
    matrix = np.kron(np.eye(8, dtype=np.int64), weights).astype(np.int8)
    shuffled = matrix[rng.permutation(512)][:, rng.permutation(128)]
    assert tiles.steps(shuffled) > 60
    core = MergedCore(0, 0, np.arange(512, dtype=np.int32), np.ones(512, np.int64), np.ones(512, np.int64), 512)
    form = make_form(shuffled, np.ones(512, np.int64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "_reading_alike", lambda merged, m: [[core]])
        patch.setattr(tiles, "_ordered", lambda merged, m, orders: orders[0])
        rows, columns = tiles.in_blocks(Merged(None, (form,), (core,), None, None), None)  # type: ignore[arg-type]
    assert tiles.steps(shuffled[rows][:, columns]) == 8


@pytest.mark.parametrize("side", [1, 2])
def test_cores_that_read_the_same_are_a_unit(side: int) -> None:
    rng = np.random.default_rng(3)
    features, neurons = 90, 20
    cores = [
        HandCore(
            0,
            rng.integers(-2, 2, (features, neurons)),
            rng.permutation(features).tolist(),
            rng.integers(-5, 6, neurons).tolist(),
            list(range(neurons * number, neurons * (number + 1))),
        )
        for number in range(3)
    ]
    hidden = features + np.arange(3 * neurons)
    cores.append(HandCore(1, rng.integers(-2, 2, (3 * neurons, 4)), hidden.tolist(), [0] * 4, list(range(4))))
    layers = [("hidden", 3 * neurons, 1, 1), ("out", 4, 0, 2)]
    mapping = HandMap(features, 1, layers, cores, chip=load_chip("xbar1152")).build()
    host, images = load_host(mapping), rng.integers(0, 2, (200, features)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "side_by_side", lambda programs, values: side)
        patch.setattr(programs, "cost", lambda form, instruction: -1)
        fast = load_fast(mapping, host, Code(), bits=False)
    assert fast is not None
    unit = fast.tables.cores[:, CORE.index("unit")].tolist()
    assert unit == ([1, 1, 1, 1] if fast.code.target.lookup is None else [3, 0, 0, 1])
    agree(fast, mapping, images)


def agree(fast: FastEngine, mapping: Mapping, images: np.ndarray) -> None:
    """Potentials, counts, and counts of each image are those of the reference engine."""
    reference = ReferenceEngine(mapping, fast.host)
    workers = [engine.worker(0.0, 0, True) for engine in (fast, reference)]
    (got, mine), (want, theirs) = (worker.batch(images, 0, lambda: False) for worker in workers)
    np.testing.assert_array_equal(got, want)
    assert mine is not None
    for kind, pair in (
        (ImageCounts, (mine.whole(), theirs)),
        (Counts, (fast.counts(workers[:1]), reference.counts(workers[1:]))),
    ):
        for entry in fields(kind):
            np.testing.assert_array_equal(*(getattr(each, entry.name) for each in pair), entry.name)


def test_cores_that_read_nearly_the_same_are_a_unit() -> None:
    # of 90 rows the second lacks ten, the third ten others, and the fourth takes half of them and others: it stays alone
    rng = np.random.default_rng(5)
    features, neurons = 160, 8
    taken = [range(90), range(10, 90), [*range(50), *range(60, 90)], range(45, 135)]
    cores = [
        HandCore(
            0,
            rng.integers(1, 3, (len(rows), neurons)),
            rng.permutation(rows).tolist(),
            rng.integers(20, 99, neurons).tolist(),
            list(range(neurons * number, neurons * (number + 1))),
            4,
        )
        for number, rows in enumerate(taken)
    ]
    hidden = features + np.arange(4 * neurons)
    cores.append(HandCore(1, rng.integers(-2, 2, (4 * neurons, 4)), hidden.tolist(), [0] * 4, list(range(4))))
    mapping = HandMap(features, 1, [("hidden", 4 * neurons, 1, 1), ("out", 4, 0, 2)], cores, load_chip("xbar1152")).build()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "cost", lambda form, instruction: -1)
        fast = load_fast(mapping, load_host(mapping), Code(), bits=False)
    assert fast is not None
    if fast.code.target.lookup is not None:
        assert [(unit.first, unit.members, len(unit.rows)) for unit in fast.tables.merged.units] == [(0, 3, 90)]
    agree(fast, mapping, rng.integers(0, 2, (200, features)).astype(np.float32))


def test_rows_are_counted_as_their_unit_packs_them() -> None:
    # at two places two cores take the same; those of the second take it in different orders
    rng = np.random.default_rng(3)
    features, neurons, cores = 90, 20, list[HandCore]()
    for place in range(2):
        for weights in rng.integers(-2, 2, (2, features, neurons)) if not place else [each.weights for each in cores[:2]]:
            own = features * place + np.arange(features)
            sources = rng.permutation(own) if len(cores) == 3 else own
            elements = list(range(neurons * len(cores), neurons * (len(cores) + 1)))
            thresholds = rng.integers(-5, 6, neurons).tolist()
            cores.append(HandCore(0, weights, sources.tolist(), thresholds, elements))
    hidden = 2 * features + np.arange(4 * neurons)
    cores.append(HandCore(1, rng.integers(-2, 2, (4 * neurons, 4)), hidden.tolist(), [0] * 4, list(range(4))))
    layers = [("hidden", 4 * neurons, 1, 1), ("out", 4, 0, 2)]
    mapping = HandMap(2 * features, 1, layers, cores, chip=load_chip("xbar1152")).build()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "cost", lambda form, instruction: -1)
        fast = load_fast(mapping, load_host(mapping), Code(), bits=False)
    assert fast is not None
    assert len(fast.tables.merged.forms) == 3
    agree(fast, mapping, rng.integers(0, 2, (200, 2 * features)).astype(np.float32))
