"""No product is written over an input, over another product or where it cannot be; options without effect are refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from support.command_line import call_text, refused
from support.hand_mappings import two_cores
from support.places import MODELS

from chipsim.mapping import write_mapping

RUN = ("chipsim", "run", "m.map", "--dataset", "d.npz")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    write_mapping(two_cores().build(), tmp_path / "m.map")
    images = np.array([[2, 0], [2, 1], [0, 2]], np.float32)
    np.savez(tmp_path / "d.npz", images=images, labels=np.array([0, 1, 1]))
    np.savez(tmp_path / "classes.npz", images=images, labels=np.array([0, 1, 7]))
    (tmp_path / "mini").write_text("a file that is called as a preset is")
    (tmp_path / "c.yaml").write_text("base: mini\n")
    (tmp_path / "f.yaml").write_text("dead_neurons: {rate: 0.1}\n")
    (tmp_path / "logs").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "m.onnx").write_bytes((MODELS / "tiny.onnx").read_bytes())
    return tmp_path


def external(folder: Path) -> None:
    import onnx
    from onnx import external_data_helper

    model = onnx.load(MODELS / "tiny.onnx")
    external_data_helper.convert_model_to_external_data(model, location="e.onnx.data", size_threshold=16)
    onnx.save(model, folder / "e.onnx")


REFUSED = [
    (2, "--logs: logs/accuracy.txt is also the file of --json", [*RUN, "--logs", "logs", "--json", "logs/accuracy.txt"]),
    (2, "--json: f.yaml is also an input", [*RUN, "--faults", "f.yaml", "--json", "f.yaml"]),
    (2, "-o: c.yaml is also an input", ["qsnnc", "compile", "m.onnx", "--chip", "c.yaml", "-o", "c.yaml"]),
    (3, "x/: cannot be written: there is no directory x/", [*RUN, "--json", "x/"]),
    (3, "loop: cannot be written: Too many levels", [*RUN, "--json", "loop"]),
    (3, "m.map: cannot be written: it is not a directory", [*RUN, "--logs", "m.map"]),
    (3, "none/logs: cannot be written: there is no directory", [*RUN, "--logs", "none/logs"]),
    (3, "nowhere: cannot be read: No such file", ["chipsim", "compare", "m.map", "--model", "nowhere", "--dataset", "d.npz"]),
    (2, "--timing-limit: is -7; allowed", [*RUN, "--timing", "none", "--timing-images", "-7"]),
    (2, "--timing-limit: needs --timing cycle", [*RUN, "--timing", "none", "--timing-images", "7"]),
    (2, "--split: has no effect with d.npz", [*RUN, "--split", "train"]),
    (2, "--data-dir: has no effect with d.npz", [*RUN, "--data-dir", "/nope"]),
    (2, "--data-dir: has no effect with digits", ["chipsim", "run", "m.map", "--dataset", "digits", "--data-dir", "/nope"]),
    (2, "--seed: has no effect with --dataset", ["qsnnc", "verify", "m.onnx", "--dataset", "d.npz", "--seed", "1"]),
    (2, "--data-dir: has no effect without --dataset", ["qsnnc", "verify", "m.onnx", "--data-dir", "x"]),
    (2, "--levels: names 'conv1' twice", ["qsnnc", "check", "m.onnx", "--levels", "conv1=3", "--levels", "conv1=4"]),
    (2, "--levels: is 'conv1=999999", ["qsnnc", "check", "m.onnx", "--levels", "conv1=" + "9" * 5000]),
    (2, "--limit: is 1000000000000; allowed", ["qsnnc", "verify", "m.onnx", "--samples", "1000000000000"]),
    (2, "--seeds: is 1000000000; allowed", ["chipsim", "sweep", "m.map", "--dataset", "d.npz", "--fault", "noise", "--rates", "0", "--seeds", "1000000000"]),
    (2, "--router-cycles: is 1000000; allowed", ["chipsim", "network", "--router-cycles", "1000000"]),
    (2, "-: only one output can go", [*RUN, "--json", "-", "--outputs", "-"]),
    (3, "classes.npz: labels has 7 at image 2; allowed: 0 to 1", ["chipsim", "run", "m.map", "--dataset", "classes.npz"]),
    (2, "NAME: unknown chip 'nochip'", ["qsnnc", "chips", "nochip"]),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("code", "start", "words"), REFUSED, ids=[start[:40] for _, start, _ in REFUSED])
def test_refused_before_anything_is_written(here: Path, code: int, start: str, words: list[str]) -> None:
    before = {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()}
    refused(call_text(*words, cwd=here), code, start)
    assert {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()} == before


@pytest.mark.slow
def test_the_data_of_a_model_is_an_input(here: Path) -> None:
    external(here)
    before = (here / "e.onnx.data").read_bytes()
    for words in (
        ["verify", "e.onnx", "--json", "e.onnx.data"],
        ["check", "e.onnx", "--json", "./e.onnx.data"],
        ["compile", "e.onnx", "--chip", "mini", "-o", "e.onnx.data"],
    ):
        said = refused(call_text("qsnnc", *words, cwd=here), 2, "-o: " if "-o" in words else "--json: ")
        assert "e.onnx.data is also an input" in said
    assert (here / "e.onnx.data").read_bytes() == before


@pytest.mark.slow
def test_a_reproduction_replaces_no_input(here: Path) -> None:
    os.rename(here / "d.npz", here / "m.repro.npz")
    words = ["verify", "m.onnx", "--dataset", "m.repro.npz", "--repro", "."]
    refused(call_text("qsnnc", *words, cwd=here), 2, "--repro: ./m.repro.npz is also an input")
    words = ["verify", "m.onnx", "--repro", "new", "--json", "new/m.repro.onnx"]
    assert call_text("qsnnc", *words, cwd=here).returncode == 2


@pytest.mark.slow
def test_a_preset_is_no_file(here: Path) -> None:
    done = call_text("qsnnc", "compile", "m.onnx", "--chip", "mini", "-o", "mini", "-q", cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    assert (here / "mini").read_bytes()[:2] == b"PK"


def test_a_member_that_is_no_array(here: Path) -> None:
    import zipfile

    for name in ("images", "labels"):
        with zipfile.ZipFile(here / "x.npz", "w") as archive:
            archive.writestr(name, b"no array")
            if name == "labels":
                with np.load(here / "d.npz") as good, archive.open("images.npy", "w") as member:
                    np.lib.format.write_array(member, good["images"])
        refused(call_text("chipsim", "run", "m.map", "--dataset", "x.npz", cwd=here), 3, "x.npz: is not a readable npz file")


@pytest.mark.slow
def test_random_images_are_drawn_in_parts(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first part is what it would be alone, and every image is compared."""
    import qsnnc
    from qsnnc.verification import compare

    whole = qsnnc.verify(here / "m.onnx", limit=30)
    monkeypatch.setattr(compare, "PART", 7)
    seen = []
    parts = qsnnc.verify(here / "m.onnx", limit=30, progress=lambda done, total: seen.append((done, total)))
    assert (parts.images, parts.values) == (whole.images, whole.values)
    assert seen == [(7, 30), (14, 30), (21, 30), (28, 30), (30, 30)]


