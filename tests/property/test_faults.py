"""The engines agree under every fault, in any batches and on any threads; a rate's places are among a higher one's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.hand_mappings import HandMap, pooled_map, random_map, relayed, wide_map

from chipsim.chip import load_chip
from chipsim.engine.count import Counts, ImageCounts
from chipsim.engine.engines import ReferenceEngine
from chipsim.engine.fast import arrivals, changes, tables
from chipsim.engine.fast.engine import FastEngine, load_fast
from chipsim.engine.fast.native import Code
from chipsim.engine.host import load_host
from chipsim.faults import WORKS, Damage, inflict
from chipsim.mapping import Mapping, validate_mapping

KINDS = ("dead_neurons", "stuck_synapses", "stuck_axons", "flipped_thresholds", "dead_cores", "dead_links")
LOST = ("noise", "dropped_packets")  # image by image


def ran(
    engine: FastEngine | ReferenceEngine, images: np.ndarray, parts: list[int], crew: int, noise: float = 0.0
) -> tuple[Any, ...]:
    """What an engine gives when some workers share the images in parts of the given sizes."""
    workers = [engine.worker(noise, 5, True) for _ in range(crew)]
    potentials, each, first = [], [], 0
    for number, size in enumerate(parts):
        found, counts = workers[number % crew].batch(images[first : first + size], first, lambda: False)
        potentials.append(found)
        each.append(counts)
        first += size
    by_image = [np.concatenate([getattr(part.whole(), entry.name) for part in each]) for entry in fields(ImageCounts)]
    return np.concatenate(potentials), by_image, engine.counts(workers[: min(crew, len(parts))])


def check_same(got: tuple[Any, ...], want: tuple[Any, ...]) -> None:
    np.testing.assert_array_equal(got[0], want[0])
    for mine, theirs in zip(got[1], want[1], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for entry in fields(Counts):
        np.testing.assert_array_equal(getattr(got[2], entry.name), getattr(want[2], entry.name), entry.name)


def images_for(hand: HandMap, rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(-1, hand.levels + 2, (count, hand.features)).astype(np.float32)


def random_faults(rng: np.random.Generator) -> dict[str, Any]:
    """Some kinds, each at a rate that hits a few places of a small mapping."""
    found: dict[str, Any] = {"seed": int(rng.integers(1 << 40))}
    for kind in rng.choice(KINDS + LOST, rng.integers(1, len(KINDS + LOST) + 1), replace=False).tolist():
        found[kind] = {"rate": float(rng.choice([0.02, 0.2, 0.6, 1.0]))}
        if kind.startswith("stuck"):
            found[kind]["at"] = int(rng.integers(2))
    return found


def wide_enough(mapping: Mapping) -> Mapping:
    """The mapping on a chip whose potentials no broken weight can take out of its bits."""
    return replace(mapping, chip=mapping.chip.model_copy(update={"potential_bits": 30}))


@pytest.mark.slow
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 140),
    st.sampled_from([random_map, wide_map, pooled_map]),
    st.sampled_from([0.0, 0.0, 0.3]),
)
@settings(max_examples=60)
def test_engines_agree_under_faults(seed: int, count: int, make: Callable[..., HandMap], noise: float) -> None:
    rng = np.random.default_rng(seed)
    side = int(rng.integers(1, 4))
    hand = make(rng)
    mapping = wide_enough(hand.build())
    validate_mapping(mapping)
    damage = inflict(mapping, random_faults(rng))
    host = load_host(mapping)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrivals, "OWN", int(rng.choice([-1, 32])))  # matrices of stuck axons' own, or axon by axon
        patch.setattr(changes, "MOST", float(rng.integers(2)))  # matrices of stuck synapses' own, or what differs
        patch.setattr(tables, "side_by_side", lambda programs, values: side)
        fast = load_fast(damage, host, Code(), noisy=noise > 0)
    assert fast is not None
    images = images_for(hand, rng, count)
    want = ran(ReferenceEngine(damage, host), images, [count], 1, noise)
    check_same(ran(fast, images, [count], 1, noise), want)
    parts = [part for part in (count // 3, count // 5, count - count // 3 - count // 5) if part]
    check_same(ran(fast, images, parts, 2, noise), want)
    check_same(ran(ReferenceEngine(damage, host), images, parts, 2, noise), want)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
@settings(max_examples=30)
def test_dropped_packets_are_those_of_the_page(seed: int, rate: float) -> None:
    # an axon's bit is what its source sent, but for the packets that were drawn; counted one by one here
    rng = np.random.default_rng(seed)
    hand = random_map(rng)
    mapping = hand.build()
    damage = inflict(mapping, {"dropped_packets": {"rate": rate, "seed": 3}})
    engine = ReferenceEngine(damage, load_host(mapping))
    images = images_for(hand, rng, 9)
    potentials, each, counts = ran(engine, images, [4, 5], 2)
    events = 0
    for image in range(9):
        sent = engine.host.spikes(images[image : image + 1])
        lost = np.zeros(len(mapping.axon_source), bool)
        if damage.dropped is not None:
            lost = ~damage.dropped.arrive([image])[0, :, 0]
        spikes = np.concatenate([sent[:, 0], np.zeros(mapping.neurons, np.uint8)])
        ticks = np.array([layer.tick for layer in mapping.layers])[mapping.core_layer]
        for core in np.argsort(ticks, kind="stable").tolist():
            axons = slice(*mapping.axon_offset[core : core + 2].tolist())
            bits = spikes[mapping.axon_source[axons]] & ~lost[axons]
            events += int(bits.sum())
            potential = bits.astype(np.int64) @ mapping.crossbar(int(mapping.core_crossbar[core]))
            neurons = np.arange(*mapping.neuron_offset[core : core + 2].tolist())
            if mapping.layers[mapping.core_layer[core]].levels:
                spikes[mapping.encoder_neurons + neurons] = potential >= mapping.neuron_threshold[neurons]
            else:
                assert potentials[image, mapping.neuron_element[neurons]].tolist() == potential.tolist()
    assert int(counts.core_events.sum()) == events == int(each[4].sum())


@given(st.integers(0, 2**32 - 1), st.sampled_from(KINDS))
@settings(max_examples=60)
def test_a_higher_rate_breaks_more_of_the_same(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    mapping = random_map(rng).build()
    low, high = np.sort(rng.random(2))
    at = {"at": int(rng.integers(2))} if kind.startswith("stuck") else {}

    def broken(rate: float) -> np.ndarray:
        damage = inflict(mapping, {kind: {"rate": float(rate), "seed": seed, **at}})
        bits = [_changed(mapping, damage, core) for core in range(mapping.cores)]
        thresholds = (damage.mapping.neuron_threshold ^ mapping.neuron_threshold).astype(np.int64)
        planes = (thresholds[:, None] >> np.arange(mapping.chip.threshold_bits)) & 1
        return np.concatenate([damage.held != WORKS, damage.silent, *bits, planes.reshape(-1).astype(bool)])

    few, many = broken(low), broken(high)
    assert not (few & ~many).any()
    assert not broken(0).any()
    every = broken(1)
    assert every.any() or kind in ("dead_links", "stuck_synapses")


def _changed(mapping: Mapping, damage: Damage, core: int) -> np.ndarray:
    one, other = (m.crossbar(int(m.core_crossbar[core])) for m in (mapping, damage.mapping))
    return np.unpackbits((one ^ other).view(np.uint8).reshape(-1)).astype(bool)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1), st.integers(0, 1 << 40))
@settings(max_examples=30)
def test_draws_of_an_image_stand_alone(seed: int, low: float, high: float, image: int) -> None:
    mapping = relayed().build()
    low, high = min(low, high), max(low, high)

    def sent(rate: float, first: int, count: int) -> np.ndarray:
        return inflict(mapping, {"noise": {"hidden": rate, "relay": rate}, "seed": seed}).sent(range(first, first + count))[
            0
        ]

    together = sent(low, image, 5)
    assert not (sent(high, image, 5) & ~together).any(), "a higher rate loses more of the same"
    for offset in range(5):
        np.testing.assert_array_equal(sent(low, image + offset, 1)[:, 0], together[:, offset])


@pytest.mark.parametrize("at", [0, 1])
def test_potentials_that_leave_their_bits_wrap(at: int) -> None:
    rng = np.random.default_rng(2)
    hand = wide_map(rng, levels=2, bits=8, plain=True)
    mapping = replace(hand.build(), chip=load_chip("xbar1152").model_copy(update={"potential_bits": 14}))
    damage = inflict(mapping, {"stuck_synapses": {"rate": 1.0, "seed": 0, "at": at}})
    if at == 0:  # every weight is 0
        assert not damage.wraps.any()
        return
    one = np.stack([damage.mapping.crossbar(int(k)).min() for k in damage.mapping.core_crossbar])
    assert (one == -1).all(), "all bits set are -1"
    few = {"stuck_synapses": [
        {"core": 0, "axon": a, "neuron": n, "bit": 6, "at": 1} for a in range(int(np.diff(mapping.axon_offset)[0])) for n in (0, 1)
    ]}  # fmt: skip
    damage = inflict(mapping, few)
    tight = replace(damage, mapping=replace(damage.mapping, chip=mapping.chip.model_copy(update={"potential_bits": 8})))
    assert tight.wraps[0]
    engine = ReferenceEngine(tight, load_host(mapping))
    images = np.full((1, hand.features), 9, np.float32)
    potential = damage.mapping.crossbar(int(damage.mapping.core_crossbar[0])).sum(axis=0, dtype=np.int64)[0]
    wrapped = (potential + 128) % 256 - 128
    assert potential != wrapped
    spikes, _ = engine.machine.step(engine.host.spikes(images))
    assert spikes[mapping.encoder_neurons, 0] == (wrapped >= damage.mapping.neuron_threshold[0])
