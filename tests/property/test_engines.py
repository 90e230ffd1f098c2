"""The fast engine is the reference engine: every potential, every counter, of the run and of each image."""

from __future__ import annotations

import platform
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.hand_mappings import HandCore, HandMap, encoder_onnx, maxima_map, pooled_map, random_map, wide_map
from support.targets import targets

from chipsim.chip import load_chip
from chipsim.engine.count import Counts, ImageCounts
from chipsim.engine.engines import ReferenceEngine
from chipsim.engine.fast import counting, planes, programs, tables, units
from chipsim.engine.fast.engine import FastEngine, load_fast
from chipsim.engine.fast.native import Code, Target, host
from chipsim.engine.host import load_host
from chipsim.mapping import Mapping, validate_mapping
from chipsim.mapping.dynamics import NeuronModel


def ran(engine: FastEngine | ReferenceEngine, images: np.ndarray, noise: float, parts: list[int], per_image: bool = True):
    """What an engine gives when two workers share the images in parts of the given sizes."""
    workers = [engine.worker(noise, 5, per_image) for _ in range(2)]
    potentials, each, first = [], [], 0
    for number, size in enumerate(parts):
        found, counts = workers[number % 2].batch(images[first : first + size], first, lambda: False)
        potentials.append(found)
        each.append(counts.whole() if per_image else None)
        first += size
    return np.concatenate(potentials), each, engine.counts(workers)


def agrees(fast: FastEngine, reference: ReferenceEngine, images: np.ndarray, noise: float, per_image: bool = True) -> None:
    """Every potential and every counter, also where two workers share the images."""
    parts = [size for size in (len(images) // 3, len(images) - len(images) // 3) if size]
    want, want_each, want_counts = ran(reference, images, noise, parts, per_image)
    got, got_each, got_counts = ran(fast, images, noise, parts, per_image)
    np.testing.assert_array_equal(got, want)
    for entry in fields(Counts):
        np.testing.assert_array_equal(getattr(got_counts, entry.name), getattr(want_counts, entry.name), entry.name)
    for mine, theirs in zip(got_each, want_each, strict=True):
        for entry in fields(ImageCounts) if per_image else ():
            np.testing.assert_array_equal(getattr(mine, entry.name), getattr(theirs, entry.name), entry.name)


def check_equal(
    mapping: Mapping, images: np.ndarray, noise: float = 0.0, target: Target | None = None, bits: bool = True
) -> FastEngine:
    validate_mapping(mapping)
    host = load_host(mapping)
    fast = load_fast(mapping, host, Code(target), noisy=noise > 0, bits=bits)
    assert fast is not None
    agrees(fast, ReferenceEngine(mapping, host), images, noise)
    return fast


def images_for(hand: HandMap, rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(-1, hand.levels + 2, (count, hand.features)).astype(np.float32)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3]), st.integers(1, 140))
@settings(max_examples=40)
def test_random_mappings(seed: int, noise: float, count: int) -> None:
    rng = np.random.default_rng(seed)
    hand = random_map(rng)
    check_equal(hand.build(), images_for(hand, rng, count), noise)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3]), st.sampled_from(["code", "dense", "lists", "mixed"]))
