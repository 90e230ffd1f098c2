"""The machine: counts by hand, and against a literal model that moves every spike on its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.format_reader import lost
from support.hand_mappings import HandMap, random_map, two_cores

import chipsim
from chipsim.datasets import Dataset
from chipsim.engine.machine import load
from chipsim.mapping import Mapping, validate_mapping


def images_of(hand: HandMap, rng: np.random.Generator, count: int) -> Dataset:
    return Dataset("test", "test", rng.integers(0, hand.levels + 1, (count, hand.features)).astype(np.float32), None)


def literal(m: Mapping, levels: np.ndarray) -> dict[str, np.ndarray]:
    """One image, spike by spike: each is put on its target's axon in the tick in which it arrives."""
    core_of = np.searchsorted(m.axon_offset, np.arange(len(m.axon_source)), side="right") - 1
    spikes, sops, events = (np.zeros(m.cores, np.int64) for _ in range(3))
    axon_bits = np.zeros((m.ticks + 256, len(m.axon_source)), int)
    packets = paper = encoder = 0
    potentials = np.zeros(sum(np.prod(e.shape) for e in m.layers if e.levels == 0), np.int64)

    def send(source: int, tick: int) -> None:
        nonlocal packets, paper
        paper += 2 * int(m.dense_fanout[source])
        for entry in range(m.target_offset[source], m.target_offset[source + 1]):
            assert axon_bits[tick + m.target_delay[entry], m.target_axon[entry]] == 0
            axon_bits[tick + m.target_delay[entry], m.target_axon[entry]] = 1
            packets += 1

    for feature, level in enumerate(levels):
        for i in range(m.encoder.levels):
            if level > i:
                send(feature * m.encoder.levels + i, 0)
                encoder += 1
    for tick in range(m.ticks):
        for core in range(m.cores):
            layer = m.layers[m.core_layer[core]]
            if layer.tick != tick:
                assert not axon_bits[tick, core_of == core].any()
                continue
            weights = m.crossbar(int(m.core_crossbar[core])).tolist()
            bits = axon_bits[tick, core_of == core].tolist()
            events[core] += sum(bits)
            for axon, bit in enumerate(bits):
                sops[core] += sum(1 for w in weights[axon] if bit and w)
            for j, neuron in enumerate(range(m.neuron_offset[core], m.neuron_offset[core + 1])):
                potential = sum(weights[axon][j] for axon, bit in enumerate(bits) if bit)
                if layer.levels == 0:
                    potentials[m.neuron_element[neuron]] = potential
                elif potential >= m.neuron_threshold[neuron]:
                    spikes[core] += 1
                    send(m.encoder_neurons + neuron, tick)
    return {
        "spikes": spikes, "sops": sops, "events": events, "packets": packets, "paper": paper, "encoder": encoder,
        "potentials": potentials, "columns": int((sops * m.core_weight_bits).sum()),
    }  # fmt: skip


