"""chipsim run and compare of a .paicore: what the words do, what is counted, what is written and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.hand_programs import HandCore, HandLayer, HandProgram, HandRecord
from support.random_programs import random_images, random_program
from typer.testing import CliRunner

import chipsim
from chipsim.cli import app
from chipsim.datasets import Dataset
from chipsim.engine.paicore.cores import load_cores, route
from chipsim.engine.paicore.engines import load_engine
from chipsim.engine.paicore.host import load_host
from chipsim.engine.paicore.run import ProgramResult, run_program
from chipsim.errors import InputError, UsageError
from chipsim.paicore import Program, write_program
from chipsim.paicore.kind import is_program

ROOT = Path(__file__).resolve().parents[4]
FOLD = {
    "number": 6, "range_y": 3, "range_x": 2, "range_xy": 1, "axon_y": 2, "axon_x": 4, "axon_xy": 0, "skew_y": 1, "skew_x": 3,
    "skew_xy": 0,
}  # fmt: skip


def by_hand() -> Program:
    """Three pixels of two levels; six positions of one channel, read at bits 0, 1, 2, 5, 6, 7; two outputs."""
    fold = HandRecord([1, -1], 0, threshold=1, fold={**FOLD, "skew_y": 1, "skew_x": 2})
    out = [HandRecord([1, 0] * 6, 0, 2**31 - 1, leak=5), HandRecord([-2, 0, -2, 0, -1], 32, 2**31 - 1)]
    cores = [HandCore((2, 2), 0, [fold], (2, 3, 0)), HandCore((2, 3), 1, out)]
    layers = [HandLayer("hidden", 1), HandLayer("out", 0)]
    return HandProgram(3, HandLayer("encoder", 2), layers, cores, [(2, 2, 0, 0)]).build()


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_what_the_words_do(engine: str) -> None:
    """Levels 1, 2, 0 are the bits 1 0 1 1 0 0; positions start at 0, 1, 2, 4, 5, 6 and fire on a 1 before a 0."""
    data = Dataset("two", "test", np.array([[1, 2, 0], [0, 0, 0]], np.float32), np.array([0, 1]))
    found = run_program(by_hand(), data, engine=engine, threads=1)
    # bit 0 is 1 and bit 1 is 0; bit 3 is 1 and bit 4 is 0, but no position starts there: one spike, to both outputs
    assert found.potentials.tolist() == [[5 + 1, -2], [5, 0]]
    assert found.engine == engine
    # outputs are halves of the potentials; the host writes 3 work frames
    assert found.scores.tolist() == [[3.0, -1.0], [2.5, 0.0]]
    assert (found.encoder_spikes, found.spikes, found.work_frames) == (3, 1, 3)
    assert [(core.spikes, core.sops, core.axon_events) for core in found.cores] == [
        (1, 4, 3),
        (0, 2, 1),
    ]  # bits 0, 2, 3 are read at 1, 2, 1 positions


def test_a_frame_is_copied_along_y() -> None:
    assert route(3, 4, {"x": -2, "y": 1, "copies_y": 2}) == [(1, 5), (1, 6), (1, 7)]
    assert route(3, 4, {"x": 0, "y": -1, "copies_y": -1}) == [(3, 3), (3, 2)]


@pytest.mark.parametrize("seed", range(6))
def test_neither_threads_nor_batches_change_anything(seed: int) -> None:
    program = random_program(seed)
    data = random_images(program, seed, 150)
    whole = run_program(program, data, threads=1)
    for options in ({"threads": 2, "batch": 64}, {"threads": 1, "batch": 7, "engine": "reference"}):
        found = run_program(program, data, **options)
        assert (found.potentials == whole.potentials).all()
        assert (found.cores, found.layers) == (whole.cores, whole.layers)


@pytest.mark.parametrize("seed", range(6))
def test_noise_loses_the_same_spikes_in_both_engines(seed: int) -> None:
    program = random_program(seed)
    data, told = random_images(program, seed, 40), []
    fast, reference = (
        run_program(program, data, noise=0.4, seed=3, engine=name, warn=told.append) for name in ("fast", "reference")
    )
    assert (fast.potentials == reference.potentials).all()
    assert fast.encoder_spikes == reference.encoder_spikes < run_program(program, data).encoder_spikes
    assert bool(told) == (program.encoder.code == "value")  # a value is lost as one, which only one engine can do


def test_a_table_that_falls_is_left_to_the_reference_engine() -> None:
    steps = [-1] * 64 + [1] * 64 + [3] * 64 + [5] * 64, [0] * 64 + [3] * 64 + [1] * 64 + [2] * 64
    hidden = HandCore((2, 2), 0, [HandRecord([5], 2 * k, skew=k) for k in range(3)], (2, 3, 0), bits=8, table=steps)
    out = HandCore((2, 3), 1, [HandRecord([1, 1, 1], 0, 2**31 - 1)], width=2)
    layers = [HandLayer("hidden", 3, "value", 2), HandLayer("out", 0)]
    program = HandProgram(3, HandLayer("encoder", 1), layers, [hidden, out], [(2, 2, 0, 0)]).build()
    told: list[str] = []
    cores = load_cores(program.words)
    assert load_engine("fast", program, cores, load_host(program, cores), 0.0, told.append).name == "reference"
    assert told == [
        "engine fast: an activation table falls; the reference engine runs instead: the same results, many times slower"
    ]
    data = Dataset("one", "test", np.array([[1, 0, 1]], np.float32), None)
    assert run_program(program, data, engine="reference").potentials.tolist() == [[4]]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write_program(random_program(1), tmp_path / "a.paicore")
    data = random_images(random_program(1), 1, 9)
    np.savez(tmp_path / "d.npz", images=data.images, labels=data.labels)
    return tmp_path


def command(*words: str) -> int:
    done = CliRunner().invoke(app, list(words), standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.return_value or 0


@pytest.mark.slow
def test_the_files_of_a_run(written: Path) -> None:
    files = {name: str(written / name) for name in ("r.json", "c.csv", "o.npz")}
    given = (str(written / "a.paicore"), "--dataset", str(written / "d.npz"))
    assert command("run", *given, "--json", files["r.json"], "--per-core", files["c.csv"], "--outputs", files["o.npz"]) == 0
    found = json.loads((written / "r.json").read_text())
    program = random_program(1)
    assert (found["chip"], found["steps"], found["readout"]) == ("paicore25", 1, "chip")
    assert found["config_words"] == len(program.words)
    assert found["work_frames_per_image"] > 0
    rows = found["cores"][0]["rows"]
    assert (rows["limit"], rows["weights"]) == (4096, program.cores[0].weights)
    assert len((written / "c.csv").read_text().splitlines()) == 1 + len(program.cores)
    assert np.load(written / "o.npz")["potentials"].shape == (9, *program.layers[-1].shape)


@pytest.mark.parametrize(
    "option", [("--timing", "cycle"), ("--faults", "f.yaml"), ("--per-image", "i.npz"), ("--logs", "l")]
)
def test_options_of_crossbar_chips_are_refused(written: Path, option: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=f"^{option[0]}: applies to a .map only") as caught:
        command("run", str(written / "a.paicore"), "--dataset", "digits", option[0], str(written / option[1]))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("option", [("--cluster", "local:1"), ("--resume", "kept")])
def test_it_is_not_cut_into_tasks(written: Path, option: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match=rf"^{option[0]}: is for a \.map, .* executed in one process") as caught:
        command("run", str(written / "a.paicore"), "--dataset", "digits", *option)
    assert (caught.value.exit_code, caught.value.code) == (2, "option-unused")


@pytest.mark.slow
def test_the_function_takes_a_file_of_either_kind(written: Path) -> None:
    found = chipsim.run(written / "a.paicore", written / "d.npz", limit=5)
    assert isinstance(found, ProgramResult)
    assert (found.potentials == run_program(random_program(1), written / "d.npz").potentials[:5]).all()
    assert not isinstance(chipsim.run(ROOT / "mappings" / "tiny-mini.map", "digits", limit=1), ProgramResult)
    with pytest.raises(UsageError, match=r"^--per-image: applies to a .map only"):
        chipsim.run(random_program(1), written / "d.npz", per_image=True)


def test_paisim_takes_no_mapping() -> None:
    with pytest.raises(InputError, match=r"tiny-mini.map: is not a .paicore; --with paisim covers") as caught:
        command("crosscheck", str(ROOT / "mappings" / "tiny-mini.map"), "--with", "paisim")
    assert caught.value.exit_code == 3


def test_a_program_is_told_from_a_mapping(written: Path, tmp_path: Path) -> None:
    assert is_program(written / "a.paicore")
    (tmp_path / "other").write_bytes((written / "a.paicore").read_bytes())
    assert is_program(tmp_path / "other")
    assert not is_program(ROOT / "mappings" / "tiny-mini.map")
    assert is_program("there-is-none.paicore")
    assert not is_program("there-is-none.map")
