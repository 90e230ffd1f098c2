"""Laws of the networks that are simulated together, and of the host's packets in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.timed_maps import fired, timed_map

from chipsim.timing.batch import FEW, Batch
from chipsim.timing.ingress import entering
from chipsim.timing.network.lanes import LATEST, Lanes, fits
from chipsim.timing.network.lanes_router import LANES, SLOTS
from chipsim.timing.network.mesh import Mesh, Traffic
from chipsim.timing.network.simulate import Workspace, ideal
from chipsim.timing.plan import Plan, plan
from chipsim.timing.record import counts_of
from chipsim.timing.tick import Bench

SEEDS = st.integers(0, 2**32 - 1)


def mesh_at_random(rng: np.random.Generator, ports: int) -> Mesh:
    """A mesh that fits the lanes."""
    width, height = (int(n) for n in rng.integers(1, 7, 2))
    rows = rng.permutation(height)[:ports].tolist()
    constants = (int(rng.integers(1, 5)), int(rng.integers(0, 4)), int(rng.integers(1, 5)))
    return Mesh(width, height, tuple((0, int(y)) for y in rows), SLOTS, *constants)


def traffic_at_random(rng: np.random.Generator, mesh: Mesh, hosts: int | None = None) -> Traffic:
    """Packets of some cores, crowded or rare; with ``hosts`` so many of the one port, in a row."""
    counts = rng.integers(0, 25, mesh.terminals) * (rng.random(mesh.terminals) < rng.choice([0.2, 0.9]))
    if hosts is not None:
        counts[-1] = hosts
    ready = [rng.integers(0, rng.choice([1, 30, 900]), count) for count in counts]
    if hosts is not None:
        ready[-1] = np.arange(hosts)
    offset = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    target = rng.choice(rng.choice(mesh.terminals, rng.integers(1, mesh.terminals + 1), replace=False), offset[-1])
    if hosts is not None:
        target[offset[mesh.routers] :] %= mesh.routers
    return Traffic(offset, np.concatenate(ready).astype(np.int64), target.astype(np.int32))


@pytest.mark.slow
@given(SEEDS)
@settings(max_examples=60)
def test_networks_side_by_side_are_those_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mesh = mesh_at_random(rng, int(rng.integers(0, 4)))
    lanes, space = Lanes(mesh), Workspace(mesh)
    for _ in range(2):  # the space is used again
        traffics = [traffic_at_random(rng, mesh) for _ in range(rng.integers(1, LANES + 1))]
        met, flows = lanes.run(traffics), [space.simulate(traffic) for traffic in traffics]
        assert met is not None
        assert met.end.tolist() == [flow.end for flow in flows]
        for name in ("stalls", "blocked", "queue_cycles"):
            np.testing.assert_array_equal(getattr(met, name), sum(getattr(flow, name) for flow in flows), name)
        np.testing.assert_array_equal(met.queue_peak, np.max([flow.queue_peak for flow in flows], axis=0))


@pytest.mark.slow
@given(SEEDS)
@settings(max_examples=80)
def test_the_port_is_late_by_the_same_for_ever(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mesh = mesh_at_random(rng, 1)
    each = mesh.router_cycles + mesh.link_cycles
    if each + mesh.credit_cycles > SLOTS:
        mesh = Mesh(mesh.width, mesh.height, mesh.ports, SLOTS)
        each = 3
    traffics = [traffic_at_random(rng, mesh, int(rng.integers(0, 2500))) for _ in range(rng.integers(1, LANES + 1))]
    shifts = Lanes(mesh).shifts(traffics)
    assert shifts is not None
    ((_, y),) = mesh.ports
    rows, columns = np.divmod(np.arange(mesh.routers), mesh.width)
    far = columns + np.abs(rows - y)
    for traffic, shift in zip(traffics, shifts.tolist(), strict=True):
        first, hosts = int(traffic.offset[mesh.routers]), int(traffic.offset[-1] - traffic.offset[mesh.routers])
        assert shift >= 0 or hosts < 2400
        if shift >= 0:
            ejected = Workspace(mesh).simulate(traffic).ejected[first:]
            last = slice(max(0, hosts - 8), hosts)
            wanted = np.arange(hosts) + shift + 2 + each * far[traffic.target[first:]]
            np.testing.assert_array_equal(ejected[last], wanted[last])


def test_networks_that_run_for_too_long_are_left_to_others() -> None:
    mesh = Mesh(2, 1)
    late = Traffic(np.array([0, 1, 1]), np.array([LATEST]), np.array([1], np.int32))
    assert Lanes(mesh).run([late]) is None
    assert not fits(Mesh(2, 1, buffer=SLOTS + 1))


@given(SEEDS)
@settings(max_examples=40)
def test_counts_say_which_links_the_hosts_packets_load(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mesh = mesh_at_random(rng, 1)
    counts = rng.integers(0, 5, mesh.routers)
    target = rng.permutation(np.repeat(np.arange(mesh.routers), counts))
    offset = np.zeros(mesh.terminals + 1, np.int64)
    offset[-1] = len(target)
    traffic = Traffic(offset, np.arange(len(target)), target.astype(np.int32))
    np.testing.assert_array_equal(entering(mesh, counts), ideal(mesh, traffic).load)


def on_one_port(rng: np.random.Generator) -> tuple[Plan, np.ndarray]:
    """A mapping whose network fits the lanes, and the spikes of six images or more."""
    mapping, data = timed_map(rng)
    t = mapping.chip.timing
    assert t is not None
    timing = t.model_copy(update={"buffer_flits": SLOTS, "router_cycles": 2, "link_cycles": 1, "credit_cycles": 1})
    ports = mapping.chip.ports[: rng.integers(1, 3)]
    chip = mapping.chip.model_copy(update={"timing": timing, "ports": ports})
    return plan(replace(mapping, chip=chip)), np.tile(fired(mapping, data), (FEW, 1))[:LANES]


@pytest.mark.slow
@given(SEEDS)
@settings(max_examples=40)
def test_frames_together_are_those_one_by_one(seed: int) -> None:
    tables, rows = on_one_port(np.random.default_rng(seed))
    batch, bench = Batch(tables, "cycle"), Bench(tables)
    frames, networks = batch.frames(list(rows), [None] * len(rows))
    wanted = [bench.frame(row) for row in rows]
    for found, frame in zip(frames, wanted, strict=True):
        for one, tick in zip(found.ticks, frame.ticks, strict=True):
            other = counts_of(tables, tick)
            for name in ("cores", "ready", "packets", "hops", "models"):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
            assert (one.entering is None) == (other.entering is None)
            if one.entering is not None:
                np.testing.assert_array_equal(one.entering, other.entering)
    for number, network in enumerate(networks):
        flows = [frame.ticks[number].flow for frame in wanted]
        for name in ("load", "stalls", "blocked", "queue_cycles"):
            np.testing.assert_array_equal(getattr(network, name), sum(getattr(flow, name) for flow in flows), name)
        np.testing.assert_array_equal(network.queue_peak, np.max([flow.queue_peak for flow in flows], axis=0))
    cycles = [frame.inputs.cycles for frame in wanted]
    reads = [True] * len(rows)
    ends = [bench.stream(row, when) for row, when in zip(rows, cycles, strict=True)]
    assert batch.stream(list(rows), cycles, reads) == ends
