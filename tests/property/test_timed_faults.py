"""Laws of the cycles of a broken chip: what is counted stays what a run counts, and what is lost is lost where the page says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.core_model import read_cycles
from support.timed_maps import broken_at_random, merged, timed_map

from chipsim.chip.ports import assign_ports
from chipsim.engine.machine import load
from chipsim.engine.run import run
from chipsim.engine.setup import set_up
from chipsim.faults import inflict
from chipsim.faults.places import Places
from chipsim.faults.spec import load_faults
from chipsim.options import RunOptions
from chipsim.timing.keys import profile_json
from chipsim.timing.network.simulate import simulate
from chipsim.timing.plan import plan
from chipsim.timing.profile import profile, spikes
from chipsim.timing.record import IO, ROWS, UPDATES
from chipsim.timing.tick import Bench

SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.slow
@given(SEEDS)
@settings(max_examples=60)
def test_the_counts_are_the_runs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mapping, data = timed_map(rng)
    faults, images = broken_at_random(rng), int(rng.integers(1, len(data) + 1))
    counted = run(mapping, data, engine="reference", threads=1, per_image=True, faults=faults)
    each = counted.by_image
    assert each is not None
    cycle, free = (profile(mapping, data, mode=m, timing_limit=images, threads=1, faults=faults) for m in ("cycle", "ideal"))
    damage = inflict(mapping, faults)
    for found in (cycle, free):
        work, host = found.work, mapping.cores
        assert (work.image[:, 0] == each.events[found.sample].sum(axis=1)).all()
        assert (work.core[:host, 0] == each.events[found.sample].sum(axis=0)).all()
        assert (work.operations == each.sops[found.sample].sum(axis=0)).all()
        assert (work.core[:host, 3] == each.spikes[found.sample].sum(axis=0)).all()
        if images == len(data):
            assert work.packets.sum() == counted.packets, "packets that are lost were sent"
        assert work.hops.sum() == sum(int(network.links(found.plan.mesh).sum()) for network in found.networks)
        assert not work.core[:host][damage.dead][:, [ROWS, UPDATES, IO]].any()
        assert not work.sent[:host][damage.dead].any()
        assert not work.input_cycles[damage.dead].any()
        assert (work.potentials == int(np.diff(mapping.neuron_offset)[found.plan.heard].sum())).all()
        assert (found.increments.sum(axis=2) == found.tick_cycles).all()
        assert (found.increments >= 0).all()
        assert (found.stream_increments >= 0).all()
        profile_json(found)
    assert (free.interval_cycles <= cycle.interval_cycles).all()
    assert (free.tick_cycles <= cycle.tick_cycles).all()
    assert (free.models[:, :, :4] == cycle.models[:, :, :4]).all()


@given(SEEDS)
@settings(max_examples=40)
def test_cores_read_what_their_axons_hold(seed: int) -> None:
    # bits are found one by one here, from what was sent and what is broken
    rng = np.random.default_rng(seed)
    mapping, data = timed_map(rng)
    setup = set_up(mapping, RunOptions(faults=broken_at_random(rng)))
    damage = setup.damage
    numbers = np.sort(rng.permutation(100)[: len(data)])
    seen = spikes(load(damage), setup.host, data.images, numbers, setup.noise, setup.seed)
    tables = plan(damage)
    for image, number in enumerate(numbers.tolist()):
        held = seen.fired[image][mapping.axon_source].copy()
        if damage.dropped is not None:
            held[~damage.dropped.arrive([number])[0, :, 0]] = 0
        held[damage.held == 0] = 0
        held[damage.held == 1] = 1
        frame = Bench(tables, "ideal").frame(seen.fired[image], None if seen.bits is None else seen.bits[image])
        for core in range(mapping.cores):
            mine = held[slice(*mapping.axon_offset[core : core + 2].tolist())]
            want = 0 if damage.dead[core] else read_cycles(damage.mapping, core, seen.fired[image], mine)
            assert frame.inputs.cycles[core] == want
            assert frame.inputs.events[core] == mine.sum()


@given(SEEDS, st.floats(0.05, 0.5))
@settings(max_examples=40)
def test_packets_go_as_far_as_the_dead_link(seed: int, rate: float) -> None:
    mapping, _ = timed_map(np.random.default_rng(seed))
    faults = {"dead_links": {"rate": rate, "seed": seed}}
    damage, healthy = inflict(mapping, faults), plan(mapping)
    tables, mesh, width = plan(damage), healthy.mesh, mapping.chip.grid[0]
    dead = {frozenset(link) for link in Places(mapping, load_faults(faults), 0).dead_links()}
    core_of_axon = np.repeat(np.arange(mapping.cores), np.diff(mapping.axon_offset))
    entries = np.bincount(core_of_axon[mapping.axon_source < mapping.encoder_neurons], minlength=mapping.cores)
    enters = assign_ports(mapping.chip, mapping.core_position, entries)
    owner = np.repeat(np.arange(mapping.cores), np.diff(mapping.neuron_offset))
    for source in range(mapping.encoder_neurons + mapping.neurons):
        for packet in range(tables.offset[source], tables.offset[source + 1]):
            goal = int(healthy.target[packet])
            if source < mapping.encoder_neurons:
                core = core_of_axon[mapping.target_axon[packet]]
                here = mapping.chip.ports[enters[core]]
            else:
                here = tuple(mapping.core_position[owner[source - mapping.encoder_neurons]].tolist())
            y, x = divmod(int(mesh.router_of(np.array([goal]))[0]), width)
            while here != (x, y):
                step = (np.sign(x - here[0]), 0) if here[0] != x else (0, np.sign(y - here[1]))
                there = (int(here[0] + step[0]), int(here[1] + step[1]))
                if frozenset((here, there)) in dead:
                    goal = here[1] * width + here[0]
                    break
                here = there
            assert tables.target[packet] == goal


@given(SEEDS, st.booleans())
@settings(max_examples=40)
def test_a_tick_of_a_broken_stream_is_its_layers_ticks_in_one_network(seed: int, multicast: bool) -> None:
    rng = np.random.default_rng(seed)
    mapping, data = timed_map(rng, multicast)
    faults, n = broken_at_random(rng), len(data)
    setup = set_up(mapping, RunOptions(faults=faults))
    found, tables = profile(mapping, data, threads=1, faults=faults), plan(setup.damage)
    seen = spikes(load(setup.damage), setup.host, data.images, np.arange(n), setup.noise, setup.seed)
    bits = [None] * n if seen.bits is None else seen.bits
    bench = Bench(tables)
    frames = [bench.frame(row, held) for row, held in zip(seen.fired, bits, strict=True)]
    for number in range(n):
        parts = [frames[(number - t) % n].ticks[t] for t in range(mapping.ticks)]
        traffic = merged(parts, tables.mesh.terminals)
        end = max([simulate(tables.mesh, traffic).end, *(int(part.ready.max(initial=0)) for part in parts)])
        assert found.interval_cycles[number] == end + tables.sync_cycles
