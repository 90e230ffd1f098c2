"""NIR files on the chip: every spike of every layer by both engines, the command lines, and back to NIR."""

import json

import numpy as np
import pytest
from support.command_line import call_text, qsnnc
from support.frameworks import EXAMPLES, STEPS

import chipsim
from chipsim.datasets import Dataset
from qsnnc import compile_model
from qsnnc.nir.exporting import export_mapping
from qsnnc.nir.options import NirOptions
from qsnnc.nir.semantics import settings

SOUND = [example for example in EXAMPLES if not example.many]
#: those that are compiled onto the small chip as well, by which the layers are cut otherwise
SMALL = ("snntorch_mlp", "spyx_mlp", "spikingjelly_mlp_reset")


def named(name):
    return next(example for example in EXAMPLES if example.name == name)


def options(example, **more):
    given = {"semantics": example.semantics, "settings": settings(example.settings), "steps": STEPS, "input": "spikes"}
    return NirOptions(**given | more)


CASES = [(example, "xbar1152") for example in SOUND] + [(example, "mini") for example in SOUND if example.name in SMALL]


@pytest.mark.slow
@pytest.mark.parametrize(("example", "chip"), CASES, ids=lambda case: getattr(case, "name", case))
def test_every_spike_on_the_chip_is_that_of_the_framework(example, chip, tmp_path):
    mapping = compile_model(example.write(tmp_path), chip, nir=options(example)).mapping
    spikes, expected = example.trains()
    for engine in ("reference", "fast"):
        found = chipsim.run(mapping, Dataset("frames", "all", spikes), engine=engine, trains=True, threads=1)
        names = [layer.name for layer in mapping.layers if layer.kind != "relay"]
        for name, wanted in zip(names, expected, strict=True):
            np.testing.assert_array_equal(found.trains[name].reshape(wanted.shape), wanted)
        counts = expected[-1].reshape(*expected[-1].shape[:2], -1).sum(axis=1)
        np.testing.assert_array_equal(found.potentials, counts)
        np.testing.assert_array_equal(found.predictions, counts.argmax(axis=1))
        assert found.spikes == sum(int(train.sum()) for train in expected)


