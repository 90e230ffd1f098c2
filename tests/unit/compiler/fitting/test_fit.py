"""``qsnnc fit`` with real compiles: each printed command makes what was printed, and nothing is chosen on the test images."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from support.command_line import qsnnc, refused
from support.networks import Builder
from support.screens import on_one_screen

import chipsim
from chipsim.datasets import load_dataset
from qsnnc.fitting import result
from qsnnc.fitting.images import chosen_images
from qsnnc.frontend.model.reference import session


def network() -> Builder:
    """A small classifier with float and pooled activations of eight levels."""
    rng = np.random.default_rng(5)
    net = Builder((1, 10, 10))
    net.conv("stem", rng.integers(-20, 21, (6, 1, 3, 3)) / 1024, pads=[1] * 4)
    net.quantize("stem/quant", 0, 8)
    net.conv("middle", rng.integers(-7, 8, (12, 6, 3, 3)) / 16)
    net.quantize("middle/quant", 0, 8)
    net.node("MaxPool", "pool", kernel_shape=[2, 2], strides=[2, 2])
    net.shape = (12, 4, 4)
    net.conv("last", rng.integers(-7, 8, (8, 12, 3, 3)) / 64)
    net.quantize("last/quant", 0, 8)
    net.flatten()
    net.gemm("fc", rng.integers(-7, 8, (4, 32)) / 8)
    return net


CHIP = "name: small\nbase: xbar1152\ngrid: [6, 5]\n"
PAICORE = "name: few\nbase: paicore25\ngrid: [1, 3]\ninput_rows: 8\nmemory_rows: 256\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network, a chip that does not hold it, and images with the network's own answers as labels."""
    where = tmp_path_factory.mktemp("fit")
    proto = network().model()
    (where / "net.onnx").write_bytes(proto.SerializeToString())
    (where / "small.yaml").write_text(CHIP)
    (where / "few.yaml").write_text(PAICORE)
    images = np.random.default_rng(2).integers(0, 256, (200, 1, 10, 10)).astype(np.uint8)
    images[::2, :, :5] //= 4  # so that they differ in what they show
    found = session(proto).run(None, {"image": images.astype(np.float32)})[0].argmax(axis=1)
    np.savez(where / "all.npz", images=images, labels=found)
    np.savez(where / "choose.npz", images=images[::2], labels=found[::2])
    np.savez(where / "show.npz", images=images[1::2], labels=found[1::2])
    np.savez(where / "other.npz", images=images[1::4] // 2, labels=found[1::4] * 0)
    return where


def fitted(folder: Path, *words: str, chip: str = "small.yaml", out: str = "out") -> dict[str, Any]:
    done = qsnnc("fit", "net.onnx", "--chip", chip, "-o", out, "--json", f"{out}.json", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    commands = [each["command"] for each in json.loads((folder / f"{out}.json").read_text())["found"]]
    assert all(line in done.stdout for line in commands)
    on_one_screen("\n".join(line for line in done.stdout.splitlines() if line.strip() not in commands))
    return json.loads((folder / f"{out}.json").read_text())


@pytest.mark.slow
def test_each_command_makes_what_is_printed(folder) -> None:
    said = fitted(folder, "--dataset", "all.npz", "--limit", "100")
    assert not said["fits"]
    assert said["cores"] > said["cores_available"] == 30
    assert 2 <= len(said["found"]) <= 5
    assert {"grid", "levels"} <= {part for each in said["found"] for part in each["kind"].split(" + ")}
    shown = load_dataset(folder / "show.npz")
    for each in said["found"]:
        program, verb, *words = shlex.split(each["command"])
        assert (program, verb) == ("qsnnc", "compile")
        done = qsnnc(verb, *words, "--json", "again.json", cwd=folder)
        assert done.returncode == 0, done.stderr
        again = json.loads((folder / "again.json").read_text())
        assert (again["cores"], again["cores_bound"]) == (each["cores"], each["cores_bound"])
        assert again["cores"] <= again["cores_available"] == each["cores_available"]
        assert again["exactness"] == each["exactness"]
        # the accuracy is that of the chip on images that nothing was chosen on
        run = chipsim.run(str(folder / words[-1]), shown)
        assert run.accuracy == pytest.approx(each["dataset"]["accuracy"])
        assert each["dataset"]["lost"] == pytest.approx(1 - run.accuracy)
        if words[0].startswith("out"):
            assert qsnnc("verify", words[0], "--samples", "5", cwd=folder).returncode == 0


@pytest.fixture
def no_presets() -> Iterator[None]:
    """Other chips are not tried."""
    with mock.patch("qsnnc.fitting.fit.preset_names", return_value=()):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("no_presets")
def test_nothing_is_chosen_on_the_images_that_are_reported(folder) -> None:
    """Other images to report on change the reported accuracy, and nothing else."""
    one, other = (
        fitted(folder, "--calibrate", "choose.npz", "--dataset", name, "--limit", "40", out=name[:-4])
        for name in ("show.npz", "other.npz")
    )
    assert [each["change"] for each in one["found"]] == [each["change"] for each in other["found"]]
    assert [each["calibration"] for each in one["found"]] == [each["calibration"] for each in other["found"]]
    assert one["dataset"]["accuracy"] != other["dataset"]["accuracy"]


def test_of_a_file_every_other_image_is_chosen_on(folder) -> None:
    given = np.load(folder / "all.npz")["images"]
    found = chosen_images(str(folder / "all.npz"), None, None, 30)
    assert found.calibration is not None
    assert found.dataset is not None
    assert (found.calibration.images == given[0:60:2]).all()
    assert (found.dataset.images == given[1:60:2]).all()
    digits = chosen_images("digits", None, None, 30)
    assert digits.said == "chosen on 30 images of digits train, reported on 30 of digits test"
    assert digits.calibration is not None
    assert (digits.calibration.images == load_dataset("digits", "train", limit=30).images).all()


@pytest.mark.slow
@pytest.mark.usefixtures("no_presets")
def test_without_images_there_is_no_accuracy(folder) -> None:
    said = fitted(folder, out="blind")
    assert said["dataset"] is None
    assert all(each["calibration"] is None and each["dataset"] is None for each in said["found"])
    assert any("levels" in each["kind"] for each in said["found"])
    assert not any("channels" in each["kind"] for each in said["found"])


@pytest.mark.slow
def test_a_chip_with_codes_and_rows_is_fitted_too(folder) -> None:
    said = fitted(folder, "--dataset", "all.npz", "--limit", "40", chip="few.yaml", out="rows")
    assert not said["fits"]
    for each in said["found"]:
        words = shlex.split(each["command"])[2:]
        assert words[-1].endswith(".map" if each["chip"] in ("xbar1152", "mini") else ".paicore")
        assert qsnnc("compile", *words, "--json", "again.json", cwd=folder).returncode == 0
        assert json.loads((folder / "again.json").read_text())["cores"] == each["cores"]
    assert {"few", "paicore25"} & {each["chip"] for each in said["found"]}


@pytest.mark.slow
def test_a_network_that_fits_needs_no_change(folder) -> None:
    said = fitted(folder, chip="xbar1152", out="whole")
    assert said["fits"]
    (only,) = said["found"]
    assert only["kind"] == "none"
    assert not only["files"]
    assert not (folder / "whole").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("no_presets")
def test_where_nothing_fits_the_limit_that_remains_is_named(folder) -> None:
    (folder / "tiny.yaml").write_text("name: tiny\nbase: mini\ngrid: [1, 1]\naxons: 2\nmax_fold: 1\n")
    done = qsnnc("fit", "net.onnx", "--chip", "tiny.yaml", "-o", "none", "--json", "none.json", cwd=folder)
    line = refused(done, 4, "net.onnx: none of ")
    assert "What remains: " in line
    assert "times what there is" in line
    said = json.loads((folder / "none.json").read_text())
    assert said["found"] == []
    assert said["violations"]
    assert said["narrowest"]
    assert not (folder / "none").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("no_presets")
def test_an_interrupt_leaves_no_part_of_a_result(folder) -> None:
    written: list[Path] = []
    real = result.write_atomically

    def interrupted(path: Path, content: bytes) -> None:
        if written:
            raise KeyboardInterrupt
        real(path, content)
        written.append(path)

    with mock.patch.object(result, "write_atomically", interrupted), pytest.raises(KeyboardInterrupt):
        qsnnc(
            "fit", "net.onnx", "--chip", "small.yaml", "-o", "stopped", "--dataset", "all.npz", "--limit", "20", cwd=folder
        )
    assert len(written) == 1
    assert list((folder / "stopped").iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("no_presets")
def test_from_a_refusal_to_a_network_that_fits_in_two_commands(folder) -> None:
    """The refusal prints a command, and each command that this one prints makes a network that fits."""
    done = qsnnc("compile", "net.onnx", "--chip", "small.yaml", "-o", "no.map", cwd=folder)
    assert done.returncode == 4
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("next: "))
    program, verb, *words = shlex.split(line.removeprefix("next: "))
    assert (program, verb) == ("qsnnc", "fit")
    search = qsnnc(verb, *words, cwd=folder)
    assert search.returncode == 0, search.stderr
    commands = [line.strip() for line in search.stdout.splitlines() if line.strip().startswith("qsnnc compile ")]
    for command in (commands[0], commands[-1]):
        done = qsnnc(*shlex.split(command)[1:], cwd=folder)
        assert done.returncode == 0, done.stderr
        assert (folder / shlex.split(command)[-1]).exists()


def test_what_cannot_be_asked_for_is_refused(folder) -> None:
    (folder / "net.nir").write_bytes(b"\x89HDF\r\n\x1a\n")
    for words, start in (
        (("net.onnx", "-o", "out", "--data-dir", "."), "--data-dir: has no effect"),
        (("net.onnx", "-o", "out", "--dataset", "cifar"), "--dataset: unknown data set"),
        (("net.onnx", "-o", "out", "--chip", "loihi"), "--chip: unknown chip"),
    ):
        refused(qsnnc("fit", *words, cwd=folder), 2, start)
    assert "error[fit-nir]: net.nir: is a NIR file" in qsnnc("fit", "net.nir", "-o", "out", cwd=folder).stderr
    np.savez(folder / "one.npz", images=np.zeros((1, 1, 10, 10), np.uint8))
    refused(qsnnc("fit", "net.onnx", "-o", "out", "--dataset", "one.npz", cwd=folder), 3, "one.npz: has one image")
