"""The laws of packets to several terminals, on meshes and traffic drawn at random; mesh_model's page of rules decides."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.mesh_model import model
from test_network_laws import ARRAYS, meshes, traffics

from chipsim.chip import load_chip
from chipsim.chip.routes import cut_off, routes
from chipsim.chip.spec import Link
from chipsim.errors import InputError
from chipsim.faults.places import all_links
from chipsim.timing.network.mesh import Mesh, Traffic
from chipsim.timing.network.simulate import ideal, simulate
from chipsim.timing.network.trees import plant


def forked(mesh: Mesh, plain: Traffic, sets: list[list[int]]) -> Traffic:
    """The packets of a traffic, each to a set of terminals."""
    source = np.repeat(np.arange(mesh.terminals), np.diff(plain.offset))
    packet = np.repeat(np.arange(len(sets)), [len(goals) for goals in sets]).astype(np.int64)
    goals = np.array([goal for of in sets for goal in of], np.int64)
    packets, number, trees = plant(mesh, packet, mesh.router_of(source)[packet], goals)
    assert packets.tolist() == list(range(len(sets)))
    return dataclasses.replace(plain, target=number.astype(np.int32), trees=trees)


def around(seed: int, share: float, width: int, height: int) -> Mesh:
    """A mesh whose packets go around dead links that cut nobody off, with a host."""
    chip = load_chip("mini").model_copy(update={"grid": (width, height)})
    dead: tuple[Link, ...] = ()
    for link in np.random.default_rng(seed).permutation(np.array(all_links((width, height))))[: int(share * width * height)]:
        more = (*dead, tuple(map(tuple, link.tolist())))
        try:
            whole = not cut_off(chip.model_copy(update={"dead_links": more}))
        except InputError:  # it is the port that is cut off
            whole = False
        dead = more if whole else dead
    return Mesh(width, height, ((0, 0),), routes=routes(chip.model_copy(update={"dead_links": dead})))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Mesh, Traffic, list[list[int]]]:
    """Sets of one terminal, of a few, of all; some packets' the same."""
    mesh = draw(meshes())
    if draw(st.booleans()) and mesh.routers > 1:
        table = around(draw(st.integers(0, 999)), draw(st.floats(0.1, 0.9)), mesh.width, mesh.height).routes
        mesh = dataclasses.replace(mesh, routes=table)
    plain = draw(traffics(mesh, 60))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    most = draw(st.integers(1, mesh.terminals))
    kinds = [rng.choice(mesh.terminals, rng.integers(1, most + 1)).tolist() for _ in range(draw(st.integers(1, 8)))]
    return mesh, plain, [kinds[rng.integers(len(kinds))] for _ in plain.ready]


@pytest.mark.slow
@given(cases())
def test_every_branch_and_every_counter_is_that_of_the_model(case):
    mesh, plain, sets = case
    traffic = forked(mesh, plain, sets)
    expected, found = model(mesh, traffic), simulate(mesh, traffic)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@given(cases())
def test_laws(case):
    mesh, plain, sets = case
    traffic = forked(mesh, plain, sets)
    cycle, alone = simulate(mesh, traffic), ideal(mesh, traffic)
    begin, target = traffic.arrivals()
    # each packet reaches each of its terminals once, no sooner than alone
    assert [target[a:b].tolist() for a, b in pairwise(begin)] == [sorted(set(of)) for of in sets]
    assert (cycle.ejected >= 0).all()
    assert (cycle.sent >= alone.sent).all()
    assert (cycle.ejected >= alone.ejected).all()
    np.testing.assert_array_equal(np.bincount(target, minlength=mesh.terminals)[: mesh.routers], cycle.load[:, 4])
    # alone, a branch takes what a packet to its terminal would
    source = np.repeat(np.arange(mesh.terminals), np.diff(plain.offset))
    packet = np.repeat(np.arange(len(sets)), np.diff(begin))
    offset = np.concatenate([[0], np.cumsum(np.bincount(source[packet], minlength=mesh.terminals))])
    each = ideal(mesh, Traffic(offset, plain.ready[packet], target))
    np.testing.assert_array_equal(alone.ejected - alone.sent[packet], each.ejected - each.sent)
    far = (each.ejected - each.sent - 2 - mesh.router_cycles) // (mesh.router_cycles + mesh.link_cycles)
    # the links carry the trees, whatever the contention: no more than the ways one by one, no less than the longest
    np.testing.assert_array_equal(cycle.load, alone.load)
    assert traffic.trees is not None
    links = traffic.trees.links[traffic.target]
    assert cycle.traversals == links.sum()
    for of, (a, b) in zip(links, pairwise(begin), strict=True):
        assert far[a:b].max() <= of <= far[a:b].sum()
    # in order on a path, one a cycle in and out, queues hold what fits
    for terminal in np.unique(target):
        out = cycle.ejected[target == terminal]
        assert len(np.unique(out)) == len(out)
        for s in np.unique(source):
            assert (np.diff(cycle.ejected[(target == terminal) & (source[packet] == s)]) > 0).all()
    assert (cycle.queue_peak <= mesh.buffer).all()


@given(cases())
def test_sets_of_one_are_packets_to_one(case):
    mesh, plain, _ = case
    traffic = forked(mesh, plain, [[goal] for goal in plain.target.tolist()])
    for send in (simulate, ideal):
        expected, found = send(mesh, plain), send(mesh, traffic)
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@pytest.mark.parametrize("mesh", [Mesh(5, 5, ((0, 1),)), around(0, 0.4, 5, 5)], ids=["along x, then y", "around dead links"])
@pytest.mark.parametrize("buffer", [1, 2, 4])
def test_everybody_sends_to_everybody_and_nothing_waits_for_ever(mesh, buffer):
    mesh, number = dataclasses.replace(mesh, buffer=buffer), 12
    offset = np.arange(mesh.terminals + 1) * number
    plain = Traffic(offset, np.zeros(offset[-1], np.int64), np.zeros(offset[-1], np.int32))
    traffic = forked(mesh, plain, [list(range(mesh.terminals))] * int(offset[-1]))
    flow = simulate(mesh, traffic)
    assert len(flow.ejected) == mesh.terminals * offset[-1]
    assert (flow.ejected > 0).all()
    assert flow.traversals == ideal(mesh, traffic).traversals
    if mesh.routes is None:
        assert flow.traversals == offset[-1] * (mesh.routers - 1), "a spanning tree each"


def test_a_fork_on_a_page():
    """(0, 0) sends to its own core and to its neighbours to the east and south."""
    mesh = Mesh(2, 2)
    plain = Traffic(np.array([0, 1, 1, 1, 1]), np.array([0]), np.zeros(1, np.int32))
    flow = simulate(mesh, forked(mesh, plain, [[0, 1, 2]]))
    # sent 0, local at 1, all three branches granted in 2; the neighbours' a link and a router later
    assert flow.ejected.tolist() == [4, 7, 7]
    assert flow.traversals == 2
    assert flow.queue_peak.sum() == 3


def test_a_tree_of_another_router_is_refused():
    mesh = Mesh(2, 2)
    plain = Traffic(np.array([0, 1, 1, 1, 1]), np.array([0]), np.zeros(1, np.int32))
    with pytest.raises(InputError, match="begins at another router"):
        simulate(mesh, dataclasses.replace(forked(mesh, plain, [[1]]), offset=np.array([0, 0, 1, 1, 1])))
