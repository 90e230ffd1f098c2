"""--faults and --avoid of chipsim run, chipsim sweep, --avoid of qsnnc compile and check."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support import command_line
from support.command_line import unlabelled
from support.hand_mappings import two_cores, wide_map

import chipsim
from chipsim.datasets import Dataset
from chipsim.engine.sweep import ALL, Sweep, faults_of, parse_faults, parse_rates, parse_rates_of, sweep
from chipsim.errors import InputError, UsageError
from chipsim.mapping import write_mapping
from chipsim.report import curves


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mapping and labelled images for it."""
    path = tmp_path_factory.mktemp("faults")
    hand = wide_map(np.random.default_rng(33), levels=2)
    write_mapping(hand.build(), path / "m.map")
    images = np.random.default_rng(5).integers(0, 3, (40, hand.features)).astype(np.float32)
    labels = chipsim.run(hand.build(), Dataset("x", "test", images, None)).predictions
    np.savez(path / "x.npz", images=images, labels=labels)
    return path


def call(place: Path, *words: str, program: str = "chipsim") -> subprocess.CompletedProcess[bytes]:
    return command_line.call(program, *words, cwd=place)


@pytest.mark.slow
def test_run_says_what_was_broken(place: Path) -> None:
    (place / "f.yaml").write_text("dead_neurons: {rate: 0.5}\nstuck_axons: {rate: 0.1, seed: 2, at: 1}\n")
    done = call(place, "run", "m.map", "--dataset", "x.npz", "--faults", "f.yaml", "--seed", "9", "--json", "-")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["engine"] == "fast"
    assert list(result["faults"]) == ["dead_neurons", "stuck_axons"]
    assert result["faults"]["dead_neurons"]["seed"] == 9
    assert {key: result["faults"]["stuck_axons"][key] for key in ("rate", "seed", "at")} == {"rate": 0.1, "seed": 2, "at": 1}
    assert result["accuracy"] < 1
    healthy = json.loads(call(place, "run", "m.map", "--dataset", "x.npz", "--json", "-").stdout)
    assert healthy["faults"] is None
    assert healthy["accuracy"] == 1


def test_a_faults_file_that_cannot_be_used_is_bad_input(place: Path) -> None:
    (place / "bad.yaml").write_text("noise:\n  layer9: 0.1\n")
    done = call(place, "run", "m.map", "--dataset", "x.npz", "--faults", "bad.yaml")
    assert done.returncode == 3
    assert unlabelled(done.stderr).startswith(b"bad.yaml:2: noise: the mapping has no layer 'layer9'")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.slow
def test_a_broken_chip_is_timed_and_counts_stay(place: Path) -> None:
    (place / "every.yaml").write_text(
        "seed: 4\nnoise: {rate: 0.1}\ndropped_packets: {rate: 0.1}\ndead_neurons: {rate: 0.1}\n"
        "stuck_synapses: {rate: 0.01, at: 1}\nstuck_axons: {rate: 0.1, at: 1}\nflipped_thresholds: {rate: 0.01}\n"
        "dead_cores: {rate: 0.1}\ndead_links: {rate: 0.1}\n"
    )
    found = {}
    for mode in ("none", "ideal", "cycle"):
        words = ("--faults", "every.yaml", "--timing", mode, "--json", f"{mode}.json", "--outputs", f"{mode}.npz")
        done = call(place, "run", "m.map", "--dataset", "x.npz", *words)
        assert done.returncode == 0, done.stderr
        value = json.loads((place / f"{mode}.json").read_text())
        timing = value.pop("timing")
        assert (timing is None) == (value.pop("energy") is None) == (mode == "none")
        if timing is not None:
            assert timing["host_packets"] + timing["chip_packets"] == pytest.approx(value["packets_per_image"])
        for name in ("images_per_second", "load_seconds", "provenance"):
            value.pop(name)
        found[mode] = (value, (place / f"{mode}.npz").read_bytes())
    assert found["none"] == found["ideal"] == found["cycle"]