BAD = {
    "accuracy": [1.5, -0.1, "0.5", True, float("nan")],
    "sops_per_image": [-1, None, "2", 1e300, float("inf")],
    "paper_spikes_per_image": [-1, [], {}],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD.items() for value in values])
def test_a_damaged_result_is_refused(here: Path, key: str, value: object) -> None:
    good = {
        "schema": "chipsim-run/1",
        "accuracy": 0.5,
        "paper_spikes_per_image": 9.0,
        "sops_per_image": 7,
        "paper_sops_per_image": None,
    }
    (here / "r.json").write_text(json.dumps({**good, key: value}))
    refused(call_text("chipsim", "plot", "sops", "r.json", "-o", "a.svg", cwd=here), 3, "r.json: ")
    assert not (here / "a.svg").exists()


@pytest.mark.slow
def test_names_are_text(here: Path) -> None:
    import matplotlib as mpl

    from chipsim.report import plots

    good = {
        "schema": "chipsim-run/1",
        "accuracy": 0.5,
        "paper_spikes_per_image": 9.0,
        "sops_per_image": 7,
        "paper_sops_per_image": None,
    }
    path = here / "$x^$ $\\frac{1}{$.json"
    path.write_text(json.dumps(good))
    with mpl.rc_context({"svg.fonttype": "none", "backend": "pdf", "text.usetex": True}):
        drawn = plots.draw("accuracy", plots.read_results([str(path)]), "svg").decode()
    assert "$x^$ $\\frac{1}{$" in drawn