@settings(max_examples=60)
def test_mappings_with_much_to_merge(seed: int, noise: float, way: str) -> None:
    # levels of a feature on equal rows, several thresholds a column, cores with equal crossbars, weights of any width;
    # all of it as code, as lookups and products where the processor has them, as lists
    rng = np.random.default_rng(seed)
    hand = wide_map(rng)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "SHARED", 1 if way == "code" else 10**9)
        dense = {"dense": lambda form: True, "mixed": lambda form: form.matrix.sum() % 2}.get(way, lambda form: False)
        patch.setattr(programs, "cost", lambda form, instruction: -1 if dense(form) else 10**9)
        check_equal(hand.build(), images_for(hand, rng, int(rng.integers(1, 80))), noise, bits=False)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([None, *targets()]),
    st.sampled_from([0, 16, 1024]),
    st.sampled_from([0, counting.SPARSE, 10**6]),
    st.sampled_from([9, counting.PART]),
)
@settings(max_examples=100)
def test_bundles_and_units(seed: int, noise: float, target: Target | None, most: int, sparse: int, part: int) -> None:
    # cores that listen to the same are added up together, as many as have so many accumulators; what rows count in SOPs
    # beyond a factor is added up row by row, or for all rows at a time; what is sent is added up in parts
    rng = np.random.default_rng(seed)
    hand = pooled_map(rng)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "SPARSE", sparse)
        patch.setattr(counting, "PART", part)
        if most:
            patch.setattr(units, "MOST", most)
            patch.setattr(programs, "cost", lambda form, instruction: -1)
        check_equal(hand.build(), images_for(hand, rng, int(rng.integers(1, 140))), noise, target, bits=False)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3]), st.sampled_from([None, *targets()]), st.booleans())
@settings(max_examples=150)
def test_maxima(seed: int, noise: float, target: Target | None, bits: bool) -> None:
    # pools of levels, and what looks like them
    rng = np.random.default_rng(seed)
    hand = maxima_map(rng)
    with pytest.MonkeyPatch.context() as patch:
        if bits:
            patch.setattr(planes, "LINE", dict.fromkeys(planes.LINE, 1e-9))
        check_equal(hand.build(), images_for(hand, rng, int(rng.integers(1, 140))), noise, target, bits)


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("bits", [False, True])
def test_a_pool_is_a_maximum(noise: float, bits: bool) -> None:
    # three levels of four inputs, two windows of which share one; the pool of a pool
    windows, levels = [[0, 1, 2], [2, 3]], 3
    weights = np.zeros((4 * levels, 2 * levels), np.int64)
    for window, inputs in enumerate(windows):
        for level in range(levels):
            weights[np.array(inputs) * levels + level, window * levels + level] = 1
    first = 4 * levels
    cores = [
        HandCore(0, weights, list(range(first)), [1] * (2 * levels), list(range(2 * levels))),
        HandCore(1, np.tile(np.eye(levels, dtype=np.int64), (2, 1)), list(range(first, first + 6)), [1] * levels, [0, 1, 2]),
        HandCore(2, [[1], [1], [1]], [first + 6, first + 7, first + 8], [0], [0]),
    ]
    layers = [("pool", 2, levels, 1), ("again", 1, levels, 2), ("out", 1, 0, 3)]
    hand = HandMap(4, levels, layers, cores, chip=load_chip("xbar1152"))
    images = np.array(np.meshgrid(*[range(levels + 1)] * 4)).reshape(4, -1).T.astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        if bits:
            patch.setattr(planes, "LINE", dict.fromkeys(planes.LINE, 1e-9))
        fast = check_equal(hand.build(), images, noise, bits=bits)
    merged = fast.tables.merged
    found = [merged.forms[core.form].maximum for core in merged.cores]
    assert found == [not noise, True, False], "of lost levels the second may fire without the first"
    assert merged.values.size.tolist() == ([1] * 21 if noise else [levels] * 7)
    assert merged.rank.tolist() == ([0] * 6 + [1] * 3 if noise else [1, 2, 3] * 3) + [0]


