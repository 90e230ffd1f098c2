"""qsnnc from outside: exit codes, one line on standard error, nothing half-written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.command_line import qsnnc, refused, unlabelled
from support.networks import Builder, Recipe, build
from support.places import ROOT


@pytest.fixture
def model(save) -> Path:
    return save(build(Recipe(6, 2, 1, 2, ("conv",), 3, seed=5, odd=False)))


def simple(op: str, **attributes: object) -> onnx.ModelProto:
    node = helper.make_node(op, ["x"], ["y"], name="odd", **attributes)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1, 4, 4]) for name in "xy"]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


GARBAGE = {
    "empty": b"",
    "text": b"this is no model\n",
    "truncated": None,
    "zeros": b"\0" * 100,
}


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize("verb", ["compile", "check", "verify"])
def test_files_that_are_no_model(tmp_path, model, kind, verb) -> None:
    content = GARBAGE[kind] if kind != "truncated" else model.read_bytes()[:-200]
    (tmp_path / "bad.onnx").write_bytes(content)
    extra = ["-o", "out.map"] if verb == "compile" else []
    refused(qsnnc(verb, "bad.onnx", *extra, cwd=tmp_path), 3, "bad.onnx: ")
    assert not (tmp_path / "out.map").exists()


def test_missing_model_and_directory(tmp_path) -> None:
    refused(qsnnc("check", "no.onnx", cwd=tmp_path), 3, "no.onnx: cannot be read")
    refused(qsnnc("check", str(tmp_path), cwd=tmp_path), 3, f"{tmp_path}: cannot be read")


def test_float_network_says_what_is_missing(tmp_path, save) -> None:
    net = Builder((1, 6, 6))
    net.conv("conv1", np.random.default_rng(0).normal(size=(3, 1, 3, 3)))
    net.node("Relu", "relu")
    net.flatten()
    net.gemm("fc", np.random.default_rng(1).normal(size=(4, 48)))
    done = qsnnc("check", save(net.model()), cwd=tmp_path)
    assert done.returncode == 3
    line, *code = done.stderr.splitlines()
    assert len(code) == 5  # to paste
    assert "quantize" in line


def test_weights_that_lie_on_no_grid_name_layer_and_channel(tmp_path, save) -> None:
    net = Builder((1, 6, 6))
    net.conv("conv1", np.ones((3, 1, 3, 3)) / 64)
    net.quantize("q", 1, 4)
    net.flatten()
    net.gemm("fc", np.random.default_rng(1).normal(size=(4, 48)))
    line = refused(qsnnc("check", save(net.model()), "--readout", "chip", cwd=tmp_path), 3, "fc: the weights of channel 0")
    assert "--weight-bits" in line
    assert "--readout host" in line


def test_unknown_operator_domain_and_attribute(tmp_path, save) -> None:
    model = simple("Relu")
    model.graph.node[0].domain = "my.own"
    model.opset_import.append(helper.make_opsetid("my.own", 1))
    assert "my.own:Relu" in refused(qsnnc("check", save(model), cwd=tmp_path), 3, "odd: ")
    assert "steep" in refused(qsnnc("check", save(simple("Relu", steep=1)), cwd=tmp_path), 3, "")


def test_two_inputs_are_refused(tmp_path, save) -> None:
    model = simple("Relu")
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 1]))
    model.graph.node.append(helper.make_node("Add", [model.graph.output[0].name, "z"], ["sum"]))
    model.graph.output[0].name = "sum"
    assert "2 inputs" in refused(qsnnc("check", save(model), cwd=tmp_path), 3, "")


@pytest.mark.parametrize(
    ("arguments", "code", "start"),
    [
        (["check", "m.onnx", "--chip", "xbar1125"], 2, "--chip: unknown chip 'xbar1125'"),
        (["check", "m.onnx", "--chip", "no.yaml"], 3, "no.yaml: cannot be read"),
        (["check", "m.onnx", "--pixels", "rwa"], 2, "--pixels: unknown pixel rule 'rwa'"),
        (["compile", "m.onnx", "-o", "-", "--json", "-"], 2, "-: only one output"),
        (["compile", "m.onnx", "-o", "none/out.map"], 3, "none/out.map: cannot be written"),
        (["compile", "m.onnx", "-o", "folder"], 3, "folder: cannot be written: it is a directory"),
        (["compile", "m.onnx"], 2, ""),
        (["compile", "m.onnx", "-o", "out.map", "--fast"], 2, ""),
        (["inspect", "m.onnx"], 3, "m.onnx: "),
        (["inspect", "gone.map"], 3, "gone.map: cannot be read: No such file or directory; check the path"),
        (["chips", "nothing"], 2, "NAME: unknown chip 'nothing'"),
        (["verify", "m.onnx", "--dataset", "cifar"], 2, "--dataset: unknown data set 'cifar'"),
    ],
)
def test_exit_codes(tmp_path, arguments, code, start) -> None:
    net = build(Recipe(6, 2, 1, 2, ("conv",), 3, seed=5, odd=False))
    del net.metadata_props[:]
    (tmp_path / "m.onnx").write_bytes(net.SerializeToString())
    (tmp_path / "folder").mkdir()
    refused(qsnnc(*arguments, cwd=tmp_path), code, start)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "m.onnx"]


@pytest.mark.slow
def test_compile_inspect_and_verify(tmp_path, model) -> None:
    chip = tmp_path / "chip.yaml"
    chip.write_text("base: mini\ngrid: [8, 8]\n")
    done = qsnnc("compile", model, "-o", "net.map", "--chip", chip, "--json", "-", "--time", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["fits"]
    assert found["cores_available"] == 64
    assert found["cores"] == sum(layer["cores"] for layer in found["layers"])
    assert "place" in done.stderr
    seen = json.loads(qsnnc("inspect", "net.map", "--json", "-", cwd=tmp_path).stdout)
    assert len(seen["cores"]) == found["cores"] == seen["totals"]["cores"]
    one = json.loads(qsnnc("inspect", "net.map", "--core", 1, "--json", "-", cwd=tmp_path).stdout)["cores"]
    assert len(one) == 1
    assert len(one[0]["axon_sources"]) == one[0]["axons"] == len(one[0]["weights"])
    assert len(one[0]["thresholds"]) == one[0]["neurons"]
    assert len(one[0]["target_list"]) == one[0]["targets"]
    assert np.count_nonzero(one[0]["weights"]) == one[0]["synapses"]
    kept = json.loads(qsnnc("inspect", "net.map", "--layer", "head", "--json", "-", cwd=tmp_path).stdout)["cores"]
    assert {core["layer"] for core in kept} == {"head"}
    verified = qsnnc("verify", model, "--limit", 20, "--json", "-", cwd=tmp_path)
    assert verified.returncode == 0
    assert json.loads(verified.stdout)["equal"]


@pytest.mark.slow
def test_removed_neurons_are_reported_and_kept_on_request(tmp_path, save) -> None:
    """Two of four channels never fire, one always does: 3 * 16 of 64 neurons go, 16 for being constant."""
    net = Builder((1, 6, 6))
    net.conv("stem", np.ones((2, 1, 3, 3)) / 32.0, pads=[1, 1, 1, 1])
    net.quantize("stem/quant", 0, 1)
    net.conv("middle", np.ones((4, 2, 3, 3)), np.array([-100.5, 100.5, -3.5, -100.5]))
    net.quantize("middle/quant", 0, 1)
    net.conv("last", np.ones((2, 4, 4, 4)), np.array([-20.5, -24.5]))
    net.quantize("last/quant", 0, 1)
    net.flatten()
    net.gemm("head", np.array([[1, -1], [2, 0], [0, 1]]) / 4.0)
    path = save(net.model())
    found = {}
    for option in ("", "--keep-dead"):
        done = qsnnc(
            "compile",
            path,
            "-o",
            tmp_path / "out.map",
            *option.split(),
            "--json",
            tmp_path / "c.json",
            "--verbose",
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        layers = json.loads((tmp_path / "c.json").read_text())["layers"]
        found[option] = [(layer["neurons"], layer["removed"]) for layer in layers]
        said = "middle: left out 48 neurons (32 never fire, 16 always fire" in done.stdout
        assert said == (option == "")
        if not option:
            assert layers[0]["removed_as"] == {"dead": 32, "constant": 16, "unread": 0}
    assert found == {"": [(16, 48), (2, 0), (3, 0)], "--keep-dead": [(64, 0), (2, 0), (3, 0)]}


@pytest.mark.slow
def test_what_does_not_fit_exits_4_with_every_violation(tmp_path, model) -> None:
    (tmp_path / "chip.yaml").write_text("base: mini\naxons: 8\nmax_fold: 1\ngrid: [1, 1]\n")
    done = qsnnc("compile", model, "-o", "net.map", "--chip", "chip.yaml", "--json", "out.json", cwd=tmp_path)
    refused(done, 4, "conv0: a neuron needs 36 axons; chip 'mini' allows 8")
    assert not (tmp_path / "net.map").exists()
    found = json.loads((tmp_path / "out.json").read_text())
    assert not found["fits"]
    assert {v["layer"] for v in found["violations"]} >= {"conv0", "head"}
    assert all(v["found"] > v["allowed"] and v["advice"] for v in found["violations"])
    done = qsnnc("check", model, "--chip", "chip.yaml", "--verbose", cwd=tmp_path)
    assert done.returncode == 4
    assert "layers do not fit on a core" in done.stdout
    (row,) = (line.split() for line in done.stdout.splitlines() if line.startswith("conv0 "))
    assert [row[5], *row[9:11]] == ["-", "-", "-"]  # fold, cores, bound: of a layer that fits no core, none is known


@pytest.mark.slow
def test_interrupt_exits_130(tmp_path) -> None:
    slow = "import qsnnc.reading as p, time\np.read_onnx = lambda *rest: (print('here', flush=True), time.sleep(60))\n"
    code = (
        slow
        + "from qsnnc.cli import main\nimport sys\nsys.argv = ['qsnnc', 'check', 'x.onnx']; open('x.onnx', 'w').close()\nmain()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as job:
        assert job.stdout.readline() == "here\n"
        time.sleep(0.1)
        job.send_signal(signal.SIGINT)
        _, errors = job.communicate(timeout=20)
    assert job.returncode == 130
    assert errors == "interrupted\n"


@pytest.mark.slow
def test_a_long_placement_is_interrupted_at_once(tmp_path) -> None:
    code = (
        "import qsnnc.place.anneal as a\nrun = a.Walk.run\n"
        "a.Walk.run = lambda self, heat, reach, state, work: (print('here', flush=True), run(self, heat, reach, state, 1 << 40))\n"
        "from qsnnc.cli import main\nimport sys\n"
        f"sys.argv = ['qsnnc', 'compile', {str(ROOT / 'models' / 'tiny.onnx')!r}, '-o', 'x.map', '--chip', 'mini']\nmain()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as job:
        assert job.stdout.readline() == "here\n"
        time.sleep(5)  # machine code is loaded, or compiled, and at work
        assert job.poll() is None
        job.send_signal(signal.SIGINT)
        _, errors = job.communicate(timeout=60)
    *progress, last = errors.splitlines()
    assert (job.returncode, last) == (130, "interrupted")
    assert all(line.startswith("still working: ") for line in progress)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_help_has_an_example_and_is_light() -> None:
    done = qsnnc("--help", cwd=ROOT)
    assert "Example: qsnnc compile lenet.onnx -o lenet.map" in done.stdout
    code = "import sys, qsnnc.cli; print([m for m in ('numpy', 'onnx', 'onnxruntime', 'pydantic') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def broken() -> onnx.ModelProto:
    """Weights off the grid, an activation that is not quantized, and weights off the grid again."""
    rng = np.random.default_rng(0)
    net = Builder((1, 8, 8))
    net.conv("stem", rng.integers(-20, 21, (2, 1, 3, 3)) / 32, pads=[1] * 4)
    net.quantize("stem/quant", 1, 4)
    net.conv("first", rng.normal(size=(3, 2, 3, 3)))
    net.quantize("first/quant", 1, 4)
    net.conv("second", rng.integers(-1, 2, (3, 3, 3, 3)).astype(float))
    net.node("Relu", "relu")
    net.conv("third", rng.integers(-1, 2, (3, 3, 3, 3)).astype(float))
    net.quantize("third/quant", 1, 4)
    net.flatten()
    net.gemm("fc", rng.normal(size=(4, 12)))
    return net.model()


@pytest.mark.slow
def test_check_lists_every_problem_of_a_model_and_compile_the_first(tmp_path, save) -> None:
    path, chip = save(broken()), ("--readout", "chip")
    line = refused(qsnnc("compile", path, "-o", "out.map", *chip, cwd=tmp_path), 3, "first: the weights of channel 0")
    assert "2 more: qsnnc check lists them" in line
    done = qsnnc("check", path, *chip, "--json", "-", cwd=tmp_path)
    assert done.returncode == 3
    assert [unlabelled(text).split(":")[0] for text in done.stderr.splitlines()] == ["first", "third", "fc"]
    found = json.loads(done.stdout)
    assert not found["fits"]
    assert found["chip"] == "xbar1152"
    assert found["cores_available"] == 1024
    assert len(found["model_sha256"]) == 64
    assert [violation["code"] for violation in found["violations"]] == [
        "weights-not-quantized", "activation-not-quantized", "weights-not-quantized",
    ]  # fmt: skip
    assert [violation["layer"] for violation in found["violations"]] == ["first", "third", "fc"]
    for violation in found["violations"]:
        assert set(violation) == {"code", "layer", "node", "limit", "found", "allowed", "advice"}
        assert violation["allowed"]
        assert violation["advice"]


def test_check_of_what_is_no_model_writes_its_json_as_well(tmp_path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    refused(qsnnc("check", "bad.onnx", "--json", "c.json", cwd=tmp_path), 3, "bad.onnx: is not a readable ONNX model")
    found = json.loads((tmp_path / "c.json").read_text())
    assert [violation["code"] for violation in found["violations"]] == ["model-corrupt"]


@pytest.mark.slow
def test_one_of_several_outputs_is_chosen(tmp_path, save) -> None:
    model = build(Recipe(6, 2, 1, 2, ("conv",), 3, seed=5, odd=False))
    first = model.graph.output[0].name
    model.graph.node.append(helper.make_node("Relu", [first], ["other"], name="more"))
    model.graph.output.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, ["N", 3]))
    path = save(model)
    line = refused(qsnnc("verify", path, cwd=tmp_path), 3, str(path))
    assert f"{first!r}, 'other'" in line
    assert "--output NAME" in line
    assert qsnnc("verify", path, "--output", "other", "--limit", 9, cwd=tmp_path).returncode == 0
    assert qsnnc("compile", path, "--output", "other", "-o", "o.map", cwd=tmp_path).returncode == 0
    assert (tmp_path / "o.map").exists()
    assert "allowed" in refused(qsnnc("check", path, "--output", "none", cwd=tmp_path), 2, "--output: 'none'")
