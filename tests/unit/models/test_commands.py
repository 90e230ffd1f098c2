"""The commands of models/ refuse bad input in one line with its exit code, and write nothing; no torch is needed."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import chipsim
from chipsim.datasets import load_dataset
from chipsim.errors import ReportedError
from models.cards import card, wrapped_command
from models.evaluate import evaluate, load
from models.runs import RunFiles, check_resumed, epoch_line, recipe
from models.train import parse

ROOT = Path(__file__).parents[3]
MODELS = ROOT / "models"
LENET = str(MODELS / "lenet.onnx")


class NoTorch:
    """An import system without torch."""

    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a checkpoint, a text and an image file, where torch cannot be imported."""
    for name in ("torch", "models.trainer", "models.export"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [NoTorch(), *sys.meta_path])
    (tmp_path / "run.ckpt").write_bytes(b"PK\x03\x04 as torch.save begins")
    (tmp_path / "text.onnx").write_text("no model")
    np.savez(tmp_path / "unlabelled.npz", images=np.zeros((2, 28, 28), np.uint8))
    np.savez(tmp_path / "wide.npz", images=np.zeros((2, 30, 30), np.uint8), labels=np.zeros(2, np.int64))
    monkeypatch.chdir(tmp_path)
    return tmp_path


INFERENCE = ["train", "--mode", "inference", "--dataset", "digits"]
REFUSED = [
    (2, "argument --k: '-1'", ["train", "--k", "-1"]),
    (2, "argument --B: '0'", ["train", "--B", "0"]),
    (2, "argument --epochs: 'many'", ["train", "--epochs", "many"]),
    (2, "argument --rate: 'nan'", ["train", "--rate", "nan"]),
    (2, "argument --noise: '1.5'", ["train", "--noise", "1.5"]),
    (2, "argument --name: 'a/b'", ["train", "--name", "a/b"]),
    (2, "unrecognized arguments: --epoch", ["train", "--epoch", "3"]),
    (2, "--model: has no effect with --mode training", ["train", "--model", "x.onnx"]),
    (2, "--epochs: has no effect with --mode inference", [*INFERENCE, "--epochs", "3"]),
    (2, "--noise: has no effect with --mode export", ["train", "--mode", "export", "--noise", "0.1"]),
    (2, "--mode export: needs --model", ["train", "--mode", "export"]),
    (2, "--prune: has no effect on a network of full", ["train", "--precision", "full", "--prune", "1"]),
    (2, "--keep: narrows the network of --init", ["train", "--keep", *"123456"]),
    (2, "--widths: is for random weights", ["train", "--init", "x.onnx", "--widths", *"123456"]),
    (2, "--costs: weighs the spikes of --penalty", ["train", "--costs", *"123456"]),
    (2, "--resume: cannot be given with --overwrite", ["train", "--resume", "--overwrite"]),
    (2, "--seed: draws the noise", [*INFERENCE, "--seed", "3"]),
    (2, "--noise: ", [*INFERENCE, "--precision", "full", "--noise", "0.1"]),
    (2, "--k: 0 was given, and", [*INFERENCE, "--k", "0", "--model", LENET]),
    (2, "--split: unknown split 'half'; expected test, train, validation", [*INFERENCE, "--split", "half"]),
    (2, "--split: 'x.npz' has no validation part", [*INFERENCE[:3], "--dataset", "x.npz", "--split", "validation"]),
    (2, "--dataset: unknown data set 'cifar'", [*INFERENCE[:3], "--dataset", "cifar"]),
    (3, "run.ckpt: is a checkpoint; --mode export", [*INFERENCE, "--model", "run.ckpt"]),
    (3, "text.onnx: is not an ONNX model", [*INFERENCE, "--model", "text.onnx"]),
    (3, "none.onnx: cannot be read", [*INFERENCE, "--model", "none.onnx"]),
    (3, "is not a network that models.train exported", [*INFERENCE, "--model", str(MODELS / "tiny.onnx")]),
    (3, "lenet-k3b7.onnx: is not there", [*INFERENCE, "--k", "3", "--B", "7"]),
    (3, "nowhere: ", ["train", "--mode", "inference", "--data-dir", "nowhere"]),
    (3, "unlabelled.npz: has no labels", [*INFERENCE[:3], "--dataset", "unlabelled.npz"]),
    (3, "images have shape (30, 30)", [*INFERENCE[:3], "--dataset", "wide.npz"]),
    (3, "torch: is not installed", ["train", "--out", "new"]),
    (3, "torch: is not installed", ["train", "--mode", "export", "--model", "new.onnx"]),
    (3, "run.ckpt: belongs to an earlier run", ["train", "--out", ".", "--name", "run"]),
    (3, "text.onnx: exists already; --overwrite", ["train", "--mode", "export", "--model", "text.onnx"]),
    (3, "cannot be written: there is no directory", ["train", "--mode", "export", "--model", "no/x.onnx"]),
    (2, "there is nothing to do", ["release"]),
    (2, "--name: is needed", ["release", "run"]),
    (3, "none.log.jsonl: cannot be read", ["release", "none", "--name", "x", "--directory", "."]),
    (3, "lenet.onnx: exists already; --replace", ["release", "run", "--name", "lenet"]),
    (3, "no: is not a directory", ["release", "run", "--name", "x", "--directory", "no"]),
    (3, "no: holds no training run", ["release", "--tried", "no", "--directory", "."]),
    (2, "required: FILE.best.pt, -o/--output", ["curve"]),
    (3, "torch: is not installed", ["curve", "x.best.pt", "-o", "c.json"]),
    (3, "no/c.svg: cannot be written", ["curve", "x.best.pt", "-o", "c.json", "--figure", "no/c.svg"]),
    (2, "required: -o/--output", ["results"]),
    (2, "argument --limit: '0'", ["results", "-o", "r", "--limit", "0"]),
    (2, "lenet-fp32.onnx: is a network of full", ["results", str(MODELS / "lenet-fp32.onnx"), "-o", "r"]),
    (3, "run.ckpt: is a checkpoint", ["results", "run.ckpt", "-o", "r"]),
    (3, "text.onnx: is not a directory", ["results", LENET, "-o", "text.onnx"]),
    (3, "no/r: cannot be written", ["results", LENET, "-o", "no/r"]),
    (3, "unlabelled.npz: has no labels", ["results", LENET, "-o", "r", "--dataset", "unlabelled.npz"]),
    (2, "required: FILE.onnx", ["exporters.card"]),
    (3, "text.onnx: is made by no script here", ["exporters.card", "text.onnx"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "said", "words"), REFUSED, ids=lambda value: " ".join(value) if type(value) is list else None
)
def test_bad_input_is_refused_in_one_line(place, code, said, words):
    from models.command import not_installed

    before = {path: path.read_bytes() for path in place.iterdir()}
    name, *arguments = words
    try:
        importlib.import_module(f"models.{name}").main(arguments)
    except ModuleNotFoundError as error:
        found = not_installed(error)
    except ReportedError as error:
        found = error
    else:
        pytest.fail("nothing was refused")
    assert isinstance(found, ReportedError)
    assert said in str(found)
    assert "\n" not in str(found)
    assert found.exit_code == code
    assert {path: path.read_bytes() for path in place.iterdir()} == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "arguments", "code", "said"),
    [
        ("train", ["--mode", "inference", "--data-dir", "nowhere"], 3, "nowhere: holds no t10k-images"),
        ("tiny", [], 2, "required: OUT.onnx"),
        ("exporters.torch_fakequant", ["no/x.onnx"], 3, "torch: is not installed, and this needs it; pip install -e"),
    ],
)
def test_the_exit_code_is_the_documented_one(tmp_path, module, arguments, code, said):
    script = f"import runpy, sys; sys.modules['torch'] = None; sys.argv[1:] = {arguments!r}; "
    script += f"runpy.run_module('models.{module}', run_name='__main__', alter_sys=False)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_inference_loses_the_spikes_that_the_simulator_loses(lenet, capsys):
    from models.train import main

    main([*INFERENCE[1:], "--noise", "0.2", "--seed", "3"])
    said = json.loads(capsys.readouterr().out)
    run = chipsim.run(lenet.mapping, "digits", noise=0.2, seed=3).to_json()
    assert (said["noise"], said["noise_seed"]) == (0.2, 3)
    assert said["accuracy"] == run["accuracy"]
    assert said["spikes_by_layer"][0] == pytest.approx(run["encoder_spikes_per_image"])
    assert said["sops"] == pytest.approx(run["sops_per_image"])
    assert said["paper_sops"] == pytest.approx(run["paper_sops_per_image"])
    without = evaluate(LENET, load("digits", "test"))
    assert said["spikes_by_layer"][0] == pytest.approx(0.8 * without["spikes_by_layer"][0], rel=0.01)