@pytest.mark.slow
def test_dead_links_are_not_timed_where_packets_go_round_others(tmp_path: Path) -> None:
    hand = two_cores()
    hand.chip = hand.chip.model_copy(update={"dead_links": (((0, 0), (1, 0)),)})
    write_mapping(hand.build(), tmp_path / "round.map")
    np.savez(tmp_path / "x.npz", images=np.zeros((1, 2), np.float32))
    (tmp_path / "links.yaml").write_text("dead_links: [[[1, 1], [0, 1]]]\n")
    words = ("run", "round.map", "--dataset", "x.npz", "--faults", "links.yaml")
    assert call(tmp_path, *words, "--quiet").returncode == 0
    done = call(tmp_path, *words, "--timing", "ideal", "--json", "r.json")
    assert done.returncode == 2
    assert unlabelled(done.stderr).startswith(
        b"--timing: cannot simulate dead_links of the faults on a chip that has dead links"
    )
    assert done.stderr.count(b"\n") == 1
    assert not (tmp_path / "r.json").exists()


@pytest.mark.slow
def test_avoid_names_the_core_and_its_layer(place: Path) -> None:
    (place / "faulty.yaml").write_text("cores: [[1, 0]]\n")
    done = call(place, "run", "m.map", "--dataset", "x.npz", "--avoid", "faulty.yaml")
    assert done.returncode == 3
    assert unlabelled(done.stderr).startswith(b"core 1: a core of hidden is at (1, 0), which is dead on chip")
    (place / "elsewhere.yaml").write_text("cores: [[9, 9]]\nlinks: [[[9, 9], [9, 8]]]\n")
    assert call(place, "run", "m.map", "--dataset", "x.npz", "--avoid", "elsewhere.yaml").returncode == 0
    (place / "apart.yaml").write_text("links: [[[1, 0], [0, 0]], [[1, 0], [2, 0]], [[1, 0], [1, 1]]]\n")
    done = call(place, "run", "m.map", "--dataset", "x.npz", "--avoid", "apart.yaml")
    assert done.returncode == 3
    assert b"(1, 0), which is cut off by dead links" in done.stderr


def test_a_map_whose_own_chip_says_that_a_core_is_dead(tmp_path: Path) -> None:
    mapping = two_cores().build()
    chip = mapping.chip.model_copy(update={"dead_cores": ((1, 0),)})
    hand = two_cores()
    hand.chip = chip
    write_mapping(hand.build(), tmp_path / "dead.map")
    with pytest.raises(InputError, match=r"core 1: a core of out is at \(1, 0\), which is dead") as caught:
        chipsim.read_mapping(tmp_path / "dead.map")
    assert caught.value.code == "map-dead-core"


@pytest.mark.slow
def test_sweep_writes_table_csv_json_and_figure(place: Path) -> None:
    pytest.importorskip("matplotlib")
    files = ("--csv", "s.csv", "--json", "s.json", "--plot", "s.svg")
    words = ("--fault", "dead-neurons,stuck_axons=1", "--rates", "0,0.1,0.9", "--seeds", "3", "--dataset", "x.npz")
    done = call(place, "sweep", "m.map", *words, *files)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((place / "s.csv").open()))
    assert list(rows[0]) == ["fault", "rate", "seed", "accuracy", "made_by"]
    assert len(rows) == 2 * 3 * 3
    assert {row["accuracy"] for row in rows if float(row["rate"]) == 0} == {"1.0"}
    result = json.loads((place / "s.json").read_text())
    assert [curve["fault"] for curve in result["curves"]] == ["dead_neurons", "stuck_axons=1"]
    assert (result["images"], result["healthy"]) == (40, 1.0)
    point = result["curves"][0]["points"][1]
    mine = [float(row["accuracy"]) for row in rows if (row["fault"], row["rate"]) == ("dead_neurons", "0.1")]
    assert point["accuracies"] == mine
    assert point["mean"] == pytest.approx(np.mean(mine))
    assert point["spread"] == pytest.approx(np.std(mine, ddof=1))
    assert (place / "s.svg").read_bytes().startswith(b"<?xml")
    assert b"dead_neurons" in done.stdout
    again = call(place, "plot", "faults", "s.json", "-o", "again.svg")
    assert again.returncode == 0, again.stderr
    assert (place / "again.svg").read_bytes() == (place / "s.svg").read_bytes()
    single = {"dead_neurons": {"rate": 0.9, "seed": 2}}
    found = chipsim.run(place / "m.map", place / "x.npz", faults=single).accuracy
    assert found == float(rows[8]["accuracy"]), "a row is a run of its own"


