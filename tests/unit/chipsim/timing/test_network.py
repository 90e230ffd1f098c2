"""The network on chip held against what is known of it: formulas, bounds, measured saturation."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.command_line import call_text, unlabelled
from support.mesh_model import model

import chipsim
from chipsim.chip.routes import EAST, WEST
from chipsim.errors import InputError, UsageError
from chipsim.timing.network import patterns
from chipsim.timing.network.mesh import Mesh, Traffic
from chipsim.timing.network.simulate import Workspace, ideal, simulate

MESH = Mesh(8, 8)


def packets(mesh: Mesh, *sent: tuple[int, int, int]) -> Traffic:
    """Source, target, ready."""
    rows = np.array(sorted(sent, key=lambda row: row[0]), np.int64).reshape(-1, 3)
    offset = np.concatenate([[0], np.cumsum(np.bincount(rows[:, 0], minlength=mesh.terminals))])
    return Traffic(offset, rows[:, 2].copy(), rows[:, 1].astype(np.int32))


def flow_of_one(mesh: Mesh, source: int, target: int, number: int = 400) -> float:
    """Flits a cycle that arrive when one source sends as fast as it can, after the start."""
    flow = simulate(mesh, packets(mesh, *[(source, target, 0)] * number))
    return (number // 2) / (flow.ejected[-1] - flow.ejected[number - 1 - number // 2])


@pytest.mark.parametrize("constants", [(2, 1, 1), (1, 0, 1), (3, 2, 5)])
def test_a_packet_alone_takes_what_the_formula_says(constants):
    router, link, credit = constants
    mesh = Mesh(8, 8, (), 4, router, link, credit)
    for target, hops in ((0, 0), (1, 1), (9, 2), (63, 14)):
        flow = simulate(mesh, packets(mesh, (0, target, 7)))
        assert flow.sent[0] == 7
        assert flow.ejected[0] - 7 == 1 + (hops + 1) * router + hops * link + 1
    if constants == (2, 1, 1):
        assert flow.ejected[0] - 7 == 46


def test_one_at_a_time_shows_the_latency_at_zero_load():
    found = chipsim.network("8x8", "all-pairs", rate=0)
    source = np.repeat(np.arange(64), 63)
    target = patterns.all_pairs(MESH, 1.0).target
    far = abs(source // 8 - target // 8) + abs(source % 8 - target % 8)
    np.testing.assert_array_equal(found.flow.ejected - found.flow.sent, 3 * far + 4)
    assert found.latency is not None
    assert found.latency["mean"] == 20
    assert found.latency["max"] == 46


@pytest.mark.parametrize(
    ("traffic", "number", "traversals", "busiest"),
    [("all-pairs", 4032, 21_504, 128), ("transpose", 56, 336, 7), ("complement", 64, 512, 4)],
)
@pytest.mark.parametrize("rate", [None, 0])
def test_links_of_known_patterns(traffic, number, traversals, busiest, rate):
    found = chipsim.network((8, 8), traffic, rate=rate).to_json()
    assert found["injected"] == found["ejected"] == number
    assert found["traversals"] == traversals
    assert found["busiest_link"] == busiest


@pytest.mark.parametrize("buffer", [1, 2, 3, 4, 8])
def test_one_flow_gets_its_share_of_a_round_trip(buffer):
    for router, link, credit in ((2, 1, 1), (1, 0, 1), (3, 1, 2)):
        mesh = Mesh(8, 1, (), buffer, router, link, credit)
        assert flow_of_one(mesh, 0, 7) == pytest.approx(min(1, buffer / (router + link + credit)), rel=0.02)
        assert flow_of_one(mesh, 0, 0) == pytest.approx(min(1, buffer / (router + credit)), rel=0.02)


@pytest.mark.parametrize(("buffer", "accepted"), [(2, 0.157), (4, 0.317), (8, 0.374), (16, 0.389)])
def test_saturation(buffer, accepted):
    found = chipsim.network("8x8", buffer=buffer, rate=1, cycles=2500, warmup=500)
    assert found.offered == 1
    assert found.accepted == pytest.approx(accepted, abs=0.005)
    assert found.accepted < 63 / 128


@pytest.mark.parametrize(("router", "credit", "accepted"), [(1, 1, 0.339), (2, 2, 0.269), (2, 3, 0.230)])
def test_saturation_by_the_round_trip_of_a_credit(router, credit, accepted):
    found = chipsim.network("8x8", rate=1, cycles=2500, warmup=500, router_cycles=router, credit_cycles=credit)
    assert found.accepted == pytest.approx(accepted, abs=0.005)


def test_two_flows_share_an_output_evenly():
    mesh = Mesh(3, 1)
    flow = simulate(mesh, packets(mesh, *[(0, 1, 0)] * 200, *[(2, 1, 0)] * 200))
    first = np.sort(flow.ejected)[:200]
    assert abs(np.isin(first, flow.ejected[:200]).sum() - 100) <= 2
    assert np.diff(np.sort(flow.ejected)).max() == 1  # the output never rests


def test_one_port_in_a_closed_form():
    """XY paths from one port form a tree: a flit waits only behind the one before it, so it is never late."""
    mesh = Mesh(6, 5, ((0, 2),))
    target = np.random.default_rng(0).integers(0, 30, 500)
    traffic = packets(mesh, *[(30, t, 0) for t in target])
    flow, alone = simulate(mesh, traffic), ideal(mesh, traffic)
    np.testing.assert_array_equal(flow.ejected, alone.ejected)
    assert flow.blocked.sum() == flow.stalls.sum() == 0


def test_the_host_takes_what_leaves_to_the_west():
    mesh = Mesh(4, 3, ((0, 1),))
    flow = simulate(mesh, packets(mesh, (7, 12, 0), (4, 12, 0), (12, 12, 3), (12, 11, 4)))
    assert flow.load[4, WEST] == 3
    assert flow.links[4, WEST] == 0
    assert flow.traversals == 3 + 0 + 0 + 4
    assert flow.ejected.tolist()[0] == 4  # from the core beside the port: no hop
    assert flow.ejected[1] == 3 * 3 + 4


def test_long_silence_is_jumped_over():
    mesh = Mesh(2, 1)
    late = 1 << 50
    flow = simulate(mesh, packets(mesh, (0, 1, 0), (0, 1, late), (1, 0, late + 5000), (1, 0, late + 5000)))
    assert (flow.sent - np.array([0, late, late + 5000, late + 5001])).tolist() == [0, 0, 0, 0]
    assert (flow.ejected - flow.sent == 7).all()


def test_threads_with_a_workspace_each_find_the_same():
    mesh = Mesh(8, 8)
    many = [patterns.uniform(mesh, 0.4, 300, seed) for seed in range(6)]
    alone = [simulate(mesh, traffic) for traffic in many]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda traffic: Workspace(mesh).simulate(traffic), many))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a.ejected, b.ejected)
        np.testing.assert_array_equal(a.blocked, b.blocked)


def test_routes_that_go_round_in_a_circle_are_refused():
    routes = np.full((2, 2), EAST, np.uint8)
    routes[1] = WEST
    mesh = Mesh(2, 1, routes=routes)
    assert simulate(mesh, packets(mesh, (0, 1, 0))).ejected[0] == 7
    lost = Mesh(3, 1, routes=np.array([[EAST] * 3, [WEST] * 3, [WEST] * 3], np.uint8))
    for source in (0, 1):  # there and back for ever
        with pytest.raises(InputError, match="never arrives"):
            simulate(lost, packets(lost, (source, 2, 0)))
    with pytest.raises(InputError, match="never arrives"):
        simulate(Mesh(1, 2, routes=np.full((2, 2), EAST, np.uint8)), packets(Mesh(1, 2), (0, 1, 0)))


def test_routes_that_block_each_other_are_noticed():
    """Everybody goes round the square clockwise: with full buffers each waits for the next."""
    clockwise = np.array([[0] * 4, [3] * 4, [2] * 4, [1] * 4], np.uint8)  # 0 east to 1, 1 south to 3, 2 north to 0, 3 west
    mesh = Mesh(2, 2, buffer=1, routes=clockwise)
    goal = {0: 2, 1: 0, 3: 1, 2: 3}  # three hops each
    with pytest.raises(InputError, match="wait for each other") as error:
        simulate(mesh, packets(mesh, *[(s, t, 0) for s, t in goal.items() for _ in range(20)]))
    assert error.value.code == "network-routes"


@pytest.mark.parametrize(
    ("mesh", "found"),
    [
        (Mesh(0, 4), "width is 0"),
        (Mesh(4, 4, buffer=0), "buffer is 0"),
        (Mesh(4, 4, router_cycles=0), "router_cycles is 0"),
        (Mesh(4, 4, credit_cycles=0), "credit_cycles is 0"),
        (Mesh(4, 4, ((1, 1),)), "column 0"),
        (Mesh(4, 4, ((0, 1), (0, 1))), "two ports"),
        (Mesh(4, 4, routes=np.zeros((3, 3), np.uint8)), "routes are uint8"),
    ],
)
def test_meshes_that_cannot_be(mesh, found):
    with pytest.raises(InputError, match=found):
        Workspace(mesh)


def test_traffic_that_cannot_be():
    for wrong in (packets(MESH, (0, 64, 0)), packets(MESH, (0, 1, -1)), packets(Mesh(2, 2), (0, 1, 0))):
        with pytest.raises(InputError, match="network"):
            simulate(MESH, wrong)


def test_large_meshes_run():
    found = chipsim.network("128x128", "complement", rate=1)
    assert found.flow.traversals == 16_384 * 128  # each row and column turned: 64 a packet and axis, on average
    assert found.flow.end >= 3 * 254 + 4
    sparse = chipsim.network("32x32", rate=0.001, cycles=2000)
    assert sparse.latency is not None
    assert sparse.latency["mean"] == pytest.approx(3 * 64 / 3 + 4, rel=0.03)


def test_the_model_itself_on_a_page(tmp_path):
    """Two flits for one output, written out by hand: the second waits a cycle behind the first."""
    mesh = Mesh(3, 1)
    flow = model(mesh, packets(mesh, (0, 1, 0), (2, 1, 0)))
    # sent 0, local at 1, granted 2, at the middle 4, asking at 5: east before west
    assert flow.ejected.tolist() == [8, 7]
    assert flow.blocked[1].tolist() == [0, 0, 0, 0, 1]


def test_a_file_of_packets(tmp_path):
    path = tmp_path / "packets.csv"
    path.write_text(
        "source_x,source_y,destination_x,destination_y,cycle\n# a comment\n0,0,7,7,30\n\n0, 0, 0, 1,5\n7,7,7,7\n"
    )
    found = chipsim.network("8x8", str(path))
    assert found.to_json()["latency"] == {"mean": (46 + 7 + 4) / 3, "p50": 7, "p99": pytest.approx(45.22), "max": 46}
    assert found.flow.sent.tolist() == [5, 30, 0]
    assert chipsim.network("8x8", str(path), rate=0).flow.sent.tolist() == [0, 7, 53]
    loud = path.with_name("PACKETS.CSV")
    loud.write_bytes(path.read_bytes())
    assert chipsim.network("8x8", str(loud)).flow.sent.tolist() == [5, 30, 0]


def test_packets_of_a_file_that_fork(tmp_path):
    path = tmp_path / "packets.csv"
    # one packet to four cores, one of them named twice; one to a single core, created later; another source's own
    path.write_text("0,0,3,0\n0,0,3,2\n0,0,0,0\n0,0,3,2\n0,0,1,0\n0,0,1,0,1\n2,2,2,0\n")
    found = chipsim.network("4x4", str(path), multicast=True)
    value = found.to_json()
    assert (value["injected"], value["ejected"], value["traversals"]) == (3, 6, 5 + 1 + 2)
    assert (found.flow.sent.tolist(), found.flow.links[0, EAST]) == ([0, 1, 0], 2)
    assert found.flow.ejected.tolist() == [4, 7, 13, 19, 1 + 7, 10]  # 3 H + 4, by core
    assert (value["latency"]["max"], value["measured"], value["offered"]) == (19, 6, 3 / 16 / 2)
    alone = chipsim.network("4x4", str(path), rate=0, multicast=True)
    assert alone.flow.sent.tolist() == [0, 19, 26]
    assert chipsim.network("4x4", str(path)).to_json()["traversals"] == 3 + 5 + 0 + 5 + 1 + 1 + 2
    with pytest.raises(UsageError, match=r"--multicast: applies to FILE\.csv only"):
        chipsim.network("4x4", "all-pairs", multicast=True)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("0,0,1", "line 2: has '0,0,1'"), ("0,0,1,x", "line 2: has"), ("-1,0,1,1", "line 2: has"), ("0,0,1,1,1.5", "line 2: has"),
        ("0,0,8,1", r"line 2: destination \(8, 1\)"), ("0,9,8,1", r"line 2: source \(0, 9\)"),
        ("0,0,1,1," + "9" * 19, "line 2: cycle"), ("0,0,1,1," + "9" * 400, "line 2: has"), ("²,0,1,1", "line 2: has"),
    ],
)  # fmt: skip
def test_lines_that_are_no_packets(tmp_path, line, found):
    path = tmp_path / "packets.csv"
    path.write_text(f"0,0,1,1,0\n{line}\n")
    with pytest.raises(InputError, match=found):
        chipsim.network("8x8", str(path))


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "source_x,source_y,destination_x,destination_y,cycle\n"])
def test_a_file_without_packets(tmp_path, text):
    (tmp_path / "none.csv").write_text(text)
    with pytest.raises(InputError, match=r"none\.csv: holds no packets; expected: lines of source_x,"):
        chipsim.network("8x8", str(tmp_path / "none.csv"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"mesh": "8"}, {"mesh": "0x8"}, {"mesh": "8x1025"}, {"mesh": "4x8", "traffic": "transpose"}, {"traffic": "tornado"},
        {"rate": 1.5}, {"rate": float("nan")}, {"buffer": 0}, {"credit_cycles": 0}, {"cycles": 0}, {"warmup": -1}, {"seed": -1},
        {"traffic": "all-pairs", "cycles": 5}, {"traffic": "all-pairs", "mesh": "200x200"}, {"traffic": "all-pairs", "rate": 1e-300}, {"chip": "no-such-chip"},
    ],
)  # fmt: skip
def test_options_that_make_no_sense(wrong):
    with pytest.raises(UsageError):
        chipsim.network(**wrong)


def test_the_same_seed_the_same_flow():
    one, same, other = (chipsim.network("4x4", rate=0.3, cycles=200, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.flow.ejected, same.flow.ejected)
    assert len(one.flow.sent) != len(other.flow.sent)


def test_uniform_traffic_is_drawn_some_at_a_time(monkeypatch):
    whole = patterns.uniform(Mesh(3, 3), 0.3, 100, 5)
    monkeypatch.setattr(patterns, "DRAWN", 7)
    parts = patterns.uniform(Mesh(3, 3), 0.3, 100, 5)
    np.testing.assert_array_equal(parts.ready, whole.ready)
    np.testing.assert_array_equal(parts.target, whole.target)


def test_options_change_what_they_say():
    base = chipsim.network("4x4", rate=0.3, cycles=500)
    assert base.offered == pytest.approx(0.3, abs=0.03)
    assert base.measured < len(base.flow.sent)  # the warm-up is not measured
    assert chipsim.network("4x4", rate=0.3, cycles=500, link_cycles=5).latency["mean"] > base.latency["mean"] + 4
    assert chipsim.network("4x4", rate=0.3, cycles=500, buffer=1).latency["mean"] > base.latency["mean"]
    assert chipsim.network(chip="xbar1152", rate=0.001, cycles=20).mesh.width == 32


def chip_file(place, text):
    path = place / "chip.yaml"
    path.write_text(f"base: mini\n{text}")
    return str(path)


def test_a_chip_with_a_dead_link_is_gone_around(tmp_path):
    chip = chip_file(tmp_path, "dead_links: [[[1, 1], [2, 1]]]\n")
    found = chipsim.network(chip=chip, traffic="all-pairs")
    whole = chipsim.network("4x4", "all-pairs")
    router = 1 * 4 + 1
    assert found.flow.links[router, EAST] == found.flow.links[router + 1, WEST] == 0 < whole.flow.links[router, EAST]
    assert found.flow.traversals > whole.flow.traversals
    with pytest.raises(UsageError, match="omit --mesh"):
        chipsim.network("5x4", chip=chip)
    assert chipsim.network("4x4", "all-pairs", chip=chip).flow.traversals == found.flow.traversals
    corner = chip_file(tmp_path, "dead_links: [[[3, 3], [2, 3]], [[3, 3], [3, 2]]]\n")
    with pytest.raises(InputError, match=r"cut off router \(3, 3\)"):
        chipsim.network(chip=corner)


def test_a_network_alone_has_no_ports(tmp_path):
    chip = chip_file(tmp_path, "ports: [[1, 1]]\n")  # which only cycles with a host refuse
    assert chipsim.network(chip=chip, traffic="all-pairs").flow.traversals == 640


def test_the_command(tmp_path):
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return call_text("chipsim", "network", *options, cwd=tmp_path)

    out = run("--mesh", "8x8", "--buffer", "4", "--traffic", "all-pairs", "--rate", "0", "--json", "-")
    found = json.loads(out.stdout)
    assert out.returncode == 0
    assert found["latency"]["mean"] == 20
    assert {"offered", "accepted", "latency", "traversals", "busiest_link", "injected", "ejected", "hops_per_second"} <= set(
        found
    )
    out = run("--traffic", "no.csv")
    assert out.returncode == 3
    assert unlabelled(out.stderr) == "no.csv: cannot be read: No such file or directory; check the path\n"


def test_without_a_place_for_compiled_code(monkeypatch):
    import numba

    from chipsim import compiled

    def nowhere(**options: bool) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(**options)

    monkeypatch.setattr(compiled, "njit", nowhere)
    assert compiled.compiled(lambda x: x + 1)(2) == 3
