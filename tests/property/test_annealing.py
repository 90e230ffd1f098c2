"""What holds for the annealer whatever the traffic: its books are right, it never makes things worse, bounds are bounds."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.placements import random_traffic

from qsnnc.place.anneal import Walk, anneal
from qsnnc.place.bounds import bounds, usable_cells
from qsnnc.place.greedy import greedy
from qsnnc.place.loads import cost_of, link_loads, port_of, prices_of
from qsnnc.place.orders import at_random
from qsnnc.place.positions import cost, figures

SEEDS = st.integers(0, 2**32)


def xy_routes(width: int, height: int) -> np.ndarray:
    """The table that says what is done without one."""
    at, to = np.arange(width * height)[:, None], np.arange(width * height)
    x, to_x = at % width, to % width
    side = np.where(x < to_x, 0, np.where(x > to_x, 1, np.where(at > to, 2, 3)))
    return np.where(at == to, 4, side).astype(np.uint8)


@given(seed=SEEDS, hot=st.booleans(), table=st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_books_are_those_of_a_count_from_scratch(seed: int, hot: bool, table: bool) -> None:
    rng = np.random.default_rng(seed)
    chip, traffic = random_traffic(rng)
    prices = prices_of(traffic, chip)
    start = at_random(traffic.cores, chip, seed)
    walk = Walk(traffic, chip, start, prices, xy_routes(*chip.grid) if table else None)
    before = walk.cost
    heat = np.full(4, before if hot else 1e-9)
    walk.run(heat, np.array([8, 4, 2, 1]), np.array([seed + 1], np.uint64), 20_000)
    fresh = link_loads(traffic, chip, walk.position, None, walk.port)
    kept = prices.price > 0  # what costs nothing is not kept
    np.testing.assert_array_equal(walk.load[kept], fresh[kept])
    assert np.isclose(walk.cost, cost_of(fresh, prices), rtol=1e-9)
    cells = np.flatnonzero(walk.owner >= 0)
    np.testing.assert_array_equal(walk.cell[walk.owner[cells]], cells)
    assert len(cells) == traffic.cores
    assert {tuple(place) for place in walk.position.tolist()} <= {tuple(cell) for cell in usable_cells(chip).tolist()}


@given(seed=SEEDS, work=st.integers(1, 100_000))
@settings(max_examples=40, deadline=None)
def test_never_worse_than_the_start_and_the_same_again(seed: int, work: int) -> None:
    chip, traffic = random_traffic(np.random.default_rng(seed))
    start, prices = greedy(traffic, chip), prices_of(traffic, chip)
    first, second = (anneal(traffic, chip, start, prices, work, seed % 7) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert cost(traffic, chip, first) <= cost(traffic, chip, start)


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_bounds_are_never_above_a_placement(seed: int) -> None:
    chip, traffic = random_traffic(np.random.default_rng(seed))
    for position in (greedy(traffic, chip), at_random(traffic.cores, chip, seed)):
        found = figures(traffic, chip, position)
        assert bounds(traffic, chip).hops <= found.hops * (1 + 1e-9)
        assert bounds(traffic, chip).link <= found.busiest_link * (1 + 1e-9)


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_link_loads_are_those_of_packets_sent_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chip, traffic = random_traffic(rng)
    position = at_random(traffic.cores, chip, seed)
    load, port = link_loads(traffic, chip, position), port_of(traffic, chip, position)
    expected = np.zeros_like(load)
    for pair in range(len(traffic.packets)):
        sender, receiver = traffic.sender[pair], traffic.receiver[pair]
        x, y = chip.ports[port[receiver]] if sender < 0 else position[sender]
        to_x, to_y = chip.ports[port[sender]] if receiver < 0 else position[receiver]
        while (x, y) != (to_x, to_y):
            step = (np.sign(to_x - x), 0) if x != to_x else (0, np.sign(to_y - y))
            side = [(1, 0), (-1, 0), (0, -1), (0, 1)].index(step)
            link = 4 * (y * chip.grid[0] + x) + side
            expected[traffic.row[pair], link] += traffic.packets[pair]
            x, y = x + step[0], y + step[1]
    expected[-1] = expected[1:-1].sum(axis=0)
    np.testing.assert_array_equal(load, expected)
    np.testing.assert_array_equal(load, link_loads(traffic, chip, position, xy_routes(*chip.grid)))