@pytest.mark.slow
def test_noise_does_not_depend_on_the_batch_and_a_share_of_one_loses_all(monkeypatch):
    from models import evaluate as module

    data = load_dataset("digits").head(30)
    whole = evaluate(LENET, data, 0.3, 1)
    monkeypatch.setattr(module, "BATCH", 7)
    assert evaluate(LENET, data, 0.3, 1) == whole
    assert evaluate(LENET, data, 0.3, 2)["spikes_by_layer"] != whole["spikes_by_layer"]
    assert evaluate(LENET, data, 1.0, 1)["spikes_by_layer"][0] == 0


def test_a_run_is_resumed_with_its_own_recipe_only(tmp_path):
    saved = recipe(parse(["--k", "0", "--B", "1", "--seed", "5"]))
    path = tmp_path / "k0b1.ckpt"
    check_resumed(
        saved, recipe(parse(["--k", "0", "--B", "1", "--seed", "5", "--resume", "--data-dir", "x", "--threads", "1"])), path
    )
    for other, said in (
        (["--seed", "6"], "--seed: 6 was given, and"),
        (["--k", "1"], "--k: 1 was given"),
        (["--B", "2"], "--B: 2 was given"),
        (["--teacher", "a.pt", "b.pt"], "--teacher: a.pt b.pt was given"),
        (["--precision", "full"], "--precision: full was given"),
    ):
        words = ["--k", "0", "--B", "1", "--seed", "5", *other]
        if "full" in other:
            words = ["--seed", "5", *other]
        with pytest.raises(ReportedError, match=said) as error:
            check_resumed(saved, recipe(parse(words)), path)
        assert error.value.exit_code == 2
    with pytest.raises(ReportedError, match="does not say which options"):
        check_resumed(None, saved, path)


