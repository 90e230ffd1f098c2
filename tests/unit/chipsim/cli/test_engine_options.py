"""--engine and --per-image; an interrupt ends a run at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.command_line import call, unlabelled
from support.hand_mappings import wide_map

from chipsim.mapping import write_mapping

RUN = [sys.executable, "-c", "from chipsim.start import main; main()", "run"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mapping and images for it."""
    path = tmp_path_factory.mktemp("run")
    hand = wide_map(np.random.default_rng(4), levels=2)
    write_mapping(hand.build(), path / "m.map")
    images = np.random.default_rng(5).integers(0, 3, (90, hand.features)).astype(np.float32)
    np.savez(path / "x.npz", images=images)
    return path


def run(place: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    return call("chipsim", "run", "m.map", "--dataset", "x.npz", *words, cwd=place)


@pytest.mark.slow
def test_engines_write_the_same_files(place: Path) -> None:
    found = []
    for engine in ("fast", "reference"):
        names = [f"{engine}.{end}" for end in ("json", "csv", "each.npz", "out.npz")]
        options = ("--json", "--per-core", "--per-image", "--outputs")
        done = run(place, "--engine", engine, *(word for pair in zip(options, names, strict=True) for word in pair))
        assert done.returncode == 0, done.stderr
        result = json.loads((place / names[0]).read_text())
        assert result["engine"] == engine
        each = np.load(place / names[2])
        assert each["spikes"].shape == each["sops"].shape == each["axon_events"].shape == (90, len(result["cores"]))
        assert each["sops"].sum(axis=0).tolist() == [core["sops"] for core in result["cores"]]
        assert each["encoder_spikes"].sum() / 90 == pytest.approx(result["encoder_spikes_per_image"])
        found.append([(place / name).read_bytes() for name in names[1:]])
    assert found[0] == found[1]


def test_an_unknown_engine_is_a_usage_error(place: Path) -> None:
    done = run(place, "--engine", "quick")
    assert done.returncode == 2
    assert unlabelled(done.stderr).startswith(b"--engine: unknown engine 'quick'; expected fast or reference")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(("engine", "threads"), [("fast", "1"), ("fast", "2"), ("reference", "2")])
def test_an_interrupt_ends_a_run_at_once(place: Path, engine: str, threads: str) -> None:
    features = np.load(place / "x.npz")["images"].shape[1]
    np.savez(place / "long.npz", images=np.ones((3_000_000 // features * 20, features), np.float32))
    words = ["m.map", "--dataset", "long.npz", "--engine", engine, "--threads", threads]
    # it runs by then, or loads and has to end as well; a quick machine is through sooner, and prints what it found
    for seconds in (4, 2, 1.4, 1, 0.7):
        process = subprocess.Popen([*RUN, *words], cwd=place, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        result, said = process.communicate(timeout=20)
        if not result:
            break
    assert not result, "through before it could be interrupted"
    assert process.returncode == 130, said
    assert said == b"interrupted\n"
    assert time.monotonic() - start < 5
