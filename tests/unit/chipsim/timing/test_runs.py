"""Timing beside a run: nothing else changes, and neither threads nor batches change it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import command_line
from support.command_line import unlabelled
from support.hand_mappings import two_cores

import chipsim
from chipsim.mapping import write_mapping
from chipsim.timing.profile import profile
from chipsim.timing.tick import INCREMENTS

TIMING = set(
    "mode images cycles_per_image chip_cycles_per_image interval_cycles ticks host_packets chip_packets hops busiest_link "
    "images_per_second".split()
)


def call(place: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    return command_line.call("chipsim", *words, cwd=place)


@pytest.fixture
def place(tmp_path: Path, small) -> Path:
    """A compiled network and images for it."""
    compiled, _, data = small
    write_mapping(compiled.mapping, tmp_path / "m.map")
    np.savez(tmp_path / "x.npz", images=data.images, labels=data.labels)
    return tmp_path


@pytest.mark.slow
def test_three_modes_run_the_same(place: Path) -> None:
    found = {}
    for mode in ("none", "ideal", "cycle"):
        sample = () if mode == "none" else ("--timing-images", "4")
        done = call(
            place, "run", "m.map", "--dataset", "x.npz", "--timing", mode, *sample, "--json", f"{mode}.json",
            "--outputs", f"{mode}.npz", "--per-core", f"{mode}.csv", "--per-image", f"{mode}-each.npz", "--verbose",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        value = json.loads((place / f"{mode}.json").read_text())
        timing, energy = value.pop("timing"), value.pop("energy")
        assert (timing is None) == (energy is None) == (mode == "none")
        for name in ("images_per_second", "load_seconds", "provenance"):
            value.pop(name)
        found[mode] = (value, (place / f"{mode}.npz").read_bytes(), (place / f"{mode}.csv").read_bytes())
        if mode != "none":
            assert set(timing) >= TIMING
            assert (timing["mode"], timing["images"]) == (mode, 4)
            assert list(energy["parts"]) == "rows adds updates spikes lookups hops io static".split()
            assert all(set(tick) >= {"layer", "cycles", "bound", *INCREMENTS} for tick in timing["ticks"])
            text = done.stdout.decode()
            assert "bottlenecks" in text
            assert all(tick["advice"].split(";")[0] in text for tick in timing["ticks"])
            assert "Horowitz" in text
            check_images(dict(np.load(place / f"{mode}-each.npz")), timing, energy, value["images"])
    assert found["none"] == found["ideal"] == found["cycle"]


def check_images(each: dict[str, np.ndarray], timing: dict[str, Any], energy: dict[str, Any], images: int) -> None:
    """What stands there of each image of the sample has the means of the JSON."""
    assert len(each["spikes"]) == images
    assert each["timing_images"].tolist() == [n * images // 4 for n in range(4)]
    cycles = each["increments"].sum(axis=(1, 2))
    assert cycles.mean() == timing["cycles_per_image"]["mean"]
    assert np.percentile(cycles, 99) == pytest.approx(timing["cycles_per_image"]["p99"])
    assert [[tick[name] for name in INCREMENTS] for tick in timing["ticks"]] == each["increments"].mean(axis=0).tolist()
    assert each["stream_increments"].sum(axis=1).mean() == timing["interval_cycles"]
    assert each["energy_pj"].mean(axis=0).tolist() == pytest.approx(list(energy["parts"].values()))


@pytest.mark.slow
def test_neither_threads_nor_batches_change_anything(small) -> None:
    compiled, _, data = small
    wanted = None
    for threads, batch in ((1, None), (3, 1), (2, 5), (1, 6)):
        found = chipsim.profile_json(profile(compiled.mapping, data, threads=threads, batch=batch, noise=0.2, seed=7))
        for name in ("images_per_second", "threads"):
            found["timing"].pop(name)
        wanted = wanted or found
        assert found == wanted


@pytest.mark.slow
def test_a_chip_without_timing_is_refused_before_the_run(place: Path) -> None:
    mapping = two_cores().build()
    bare = mapping.chip.model_copy(update={"timing": None})
    hand = two_cores()
    hand.chip = bare
    write_mapping(hand.build(), place / "bare.map")
    np.savez(place / "two.npz", images=np.zeros((1, 2), np.float32))
    assert call(place, "run", "bare.map", "--dataset", "two.npz", "--quiet").returncode == 0
    done = call(place, "run", "bare.map", "--dataset", "two.npz", "--timing", "cycle", "--json", "r.json")
    assert done.returncode == 3
    assert unlabelled(done.stderr).startswith(b"chip 'mini': has no section timing")
    assert not (place / "r.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--timing", "exact"), b"--timing: unknown timing mode 'exact'; expected none, ideal or cycle"),
        (("--timing", "cycle", "--timing-images", "0"), b"--timing-limit: is 0; allowed: a whole number from 1"),
    ],
)
def test_options_that_mean_nothing(place: Path, words: tuple[str, ...], said: bytes) -> None:
    done = call(place, "run", "m.map", "--dataset", "x.npz", *words)
    assert done.returncode == 2
    assert unlabelled(done.stderr).startswith(said)


@pytest.mark.slow
def test_the_verb_in_python(small) -> None:
    compiled, _, data = small
    found = chipsim.profile(compiled.mapping, data, mode="ideal", timing_limit=2)
    assert isinstance(found, chipsim.Profile)
    assert found.images == 2