def entry(epoch: int) -> dict:
    found = {"accuracy": 0.5, "digits_accuracy": 0.25, "spikes_per_image": 10.0, "sops_per_image": 20.0}
    return {"epoch": epoch, "loss": 1.5, "seconds": 36.0, "validation": {"model": found}}


def test_a_log_is_read_by_name_and_anything_else_refused(tmp_path):
    from models.release import run_facts

    files = RunFiles(tmp_path, "k0b1")
    files.log.write_text("".join(json.dumps(entry(n)) + "\n" for n in (1, 2)))
    files.command.write_text("python -m models.train --k 0\n")
    assert run_facts(str(tmp_path / "k0b1")) == {
        "run": "k0b1", "command": "python -m models.train --k 0", "epochs": 2, "hours": 0.02, "validation": 0.5, "spikes": 10.0,
    }  # fmt: skip
    assert epoch_line(entry(2), 9) == "epoch 2/9: loss 1.500, validation accuracy 50.00 %, digits 25.00 %, 36 s"
    for damaged in ("", "no JSON", "[]", '{"epoch": 1, "seconds": 2, "model": [0.9, 0.9, 1, 2]}'):
        files.log.write_text(damaged)
        with pytest.raises(ReportedError, match=r"k0b1\.log\.jsonl: ") as error:
            files.read_log()
        assert error.value.exit_code == 3
    files.log.write_text("".join(json.dumps(entry(n)) + "\n" for n in (1, 2, 3)))
    files.keep_log(2)
    assert len(files.read_log()) == 2


def test_committed_cards_are_those_that_the_log_gives():
    from models.release import LOG, NOTES

    entries = [json.loads(line) for line in (MODELS / LOG).read_text().splitlines()]
    for name in {Path(entry["model"]).stem for entry in entries if "runs" in entry}:
        text = (MODELS / f"{name}.md").read_text()
        notes = text.partition(NOTES)[2].strip()
        assert card(name, [entry for entry in entries if entry["model"] == f"{name}.onnx"], notes) == text
        prose = [line for line in text.splitlines() if not line.startswith("|")]
        assert max(map(len, prose)) <= 100


def test_a_command_is_wrapped_so_that_a_shell_takes_it():
    command = "python -m models.train --name 'two words' " + " ".join(f"--costs {n} {n}.5" for n in range(20))
    lines = wrapped_command(command)
    assert max(map(len, lines.splitlines())) <= 100
    shown = subprocess.run(["sh", "-c", f"printf '%s\\n' {lines}"], capture_output=True, text=True, check=True).stdout
    plain = subprocess.run(["sh", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True).stdout
    assert shown == plain
