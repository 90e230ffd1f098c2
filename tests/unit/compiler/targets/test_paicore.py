"""Compiling for a PAICORE 2.5 from the command line: what is written, shown, exported, and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from support import networks
from support.paicores import chip, compiled

from chipsim.paicore import read_program
from qsnnc import check, compile_model
from qsnnc.errors import DoesNotFit
from qsnnc.start import main

RECIPE = networks.Recipe(7, 3, 1, 4, ("conv", "latepool", "dense"), 4, 1, odd=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("paicore") / "net.onnx"
    onnx.save(networks.build(RECIPE), path)
    return path


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["qsnnc", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    printed = capsys.readouterr()
    return int(caught.value.code or 0), printed.out, printed.err


@pytest.mark.slow
def test_from_model_to_words(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target, js, bare = tmp_path / "net.paicore", tmp_path / "net.json", tmp_path / "net.bin"
    code, out, _ = run(capsys, monkeypatch, "compile", model, "--chip", "paicore25", "-o", target, "--json", js)
    assert code == 0
    assert "cores, chip 'paicore25' has 63" in out
    program = read_program(target)
    said = json.loads(js.read_text())
    assert (said["fits"], said["chip"], said["cores"]) == (True, "paicore25", len(program.cores))
    assert [layer["cores"] for layer in said["layers"]] == [layer.cores for layer in program.layers]
    assert all(layer["limiting"] == "rows" for layer in said["layers"])
    assert run(capsys, monkeypatch, "export", target, "--words", bare)[0] == 0
    assert (np.frombuffer(bare.read_bytes(), "<u8") == program.words).all()
    code, out, _ = run(capsys, monkeypatch, "inspect", target, "--core", 0, "--yaml")
    assert code == 0
    (core,) = yaml.safe_load(out)["cores"]
    listed = [word for row in core["words"] for word in reversed(row["hex"].split())]
    assert [int(word, 16) for word in listed] == program.words[: len(listed)].tolist()  # the first core's, to the last
    kinds = [row["kind"] for row in core["words"]]
    assert {"header", "registers", "part1", "part2"} <= set(kinds)
    assert core["rows"]["limit"] == 4096
    code, out, _ = run(capsys, monkeypatch, "inspect", target)
    assert code == 0
    assert "potentials" in out
    code, _, err = run(capsys, monkeypatch, "inspect", target, "--core", 99)
    assert (code, "--core: unknown core 99" in err) == (2, True)


@pytest.mark.slow
def test_codes(model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cores = {}
    for coding in ("thermometer", "value", "auto"):
        done = check(model, "paicore25", code=coding)
        assert done.fits
        cores[coding] = sum(entry.cores for entry in done.layers)
    assert cores["auto"] <= min(cores["thermometer"], cores["value"])
    code, _, err = run(capsys, monkeypatch, "check", model, "--chip", "paicore25", "--code", "gray")
    assert (code, "unknown code 'gray'; expected auto, thermometer, value" in err) == (2, True)
    code, _, err = run(capsys, monkeypatch, "check", model, "--code", "value")
    assert (code, "chip 'xbar1152' sends one bit a neuron" in err) == (2, True)


@pytest.mark.slow
def test_what_does_not_fit_is_said_at_once(model: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.yaml"
    small.write_text("base: paicore25\nname: small\ngrid: [1, 3]\nmemory_rows: 8\n")
    with pytest.raises(DoesNotFit) as caught:
        compile_model(model, str(small))
    assert caught.value.exit_code == 4
    for violation in caught.value.violations:
        assert violation.found > violation.allowed
        assert "chip 'small'" in violation.advice
    narrow = tmp_path / "narrow.yaml"
    narrow.write_text("base: paicore25\nname: narrow\nweight_bits: [1]\npotential_bits: 3\n")
    done = check(model, str(narrow))
    assert {violation.code for violation in done.violations} == {"weight-bits", "potential"}


@pytest.mark.slow
def test_every_kind_of_limit_is_told_at_once(lenet_onnx: Path, tmp_path: Path) -> None:
    narrow = tmp_path / "narrow.yaml"
    narrow.write_text("base: paicore25\nname: narrow\nweight_bits: [1, 2]\nmax_lcn: 2\ngrid: [1, 5]\n")
    done = check(lenet_onnx, str(narrow))
    told = {violation.code: violation.layer for violation in done.violations}
    assert told.keys() == {"weight-bits", "inputs", "cores"}
    assert told["weight-bits"] == "fc"
    assert all(entry.cores >= 1 for entry in done.layers)


@pytest.mark.slow
def test_a_network_many_times_the_chip_is_refused_by_its_potentials(lenet_onnx: Path, tmp_path: Path) -> None:
    tiny = tmp_path / "tiny.yaml"
    tiny.write_text("base: paicore25\nname: tiny\ngrid: [1, 3]\nmemory_rows: 8\n")
    (violation,) = check(lenet_onnx, str(tiny)).violations
    assert (violation.code, violation.found) == ("cores", -(-(9216 + 2304 + 2048 + 512 + 256 + 12) // 32))
    assert violation.advice.startswith("potentials alone, 4 a row, need ")


@pytest.mark.slow
def test_cores_that_are_avoided(model: Path, tmp_path: Path) -> None:
    avoided = {"cores": [[0, 2], [1, 3]]}
    done = compile_model(model, "paicore25", avoid=avoided)
    places = {(core.x, core.y) for core in done.mapping.cores}
    assert not places & {(0, 2), (1, 3)}


@pytest.mark.slow
def test_bands_of_rows() -> None:
    """A map beyond a core's input bits is cut: by the host with overlap, by the chip where no two windows share a row."""
    graph, whole = compiled(networks.build(RECIPE), chip(), "thermometer")
    assert whole.program is not None
    bits = max(graph.encoder.neurons, 1)
    lcn = max(0, -(-bits // 512) - 1).bit_length() - 1
    assert lcn >= 0
    _, cut = compiled(networks.build(RECIPE), chip(max_lcn=lcn), "thermometer")
    if cut.program is not None:
        assert len({(entry.first_row, entry.last_row) for entry in cut.program.deliveries}) > 1
    else:
        assert {violation.code for violation in cut.violations} == {"inputs"}