@pytest.mark.slow
def test_the_command_lines_go_from_a_file_to_its_spikes(tmp_path):
    example = named("snntorch_cnn_leak")
    path, spikes, expected = example.write(tmp_path), *example.trains()
    np.savez(tmp_path / "data.npz", spikes=spikes, labels=np.arange(len(spikes)))
    stated = ("--semantics", "snntorch", "--steps", STEPS, "--input", "spikes")
    done = qsnnc("compile", path, *stated, "-o", tmp_path / "net.map", "--json", tmp_path / "c.json", "--quiet")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "c.json").read_text())
    assert found["steps"] == STEPS
    done = call_text(
        "chipsim",
        "run",
        tmp_path / "net.map",
        "--dataset",
        tmp_path / "data.npz",
        "--outputs",
        tmp_path / "out.npz",
        "--trains",
        "--quiet",
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as out:
        for name, wanted in zip(("1", "5"), expected, strict=True):
            np.testing.assert_array_equal(out[f"spikes_{name}"].reshape(wanted.shape), wanted)
    assert qsnnc("check", path, *stated, "--quiet").returncode == 0


@pytest.mark.slow
def test_a_file_that_is_annotated_needs_no_options(tmp_path):
    example = named("norse_mlp_leak")
    path = example.write(tmp_path)
    stated = ("--semantics", "norse", "--steps", STEPS, "--input", "spikes")
    assert qsnnc("nir-annotate", path, *stated, "-o", tmp_path / "stated.nir").returncode == 0
    for name, words in (("a", (path, *stated)), ("b", (tmp_path / "stated.nir",))):
        assert qsnnc("compile", *words, "-o", tmp_path / f"{name}.map", "--quiet").returncode == 0
    from chipsim.mapping import read_mapping

    one, other = (read_mapping(tmp_path / f"{name}.map") for name in "ab")
    assert all((one.arrays[name] == other.arrays[name]).all() for name in one.arrays)
    assert qsnnc("nir-annotate", path, "-o", tmp_path / "none.nir").returncode == 2
    assert qsnnc("nir-annotate", path, "--weight-bits", 4, "-o", tmp_path / "none.nir").returncode == 2
    assert qsnnc("nir-annotate", path, "--node", "x", "--delay", 1, "-o", tmp_path / "none.nir").returncode == 3
    assert not (tmp_path / "none.nir").exists()


@pytest.mark.slow
@pytest.mark.parametrize("example", SOUND, ids=lambda e: e.name)
def test_an_exported_network_compiles_to_the_same_bytes(example, tmp_path):
    first = compile_model(example.write(tmp_path), nir=options(example))
    (tmp_path / "net.map").write_bytes(first.to_bytes())
    (tmp_path / "net.nir").write_bytes(export_mapping(tmp_path / "net.map"))
    assert compile_model(tmp_path / "net.nir").to_bytes() == first.to_bytes()


@pytest.mark.slow
def test_export_writes_what_the_mapping_holds_and_refuses_another(tmp_path):
    example = named("sinabs_mlp")
    path = example.write(tmp_path)
    words = ("--semantics", "sinabs-single", "--steps", STEPS, "--input", "spikes")
    assert qsnnc("compile", path, *words, "-o", tmp_path / "a.map", "--quiet").returncode == 0
    assert qsnnc("export", tmp_path / "a.map", "--nir", tmp_path / "out.nir").returncode == 0
    assert qsnnc("compile", tmp_path / "out.nir", "-o", tmp_path / "b.map", "--quiet").returncode == 0
    assert (tmp_path / "a.map").read_bytes() == (tmp_path / "b.map").read_bytes()
    done = qsnnc("export", "tests/golden/version1/tiny-mini.map", "--nir", tmp_path / "no.nir")
    assert done.returncode == 3
    assert "holds no network besides its cores" in done.stderr
    assert qsnnc("export", tmp_path / "a.map").returncode == 2


def test_options_of_one_kind_of_file_are_refused_for_the_other(tmp_path):
    path = named("norse_mlp").write(tmp_path)
    assert "--levels" in qsnnc("check", path, "--semantics", "norse", "--levels", "a=1").stderr
    done = qsnnc("check", "models/tiny.onnx", "--steps", 3)
    assert done.returncode == 2
    assert "ONNX" in done.stderr


@pytest.mark.slow
def test_weight_bits_are_reported_with_what_they_do_to_the_spikes(tmp_path):
    example = named("norse_mlp")
    done = compile_model(example.write(tmp_path), nir=options(example, weight_bits=3))
    assert set(done.rounded) == {"1", "3"}
    assert 0.5 < done.agreement.layers["1"] < 1
    same = compile_model(example.write(tmp_path), nir=options(example, weight_bits=8))
    assert same.agreement.equal
    assert not same.rounded["1"].changed


@pytest.mark.slow
def test_verify_compares_every_spike_with_the_floats(tmp_path):
    example = named("norse_mlp_leak")
    path, spikes, expected = example.write(tmp_path), *example.trains()
    labels = expected[-1].sum(axis=1).argmax(axis=1)
    np.savez(tmp_path / "data.npz", spikes=spikes, labels=labels)
    stated = ("--semantics", "norse", "--steps", STEPS, "--input", "spikes", "--dataset", tmp_path / "data.npz")
    done = qsnnc("verify", path, *stated, "--json", tmp_path / "v.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "v.json").read_text())
    assert found["equal"]
    assert found["accuracy"] == {"model": 1.0, "integer": 1.0}
    assert found["samples"] == len(spikes)
    for words, code in (((), 0), (("--strict",), 1)):  # rounding was asked for
        done = qsnnc("verify", path, *stated, "--weight-bits", 2, *words, "--json", tmp_path / "v.json")
        assert done.returncode == code
        assert json.loads((tmp_path / "v.json").read_text())["differences"] > 0


@pytest.mark.slow
def test_events_enter_as_the_spikes_that_they_are_binned_to(tmp_path):
    example = named("snntorch_cnn_leak")
    path, spikes, _ = example.write(tmp_path), *example.trains()
    frame, step, p, y, x = np.nonzero(spikes)
    np.savez(
        tmp_path / "events.npz", x=x, y=y, p=p, t=10 * step + 3, duration=10 * STEPS,
        offsets=np.searchsorted(frame, np.arange(len(spikes) + 1)),
    )  # fmt: skip
    mapping = compile_model(path, nir=options(example)).mapping
    one = chipsim.run(mapping, tmp_path / "events.npz", threads=1)
    other = chipsim.run(mapping, Dataset("spikes", "all", spikes), threads=1)
    np.testing.assert_array_equal(one.potentials, other.potentials)


def test_a_chip_of_one_step_is_refused(tmp_path):
    example = named("norse_mlp")
    stated = ("--semantics", "norse", "--steps", STEPS, "--input", "spikes")
    done = qsnnc("check", example.write(tmp_path), *stated, "--chip", "paicore25")
    assert done.returncode == 2
    assert "crossbar" in done.stderr