@pytest.mark.parametrize("bits", [False, True])
def test_maxima_of_which_some_levels_are_heard(bits: bool) -> None:
    # two levels of two inputs, and four of two others; a listener takes the first level of each maximum alone
    taken = [0, 1, 4, 5, *range(8, 16)]
    weights = np.zeros((12, 6), np.int64)
    weights[np.arange(4), np.arange(4) % 2] = weights[4 + np.arange(8), 2 + np.arange(8) % 4] = 1
    cores = [
        HandCore(0, [[7, -8]] * 16, list(range(16)), [30, -30], [0, 1], 4),  # its sums lie where maxima come
        HandCore(1, weights, taken, [1] * 6, [0, 1, 4, 5, 6, 7]),
        HandCore(2, [[3, -2], [1, 5], [1, 1]], [18, 20, 16], [0, 0], [0, 1], 4),
        HandCore(2, [[1]] * 6, list(range(18, 24)), [0], [2], 4),
    ]
    layers = [("before", 2, 1, 1), ("pool", 2, 4, 2), ("out", 3, 0, 3)]
    hand = HandMap(4, 4, layers, cores, chip=load_chip("xbar1152"))
    images = np.array(np.meshgrid(*[range(5)] * 4)).reshape(4, -1).T.astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        if bits:
            patch.setattr(planes, "LINE", dict.fromkeys(planes.LINE, 1e-9))
        merged = check_equal(hand.build(), images, bits=bits).tables.merged
    assert merged.rank.tolist() == [0, 0, 1, 2, 1, 2, 3, 4, 0, 0, 0]
    assert sorted(merged.values.size[merged.values.encoder :].tolist()) == [1, 1, 1, 1, 1, 3]


@example(3, 9, 1, 0.0)  # more images than come at a time, more steps than are held
@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.sampled_from([None, 0, 1]), st.sampled_from([0.0, 0.3]))
@settings(max_examples=40)
def test_bundles_of_several_steps(seed: int, steps: int, delay: int | None, noise: float) -> None:
    # neurons without a state, with one, and such whose spikes are sent in the next step
    rng = np.random.default_rng(seed)
    neuron = None if delay is None else NeuronModel(reset="subtract", leak=(int(rng.integers(1, 4)), 2), delay=delay)
    hand = replace(pooled_map(rng, None if neuron is None else 1), steps=steps, neuron=neuron)
    check_equal(hand.build(), images_for(hand, rng, int(rng.integers(1, 140))), noise)


def test_what_a_pool_takes_apart_is_one_number_again() -> None:
    # two levels of three elements, in two cores, each a column of its own; two cores listen, to both levels alike
    rng, same = np.random.default_rng(0), [[1, -2], [1, -2], [3, 0], [3, 0], [-1, 2], [-1, 2]]
    cores = [HandCore(0, rng.integers(-2, 2, (6, 3)), list(range(6)), [0, 1, 0], own) for own in ([0, 3, 2], [1, 4, 5])]
    heard = [[6, 9, 8, 11, 7, 10], [6, 9, 8, 11, 10, 7]]
    cores += [HandCore(1, same, heard[core], [1, 2], [2 * core, 2 * core + 1], 4) for core in range(2)]
    cores.append(HandCore(2, [[1], [2], [3], [-1]], [12, 13, 14, 15], [0], [0], 4))
    layers = [("pool", 3, 2, 1), ("listens", 4, 1, 2), ("out", 1, 0, 3)]
    hand = HandMap(6, 1, layers, cores, chip=load_chip("xbar1152"))
    merged = check_equal(hand.build(), images_for(hand, rng, 100), bits=False).tables.merged
    assert merged.values.bundles.size.tolist() == [2, 2, 2]
    listening = [core for core in merged.cores if core.core in (2, 3)]
    assert [len(core.rows) for core in listening] == [3, 3]
    assert len({core.form for core in listening}) == 1


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 300),
    st.sampled_from([2, 3, 4]),
    st.booleans(),
    st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=40)
def test_images_side_by_side(seed: int, count: int, side: int, per_image: bool, noise: float) -> None:
    # a core does several times 64 images before the next core
    rng = np.random.default_rng(seed)
    hand = (wide_map if seed % 2 else pooled_map)(rng)
    mapping, images = hand.build(), images_for(hand, rng, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "side_by_side", lambda programs, values: side)
        host = load_host(mapping)
        fast = load_fast(mapping, host, Code(), noisy=noise > 0, bits=False)
    assert fast is not None
    assert fast.tables.side == side
    agrees(fast, ReferenceEngine(mapping, host), images, noise, per_image)


