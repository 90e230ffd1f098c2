"""Routes around dead links: every pair that hangs together has one, and no packets can wait in a circle."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipsim.chip import ChipSpec, load_chip
from chipsim.chip.avoid import with_dead, without, working
from chipsim.chip.routes import (
    EAST,
    LOCAL,
    NORTH,
    NOWHERE,
    SIDES,
    SOUTH,
    STEPS,
    WEST,
    cut_off,
    neighbours,
    next_side,
    routes,
    stopped,
)
from chipsim.errors import InputError
from chipsim.faults.places import all_links


def broken(seed: int, share: float, width: int, height: int) -> ChipSpec:
    """A chip with some of its links dead, whose one port lies in the largest part that hangs together."""
    rng = np.random.default_rng(seed)
    links = [link for link in all_links((width, height)) if rng.random() < share]
    chip = load_chip("mini").model_copy(update={"grid": (width, height), "ports": ((0, 0),)})
    graph = mesh_graph(with_dead(chip, (), tuple(links)))
    part = max(nx.connected_components(graph), key=len)
    port = min(part)
    return with_dead(chip.model_copy(update={"ports": ((port % width, port // width),)}), (), tuple(links))


def mesh_graph(chip: ChipSpec) -> nx.Graph:
    """The routers and the links that work, made from the grid alone."""
    width, height = chip.grid
    graph = nx.Graph()
    graph.add_nodes_from(range(width * height))
    dead = {frozenset(link) for link in chip.dead_links}
    for link in all_links(chip.grid):
        if frozenset(link) not in dead:
            graph.add_edge(*(y * width + x for x, y in link))
    return graph


def way(chip: ChipSpec, table: np.ndarray | None, start: int, end: int) -> list[int]:
    """Routers that a packet passes."""
    found, beyond = [start], neighbours(chip)
    while True:
        side = int(next_side(chip, table, np.array([found[-1]]), np.array([end]))[0])
        assert side != NOWHERE
        if side == LOCAL:
            return found
        found.append(int(beyond[found[-1], side]))
        assert found[-1] >= 0, "over a link that is not there"
        assert len(found) <= len(beyond), "in a circle"


def test_sides_and_steps_agree() -> None:
    assert [SIDES[side] for side in (EAST, WEST, NORTH, SOUTH, LOCAL)] == ["east", "west", "north", "south", "local"]
    assert [STEPS[side] for side in (EAST, WEST, NORTH, SOUTH)] == [(1, 0), (-1, 0), (0, -1), (0, 1)], "y grows to the south"


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.6), st.integers(1, 6), st.integers(2, 6))
@settings(max_examples=80)
def test_every_pair_is_routed_and_nothing_can_deadlock(seed: int, share: float, width: int, height: int) -> None:
    chip = broken(seed, share, width, height)
    graph = mesh_graph(chip)
    together = nx.node_connected_component(graph, chip.ports[0][1] * width + chip.ports[0][0])
    if len(together) < max(map(len, nx.connected_components(graph))):
        return  # another part is as large: the port's choice is another test's
    apart = {y * width + x for x, y in cut_off(chip)}
    assert apart == set(range(width * height)) - together
    table = routes(chip)
    waits = nx.DiGraph()
    for start in together:
        for end in together:
            channels = list(pairwise(way(chip, table, start, end)))
            assert all(graph.has_edge(*channel) for channel in channels)
            waits.add_edges_from(pairwise(channels))
    assert nx.is_directed_acyclic_graph(waits)
    if table is not None:
        assert (table[list(apart)] == NOWHERE).sum() == len(apart) * (width * height - 1)


@pytest.mark.slow
def test_one_dead_link_costs_little() -> None:
    chip = load_chip("xbar1152").model_copy(update={"grid": (8, 8)})
    faulty = with_dead(chip, (), (((3, 3), (4, 3)),))
    table = routes(faulty)
    distance = dict(nx.all_pairs_shortest_path_length(mesh_graph(faulty)))
    longer = sum(len(way(faulty, table, a, b)) - 1 - distance[a][b] for a in range(64) for b in range(64))
    assert longer <= 0.02 * sum(sum(row.values()) for row in distance.values())


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=40)
def test_packets_that_cross_a_link(seed: int, on_a_table: bool) -> None:
    rng = np.random.default_rng(seed)
    width, height = (int(n) for n in rng.integers(1, 6, 2))
    chip = broken(seed, 0.15 if on_a_table else 0.0, width, max(height, 2))
    routers = chip.grid[0] * chip.grid[1]
    apart = {y * width + x for x, y in cut_off(chip)}
    start, end = rng.integers(0, routers, (2, 30))
    good = ~np.isin(start, list(apart)) & ~np.isin(end, list(apart))
    start, end = start[good], end[good]
    links = [
        tuple(y * width + x for x, y in link) for link in all_links(chip.grid) if rng.random() < 0.2
    ]  # fmt: skip
    both = frozenset((a, b) for link in links for a, b in (link, link[::-1]))
    table = routes(chip)
    ways = [way(chip, table, int(a), int(b)) for a, b in zip(start, end, strict=True)]
    want = [next((step[0] for step in pairwise(each) if step in both), -1) for each in ways]
    assert stopped(chip, both, start, end).tolist() == want


def test_a_port_that_is_cut_off_is_an_error() -> None:
    chip = load_chip("mini")
    with pytest.raises(InputError, match=r"port \(0, 0\) is cut off by dead links: it reaches 1 of 16 routers") as caught:
        without(chip, {"links": [[[0, 0], [1, 0]], [[0, 1], [0, 0]]]})
    assert caught.value.code == "chip-dead"


def test_cores_that_are_cut_off_are_dead() -> None:
    chip = load_chip("mini")
    found = without(chip, {"cores": [[1, 1]], "links": [[[3, 3], [3, 2]], [[2, 3], [3, 3]]]})
    assert found.dead_cores == ((1, 1), (3, 3))
    assert found.cores == 14
    assert without(found, None) == found == working(found)


def test_a_chip_without_a_core_is_an_error() -> None:
    with pytest.raises(InputError, match="no working core"):
        without(load_chip("mini"), {"cores": [[x, y] for x in range(4) for y in range(4)]})


def test_a_grid_too_large_for_a_table_is_refused() -> None:
    chip = load_chip("mini").model_copy(update={"grid": (100, 100)})
    with pytest.raises(InputError, match="allowed: 8192 routers"):
        routes(with_dead(chip, (), (((0, 0), (1, 0)),)))


REFUSED = {
    "cores: [[4, 0]]": (1, "no core [4, 0]"),
    "cores:\n- [0, 0]\n- [0, 9]": (3, "no core [0, 9] on chip 'mini'; allowed: x from 0 to 3, y from 0 to 3"),
    "links: [[[0, 0], [1, 1]]]": (1, "are not neighbours"),
    "links: [[0, 0], [1, 0]]": (1, "links[0]"),
    "cores: [[-1, 0]]": (1, "cores[0][0] is -1; allowed: 0 or more"),
    "core: [[0, 0]]": (1, "unknown key 'core'; did you mean cores?; allowed: cores, links"),
    "- [0, 0]": (1, "allowed: the keys cores, links"),
    "cores: 3": (1, "cores"),
    "cores: [[0, 0]": (2, "is not a list of dead cores and links"),
    "": (1, "allowed: the keys cores, links"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_file_is_refused_with_its_line(tmp_path, text: str) -> None:
    path = tmp_path / "faulty.yaml"
    path.write_text(text + "\n")
    with pytest.raises(InputError) as caught:
        without(load_chip("mini"), path)
    line, part = REFUSED[text]
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert part in str(caught.value)
    assert caught.value.exit_code == 3
