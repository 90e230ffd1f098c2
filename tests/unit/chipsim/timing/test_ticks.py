"""Cycles, packets and energy of small mappings, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.branching import Branches, branching
from support.hand_mappings import HandMap, relayed, two_cores

import chipsim
from chipsim.chip import load_chip
from chipsim.datasets import Dataset
from chipsim.errors import InputError, UsageError
from chipsim.timing.plan import plan
from chipsim.timing.profile import evenly, profile
from chipsim.timing.tick import INCREMENTS

# two_cores on mini: 4 x 4 grid, one port at 0, 0; core 0 at 0, 0 and core 1 at 1, 0; 64 axons in one word; start 4 cycles,
# 4 columns merged a cycle; a packet alone takes 3 H + 4 cycles; the barrier 2 * (4 + 4 - 2) = 12.
# Image (2, 1): sources 0, 1, 2 fire; 0 and 1 go to core 0, 2 to both.
IMAGE = Dataset("hand", "test", np.array([[2, 1]], np.float32), None)
TICKS = [
    # ingress: four packets are sent in cycles 0 to 3, the last to core 1, a hop away: ejected in 3 + 7
    [0, 0, 4, 6, 0, 12],
    # hidden: 3 bits; two neurons of two columns, a cycle each; neuron 0 is ready after 4 + 3 + 1 and fires: ejected in 8 + 7
    [4 + 3, 2, 0, 15 - 9, 0, 12],
    # out: 2 bits; two neurons of four columns; potentials are ready after 7 and 8, sent at once: done by 9; ejected in 8 + 7
    [4 + 2, 2, 1, 15 - 9, 0, 12],
]


@pytest.mark.parametrize("mode", ["cycle", "ideal"])
def test_ticks_by_hand(mode: str) -> None:
    found = profile(two_cores().build(), IMAGE, mode=mode)
    assert found.increments.tolist() == [TICKS]
    assert found.cycles.tolist() == [22 + 27 + 27]
    assert found.chip_cycles.tolist() == [27 + 27]
    # in a stream all three ticks are one: nobody meets, the slowest ends it
    assert found.stream_increments.tolist() == [[7, 2, 0, 6, 0, 12]]
    value = chipsim.profile_json(found)["timing"]
    assert [tick["layer"] for tick in value["ticks"]] == ["ingress", "hidden", "out"]
    assert [[tick[name] for name in INCREMENTS] for tick in value["ticks"]] == TICKS
    assert [tick["bound"] for tick in value["ticks"]] == ["sync", "sync", "sync"]
    assert value["cycles_per_image"] == {"mean": 76, "ci95": None, "p50": 76, "p99": 76}
    assert (value["interval_cycles"], value["chip_cycles_per_image"]) == (27, 54)
    assert (value["host_packets"], value["chip_packets"], value["potentials"]) == (4, 1, 2)
    # hops: the host's to core 1; the spike from core 0 to core 1 and two potentials back
    assert (value["host_hops"], value["chip_hops"], value["hops"], value["busiest_link"]) == (1, 3, 4, 2)
    assert value["busiest_link_at"] == {"x": 1, "y": 0, "side": "west", "load": 2}
    assert value["latency_ms"] == pytest.approx(76 / 252e3)


def test_energy_by_hand() -> None:
    energy = chipsim.profile_json(profile(two_cores().build(), IMAGE))["energy"]
    wanted = {
        "rows": 5 * 80,
        "adds": (6 * 2 + 4 * 4) * 0.03,  # SOPs times the columns of a weight
        "updates": 4 * 9.6,
        "spikes": 0,
        "lookups": 1 * 3.75,
        "hops": 4 * 2.3,
        "io": (4 + 2) * 240,
        "static": 50 * 76 / 252 * 1000,
    }
    assert energy["parts"] == pytest.approx(wanted)
    assert energy["pj_per_image"] == pytest.approx(sum(wanted.values()))
    assert energy["stream"]["static"] == pytest.approx(50 * 27 / 252 * 1000)
    assert energy["stream"]["pj_per_image"] == pytest.approx(sum(wanted.values()) - 50 * 49 / 252 * 1000)
    hidden, out, host = energy["layers"]
    assert hidden["pj_per_image"] == pytest.approx(3 * 80 + 12 * 0.03 + 2 * 9.6 + 3.75 + 2.3)
    assert out["pj_per_image"] == pytest.approx(2 * 80 + 16 * 0.03 + 2 * 9.6 + 2 * 2.3 + 2 * 240)
    assert host["pj_per_image"] == pytest.approx(2.3 + 4 * 240)
    assert energy["sops_per_image"] == 10
    assert energy["macs_per_image"] == 1 * 2 + round(2 * 3 / 2)  # windows of 4 axons and of 3, of features with two levels
    tags = {constant["name"]: constant["origin"] for constant in energy["constants"]}
    assert tags["hop_pj"] == "sourced"
    assert tags["io_pj"] == "assumed"


def changed(hand: HandMap, **timing: object) -> HandMap:
    assert hand.chip.timing is not None
    hand.chip = hand.chip.model_copy(update={"timing": hand.chip.timing.model_copy(update=timing)})
    return hand


@pytest.mark.parametrize(
    ("change", "rows", "sweep"),
    [
        ({"start_cycles": 9}, 9 + 3, 2),
        ({"word_bits": 1}, 4 + 64, 2),  # every word takes a cycle, with a bit or without
        ({"word_bits": 2}, 4 + 32 + 1, 2),  # bits 0 and 1 share a word, bit 2 lies in the next
        ({"input": "synapse_serial", "synapses_per_cycle": 4}, 4 + 2, 2),  # 6 synaptic operations
        ({"columns_per_cycle": 1}, 4 + 3, 4),
    ],
)
def test_a_chip_turns_every_constant_of_a_core(change: dict[str, object], rows: int, sweep: int) -> None:
    found = profile(changed(two_cores(), **change).build(), IMAGE)
    assert found.increments[0, 1, :2].tolist() == [rows, sweep]


@pytest.mark.parametrize(
    ("change", "cycles"),
    [
        ({"router_cycles": 5}, [3 + 2 + 2 * 5 + 1 + 12, 8 + 2 + 2 * 5 + 1 + 12, 8 + 2 + 2 * 5 + 1 + 12]),
        ({"link_cycles": 4}, [3 + 6 + 4 + 12, 8 + 6 + 4 + 12, 8 + 6 + 4 + 12]),
        ({"sync_cycles_per_hop": 0}, [10, 15, 15]),
        ({"lookup_cycles": 3}, [22, 27, 27]),  # potentials and the host look nothing up
        ({"buffer_flits": 1, "credit_cycles": 4}, None),  # back-pressure
    ],
)
def test_a_chip_turns_every_constant_of_the_network(change: dict[str, object], cycles: list[int] | None) -> None:
    found = profile(changed(two_cores(), **change).build(), IMAGE)
    if cycles is None:
        assert found.increments[0, 0, 4] > 0
        assert found.ticks[0].stalls > 0
        assert "contention" in chipsim.profile_json(found)["timing"]["ticks"][0]["advice"] or found.ticks[0].bound == "sync"
    else:
        assert found.tick_cycles.tolist() == [cycles]


def test_lookups_take_their_time() -> None:
    # both neurons of core 0 fire for (2, 0); with a lookup every 9 cycles the second packet goes 9 after the first
    data = Dataset("hand", "test", np.array([[2, 0]], np.float32), None)
    hand = changed(two_cores(), lookup_cycles=9)
    found = profile(hand.build(), data)
    assert found.increments[0, 1].tolist() == [6, 2, 7 + 9 + 1 - 8, 6, 0, 12]


def test_relays_work_in_their_tick_and_count_as_work() -> None:
    data = Dataset("hand", "test", np.array([[2, 0], [1, 2]], np.float32), None)
    mapping = relayed().build()
    found, counted = profile(mapping, data), chipsim.run(mapping, data, engine="reference")
    assert [tick.name for tick in found.ticks] == ["ingress", "hidden + relay", "out"]
    assert found.work.packets.sum() == counted.packets
    assert found.work.image[:, 1].sum() == counted.column_operations
    assert chipsim.profile_json(found)["energy"]["sops_per_image"] == counted.sops / 2


@pytest.mark.slow
@pytest.mark.parametrize("delay", [1, 8])
def test_branches_of_a_residual_network_meet(save, delay: int) -> None:
    from qsnnc import compile_model

    steps = (("conv", 0, 0), ("conv", 0, 0), ("point", 0, 0), ("add", 0, 3), ("cat", 0, 2))
    chip = load_chip("mini").model_copy(update={"grid": (12, 12), "targets": 512, "max_delay": delay})
    mapping = compile_model(save(branching(Branches(4, 2, 2, steps, 5, False))), chip).mapping
    assert mapping.relay_cores.any() == (delay == 1)
    assert (mapping.target_delay > 1).any() == (delay > 1)
    data = Dataset("random", "test", np.random.default_rng(0).integers(0, 256, (3, 4, 4)).astype(np.uint8), None)
    found, counted = profile(mapping, data), chipsim.run(mapping, data, engine="reference")
    assert found.work.packets.sum() == counted.packets
    assert found.work.image[:, 0].sum() == counted.axon_events
    assert len(found.ticks) == mapping.ticks


@pytest.mark.slow
def test_noise_is_that_of_the_run() -> None:
    data = Dataset("hand", "test", np.full((9, 2), 2, np.float32), None)
    mapping = two_cores().build()
    counted = chipsim.run(mapping, data, noise=0.5, seed=3)
    assert profile(mapping, data, noise=0.5, seed=3).work.packets.sum() == counted.packets
    sampled = profile(mapping, data, noise=0.5, seed=3, timing_limit=3)
    each = [chipsim.run(mapping, data, noise=0.5, seed=3, limit=n).packets for n in range(1, 10)]
    alone = np.diff([0, *each])
    assert sampled.sample.tolist() == [0, 3, 6]
    assert sampled.work.packets.sum() == alone[[0, 3, 6]].sum()


def test_the_sample_lies_at_even_distances() -> None:
    assert evenly(4, 10).tolist() == [0, 2, 5, 7]
    assert evenly(200, 3).tolist() == [0, 1, 2]
    assert evenly(1, 7).tolist() == [0]


def test_a_tick_without_work_is_a_barrier() -> None:
    hand = two_cores()
    hand.layers[1] = ("out", 2, 0, 3)
    hand.cores[1].sources = [0, 1, 2]  # tick 2 carries nothing
    found = profile(hand.build(), IMAGE)
    assert found.increments[0, 2].tolist() == [0, 0, 0, 0, 0, 12]
    assert found.ticks[2].name == "nothing"


def test_what_cannot_be_timed_is_refused() -> None:
    mapping = two_cores().build()
    bare = replace(mapping, chip=mapping.chip.model_copy(update={"timing": None}))
    with pytest.raises(InputError, match="chip 'mini': has no section timing"):
        plan(bare)
    inside = replace(mapping, chip=mapping.chip.model_copy(update={"ports": ((1, 0),)}))
    with pytest.raises(InputError, match=r"port \(1, 0\)"):
        plan(inside)
    with pytest.raises(UsageError, match="--timing"):
        profile(mapping, IMAGE, mode="exact")
    with pytest.raises(UsageError, match="--timing-limit"):
        profile(mapping, IMAGE, timing_limit=0)


def test_constants_that_no_network_can_have_are_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="credit_cycles is 0"):
        plan(changed(two_cores(), credit_cycles=0).build())
    deep_and_wide = changed(two_cores(), buffer_flits=1 << 29)
    deep_and_wide.chip = deep_and_wide.chip.model_copy(update={"grid": (1024, 1024)})
    with monkeypatch.context() as patch:
        patch.setattr("chipsim.timing.network.checks.MOST_BYTES", 1 << 20)
        with pytest.raises(InputError, match=r"1,048,576 routers .* too much memory; allowed: 0 flits"):
            plan(deep_and_wide.build())
    with monkeypatch.context() as patch:  # room for three networks of four slots, however many threads there may be
        patch.setattr("chipsim.timing.network.checks.MOST_BYTES", 3 * 4 * 16 * 80 + 100)
        many = Dataset("x", "test", np.repeat(IMAGE.images, 9, axis=0), None)
        assert profile(two_cores().build(), many, threads=200).threads == 3
    deep = profile(changed(two_cores(), buffer_flits=1 << 29).build(), IMAGE)  # no more than there are packets
    assert deep.increments.tolist() == [TICKS]


def test_a_network_of_other_routes_can_be_given() -> None:
    # core 0 sends to core 1 a row lower: three links in place of one
    mapping = two_cores().build()
    mesh = plan(mapping).mesh
    routes = np.array([[_side(here, goal) for goal in range(16)] for here in range(16)], np.uint8)
    routes[0, 1], routes[4, 1], routes[5, 1] = 3, 0, 2
    found = profile(mapping, IMAGE, mesh=replace(mesh, routes=routes))
    assert found.cycles.tolist() == [76 + 2 * 3 + 2 * 3], "there are two ticks in which core 1 is sent to"
    assert found.work.hops.tolist() == [[1 + 2, 3 + 2]]


def _side(here: int, goal: int) -> int:
    if here == goal:
        return 4
    if here % 4 != goal % 4:
        return 0 if goal % 4 > here % 4 else 1
    return 2 if goal < here else 3
