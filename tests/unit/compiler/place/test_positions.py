"""Places found without a search over the grid are those that a search finds; what placements promise."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
from support.branching import Branches, branching
from support.command_line import qsnnc
from support.networks import lenet
from support.placements import chip_of, from_pairs, random_traffic

import chipsim
from chipsim.chip import ChipSpec, load_chip
from chipsim.chip.routes import routes
from qsnnc import Placing, compile_model
from qsnnc.partition.layout import lay_out
from qsnnc.pipeline import read_layers
from qsnnc.place.anneal import Walk
from qsnnc.place.bounds import bounds, usable_cells
from qsnnc.place.feature_maps import by_feature_map
from qsnnc.place.greedy import TIE, Field, greedy
from qsnnc.place.loads import cost_of, link_loads, prices_of
from qsnnc.place.orders import at_random, hilbert, row_major
from qsnnc.place.positions import figures, verify_placement


@pytest.mark.parametrize("seed", range(40))
def test_the_best_place_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chip, traffic = random_traffic(rng)
    dead = np.zeros(chip.grid, bool)
    for x, y in chip.dead_cores:
        dead[x, y] = True
    grid = np.stack(np.meshgrid(*map(np.arange, chip.grid), indexing="ij"), axis=-1)
    to_port = np.abs(grid[:, :, None] - np.array(chip.ports)).sum(axis=-1).min(axis=-1)
    field = Field(traffic, chip)
    taken = dead.copy()
    for core in rng.permutation(traffic.cores).tolist():
        along_x, along_y = field.along(core)
        cost = along_x[:, None] + along_y[None, :] + (field.host[core] + TIE) * to_port
        there = field.best_free(core)
        assert not taken[there]
        assert cost[there] == pytest.approx(cost[~taken].min())
        field.put(core, *there)
        taken[there] = True


def best_of_all(chip: ChipSpec, traffic) -> tuple[float, float]:
    """Fewest hops, and fewest packets on the busiest link, over all placements."""
    cells = usable_cells(chip)
    found = [figures(traffic, chip, cells[list(order)]) for order in permutations(range(len(cells)), traffic.cores)]
    return min(each.hops for each in found), min(each.busiest_link for each in found)


@pytest.mark.parametrize("seed", range(12))
def test_bounds_on_tiny_grids_are_not_above_the_best_of_all_placements(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chip, traffic = random_traffic(rng, most=6)
    hops, busiest = best_of_all(chip, traffic)
    assert bounds(traffic, chip).hops <= hops * (1 + 1e-9)
    assert bounds(traffic, chip).link <= busiest * (1 + 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("grid", "pairs", "busiest"),
    [
        ((3, 2), [(-1, 0, 5), (-1, 1, 7), (-1, 2, 2)], None),  # the host alone: an assignment
        ((3, 3), [(0, 1, 4), (0, 2, 4), (0, 3, 4), (0, 4, 4)], 4),  # a star
        ((2, 1), [(0, 1, 9)], 9),
        ((3, 3), [(0, 1, 3), (2, 3, 8)], None),  # pairs
    ],
)
def test_bounds_are_reached_where_they_can_be(grid, pairs, busiest) -> None:
    chip, traffic = chip_of(grid), from_pairs(pairs)
    hops, least = best_of_all(chip, traffic)
    assert bounds(traffic, chip).hops == hops
    if busiest is not None:
        assert bounds(traffic, chip).link == least == busiest


def test_orders_fill_the_cells_that_work() -> None:
    chip = chip_of((5, 3), dead=((0, 0), (2, 1)))
    works = {tuple(cell) for cell in usable_cells(chip).tolist()}
    assert len(works) == 13
    for order in (row_major(13, chip), at_random(13, chip, 1), hilbert(13, chip)):
        assert {tuple(cell) for cell in order.tolist()} == works
    assert row_major(2, chip).tolist() == [[1, 0], [2, 0]]


@pytest.mark.parametrize("side", [2, 4, 8, 16])
def test_the_hilbert_curve_goes_from_neighbour_to_neighbour(side: int) -> None:
    order = hilbert(side * side, chip_of((side, side)))
    assert (np.abs(np.diff(order, axis=0)).sum(axis=1) == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_the_annealer_knows_what_its_moves_cost(seed: int, broken: bool) -> None:
    rng = np.random.default_rng(seed)
    chip, traffic = random_traffic(rng, most=30)
    while broken and min(chip.grid) < 2:
        chip, traffic = random_traffic(rng, most=30)
    if broken:
        chip = chip.model_copy(update={"dead_links": (((0, 0), (1, 0)),)})
    table, prices = routes(chip), prices_of(traffic, chip)
    walk = Walk(traffic, chip, at_random(traffic.cores, chip, seed), prices, table)
    port, before = walk.port, walk.cost
    walk.run(np.full(4, before / traffic.cores), np.array([4, 3, 2, 1]), np.array([seed + 1], np.uint64), 40_000)
    assert walk.cost != before or traffic.cores < 6
    assert walk.cost == pytest.approx(cost_of(link_loads(traffic, chip, walk.position, table, port), prices), rel=1e-9)
    cells = walk.position.tolist()
    assert len({tuple(cell) for cell in cells}) == traffic.cores
    assert not {tuple(cell) for cell in cells} & set(chip.dead_cores)


@pytest.mark.parametrize("grid", [(9, 9), (30, 20)])
def test_cores_lie_as_their_maps_do(network, grid) -> None:
    chip = load_chip("xbar1152").model_copy(update={"grid": grid, "dead_cores": ((1, 1),)})
    graph = lay_out(read_layers(network), chip).cores
    found = by_feature_map(graph, chip)
    assert len({tuple(cell) for cell in found.tolist()} - {(1, 1)}) == graph.cores
    away = np.abs(usable_cells(chip) - np.array(chip.ports)).sum(axis=1)
    assert np.abs(found - np.array(chip.ports)).sum() == np.sort(away)[: graph.cores].sum()
    for layer in range(len(graph.layers)):  # from the top of its map to the bottom
        mine = np.flatnonzero(graph.core_layer == layer)
        first = graph.neuron_element[graph.neuron_offset[mine]]
        entry = graph.layers[layer].layer
        rows = first // max(1, entry.levels) % (entry.shape[1] * entry.shape[2]) // entry.shape[2]
        top, bottom = mine[rows == rows.min()], mine[rows == rows.max()]
        if rows.max() > rows.min() + 8:
            assert found[top, 1].max() <= found[bottom, 1].min()


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("place") / "lenet.onnx"
    path.write_bytes(lenet(np.random.default_rng(3), 0, 1).SerializeToString())
    return path


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 1, 28, 28)).astype(np.uint8)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_places(network, images) -> None:
    def places(**options) -> list[list[int]]:
        return compile_model(network, placing=Placing(**options)).placement.position.tolist()

    plain = places()
    assert plain == places(seed=0)
    assert plain != places(seed=1)
    assert places(effort=0) == places(strategy="greedy")
    assert places(images=images) == places(images=images) != plain


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["annealed", "greedy", "row-major", "random", "hilbert"])
def test_every_strategy_keeps_off_dead_cores(network, strategy) -> None:
    dead = tuple((x, y) for x in range(0, 32, 3) for y in range(0, 32, 2))
    chip = chip_of((32, 32), ports=((0, 5), (0, 30)), dead=dead)
    done = compile_model(network, chip, placing=Placing(strategy=strategy))
    places = {tuple(place) for place in done.placement.position.tolist()}
    assert not places & set(dead)
    assert len(places) == done.mapping.cores


@pytest.mark.slow
def test_a_dead_cell_is_no_place(network) -> None:
    done = compile_model(network, placing=Placing(effort=0))
    chip = chip_of((32, 32), dead=(tuple(done.placement.position[0].tolist()),))

    cores = SimpleNamespace(cores=done.mapping.cores)
    verify_placement(cores, done.placement, done.chip)
    with pytest.raises(AssertionError):
        verify_placement(cores, done.placement, chip)
    doubled = done.placement.position.copy()
    doubled[1] = doubled[0]
    with pytest.raises(AssertionError):
        verify_placement(cores, replace(done.placement, position=doubled), done.chip)


def with_relays(save):
    steps = (("conv", 0, 0), ("pool", 0, 0), ("conv", 0, 0), ("add", 0, 3), ("cat", 0, 4))
    return save(branching(Branches(6, 2, 2, steps, 5, odd=False))), chip_of((32, 32)).model_copy(update={"max_delay": 1})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lenet", "relays"])
def test_packets_at_measured_rates_are_those_that_fly(network, save, tmp_path, kind) -> None:
    path, chip = (network, "xbar1152") if kind == "lenet" else with_relays(save)
    side = 28 if kind == "lenet" else 6
    images = np.random.default_rng(0).integers(0, 256, (5, 1, side, side)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    done = compile_model(path, chip, placing=Placing(images, effort=0))
    ran = chipsim.run(done.mapping, chipsim.load_dataset(tmp_path / "images.npz")).to_json()
    assert any(layer.kind == "relay" for layer in done.mapping.layers) == (kind == "relays")
    potentials = done.mapping.layers[-1].neurons
    # packets are rounded to 1/256 a pair
    assert done.placement.packets == pytest.approx(ran["packets_per_image"] + potentials, abs=2)
    assert done.placement.calibrated


@pytest.mark.slow
def test_an_annealed_placement_is_better_than_plain_ones_where_it_was_not_calibrated(network) -> None:
    rng = np.random.default_rng(7)
    pictures = np.kron(rng.integers(0, 256, (40, 1, 7, 7)), np.ones((4, 4), int)).astype(np.uint8)
    done = compile_model(network, placing=Placing(pictures[:20]))
    plain = compile_model(network, placing=Placing(pictures[:20], strategy="row-major"))
    assert done.placement.hops < 0.9 * plain.placement.hops
    assert done.placement.figures.busiest_link < 0.5 * plain.placement.figures.busiest_link
    assert plain.placement.figures == done.placement.row_major


def test_greedy_places_the_strongest_beside_the_port() -> None:
    chip, traffic = chip_of((4, 4)), from_pairs([(-1, 0, 1), (-1, 1, 10), (1, 2, 20)])
    assert greedy(traffic, chip)[1].tolist() == [0, 0]


@pytest.mark.slow
def test_what_compile_says(network, images, tmp_path) -> None:
    np.savez(tmp_path / "images.npz", images=images)
    options = ("compile", network, "-o", tmp_path / "net.map", "--effort", "0")
    plain = qsnnc(*options)
    assert "if every source fires once" in plain.stdout
    found = qsnnc(*options, "--calibrate", tmp_path / "images.npz", "--json", tmp_path / "net.json")
    assert found.returncode == 0, found.stderr
    assert "at the measured firing rates" in found.stdout
    said = json.loads((tmp_path / "net.json").read_text())["placement"]
    assert said["weights"] == "rates"
    assert said["host_hops"] + said["chip_hops"] == pytest.approx(said["hops"], abs=0.01)
    assert said["hops"] >= said["hops_bound"]
    assert said["busiest_link"] >= said["busiest_link_bound"]


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (("--calibrate", "cifar"), 2, "--calibrate: unknown data set 'cifar'"),
        (("--calibrate", "none.npz"), 3, "none.npz"),
        (("--calibrate", "digits", "--split", "dev"), 2, "--split"),
        (("--calibrate", "digits", "--calibrate-images", "0"), 2, "--limit: is 0"),
        (("--limit", "7"), 2, "--limit: has no effect without --calibrate"),
        (("--calibrate-images", "7"), 2, "--limit: has no effect without --calibrate"),
        (("--split", "train"), 2, "--split: has no effect without --calibrate"),
        (("--data-dir", "."), 2, "--data-dir: has no effect without --calibrate"),
        (("--effort", "-1"), 2, "--effort"),
    ],
)
def test_what_compile_refuses(network, tmp_path, options, code, text) -> None:
    found = qsnnc("compile", network, "-o", tmp_path / "net.map", *options)
    assert found.returncode == code
    assert text in found.stderr
    assert not (tmp_path / "net.map").exists()
