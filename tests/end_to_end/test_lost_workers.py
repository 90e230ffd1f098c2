"""Verbs on a cluster whose workers are killed as they begin one of the tasks: a partial result, marked as such.

What was computed is kept, and the rest is computed on another cluster: the files are then those of one process.
"""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from support.command_line import call_text
from support.places import ROOT

from chipsim.mapping import read_mapping

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.slow
MAP = ROOT / "mappings" / "tiny-mini.map"
SPACE = "base: mini\nkeys:\n  grid: [[8, 8], [1, 1], [9, 9]]\n"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[distributed.Client]:
    import dask

    with (
        # two workers, one task at a time on each: those that wait on a worker count as failed with the one that ended it
        dask.config.set({"distributed.scheduler.allowed-failures": 0, "distributed.scheduler.worker-saturation": 1.0}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0",
            local_directory=tmp_path_factory.mktemp("workers"),
        ) as found,
        distributed.Client(found, set_as_default=False) as client,
    ):  # fmt: skip
        yield client


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, random = tmp_path_factory.mktemp("data") / "images.npz", np.random.default_rng(0)
    images = random.integers(0, 256, (3000, *read_mapping(MAP).input.shape[1:])).astype(np.uint8)
    np.savez(path, images=images, labels=random.integers(0, 3, len(images)))
    return path


@contextmanager
def killed(client: distributed.Client, times: int, deaths: Path) -> Iterator[None]:
    """Let whoever begins the task that is begun first kill itself, as often as it is begun again, up to some times.

    Each death leaves a file in a folder. A worker dies as it begins: one that is killed from outside may have finished.
    """
    deaths.mkdir()

    class Killer(distributed.WorkerPlugin):  # in a function: it goes to the workers by value
        def transition(self, key: str, start: str, finish: str, **_: object) -> None:
            if finish != "executing" or not key.startswith(("run_shard-", "accuracy-", "measure-")):
                return
            (mine := deaths / f"{os.getpid()}").write_text(key.rpartition("-")[0])
            with suppress(FileExistsError):
                os.link(mine, deaths / "victim")
            mine.unlink()
            dead = len([*deaths.glob("dead*")])
            if key.startswith((deaths / "victim").read_text()) and dead < times:
                (deaths / f"dead{dead}").touch()
                os.kill(os.getpid(), signal.SIGKILL)

    client.register_plugin(Killer(), name="killer")
    try:
        yield
    finally:
        client.unregister_worker_plugin("killer")


def verbs(data: Path, out: Path) -> dict[str, tuple[str, list[object]]]:
    """The words of each verb, without where it computes and what it writes."""
    (out / "space.yaml").write_text(SPACE)
    reference = ["--engine", "reference", "-q"]
    noise = ["--fault", "noise", "--rates", "0.1", "--seeds", "3"]
    return {
        "run": ("chipsim", ["run", MAP, "--dataset", data, "--batch", "1000", *reference]),
        "sweep": ("chipsim", ["sweep", MAP, "--dataset", data, *noise, *reference]),
        "explore": ("qsnnc", ["explore", ROOT / "models" / "tiny.onnx", "--space", out / "space.yaml", "-q"]),
    }


@pytest.mark.parametrize("verb", ["run", "sweep", "explore"])
def test_a_task_that_ends_its_workers_leaves_a_partial_result_and_another_cluster_goes_on(
    verb: str, cluster: distributed.Client, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chipsim.engine.shards.MOST", 1000)
    program, words = verbs(data, tmp_path)[verb]
    kept: list[object] = ["--resume"] if verb == "explore" else ["--resume", tmp_path / "kept"]

    def files(name: str) -> list[object]:
        if verb == "explore":
            return ["-o", tmp_path / name]
        (tmp_path / name).mkdir(exist_ok=True)
        other = ["--outputs", tmp_path / name / "outputs.npz"] if verb == "run" else ["--csv", tmp_path / name / "all.csv"]
        return ["--json", tmp_path / name / "result.json", *other]

    with killed(cluster, 2, tmp_path / "deaths"):
        done = call_text(program, *words, *files("part"), *kept, "--cluster", cluster.scheduler.address)
    assert len([*(tmp_path / "deaths").glob("dead*")]) == 2
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "ended every worker that ran it" in done.stderr
    marked(verb, tmp_path / "part")
    last = "part" if verb == "explore" else "done"
    done = call_text(program, *words, *files(last), *kept, "--cluster", "local:1")
    assert (done.returncode, done.stderr) == (0, "")
    done = call_text(program, *words, *files("one"))
    assert (done.returncode, done.stderr) == (0, "")
    for path in ("outputs.npz", "all.csv", "table.csv", "table.json", "pareto.csv"):
        assert (tmp_path / "one" / path).exists() == (tmp_path / last / path).exists()
        if (tmp_path / "one" / path).exists():
            assert (tmp_path / "one" / path).read_bytes() == (tmp_path / last / path).read_bytes()


def marked(verb: str, folder: Path) -> None:
    """See that a result says what it lacks."""
    if verb == "explore":
        rows = list(csv.DictReader((folder / "table.csv").open()))
        assert [row["fits"] for row in rows].count("") == 1
        assert [row["violation"] for row in rows].count("not measured: the task ended every worker") == 1
        assert len(json.loads((folder / "table.json").read_text())["failed"]) == 1
        return
    value = json.loads((folder / "result.json").read_text())
    if verb == "sweep":
        assert len(value["failed"]) == 1
        return
    ((first, last),) = value["missing_images"]
    assert (value["images"], last - first + 1) == (2000, 1000)
    with np.load(folder / "outputs.npz") as found:
        assert found["missing_images"].tolist() == [[first, last]]
        assert len(found["predictions"]) == 2000
