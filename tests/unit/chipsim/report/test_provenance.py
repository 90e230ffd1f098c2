"""A result says what made it, and a figure under what conditions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command_line import call_text
from support.places import MODELS, ROOT

import chipsim
from chipsim.errors import InputError, UsageError
from chipsim.provenance import OF_THE_MOMENT, conditions, digest, line, made_by
from chipsim.report import curves, pictures, plots, schema

TINY = ROOT / "mappings" / "tiny-mini.map"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("d.npz", "e.npz"):
        np.savez(tmp_path / name, images=rng.integers(0, 256, (6, 28, 28), np.uint8), labels=np.arange(6))
    (tmp_path / "f.yaml").write_text("dead_neurons: {rate: 0.2}\n")
    return tmp_path


def run(folder: Path, *words: str, data: str = "d.npz") -> dict[str, Any]:
    done = call_text("chipsim", "run", TINY, "--dataset", data, "--json", "r.json", "-q", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    return dict(json.loads((folder / "r.json").read_text()))


@pytest.mark.slow
def test_two_runs_that_differ_in_one_thing_have_another_provenance(folder: Path) -> None:
    plain = run(folder)["provenance"]
    assert plain["map_sha256"] == hashlib.sha256(TINY.read_bytes()).hexdigest()
    assert plain["dataset"]["sha256"] == hashlib.sha256((folder / "d.npz").read_bytes()).hexdigest()
    assert (plain["chip"], plain["engine"], plain["noise"], plain["seed"], plain["limit"]) == ("mini", "fast", 0, 0, None)
    assert plain["command"][:2] == ["chipsim", "run"]
    seen = [plain]
    for words, data in (
        (("--noise", "0.1"), "d.npz"), (("--seed", "1"), "d.npz"), (("--limit", "3"), "d.npz"), ((), "e.npz"),
        (("--faults", "f.yaml"), "d.npz"), (("--engine", "reference"), "d.npz"), (("--threads", "1", "--batch", "2"), "d.npz"),
    ):  # fmt: skip
        seen.append(run(folder, *words, data=data)["provenance"])
    stripped = [json.dumps({key: value for key, value in each.items() if key not in OF_THE_MOMENT}) for each in seen]
    assert len(set(stripped)) == len(seen)
    again = run(folder)["provenance"]
    assert {key: value for key, value in again.items() if key != "time"} == {k: v for k, v in plain.items() if k != "time"}


def test_the_time_is_that_of_the_environment_where_it_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767323045")
    assert made_by({})["time"] == "2026-01-02T03:04:05+00:00"
    for wrong in ("yesterday", "", "9" * 30):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
        with pytest.raises(UsageError, match=r"SOURCE_DATE_EPOCH: is '.*'; allowed: seconds since the start of 1970"):
            made_by({})


@pytest.mark.slow
def test_a_noisy_and_a_faulty_run_are_drawn_as_such(folder: Path) -> None:
    for words, said in (
        (("--noise", "0.1", "--seed", "4"), "noise 0.1, seed 4"),
        (("--faults", "f.yaml"), "faults: dead_neurons, seed 0"),
    ):
        run(folder, *words)
        shown = pictures.read("map", [str(folder / "r.json")])
        assert shown.conditions == said
        assert said.encode() in pictures.draw("map", shown, "svg").replace(b"&#8722;", b"-")
        (network,) = plots.read_results([str(folder / "r.json")])
        made = json.loads((folder / "r.json").read_text())["provenance"]
        assert network.name == f"r\n{said}\nrun {digest(made)}"
        assert network.made == f"r: {line(made)}"


@pytest.mark.slow
def test_compile_and_sweep_say_what_made_them_and_the_mapping_does_not(folder: Path) -> None:
    for name in ("a", "b"):
        words = ("compile", MODELS / "tiny.onnx", "-o", f"{name}.map", "--chip", "mini", "--json", f"{name}.json", "-q")
        assert call_text("qsnnc", *words, cwd=folder).returncode == 0
    assert (folder / "a.map").read_bytes() == (folder / "b.map").read_bytes()
    made = json.loads((folder / "a.json").read_text())["provenance"]
    assert made["map_sha256"] == hashlib.sha256((folder / "a.map").read_bytes()).hexdigest()
    assert made["model_sha256"] == hashlib.sha256((MODELS / "tiny.onnx").read_bytes()).hexdigest()
    words = (
        "sweep",
        TINY,
        "--fault",
        "noise",
        "--rates",
        "0,0.5",
        "--seeds",
        "1",
        "--dataset",
        "d.npz",
        "--json",
        "s.json",
        "-q",
    )
    assert call_text("chipsim", *words, cwd=folder).returncode == 0
    made = json.loads((folder / "s.json").read_text())["provenance"]
    assert (made["seed"], made["seeds"], made["dataset"]["images"]) == (0, 1, 6)


@pytest.mark.slow
def test_a_mapping_is_drawn_without_a_run(folder: Path) -> None:
    shown = pictures.read("map", [str(TINY)])
    assert (shown.quantity, shown.images) == ("synapses", 0)
    described = json.loads(call_text("qsnnc", "inspect", TINY, "--json", "-").stdout)
    assert {(core.id, core.at, core.sops) for core in shown.cores} == {
        (core["id"], (core["x"], core["y"]), core["synapses"]) for core in described["cores"]
    }
    done = call_text("chipsim", "plot", "map", TINY, "-o", "m.svg", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert b"as compiled" in (folder / "m.svg").read_bytes()


def test_nothing_is_said_of_a_healthy_run() -> None:
    assert conditions(None) == conditions({"noise": 0.0, "seed": 7, "faults": None, "limit": None}, {}) == ""


def test_a_digest_tells_every_key_apart_and_a_line_names_what_is_compared() -> None:
    made = {
        "command": ["chipsim", "run"], "version": "1.0", "time": "2026-01-02T03:04:05+00:00", "map_sha256": "a" * 64,
        "model_sha256": "b" * 64, "dataset": {"name": "digits", "split": "test", "images": 5, "sha256": "c" * 64},
        "limit": 5, "noise": 0.0, "seed": 0, "faults": None, "engine": "fast", "threads": 2, "chip": "mini",
    }  # fmt: skip
    others = [{**made, key: "other"} for key in made]
    assert len({digest(each) for each in (made, *others)}) == len(made) + 1
    assert line(made) == (
        f"run {digest(made)}; 2026-01-02 03:04:05 UTC; qsnnc 1.0; map aaaaaaaa of model bbbbbbbb; "
        "digits test, 5 images (cccccccc); engine fast; threads 2"
    )
    assert line(None) == line({}) == ""


def test_a_digest_survives_the_reader(tmp_path: Path) -> None:
    data = chipsim.Dataset("d", "", np.zeros((2, 28, 28), np.uint8), np.zeros(2, np.int64))
    value = chipsim.run(TINY, data, engine="reference", threads=1).to_json()
    (tmp_path / "r.json").write_text(json.dumps(value))
    path = str(tmp_path / "r.json")
    read = schema.parse(path, schema.read(path, "", "chipsim-run/1")[1], schema.RunChip)
    assert schema.made_line(read) == line(value["provenance"])
    assert f"run {digest(value['provenance'])}".encode() in pictures.draw("map", pictures.read("map", [path]), "svg")
    in_memory = chipsim.run(chipsim.read_mapping(TINY), data, engine="reference", threads=1).provenance
    assert in_memory is not None
    assert in_memory["map_sha256"] == value["provenance"]["map_sha256"]


def test_sweeps_of_other_images_or_mappings_are_not_drawn_together(tmp_path: Path) -> None:
    made = {"map_sha256": "a", "dataset": {"sha256": "b"}}
    sweep = {
        "schema": "chipsim-sweep/1", "model_sha256": "m", "chip": "c", "dataset": "d", "images": 1, "healthy": 1.0,
        "curves": [{"fault": "noise", "points": [{"rate": 0.1, "accuracies": [0.5]}]}],
    }  # fmt: skip
    given = {"one": made, "two": {**made, "dataset": {"sha256": "x"}}, "three": {**made, "map_sha256": "x"}}
    for name, each in given.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({**sweep, "provenance": each}))
    one = str(tmp_path / "one.json")
    for name, key in (("two", "images_sha256"), ("three", "map_sha256")):
        with pytest.raises(InputError, match=key):
            curves.read_sweeps([one, str(tmp_path / f"{name}.json")])
    both = curves.read_sweeps([one, one])
    assert len({each.split(",")[-1] for each in curves.to_csv(both).decode().splitlines()[1:]}) == 1
    assert curves.draw(both, "svg").count(f"made by {digest(made)}".encode()) == 2