def test_two_cores_by_hand() -> None:
    # image (2, 0): encoder spikes from 0, 1. Core 0: p = +1 +1 = 2, both neurons fire (thresholds 1, 2).
    #   Core 0: 2 axon events, 2 rows of 2 synapses = 4 SOPs. Core 1: axons of 4 and 5: p = [3+2, -1+0] = [5, -1],
    #   2 events, row [3, -1] has 2 synapses, row [2, 0] one: 3 SOPs.
    # image (2, 1): from 0, 1, 2. Core 0: p = 2 - 1 = 1: only threshold 1 fires; 3 events, 6 SOPs.
    #   Core 1: axons of 4 and of encoder source 2, two ticks late: p = [3-5, -1+1] = [-2, 0]; 2 events, 2 + 2 = 4 SOPs.
    # image (0, 2): from 2, 3. Core 0: p = -2: silence; 2 events, 4 SOPs. Core 1: p = [-5, 1]; 1 event, 2 SOPs.
    images = np.array([[2, 0], [2, 1], [0, 2]], np.float32)
    labels = np.array([0, 1, 0])
    result = chipsim.run(two_cores().build(), Dataset("hand", "test", images, labels))
    assert result.potentials.tolist() == [[5, -1], [-2, 0], [-5, 1]]
    assert result.scores.tolist() == [[2.5, -0.5], [-1.0, 0.0], [-2.5, 0.5]]
    assert result.scores.dtype == np.float32
    assert result.predictions.tolist() == [0, 1, 1]
    assert result.accuracy == pytest.approx(2 / 3)
    assert [core.spikes for core in result.cores] == [3, 0]
    assert [core.axon_events for core in result.cores] == [7, 5]
    assert [core.sops for core in result.cores] == [14, 9]
    json = result.to_json()
    assert json["spikes_per_image"] == 1.0
    assert json["encoder_spikes_per_image"] == pytest.approx(7 / 3)
    assert json["paper_spikes_per_image"] == pytest.approx(10 / 3)
    assert json["sops_per_image"] == pytest.approx(23 / 3)
    assert json["column_operations_per_image"] == pytest.approx((14 * 2 + 9 * 4) / 3)
    # packets: source 2 has two targets, all others that fired one: 7 + 2 (source 2 twice) + 3
    assert json["packets_per_image"] == pytest.approx(12 / 3)
    assert json["paper_sops_per_image"] == pytest.approx(2 * (7 * 3 + 3 * 7) / 3)
    assert json["ticks_per_image"] == 3
    assert (json["steps"], json["readout_of"]) == (1, "potential")
    assert (json["spikes_per_step"], json["sops_per_step"]) == (json["spikes_per_image"], json["sops_per_image"])
    assert json["relay_spikes_per_image"] == json["relay_sops_per_image"] == 0
    assert json["layers"] == [
        {"name": "hidden", "neurons": 2, "cores": 1, "spikes": 3, "sops": 14, "rate": 0.5},
        {"name": "out", "neurons": 2, "cores": 1, "spikes": 0, "sops": 9, "rate": 0.0},
    ]
    assert set(json) == set(
        "schema provenance model_sha256 chip images accuracy confusion worst_images ticks_per_image steps readout_of spikes_per_step sops_per_step spikes_per_image encoder_spikes_per_image "
        "paper_spikes_per_image sops_per_image paper_sops_per_image axon_events_per_image column_operations_per_image "
        "packets_per_image relay_spikes_per_image relay_sops_per_image images_per_second load_seconds threads engine faults timing "
        "readout output_packets_per_image levels_exceeded levels_unwatched energy floorplan layers cores".split()
    )
    assert set(json["cores"][0]) == {"id", "x", "y", "layer", "spikes", "sops", "axon_events"}


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32))
def test_agrees_with_the_literal_model(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hand = random_map(rng)
    mapping = hand.build()
    validate_mapping(mapping)
    data = images_of(hand, rng, 4)
    result = chipsim.run(mapping, data, threads=1, batch=3)
    each = [literal(mapping, image) for image in data.images]
    assert result.potentials.tolist() == [one["potentials"].tolist() for one in each]
    for name, key in (("spikes", "spikes"), ("sops", "sops"), ("axon_events", "events")):
        assert [getattr(core, name) for core in result.cores] == sum(one[key] for one in each).tolist()
    assert result.packets == sum(one["packets"] for one in each)
    assert result.encoder_spikes == sum(one["encoder"] for one in each)
    assert result.column_operations == sum(one["columns"] for one in each)
    assert (result.paper_sops or 0) == sum(one["paper"] for one in each)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_batch_and_threads_change_nothing(noise: float) -> None:
    rng = np.random.default_rng(5)
    hand = random_map(rng)
    mapping, data = hand.build(), images_of(hand, rng, 23)
    seen = []
    for threads, batch in ((1, 1), (1, 23), (2, 4), (3, 7), (2, 100)):
        result = chipsim.run(mapping, data, threads=threads, batch=batch, noise=noise, seed=3)
        json = result.figures()
        for name in ("images_per_second", "load_seconds", "threads"):
            del json[name]
        seen.append((json, result.potentials.tobytes(), result.scores.tobytes(), result.predictions.tobytes()))
    assert all(one == seen[0] for one in seen)


def test_noise_is_the_formats_formula() -> None:
    mapping = two_cores().build()
    images = np.full((50, 2), 2, np.float32)
    result = chipsim.run(mapping, Dataset("hand", "test", images, None), noise=0.4, seed=11)
    kept = sum(int((~lost(4, image, 0.4, 11)).sum()) for image in range(50))
    assert 0 < kept < 200
    assert result.encoder_spikes == kept
    nothing = chipsim.run(mapping, Dataset("hand", "test", images, None), noise=1.0)
    assert nothing.encoder_spikes == nothing.spikes == 0


def test_a_threshold_of_zero_fires_on_silence() -> None:
    hand = two_cores()
    hand.cores[0].thresholds = [0, -5]
    result = chipsim.run(hand.build(), Dataset("hand", "test", np.zeros((1, 2), np.float32), None))
    assert result.spikes == 2
    assert result.potentials.tolist() == [[5, -1]]


def test_wide_sums_are_exact() -> None:
    # one axon row repeated: 64 axons of -128 reach -8192; float32 holds it, and thresholds of 29 bits are compared exactly
    from chipsim.chip import load_chip

    chip = load_chip("xbar1152")
    hand = HandMap(
        features=64,
        levels=1,
        layers=[("wide", 1, 2, 1), ("out", 1, 0, 2)],
        chip=chip,
        cores=[
            HandCoreOf([[-128, -128]] * 64, list(range(64)), [-8192, -8191]),
            HandCoreOf([[1], [1]], [64, 65], [0], layer=1),
        ],
    )
    result = chipsim.run(hand.build(), Dataset("hand", "test", np.ones((1, 64), np.float32), None))
    assert result.spikes == 1
    assert result.potentials.tolist() == [[1]]


def HandCoreOf(weights, sources, thresholds, layer=0):
    from support.hand_mappings import HandCore

    return HandCore(layer, weights, sources, thresholds, list(range(len(thresholds))), bits=8)


def test_equal_crossbars_share_a_bank_and_equal_columns_a_potential() -> None:
    mapping = two_cores().build()
    machine = load(mapping)
    assert [bank.weights.shape for bank in machine.banks] == [(1, 4), (2, 3)]
    assert [bank.tick for bank in machine.banks] == [1, 2]
