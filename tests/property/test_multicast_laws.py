"""The laws of packets to several terminals, on meshes and traffic drawn at random; mesh_model's page of rules decides."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from mesh_model import model
from test_network_laws import ARRAYS, hops, meshes, traffics

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


@st.composite
def cases(draw: st.DrawFn) -> tuple[Mesh, Traffic, list[list[int]]]:
    """Sets of one terminal, of a few, of all; some packets' the same."""
    mesh = draw(meshes())
    plain = draw(traffics(mesh, 60))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    most = draw(st.integers(1, mesh.terminals))
    kinds = [rng.choice(mesh.terminals, rng.integers(1, most + 1)).tolist() for _ in range(draw(st.integers(1, 8)))]
    return mesh, plain, [kinds[rng.integers(len(kinds))] for _ in plain.ready]


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
    far = np.array([hops(mesh, s, t) for s, t in zip(source[packet], target, strict=True)], np.int64)
    formula = 2 + (far + 1) * mesh.router_cycles + far * mesh.link_cycles
    np.testing.assert_array_equal(alone.ejected - alone.sent[packet], formula)
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
