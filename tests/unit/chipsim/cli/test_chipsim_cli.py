"""The command ``chipsim``: exit codes, one-line errors, products and where they go."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support.command_line import PROCESS, call
from support.hand_mappings import two_cores, two_cores_model

from chipsim.mapping import write_mapping
from chipsim.provenance import OF_THE_COMPUTING, digest

COMMAND = PROCESS["chipsim"]
chipsim = partial(call, "chipsim")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold a map, its model, and its data."""
    folder = tmp_path_factory.mktemp("cli")
    model = two_cores_model().SerializeToString()
    (folder / "m.onnx").write_bytes(model)
    write_mapping(two_cores().build(model), folder / "m.map")
    wrong = two_cores()
    wrong.cores[1].weights = [[3, -1], [2, 0], [-5, 2]]
    write_mapping(wrong.build(model), folder / "wrong.map")
    images = np.array([[2, 0], [2, 1], [0, 2]], np.float32)
    np.savez(folder / "d.npz", images=images, labels=np.array([0, 1, 1]))
    np.savez(folder / "nolabels.npz", images=images)
    np.savez(folder / "shape.npz", images=images[:, :1])
    np.savez(folder / "nan.npz", images=images * np.float32("nan"))
    np.savez(folder / "empty.npz", images=images[:0])
    (folder / "cut.map").write_bytes((folder / "m.map").read_bytes()[:-50])
    return folder


def test_json_on_stdout_is_all_that_is_there(folder: Path) -> None:
    done = chipsim("run", folder / "m.map", "--dataset", folder / "d.npz", "--json", "-", "--threads", 1)
    assert (done.returncode, done.stderr) == (0, b"")
    result = json.loads(done.stdout)
    assert (result["images"], result["accuracy"], result["ticks_per_image"], result["chip"]) == (3, 1.0, 3, "mini")