def test_merging_finds_what_is_there() -> None:
    hand = wide_map(np.random.default_rng(3), levels=4, bits=2, plain=True)
    mapping = hand.build()
    fast = check_equal(mapping, images_for(hand, np.random.default_rng(0), 70))
    merged = fast.tables.merged
    assert set(merged.values.size.tolist()) == {4}, "every feature is one value"
    assert len(merged.forms) == 2, "the hidden cores are one form, the read-out another"


@pytest.mark.parametrize("levels", [127, 128, 200, 255, 256, 300])
def test_many_levels(levels: int) -> None:
    rng = np.random.default_rng(levels)
    chip = load_chip("xbar1152")
    weights = rng.integers(-2, 2, (2, 3)).repeat(levels, axis=0)
    hand = HandMap(
        features=2,
        levels=levels,
        layers=[("hidden", 3, 1, 1), ("out", 1, 0, 2)],
        chip=chip,
        cores=[
            HandCore(0, weights, list(range(2 * levels)), [levels // 2, 0, -levels], [0, 1, 2]),
            HandCore(1, [[1], [1], [-1]], [2 * levels, 2 * levels + 1, 2 * levels + 2], [0], [0]),
        ],
    )
    check_equal(hand.build(), images_for(hand, rng, 66))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("extreme", [False, True])
def test_wide_sums(bits: int, extreme: bool) -> None:
    # a fold of 64 reaches beyond 16 bits; extreme: every weight the lowest there is
    rng = np.random.default_rng(bits)
    chip = load_chip("xbar1152")
    low, high = (0, 2) if bits == 1 else (-(1 << (bits - 1)), 1 << (bits - 1))
    features, levels, rows = 300, 2, 1200
    weights = np.full((rows, 2), low if bits > 1 else 1) if extreme else rng.integers(low, high, (rows, 2))
    total = int(weights.sum(axis=0).min()) // 2
    hand = HandMap(
        features=features,
        levels=levels,
        layers=[("hidden", 2, 1, 1), ("out", 1, 0, 2)],
        chip=chip,
        cores=[
            HandCore(0, weights, rng.integers(0, features * levels, rows).tolist(), [total, -total], [0, 1], bits, 2),
            HandCore(1, [[1], [-1]], [600, 601], [0], [0]),
        ],
    )
    check_equal(hand.build(), images_for(hand, rng, 70))


TARGETS = {"sse2": "+sse2", "ssse3": "+ssse3,-avx", "avx": "+avx,-avx2", "avx2": "+avx2,+bmi2,-avx512f"}
TARGETS |= {"avx512bw": "+bmi2,+avx512f,+avx512bw", "avx512vnni": "+bmi2,+avx512f,+avx512bw,+avx512vnni"}


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="other processors have other features")
@pytest.mark.parametrize("name", TARGETS)
def test_older_processors(name: str) -> None:
    wanted = {word[1:] for word in TARGETS[name].split(",") if word.startswith("+")}
    if missing := wanted - {word[1:] for word in host().features.split(",") if word.startswith("+")}:
        pytest.skip(f"this processor has no {', '.join(sorted(missing))}")
    rng = np.random.default_rng(7)
    hand = wide_map(rng)
    check_equal(hand.build(), images_for(hand, rng, 70), target=Target("x86-64", TARGETS[name]))


def test_an_input_of_spikes() -> None:
    rng = np.random.default_rng(8)
    for levels in (1, 3):
        hand = wide_map(rng, levels=levels)
        mapping = hand.build()
        sources = mapping.encoder_neurons
        spec = replace(mapping.input, shape=(sources,))
        spikes = replace(mapping, encoder_onnx=None, input=spec)
        for noise in (0.0, 0.4):
            check_equal(spikes, rng.integers(0, 2, (70, sources)).astype(np.float32), noise)


def test_an_encoder_for_one_image_at_a_time() -> None:
    rng = np.random.default_rng(9)
    hand = wide_map(rng)
    mapping = replace(hand.build(), encoder_onnx=encoder_onnx(hand.features, 1))
    check_equal(mapping, images_for(hand, rng, 20))
