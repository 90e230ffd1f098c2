"""``--encoder`` from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_line import qsnnc, refused
from support.places import ROOT

TINY = ROOT / "models" / "tiny.onnx"
LENET = ROOT / "models" / "lenet.onnx"


@pytest.mark.slow
def test_a_small_network_takes_its_image_on_the_chip(tmp_path: Path) -> None:
    import chipsim

    done = qsnnc("compile", TINY, "-o", "tiny.map", "--encoder", "chip", "--json", "tiny.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the image enters the chip as bit planes" in done.stdout
    found = json.loads((tmp_path / "tiny.json").read_text())
    assert found["input"]["at"] == "chip"
    assert found["input"]["neurons"] == 9 * 28 * 28
    assert found["layers"][0]["name"] == "conv1"
    assert chipsim.compare(tmp_path / "tiny.map", TINY, "digits", limit=50).equal
    again = qsnnc("verify", TINY, "--encoder", "chip", "--limit", 10, cwd=tmp_path)
    assert again.returncode == 0
    assert "equal" in again.stdout


@pytest.mark.slow
def test_a_lenet_does_not_fit_with_its_image_and_says_why(tmp_path: Path) -> None:
    done = qsnnc("check", LENET, "--encoder", "chip", "--json", "-", cwd=tmp_path)
    assert done.returncode == 4
    found = json.loads(done.stdout)
    assert not found["fits"]
    (why,) = found["violations"]
    assert (why["code"], why["layer"], why["allowed"]) == ("cores", "conv1", 1024)
    assert why["found"] > 5000
    assert found["layers"][0]["fan_in"] == 25 * 233
    assert found["input"]["neurons"] == 233 * 28 * 28


@pytest.mark.parametrize("verb", ["compile", "check", "verify"])
def test_another_place_is_a_usage_error(tmp_path: Path, verb: str) -> None:
    extra = ["-o", "x.map"] if verb == "compile" else []
    done = qsnnc(verb, TINY, *extra, "--encoder", "fpga", cwd=tmp_path)
    assert "host, chip, or a layer" in refused(done, 2, "--encoder: unknown layer 'fpga'")