def test_a_sweep_that_means_nothing(place: Path) -> None:
    done = call(place, "sweep", "m.map", "--fault", "dead", "--rates", "0", "--dataset", "x.npz")
    assert done.returncode == 2
    assert unlabelled(done.stderr).startswith(b"--fault: unknown fault 'dead'; expected all, noise")
    for rates in ([2.0], [float("nan")], []):
        with pytest.raises(UsageError, match="--rates"):
            sweep(place / "m.map", place / "x.npz", ["noise"], rates)
    with pytest.raises(UsageError, match="allowed: numbers from 0 to 1"):
        parse_rates("0;1")
    with pytest.raises(UsageError, match=r"^--fault: noise=x: the mapping has no layer 'x'"):  # before hours of the others
        sweep(place / "m.map", place / "x.npz", ["noise=x"], [0.1])


def test_a_figure_of_no_json(place: Path) -> None:
    (place / "no.json").write_text("fault,rate\n")
    done = call(place, "plot", "faults", "no.json", "-o", "no.png")
    assert (done.returncode, unlabelled(done.stderr)[:24]) == (3, b"no.json: is not JSON (Ex")
    assert not (place / "no.png").exists()


@pytest.mark.slow
def test_sweeps_of_different_things_are_not_one_figure(place: Path) -> None:
    one = sweep(place / "m.map", place / "x.npz", ["dead_cores"], [0.1], seeds=1, limit=5)
    for name, content in (("a", one.to_json()), ("b", {**one.to_json(), "images": 6}), ("c", {"schema": "x"})):
        (place / f"{name}.json").write_text(json.dumps(content))
    assert curves.read_sweeps([str(place / "a.json")] * 2).points == one.points * 2
    with pytest.raises(InputError, match="has images 6"):
        curves.read_sweeps([str(place / "a.json"), str(place / "b.json")])
    for name in ("c.json", "none.json", "x.npz"):
        with pytest.raises(InputError):
            curves.read_sweeps([str(place / name)])


def test_images_without_labels_cannot_be_swept() -> None:
    data = Dataset("x", "test", np.zeros((2, 2), np.float32), None)
    with pytest.raises(InputError, match="x: has no labels"):
        sweep(two_cores().build(), data, ["noise"], [0.1])


def test_kinds_of_a_sweep() -> None:
    assert parse_faults(["stuck-axons", "noise,noise"]) == ("stuck_axons=0", "stuck_axons=1", "noise")
    assert parse_faults(["all"]) == ALL
    assert parse_rates("0,1e-3") == (0.0, 0.001)
    assert faults_of("stuck_axons=1", 0.2, 3) == {"stuck_axons": {"rate": 0.2, "seed": 3, "at": 1}}
    assert faults_of("noise=conv2", 0.2, 3) == {"noise": {"conv2": 0.2}, "seed": 3}
    for text in ("stuck_axons=2", "dead_cores=1", "noise=", ""):
        with pytest.raises(UsageError):
            parse_faults([text])