@pytest.mark.slow
def test_files_and_summary(folder: Path, tmp_path: Path) -> None:
    names = [tmp_path / name for name in ("r.json", "cores.csv", "o.npz")]
    done = chipsim(
        "run",
        folder / "m.map",
        "--dataset",
        folder / "nolabels.npz",
        "--json",
        names[0],
        "--per-core",
        names[1],
        "--outputs",
        names[2],
    )
    assert done.returncode == 0
    assert b"no labels" in done.stdout
    assert b"hidden" in done.stdout
    result = json.loads(names[0].read_text())
    assert result["accuracy"] is None
    rows = list(csv.DictReader(io.StringIO(names[1].read_text())))
    made = digest(result["provenance"], OF_THE_COMPUTING)
    assert rows == [{**{key: str(value) for key, value in core.items()}, "made_by": made} for core in result["cores"]]
    with np.load(names[2]) as outputs:
        assert set(outputs.files) == {"predictions", "scores", "potentials"}
        assert outputs["potentials"].tolist() == [[5, -1], [-2, 0], [-5, 1]]
        kinds = {name: (outputs[name].dtype.name, outputs[name].shape) for name in outputs.files}
        assert kinds == {"predictions": ("int64", (3,)), "scores": ("float32", (3, 2)), "potentials": ("int64", (3, 2))}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cores.csv", "o.npz", "r.json"]
    quiet = chipsim("run", folder / "m.map", "--dataset", folder / "d.npz", "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, b"", b"")


@pytest.mark.slow
def test_options_change_what_they_say(folder: Path) -> None:
    def result(*options: object) -> dict[str, object]:
        done = chipsim("run", folder / "m.map", "--dataset", folder / "d.npz", "--json", "-", *options)
        return json.loads(done.stdout)

    plain = result()
    assert result("--limit", 2)["images"] == 2
    assert result("--noise", 1)["encoder_spikes_per_image"] == 0
    assert result("--threads", 2)["threads"] == 2
    noisy = [
        result("--noise", 0.5, "--seed", seed, "--batch", 1 + seed % 2)["encoder_spikes_per_image"] for seed in range(4)
    ]
    assert len({plain["encoder_spikes_per_image"], *noisy}) > 1


USAGE = [
    ["run", "M", "--dataset", "D", "--colour"],
    ["run", "M"],
    ["walk"],
    ["run", "M", "--dataset", "cifar"],
    ["run", "M", "--dataset", "D", "--limit", "-1"],
    ["run", "M", "--dataset", "D", "--limit", "some"],
    ["run", "M", "--dataset", "D", "--noise", "1.5"],
    ["run", "M", "--dataset", "D", "--threads", "0"],
    ["run", "M", "--dataset", "D", "--batch", "0"],
    ["run", "M", "--dataset", "digits", "--split", "half"],
    ["run", "M", "--dataset", "D", "--json", "-", "--per-core", "-"],
    ["data", "cifar", "-o", "x.npz"],
]
INPUT = [
    ["run", "none.map", "--dataset", "D"],
    ["run", "cut.map", "--dataset", "D"],
    ["run", "m.onnx", "--dataset", "D"],
    ["run", "M", "--dataset", "none.npz"],
    ["run", "M", "--dataset", "shape.npz"],
    ["run", "M", "--dataset", "nan.npz"],
    ["run", "M", "--dataset", "empty.npz"],
    ["run", "M", "--dataset", "digits"],
    ["run", "M", "--dataset", "D", "--json", "no/such/place.json"],
    ["run", "M", "--dataset", "D", "--outputs", "."],
    ["compare", "M", "--model", "m.map", "--dataset", "D"],
    ["compare", "M", "--model", "none.onnx", "--dataset", "D"],
    ["data", "digits", "-o", "no/such/place.npz"],
]


@pytest.mark.slow
@pytest.mark.parametrize(("code", "words"), [(2, words) for words in USAGE] + [(3, words) for words in INPUT])
def test_exit_codes(folder: Path, code: int, words: list[str]) -> None:
    before = sorted(os.listdir(folder))
    done = chipsim(*[{"M": "m.map", "D": "d.npz"}.get(word, word) for word in words], cwd=folder)
    assert done.returncode == code, done.stderr
    assert done.stdout == b""
    text = done.stderr.decode()
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    assert sorted(os.listdir(folder)) == before


def test_compare(folder: Path) -> None:
    words = ("--model", folder / "m.onnx", "--dataset", folder / "d.npz")
    same = chipsim("compare", folder / "m.map", *words)
    assert same.returncode == 0, same.stderr
    assert same.stdout.startswith(b"equal: 3 images")
    other = chipsim("compare", folder / "wrong.map", *words)
    assert other.returncode == 1
    assert other.stdout.startswith(b"scores: image 1")


@pytest.mark.slow
def test_data(folder: Path, tmp_path: Path) -> None:
    done = chipsim("data", "digits", "-o", tmp_path / "digits.npz")
    assert (done.returncode, done.stdout) == (0, b"")
    with np.load(tmp_path / "digits.npz") as data:
        assert data["images"].shape == (899, 28, 28)
    piped = chipsim("data", "digits", "-o", "-")
    with np.load(io.BytesIO(piped.stdout)) as data:
        assert data["labels"].shape == (899,)


@pytest.mark.slow
def test_version_and_help() -> None:
    assert chipsim("--version").stdout.startswith(b"chipsim 0.")
    for words in ([], ["run"], ["compare"], ["data"]):
        done = chipsim(*words, "--help")
        assert done.returncode == 0
        assert b"Example" in done.stdout


@pytest.mark.slow
def test_help_is_light() -> None:
    probe = "import sys; sys.argv = ['chipsim', '--help']\ntry:\n import chipsim.cli; chipsim.cli.main()\nexcept SystemExit: pass\n"
    heavy = "print(sorted({'onnxruntime', 'onnx', 'numpy', 'sklearn', 'pydantic', 'pooch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe + heavy], capture_output=True, timeout=60, check=True)
    assert done.stdout.endswith(b"[]\n")


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "data", "digits", "-o", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() in (b"", b"-: 899 images of digits (test)\n")
        assert process.wait(60) == 0


@pytest.mark.slow
def test_interrupt(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", images=np.zeros((3_000_000, 2), np.float32))
    words = ["run", folder / "m.map", "--dataset", tmp_path / "many.npz", "--batch", "1", "--json", tmp_path / "r.json"]
    with subprocess.Popen([*COMMAND, *map(str, words)], stderr=subprocess.PIPE) as process:
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["many.npz"]


@pytest.mark.slow
def test_our_own_mistake_is_70_and_says_what_to_report(tmp_path: Path) -> None:
    probe = (
        "import chipsim.engine.setup as s\ndef broken(*a, **k): raise ZeroDivisionError('two\\nlines')\ns.set_up = broken\n"
        "import sys; sys.argv = ['chipsim', 'run', 'a.map', '--dataset', 'digits']\nfrom chipsim.cli import main; main()"
    )
    (tmp_path / "reports").mkdir()
    (tmp_path / "a.map").write_bytes(b"")
    environment = {**os.environ, "TMPDIR": str(tmp_path / "reports")}
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, timeout=60, env=environment, check=False, cwd=tmp_path
    )
    assert done.returncode == 70
    text = done.stderr.decode()
    assert text.count("\n") == 1
    (report,) = (tmp_path / "reports").iterdir()
    assert str(report) in text
    assert "ZeroDivisionError" in report.read_text()
    assert "run a.map" in report.read_text()
