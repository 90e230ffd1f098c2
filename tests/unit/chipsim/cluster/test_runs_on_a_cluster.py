"""Runs and sweeps on a cluster, in parts, or interrupted and gone on with: the same results, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.command_line import PROCESS, call_text, refused
from support.places import ROOT

from chipsim import read_mapping
from chipsim.cluster import computing, parse_address
from chipsim.datasets import load_dataset
from chipsim.datasets.slices import Slice
from chipsim.engine import shards
from chipsim.engine.part import Wanted
from chipsim.engine.run import execute
from chipsim.engine.setup import set_up
from chipsim.engine.sweep import sweep
from chipsim.options import RunOptions
from chipsim.report import curves
from chipsim.tasks import Kept, Outcome

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow
MAP = str(ROOT / "mappings" / "tiny-mini.map")
OPTIONS = RunOptions(noise=0.1, seed=3, faults={"dead_neurons": {"rate": 0.05, "seed": 1}, "dropped_packets": {"rate": 0.1}})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = read_mapping(MAP).input
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "images.npz"
    images = random.integers(0, 256, (700, *spec.shape[1:])).astype(np.uint8)
    np.savez(path, images=images, labels=random.integers(0, 3, 700))
    np.savez_compressed(path.with_name("compressed.npz"), images=images, labels=np.zeros(700, np.int64))
    return path


@pytest.fixture(scope="module")
def two() -> Iterator[Kept]:
    with computing(parse_address("local:2")) as kept:
        yield kept


def assert_equal(one, other) -> None:
    seconds = ("images_per_second", "load_seconds", "threads")
    first, second = ({k: v for k, v in each.figures().items() if k not in seconds} for each in (one, other))
    assert first == second
    for name in ("predictions", "scores", "potentials", "labels", "image_spikes"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None and b is None) or (a.dtype == b.dtype and np.array_equal(a, b)), name
    for name in ("spikes", "sops", "events", "encoder_spikes"):
        assert np.array_equal(getattr(one.by_image, name), getattr(other.by_image, name)), name
    assert one.trains.keys() == other.trains.keys()
    assert all(np.array_equal(one.trains[name], other.trains[name]) for name in one.trains)


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize(
    "options",
    [RunOptions(batch=64), RunOptions(batch=16, limit=333, **{k: getattr(OPTIONS, k) for k in ("noise", "seed", "faults")})],
)
def test_a_run_in_shards_is_the_run(
    two: Kept, data: Path, options: RunOptions, in_place: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MOST", 130)
    images, setup, wanted = load_dataset(data, limit=options.limit), set_up(MAP, options), Wanted(True, True)
    whole = execute(setup, images, options, per_image=True, trains=True)
    parts = shards.shards_of(MAP, setup, images, str(data) if in_place else None, options, wanted, 1)
    assert len(list(parts.tasks())) > 2
    found, failed = shards.run_in_shards(parts, two, workers=2)
    assert not failed
    assert_equal(whole, found)


def test_a_shard_without_result_is_left_out_and_marked(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MOST", 64)
    images, options = load_dataset(data), RunOptions(batch=64)
    setup = set_up(MAP, options)
    parts = shards.shards_of(MAP, setup, images, str(data), options, Wanted(), 1)

    class Fails:
        workers = 1

        def outcomes(self, items, done):
            for number, task in enumerate(items):
                given = [entry.path for entry in task.inputs]
                assert all(given), "read in place"
                with computing(None) as here:
                    (found,) = here.outcomes([task], 1)
                yield Outcome(task, None, "ended") if number == 1 else found

    found, failed = shards.run_in_shards(parts, Kept(Fails()), workers=1)
    assert [each.task.label for each in failed] == ["images 64 to 127"]
    whole = execute(setup, images, options)
    kept = np.r_[0:64, 128:700]
    assert found.images == len(kept)
    assert np.array_equal(found.predictions, whole.predictions[kept])
    assert np.array_equal(found.labels, whole.labels[kept])
    assert found.to_json()["missing_images"] == [[64, 127]]
    assert found.accuracy == float((whole.predictions[kept] == whole.labels[kept]).mean())


def test_slices_are_read_from_stored_and_compressed_files(data: Path) -> None:
    images = load_dataset(data).images
    for path in (data, data.with_name("compressed.npz")):
        for first, count in ((0, 10), (10, 100), (5, 7), (690, 10)):
            assert np.array_equal(Slice(str(path), first, count, 1)[:], images[first : first + count])


def test_a_sweep_is_the_same_on_a_cluster(two: Kept, data: Path) -> None:
    given = {"seeds": 2, "limit": 60}
    kinds, rates = ["noise", "dead_neurons", "stuck_synapses"], (0.0, 0.1, 0.5)
    one, other = sweep(MAP, data, kinds, rates, **given), sweep(MAP, data, kinds, rates, kept=two, **given)
    assert curves.to_csv(one) == curves.to_csv(other)
    assert one == other
    assert sweep(read_mapping(MAP), load_dataset(data), kinds, rates, kept=two, **given) == one


def test_interrupted_and_killed_sweeps_go_on(data: Path, tmp_path: Path) -> None:
    """SIGINT to all of its processes ends them, with one line and 130; after SIGKILL of the client no worker stays either."""
    words = ["sweep", MAP, "--dataset", str(data), "--fault", "dead_neurons", "--engine", "reference", "--limit", "150"]
    words += ["--rates", "0.1,0.2", "--seeds", "30", "-q"]
    whole = call_text("chipsim", *words, "--csv", tmp_path / "whole.csv")
    assert whole.returncode == 0, whole.stderr
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for number in (signal.SIGINT, signal.SIGKILL):
        before = len(kept(tmp_path))
        command = [
            *PROCESS["chipsim"],
            *words,
            "--csv",
            tmp_path / "part.csv",
            "--resume",
            tmp_path / "kept",
            "--cluster",
            "local:1",
        ]
        running = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True, start_new_session=True)
        while len(kept(tmp_path)) < before + 3:
            assert running.poll() is None, running.stderr.read()
            time.sleep(0.01)
        children = subprocess.run(
            ["pgrep", "-s", str(running.pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        if number == signal.SIGINT:
            os.killpg(running.pid, number)  # as a terminal does
        else:
            running.send_signal(number)
        _, said = running.communicate(timeout=60)
        assert running.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
        assert said == "interrupted\n" or number == signal.SIGKILL
        assert not (tmp_path / "part.csv").exists()
        end = time.monotonic() + 30
        while any(
            Path(f"/proc/{child}/stat").exists() and " Z " not in Path(f"/proc/{child}/stat").read_text()
            for child in children
        ):
            assert time.monotonic() < end, "a worker stayed"
            time.sleep(0.05)
    assert 6 <= len(kept(tmp_path)) < 61
    done = call_text("chipsim", *words, "--csv", tmp_path / "part.csv", "--resume", tmp_path / "kept")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "part.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def kept(folder: Path) -> list[Path]:
    return [path for path in (folder / "kept").rglob("*") if path.is_file() and path.suffix != ".tmp"]


def test_the_command_line(data: Path, tmp_path: Path) -> None:
    products = ["--outputs", "--per-core", "--per-image"]
    for name, extra in (("one", []), ("two", ["--cluster", "local:1"]), ("kept", ["--resume", tmp_path / "results"])):
        (tmp_path / name).mkdir()
        files = [word for option in products for word in (option, tmp_path / name / option)]
        done = call_text("chipsim", "run", MAP, "--dataset", data, "--logs", tmp_path / name / "logs", "-q", *files, *extra)
        assert (done.returncode, done.stderr) == (0, "")
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file():
            for name in ("two", "kept"):
                assert (tmp_path / name / path.relative_to(tmp_path / "one")).read_bytes() == path.read_bytes(), path


def test_a_script_needs_no_guard_against_being_imported(data: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    words = [
        "chipsim",
        "run",
        MAP,
        "--dataset",
        str(data),
        "--cluster",
        "local:1",
        "--json",
        str(tmp_path / "out.json"),
        "-q",
    ]
    script.write_text(f"import sys\nfrom chipsim.cli import main\nprint('once')\nsys.argv = {words!r}\nmain()\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "once\n", "")
    assert (tmp_path / "out.json").exists()


def test_files_beside_the_user_are_no_modules(data: Path, tmp_path: Path) -> None:
    for name in ("numpy", "yaml", "distributed"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')\n")
    done = call_text("chipsim", "run", MAP, "--dataset", data, "--cluster", "local:1", "-q", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "code", "start"),
    [
        (["--cluster", "nowhere"], 2, "--cluster: is 'nowhere'; allowed: "),
        (["--cluster", "none.json"], 3, "none.json: cannot be read"),
        (["--resume", "/dev/null/x"], 3, "/dev/null/x: cannot be written"),
    ],
)
def test_wrong_options(data: Path, words: list[str], code: int, start: str) -> None:
    done = call_text("chipsim", "run", MAP, "--dataset", data, *words)
    assert not done.stdout
    refused(done, code, start)
