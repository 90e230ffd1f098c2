"""Laws of the cycles and the energy of a run, on random mappings and chips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.core_model import run_core
from support.timed_maps import fired, merged, timed_map

from chipsim.chip.ports import assign_ports
from chipsim.engine.run import run
from chipsim.timing.keys import profile_json
from chipsim.timing.network.mesh import Mesh, Traffic
from chipsim.timing.network.simulate import Workspace, ideal, simulate
from chipsim.timing.network.straight import straight
from chipsim.timing.network.tree import held
from chipsim.timing.network.trees import plant
from chipsim.timing.plan import plan
from chipsim.timing.profile import profile
from chipsim.timing.record import PARTS
from chipsim.timing.tick import INCREMENTS, Bench

SEEDS = st.integers(0, 2**32 - 1)


def goals(traffic: Traffic, packets: slice) -> list[list[int]]:
    """The terminals of some packets."""
    begin, target = traffic.arrivals()
    return [target[begin[p] : begin[p + 1]].tolist() for p in range(packets.start, packets.stop)]


@given(SEEDS, st.booleans())
@settings(max_examples=80)
def test_every_packet_of_a_core_is_the_literal_models(seed: int, multicast: bool) -> None:
    mapping, data = timed_map(np.random.default_rng(seed), multicast)
    tables, row = plan(mapping), fired(mapping, data)[0]
    mesh, frame = tables.mesh, Bench(tables, "ideal").frame(row)
    core_of_axon = np.repeat(np.arange(mapping.cores), np.diff(mapping.axon_offset))
    place = mapping.core_position[:, 1] * mapping.chip.grid[0] + mapping.core_position[:, 0]
    for core in range(mapping.cores):
        tick = frame.ticks[mapping.layers[mapping.core_layer[core]].tick]
        reading, done, packets = run_core(mapping, core, row)
        assert frame.inputs.cycles[core] == reading
        assert tick.ready[tick.cores == core].tolist() == [done]
        mine = slice(*tick.traffic.offset[place[core] : place[core] + 2].tolist())
        assert tick.traffic.ready[mine].tolist() == [cycle for cycle, _ in packets]
        x, y = mapping.core_position[core].tolist()
        near = min(range(len(mesh.ports)), key=lambda p: (x + abs(y - mesh.ports[p][1]), p))
        wanted = [sorted({int(place[core_of_axon[mapping.target_axon[e]]]) for e in entries}) for _, entries in packets]
        assert goals(tick.traffic, mine) == [of or [mesh.routers + near] for of in wanted]


@given(SEEDS, st.booleans())
@settings(max_examples=60)
def test_the_host_sends_its_spikes_in_order_one_a_cycle_a_port(seed: int, multicast: bool) -> None:
    mapping, data = timed_map(np.random.default_rng(seed), multicast)
    tables, row = plan(mapping), fired(mapping, data)[0]
    traffic, mesh = Bench(tables, "ideal").frame(row).ticks[0].traffic, tables.mesh
    core_of_axon = np.repeat(np.arange(mapping.cores), np.diff(mapping.axon_offset))
    hosted = core_of_axon[mapping.target_axon[: mapping.target_offset[mapping.encoder_neurons]]]
    port = assign_ports(mapping.chip, mapping.core_position, np.bincount(hosted, minlength=mapping.cores))
    queues: list[list[list[int]]] = [[] for _ in mesh.ports]
    for source in range(mapping.encoder_neurons):
        sets: list[list[int]] = [[] for _ in mesh.ports]
        for entry in range(mapping.target_offset[source], mapping.target_offset[source + 1]) if row[source] else ():
            core = core_of_axon[mapping.target_axon[entry]]
            x, y = mapping.core_position[core].tolist()
            sets[port[core]].append(y * mesh.width + x)
        for queue, of in zip(queues, sets, strict=True):
            queue += ([sorted(set(of))] if of else []) if multicast else [[goal] for goal in of]
    assert traffic.offset[mesh.routers] == 0, "no core sends in the ingress"
    for number, queue in enumerate(queues):
        mine = slice(*traffic.offset[mesh.routers + number : mesh.routers + number + 2].tolist())
        assert goals(traffic, mine) == queue
        assert traffic.ready[mine].tolist() == list(range(len(queue)))


@pytest.mark.slow
@given(SEEDS, st.booleans())
@settings(max_examples=60)
def test_a_profile_keeps_the_laws(seed: int, multicast: bool) -> None:
    mapping, data = timed_map(np.random.default_rng(seed), multicast)
    n = len(data)
    cycle, free = (profile(mapping, data, mode=mode, threads=1) for mode in ("cycle", "ideal"))
    counted = run(mapping, data, engine="reference", threads=1)
    for found in (cycle, free):
        assert (found.increments >= 0).all(), "each effect adds"
        assert (found.increments.sum(axis=2) == found.tick_cycles).all()
        assert (found.stream_increments >= 0).all()
        assert (found.stream_increments.sum(axis=1) == found.interval_cycles).all()
        work, host = found.work, mapping.cores
        assert work.packets.sum() == counted.packets or (multicast and work.packets.sum() < counted.packets)
        assert work.image[:, 0].sum() == counted.axon_events
        assert work.image[:, 1].sum() == counted.column_operations
        assert work.core[:host, 3].sum() == counted.spikes + counted.relay_spikes
        assert work.core[:, :7].sum(axis=0).tolist() == work.image[:, :7].sum(axis=0).tolist()
        assert (work.potentials == counted.potentials.shape[1]).all()
        assert work.hops.sum() == sum(int(network.links(found.plan.mesh).sum()) for network in found.networks)
        for links, hops in ((found.host_links, work.hops[:, 0]), (found.chip_links, work.hops[:, 1])):
            assert (links >= 0).all()
            assert links.sum() == hops.sum(), "the host's packets are told from the cores'"
        value = profile_json(found)
        energy, timing = value["energy"], value["timing"]
        assert sum(energy["parts"].values()) == pytest.approx(energy["pj_per_image"])
        assert list(energy["parts"]) == list(PARTS)
        layers = sum(layer["pj_per_image"] for layer in energy["layers"]) + energy["parts"]["static"]
        assert layers == pytest.approx(energy["pj_per_image"])
        host = energy["layers"][-1]["pj_per_image"]
        assert sum(energy["cores"]) + host + energy["parts"]["static"] == pytest.approx(energy["pj_per_image"], rel=1e-12)
        for tick in timing["ticks"]:
            assert sum(tick[name] for name in INCREMENTS) == pytest.approx(tick["cycles"])
            assert tick[tick["bound"]] == max(tick[name] for name in INCREMENTS)
            assert 0 <= tick["saves_at_most"] <= tick["cycles"]
        assert timing["host_packets"] + timing["chip_packets"] == pytest.approx(work.packets.sum() / n)
        assert sum(tick["cycles"] for tick in timing["ticks"]) == pytest.approx(timing["cycles_per_image"]["mean"])
    assert (free.increments[:, :, 4] == 0).all()
    assert (free.tick_cycles <= cycle.tick_cycles).all()
    assert (free.interval_cycles <= cycle.interval_cycles).all()
    assert (free.models[:, :, :4] == cycle.models[:, :, :4]).all()
    assert (cycle.interval_cycles >= 0).all()


@given(SEEDS, st.booleans())
@settings(max_examples=40)
def test_a_tick_of_the_stream_is_its_layers_ticks_in_one_network(seed: int, multicast: bool) -> None:
    mapping, data = timed_map(np.random.default_rng(seed), multicast)
    found = profile(mapping, data, threads=1)
    tables, rows = plan(mapping), fired(mapping, data)
    bench, n = Bench(tables), len(data)
    frames = [bench.frame(row) for row in rows]
    for number in range(n):
        parts = [frames[(number - t) % n].ticks[t] for t in range(mapping.ticks)]
        traffic = merged(parts, tables.mesh.terminals)
        end = max([simulate(tables.mesh, traffic).end, *(int(part.ready.max(initial=0)) for part in parts)])
        assert found.interval_cycles[number] == end + tables.sync_cycles
        alone = max([ideal(tables.mesh, traffic).end, *(int(part.ready.max(initial=0)) for part in parts)])
        assert found.stream_models[number, 3] == alone


@given(SEEDS, st.booleans())
@settings(max_examples=80)
def test_one_port_and_enough_buffers_need_no_simulation(seed: int, multicast: bool) -> None:
    rng = np.random.default_rng(seed)
    mapping, data = timed_map(rng, multicast)
    t = mapping.chip.timing
    assert t is not None
    enough = t.router_cycles + t.link_cycles + t.credit_cycles
    port = mapping.chip.ports[0]
    timing = t.model_copy(update={"buffer_flits": enough + int(rng.integers(0, 3))})
    chip = mapping.chip.model_copy(update={"ports": (port,), "timing": timing})
    tables = plan(replace(mapping, chip=chip))
    assert tables.one_tree
    traffic = Bench(tables).frame(fired(mapping, data)[0]).ticks[0].traffic
    # more packets than a small image gives, to any router
    packets = int(rng.integers(1, 400))
    offset = np.zeros(tables.mesh.terminals + 1, np.int64)
    offset[-1] = packets
    most = tables.mesh.routers
    number, goal, trees = np.arange(packets), rng.integers(0, most, packets), None
    if multicast:
        several = np.repeat(number, rng.integers(1, most + 1, packets))
        port_at = np.full(len(several), tables.mesh.router_of(np.array([most]))[0])
        _, goal, trees = plant(tables.mesh, several, port_at, rng.integers(0, most, len(several)))
    many = Traffic(offset, number, goal.astype(np.int32), trees)
    for given_ in (traffic, many):
        met, alone = simulate(tables.mesh, given_), ideal(tables.mesh, given_)
        np.testing.assert_array_equal(met.ejected, alone.ejected)
        np.testing.assert_array_equal(met.sent, alone.sent)
        np.testing.assert_array_equal(met.load, alone.load)
        found = held(alone)
        np.testing.assert_array_equal(met.queue_cycles, found.queue_cycles)
        assert met.queue_peak.max() == found.queue_peak.max()


@given(SEEDS)
@settings(max_examples=60)
def test_straight_ways_are_the_ideal_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height = (int(n) for n in rng.integers(1, 7, 2))
    ports = tuple((0, int(y)) for y in rng.permutation(height)[: rng.integers(1, height + 1)])
    mesh = Mesh(width, height, ports, 4, int(rng.integers(1, 4)), int(rng.integers(0, 3)), 1)
    counts = rng.integers(0, 9, mesh.terminals) * (rng.random(mesh.terminals) < 0.6)
    offset = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    ready = np.concatenate([np.sort(rng.integers(0, 30, n)) for n in counts]).astype(np.int64)
    traffic = Traffic(offset, ready, rng.integers(0, mesh.terminals, offset[-1]).astype(np.int32))
    found, wanted = straight(mesh, traffic), ideal(mesh, traffic)
    for name in ("sent", "ejected", "load", "stalls", "blocked", "queue_peak", "queue_cycles"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), name)


@given(SEEDS)
@settings(max_examples=150)
def test_the_rest_of_the_hosts_packets_is_as_simulated(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height = (int(n) for n in rng.integers(1, 6, 2))
    ports = tuple((0, int(y)) for y in rng.permutation(height)[: rng.choice([1, 1, 1, 2])])
    constants = (int(rng.integers(1, 10)), int(rng.integers(1, 4)), int(rng.integers(0, 3)), int(rng.integers(1, 4)))
    mesh = Mesh(width, height, ports, *constants)
    counts = rng.integers(0, 9, mesh.terminals) * (rng.random(mesh.terminals) < 0.6)
    counts[mesh.routers :] = rng.integers(0, 300)
    offset = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    ready = np.concatenate([np.sort(rng.integers(0, rng.choice([9, 90, 2000]), n)) for n in counts]).astype(np.int64)
    target = rng.integers(0, mesh.terminals, offset[-1])
    few = rng.integers(0, mesh.routers, 2)  # long runs to the same core fill the queues
    target[offset[mesh.routers] :] = np.where(
        rng.random() < 0.5, few[(np.arange(len(ready)) // 30) % 2], target % mesh.routers
    )[offset[mesh.routers] :]
    traffic = Traffic(offset, ready, target.astype(np.int32))
    space = Workspace(mesh)
    wanted = space.simulate(traffic)
    for _ in range(2):  # the space is used again
        sent, ejected = space.times(traffic)
        np.testing.assert_array_equal(sent, wanted.sent)
        np.testing.assert_array_equal(ejected, wanted.ejected)
    np.testing.assert_array_equal(space.simulate(traffic).ejected, wanted.ejected)


@given(SEEDS)
@settings(max_examples=40)
def test_multicast_changes_the_packets_and_nothing_else(seed: int) -> None:
    mapping, data = timed_map(np.random.default_rng(seed))
    chip = mapping.chip.model_copy(update={"timing": mapping.chip.timing.model_copy(update={"multicast": True})})
    forked = replace(mapping, chip=chip)
    one, other = profile(mapping, data, threads=1), profile(forked, data, threads=1)
    kept = [PARTS.index(part) for part in ("rows", "adds", "updates", "spikes")]
    assert (one.work.core[:, kept] == other.work.core[:, kept]).all()
    assert (one.models[:, :, :2] == other.models[:, :, :2]).all(), "rows and sweep"
    assert (one.work.potentials == other.work.potentials).all()
    assert (other.work.packets <= one.work.packets).all()
    assert (other.work.hops <= one.work.hops).all(), "a tree has no more links than its ways"
    # each core hears of each spike for it once: what is ejected is the pairs of a spike and a core that it is for
    tables = plan(forked)
    core_of_axon = np.repeat(np.arange(mapping.cores), np.diff(mapping.axon_offset))
    for row in fired(mapping, data):
        entry = np.repeat(row != 0, np.diff(mapping.target_offset))
        source = np.repeat(np.arange(len(row)), np.diff(mapping.target_offset))[entry]
        pairs = len({*zip(source.tolist(), core_of_axon[mapping.target_axon[entry]].tolist(), strict=True)})
        frame = Bench(tables).frame(row)
        potentials = int(tables.potential.sum())
        assert sum(len(tick.flow.ejected) for tick in frame.ticks) == pairs + potentials
        assert sum(int(tick.flow.traversals) for tick in frame.ticks) == sum(
            int(tick.traffic.trees.links[tick.traffic.target].sum()) for tick in frame.ticks
        )
