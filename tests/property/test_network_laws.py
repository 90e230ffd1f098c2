"""The laws of the network on chip, on meshes and traffic drawn at random; the page of rules in mesh_model decides."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.mesh_model import model

from chipsim.chip.routes import EAST, NORTH, SOUTH, WEST
from chipsim.timing.network.mesh import Flow, Mesh, Traffic
from chipsim.timing.network.simulate import Workspace, ideal, simulate

ARRAYS = [field.name for field in dataclasses.fields(Flow) if field.name != "mesh"]


def column_first(width: int, height: int) -> np.ndarray:
    """Routes along y, then along x."""
    y, x = np.divmod(np.arange(width * height), width)
    along_x = np.where(x[None] > x[:, None], EAST, WEST)
    return np.where(y[None] == y[:, None], along_x, np.where(y[None] > y[:, None], SOUTH, NORTH)).astype(np.uint8)


@st.composite
def meshes(draw: st.DrawFn) -> Mesh:
    width, height = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    return Mesh(
        width,
        height,
        tuple((0, y) for y in draw(st.lists(st.integers(0, height - 1), unique=True, max_size=3))),
        buffer=draw(st.integers(1, 6) | st.just(50)),
        router_cycles=draw(st.integers(1, 4)),
        link_cycles=draw(st.integers(0, 3) | st.just(40)),
        credit_cycles=draw(st.integers(1, 4) | st.just(70)),
        routes=column_first(width, height) if draw(st.booleans()) else None,
    )


@st.composite
def traffics(draw: st.DrawFn, mesh: Mesh, most: int = 120) -> Traffic:
    """Packets between some terminals: a few lone ones, a crowd, or all to one place."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    count = draw(st.integers(0, most))
    sources = rng.choice(mesh.terminals, draw(st.integers(1, mesh.terminals)), replace=False)
    goals = rng.choice(mesh.terminals, draw(st.integers(1, mesh.terminals)), replace=False)
    numbers = np.bincount(rng.choice(sources, count), minlength=mesh.terminals)
    offset = np.concatenate([[0], np.cumsum(numbers)]).astype(np.int64)
    ready = rng.integers(0, draw(st.sampled_from([1, 30, 300, 5000])), count)
    if draw(st.booleans()):  # as they come, or in the order in which they are sent, whatever their times
        for s in range(mesh.terminals):
            ready[offset[s] : offset[s + 1]].sort()
    return Traffic(offset, ready.astype(np.int64), rng.choice(goals, count).astype(np.int32))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Mesh, Traffic]:
    mesh = draw(meshes())
    return mesh, draw(traffics(mesh))


@pytest.mark.slow
@given(cases())
def test_every_packet_and_every_counter_is_that_of_the_model(case):
    mesh, traffic = case
    expected, found = model(mesh, traffic), simulate(mesh, traffic)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def hops(mesh: Mesh, source: int, target: int) -> int:
    a, b = mesh.router_of(np.array([source, target]))
    return int(abs(a // mesh.width - b // mesh.width) + abs(a % mesh.width - b % mesh.width))


@given(cases())
def test_laws(case):
    mesh, traffic = case
    cycle, alone = simulate(mesh, traffic), ideal(mesh, traffic)
    source = np.repeat(np.arange(mesh.terminals), np.diff(traffic.offset))
    far = np.array([hops(mesh, s, t) for s, t in zip(source, traffic.target, strict=True)], np.int64)
    # nothing is lost, nothing is early, a packet alone takes what the formula says
    assert (cycle.sent >= traffic.ready).all()
    assert (cycle.sent >= alone.sent).all()
    assert (cycle.ejected >= alone.ejected).all()
    formula = 1 + (far + 1) * mesh.router_cycles + far * mesh.link_cycles + 1
    np.testing.assert_array_equal(alone.ejected - alone.sent, formula)
    assert (cycle.ejected - cycle.sent >= formula).all()
    # the links carry the routed packets, whatever the contention
    np.testing.assert_array_equal(cycle.load, alone.load)
    assert cycle.traversals == far.sum()
    into = np.bincount(traffic.target, minlength=mesh.terminals)
    np.testing.assert_array_equal(cycle.load[:, 4], into[: mesh.routers])
    for port, (_, y) in enumerate(mesh.ports):
        assert cycle.load[y * mesh.width, WEST] == into[mesh.routers + port]
    # in order on a path; one packet a cycle in and out
    for s in range(mesh.terminals):
        mine = slice(traffic.offset[s], traffic.offset[s + 1])
        assert (np.diff(cycle.sent[mine]) > 0).all()
        for t in np.unique(traffic.target[mine]):
            assert (np.diff(cycle.ejected[mine][traffic.target[mine] == t]) > 0).all()
    for t in np.unique(traffic.target):
        out = cycle.ejected[traffic.target == t]
        assert len(np.unique(out)) == len(out)
    # queues hold what fits, and for as long as their flits are in them
    assert (cycle.queue_peak <= mesh.buffer).all()
    assert (cycle.queue_cycles >= cycle.queue_peak).all()
    assert cycle.queue_cycles.sum() >= mesh.router_cycles * (far + 1).sum()
    total = (cycle.ejected - cycle.sent - 2 - far * mesh.link_cycles).sum()
    assert cycle.queue_cycles.sum() == total


@given(cases(), st.data())
def test_a_workspace_forgets_what_it_did(case, data):
    mesh, traffic = case
    workspace = Workspace(mesh)
    workspace.simulate(data.draw(traffics(mesh)))
    again, fresh = workspace.simulate(traffic), simulate(mesh, traffic)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(again, name), getattr(fresh, name), err_msg=name)