def test_rates_of_a_kind() -> None:
    kinds = parse_faults(["noise=encoder,dead_links,stuck_axons"])
    found = parse_rates_of(["0.1,0.2", "stuck-axons=0.5", "noise=encoder=0,1"], kinds)
    assert found == {"noise=encoder": (0, 1), "dead_links": (0.1, 0.2), "stuck_axons=0": (0.5,), "stuck_axons=1": (0.5,)}
    for texts, said in (
        (["dead_links=0.1"], "--rates: has none for noise=encoder"),
        (["0.1", "dead_cores=0.1"], "--rates: names dead_cores, which is not swept; allowed: noise=encoder, "),
        (["0.1", "0.2"], "--rates: has two lists for every kind"),
        (["0.1", "stuck_axons=0=x"], "--rates: is 'x'; allowed: numbers"),
    ):
        with pytest.raises(UsageError, match=f"^{said}"):
            parse_rates_of(texts, kinds)
    data = Dataset("x", "test", np.zeros((2, 2), np.float32), np.zeros(2, np.int64))
    swept = sweep(
        two_cores().build(), data, ["dead_cores", "dead_links"], {"dead_cores": [1], "dead_links": [0, 1]}, seeds=2
    )
    assert [(point.fault, point.rate) for point in swept.points] == [
        *[("dead_cores", 1)] * 2, *[("dead_links", 0)] * 2, *[("dead_links", 1)] * 2
    ]  # fmt: skip


@pytest.mark.slow
def test_every_kind_runs_on_every_mapping(place: Path) -> None:
    said: list[str] = []
    found = sweep(place / "m.map", place / "x.npz", ["all"], [0.3], seeds=1, limit=5, warn=said.append)
    assert isinstance(found, Sweep)
    assert [point.fault for point in found.points] == list(ALL)
    assert said == [], "the fast engine runs every kind"


def test_published_figures_stand_beside() -> None:
    assert curves.published() == {"noise=encoder": {0.1: 0.9939, 0.2: 0.9922}, "noise": {0.1: 0.9873, 0.2: 0.9196}}


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["compile", "check"])
def test_the_compiler_avoids(tmp_path: Path, verb: str) -> None:
    from support.networks import Recipe, build

    (tmp_path / "n.onnx").write_bytes(
        build(Recipe(6, 2, 1, 2, ("conv", "maxpool"), 3, seed=5, odd=True)).SerializeToString()
    )
    (tmp_path / "c.yaml").write_text("base: mini\ngrid: [6, 6]\ntargets: 256\n")
    out = ("-o", "n.map") if verb == "compile" else ()
    words = (verb, "n.onnx", *out, "--chip", "c.yaml", "--json", "c.json")
    done = call(tmp_path, *words, program="qsnnc")
    assert done.returncode == 0, done.stderr
    needed = json.loads((tmp_path / "c.json").read_text())["cores"]
    cores = [[n % 6, n // 6] for n in range(36)]
    for left, code in ((needed, 0), (needed - 1, 4)):
        (tmp_path / "faulty.yaml").write_text(json.dumps({"cores": cores[: 36 - left]}))
        done = call(tmp_path, *words, "--avoid", "faulty.yaml", program="qsnnc")
        assert done.returncode == code, done.stderr
        assert json.loads((tmp_path / "c.json").read_text())["cores_available"] == left
    if verb == "compile":
        assert f"has {needed - 1} that work ({37 - needed} of its 36 are dead)".encode() in done.stderr
        mapping = chipsim.read_mapping(tmp_path / "n.map")
        assert not {(x, y) for x, y in mapping.core_position.tolist()} & set(mapping.chip.dead_cores)
    (tmp_path / "faulty.yaml").write_text("cores: [[6, 0]]\n")
    done = call(tmp_path, *words, "--avoid", "faulty.yaml", program="qsnnc")
    assert done.returncode == 3
    assert unlabelled(done.stderr).startswith(b"faulty.yaml:1: there is no core [6, 0]")
