"""Two runs that differ in anything are told apart by every figure, table and page: each shows a digest of the provenance."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.command_line import call_text
from support.places import MODELS, ROOT

from chipsim.provenance import OF_THE_COMPUTING, digest
from chipsim.report import curves, drawing, pictures, plots
from chipsim.report.page import Evidence, page

TINY = ROOT / "mappings" / "tiny-mini.map"
FIGURES = ("map", "links", "ticks", "sparsity", "sops", "accuracy", "faults")
#: what makes a run, and where its provenance has it
RUN = {
    "command": "command", "version": "version", "model": "map_sha256", "map": "map_sha256", "data": "dataset", "split": "split",
    "limit": "limit", "noise": "noise", "seed": "seed", "faults": "faults", "engine": "engine", "threads": "threads",
    "chip": "chip", "time": "time",
}  # fmt: skip
#: on which no number depends: results of any number of workers are equal byte for byte, and so are CSV files of them
COMPUTING = {"command", "time", "engine", "threads"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A timed run and a sweep of the tiny network, and what they printed."""
    folder = tmp_path_factory.mktemp("told")
    np.savez(folder / "d.npz", images=np.random.default_rng(0).integers(0, 256, (4, 28, 28), np.uint8), labels=np.arange(4))
    said = {}
    for name, words in {
        "run": ("chipsim", "run", TINY, "--dataset", "d.npz", "--timing", "cycle", "--json", "run.json"),
        "verbose": ("chipsim", "run", TINY, "--dataset", "d.npz", "--verbose", "--json", "verbose.json"),
        "sweep": ("chipsim", "sweep", TINY, "--dataset", "d.npz", "--fault", "noise", "--rates", "0.5", "--seeds", "1",
                  "--json", "sweep.json"),
        "compile": ("qsnnc", "compile", MODELS / "tiny.onnx", "-o", "t.map", "--chip", "mini", "--calibrate", "d.npz",
                    "--json", "compile.json"),
        "check": ("qsnnc", "check", MODELS / "tiny.onnx", "--verbose", "--json", "check.json"),
        "fit": ("qsnnc", "fit", MODELS / "tiny.onnx", "-o", "fit", "--json", "fit.json"),
    }.items():  # fmt: skip
        done = call_text(*map(str, words), cwd=folder)
        assert done.returncode == 0, done.stderr
        said[name] = done.stdout
    return SimpleNamespace(folder=folder, said=said)


def provenance(made: SimpleNamespace, name: str) -> dict[str, Any]:
    return dict(json.loads((made.folder / f"{name}.json").read_text())["provenance"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run", "verbose", "sweep", "compile", "check", "fit"])
def test_a_table_shows_the_digest_of_what_made_it(made: SimpleNamespace, name: str) -> None:
    assert re.search(rf"^(run|made by) {digest(provenance(made, name))}; ", made.said[name], re.MULTILINE)


def drawn(made: SimpleNamespace, kind: str) -> bytes:
    path = str(made.folder / ("sweep.json" if kind == "faults" else "run.json"))
    if kind == "faults":
        return curves.draw(curves.read_sweeps([path]), "svg")
    if kind in plots.KINDS:
        return plots.draw(kind, plots.read_results([path]), "svg")
    return pictures.draw(kind, pictures.read(kind, [path]), "svg")


@pytest.mark.slow
@pytest.mark.parametrize("kind", FIGURES)
def test_a_figure_shows_the_digest_of_what_made_it(
    made: SimpleNamespace, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    for module in (drawing, plots, curves):
        monkeypatch.setattr(module, "sign", lambda figure, lines: seen.extend(lines))
    drawn(made, kind)
    assert digest(provenance(made, "sweep" if kind == "faults" else "run")) in " ".join(seen)


@pytest.mark.slow
def test_a_page_shows_the_digest_of_its_run(made: SimpleNamespace) -> None:
    assert f"run {digest(provenance(made, 'run'))}; " in page(TINY, Evidence(run=str(made.folder / "run.json")))


@pytest.mark.slow
@pytest.mark.parametrize("what", RUN)
def test_a_run_that_differs_in_one_thing_has_another_digest(made: SimpleNamespace, what: str) -> None:
    given = provenance(made, "run")
    key = RUN[what]
    assert key in given
    other = {**given, key: "another" if key != "dataset" else {**given[key], "sha256": "0" * 64}}
    assert digest(other) != digest(given)
    assert (digest(other, OF_THE_COMPUTING) != digest(given, OF_THE_COMPUTING)) == (what not in COMPUTING)


@pytest.mark.slow
def test_a_compilation_names_its_calibration_images_by_content(made: SimpleNamespace) -> None:
    wanted = hashlib.sha256((made.folder / "d.npz").read_bytes()).hexdigest()
    assert provenance(made, "compile")["calibrate"]["sha256"] == wanted


@pytest.mark.slow
def test_two_chips_of_one_name_are_told_apart(made: SimpleNamespace, tmp_path: Path) -> None:
    digests = set()
    for side in (8, 9):
        (tmp_path / "c.yaml").write_text(f"name: same\nbase: mini\ngrid: [{side}, {side}]\n")
        words = ("check", str(MODELS / "tiny.onnx"), "--chip", "c.yaml", "--json", "c.json", "-q")
        assert call_text("qsnnc", *words, cwd=tmp_path).returncode == 0
        found = json.loads((tmp_path / "c.json").read_text())["provenance"]
        digests.add(digest({key: value for key, value in found.items() if key not in ("time", "command")}))
    assert len(digests) == 2
