"""Verbs on a real scheduler with a real worker that has another numpy, another version of the program and another chip file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from support.command_line import call_text
from support.places import ROOT

import chipsim
from chipsim.mapping import read_mapping
from chipsim.tasks.versions import versions

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.slow
MAP = ROOT / "mappings" / "tiny-mini.map"
PYTHONPATH = os.pathsep.join([str(Path(chipsim.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with another installation: found before the one of this process."""
    folder = tmp_path_factory.mktemp("other")
    package = Path(chipsim.__file__).parent
    shutil.copytree(package, folder / "chipsim", ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "chipsim" / "chip" / "mini.yaml").open("a") as file:
        file.write("# not the same\n")
    for name, version in (("numpy", "0.1"), ("qsnnc", "0.0.1")):
        (folder / f"{name}-{version}.dist-info").mkdir()
        (folder / f"{name}-{version}.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    return folder


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[str, Callable[[str], None]]]:
    """Address of a scheduler, and what starts a worker for it with a search path and waits until it is there."""
    with (
        distributed.LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        ExitStack() as ends,
    ):

        def start(path: str) -> None:
            words = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address, "--nthreads", "1"]
            words += ["--no-nanny", "--no-dashboard", "--host", "127.0.0.1", "--local-directory", str(tmp_path)]
            before = len(client.nthreads())
            with (tmp_path / "log").open("a") as log:
                process = subprocess.Popen(
                    words, env=os.environ | {"PYTHONPATH": path}, cwd=tmp_path, stdout=log, stderr=log
                )
            ends.callback(process.wait)
            ends.callback(process.kill)
            client.wait_for_workers(before + 1, timeout=60)

        yield cluster.scheduler_address, start


def test_every_verb_refuses_a_worker_with_other_versions(
    other: Path, scheduler: tuple[str, Callable[[str], None]], tmp_path: Path
) -> None:
    address, start = scheduler
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (20, *read_mapping(MAP).input.shape[1:])).astype(np.uint8)
    np.savez(tmp_path / "d.npz", images=images, labels=random.integers(0, 3, 20))
    (tmp_path / "space.yaml").write_text("base: mini\nkeys:\n  grid: [[8, 8], [9, 9]]\n")
    data, space = tmp_path / "d.npz", tmp_path / "space.yaml"
    verbs: list[tuple[str, list[object]]] = [
        ("chipsim", ["run", MAP, "--dataset", data, "--json", tmp_path / "out"]),
        ("chipsim", ["sweep", MAP, "--dataset", data, "--fault", "noise", "--rates", "0.1", "--json", tmp_path / "out"]),
        ("qsnnc", ["explore", ROOT / "models" / "tiny.onnx", "--space", space, "-o", tmp_path / "out"]),
    ]
    start(os.pathsep.join([str(other), PYTHONPATH]))
    here = versions()
    for program, words in verbs:
        done = call_text(program, *words, "--cluster", address)
        assert done.returncode == 3, done.stderr
        line, error = done.stderr.splitlines()
        assert line.startswith("worker tcp://127.0.0.1:")
        said = line.partition(": refused, because it has ")[2]
        assert f"qsnnc 0.0.1 (here {here['qsnnc']})" in said
        assert f"numpy 0.1 (here {here['numpy']})" in said
        assert f" (here {here['chip files']})" in said
        assert "onnxruntime" not in said
        assert "sources" not in said
        assert "no worker has the versions of the client" in error
        assert not (tmp_path / "out").exists()
    start(PYTHONPATH)
    program, words = verbs[0]
    done = call_text(program, *words, "--cluster", address)
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1)
    assert "refused, because it has" in done.stderr
