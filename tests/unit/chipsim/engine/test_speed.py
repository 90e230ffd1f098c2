"""What must not be lost: work counted, and our two engines side by side; no absolute time, machines differ."""

from __future__ import annotations

import re

import numpy as np
import pytest
from support.hand_mappings import HandCore, HandMap

import chipsim
from chipsim.chip import load_chip
from chipsim.datasets import Dataset, load_dataset
from chipsim.engine.fast import plan, straight
from chipsim.engine.fast.merge import merge


@pytest.mark.slow
def test_a_lenet_takes_few_instructions(lenet) -> None:
    merged = merge(lenet.mapping)
    uses = np.bincount([core.form for core in merged.cores])
    assert len(merged.values.size) == 26_880, "the four levels of a feature are one value"
    assert len(merged.forms) <= 15
    synapses = additions = 0
    for form, count in zip(merged.forms, uses, strict=True):
        if count >= 3:
            text = straight.write(form, "form", 24)
            additions += count * len(re.findall(r"= (?:add|sub) <64 x i(?:8|16)>", text))
            synapses += count * np.count_nonzero(form.matrix)
    assert synapses > 2_600_000
    assert additions < 0.85 * synapses, "pairs of columns share their sums"


def test_a_list_takes_one_addition_a_weight() -> None:
    rng = np.random.default_rng(0)
    core = HandCore(0, rng.integers(-1, 2, (512, 40)), list(range(512)), [0] * 40, list(range(40)))
    hand = HandMap(512, 1, [("hidden", 40, 1, 1), ("out", 1, 0, 2)], [core, HandCore(1, [[1]], [512], [0], [0])])
    hand.chip = load_chip("xbar1152")
    form = merge(hand.build()).forms[0]
    steps = len(plan.lists(form))
    assert steps < 1.25 * np.count_nonzero(form.matrix)


@pytest.mark.slow
def test_the_fast_engine_is_many_times_as_fast_as_the_reference(lenet) -> None:
    digits = load_dataset("digits")
    few = Dataset("digits", "test", digits.images[:100], None)
    ratio = 0.0
    for _ in range(3):
        chipsim.run(lenet.mapping, digits, threads=1)
        fast = chipsim.run(lenet.mapping, digits, threads=1).images_per_second
        ratio = max(ratio, fast / chipsim.run(lenet.mapping, few, threads=1, engine="reference").images_per_second)
        if ratio > 15:
            break
    assert ratio > 15, "measured: 50 with AVX-512"


@pytest.mark.slow
def test_ten_thousand_distinct_cores() -> None:
    rng = np.random.default_rng(0)
    count = 10_000
    weights, sources = rng.integers(-2, 2, (count, 8, 4)), rng.integers(0, 64, (count, 8))
    cores = [HandCore(0, weights[c], sources[c].tolist(), [0, 1, 2, 3], list(range(4 * c, 4 * c + 4))) for c in range(count)]
    heard, last = rng.integers(0, 4 * count, 100), rng.integers(-2, 2, (100, 2))
    cores.append(HandCore(1, last, (64 + heard).tolist(), [0, 0], [0, 1]))
    chip = load_chip("xbar1152").model_copy(update={"grid": (101, 100)})
    mapping = HandMap(64, 1, [("hidden", 4 * count, 1, 1), ("out", 2, 0, 2)], cores, chip).build()
    assert len(mapping.crossbar_shape) > 9_900
    images = rng.integers(0, 2, (70, 64))
    result = chipsim.run(mapping, Dataset("random", "test", images.astype(np.float32), None), threads=1)
    bits = images[:, sources]  # (images, cores, axons)
    fired = np.einsum("ica,can->icn", bits, weights) >= [0, 1, 2, 3]
    assert [core.spikes for core in result.cores[:-1]] == fired.sum(axis=(0, 2)).tolist()
    assert [core.axon_events for core in result.cores[:-1]] == bits.sum(axis=(0, 2)).tolist()
    synapses = np.count_nonzero(weights, axis=2)
    assert [core.sops for core in result.cores[:-1]] == (bits * synapses).sum(axis=(0, 2)).tolist()
    np.testing.assert_array_equal(result.potentials, fired.reshape(70, -1)[:, heard].astype(int) @ last)
