"""``qsnnc annotate``: metadata on the nodes, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from support.command_line import qsnnc, refused
from support.places import ROOT
from support.published import CONSTANTS, IMAGES, LEVELS, SECOND, WEIGHTS, network

from qsnnc import check
from qsnnc.explain.tables import compilation_json

MODEL = ROOT / "models" / "tiny.onnx"
LOOP = """
    s = MatMul(a, w)
    y = Loop(two, , s) <body = b (int64 i, bool c, float[N,3] p) => (bool on, float[N,3] o) {
        on = Identity(c) r = Round(p) l = Clip(r, lowest, highest) o = MatMul(l, v)
    }>
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("annotated")
    done = qsnnc("annotate", MODEL, "-o", "out.onnx", "--node-data", "data.json", "--chip", "mini", cwd=folder)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return folder


def said(node: onnx.NodeProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in node.metadata_props}


def test_nodes_say_what_they_take(made: Path) -> None:
    model = onnx.load(made / "out.onnx")
    onnx.checker.check_model(model, full_check=True)
    layers = {row["name"]: row for row in compilation_json(check(MODEL, "mini"))["layers"]}
    seen = set()
    for node in model.graph.node:
        found = said(node)
        assert found["qsnnc.chip"] == "mini"
        if found["qsnnc.place"] == "chip":
            row = layers[found["qsnnc.layer"]]
            seen.add(found["qsnnc.layer"])
            for key in ("cores", "bound", "levels", "exactness", "limiting"):
                assert found[f"qsnnc.{key}"] == str(row[key])
    assert seen == set(layers)


def test_it_computes_the_same_bytes(made: Path) -> None:
    before, after = (onnxruntime.InferenceSession(str(path)) for path in (MODEL, made / "out.onnx"))
    given = before.get_inputs()[0]
    shape = [4, *(side for side in given.shape[1:])]
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    first, second = (session.run(None, {given.name: image}) for session in (before, after))
    assert [a.tobytes() for a in first] == [b.tobytes() for b in second]


def test_annotating_twice_replaces_the_keys(made: Path) -> None:
    done = qsnnc("annotate", "out.onnx", "-o", "again.onnx", "--chip", "mini", "-q", cwd=made)
    assert done.returncode == 0
    first, second = (onnx.load(made / name) for name in ("out.onnx", "again.onnx"))
    assert [said(node) for node in first.graph.node] == [said(node) for node in second.graph.node]
    assert all(len(node.metadata_props) == len(said(node)) for node in second.graph.node)


def test_node_data_of_model_explorer(made: Path) -> None:
    """The keys of its GraphNodeData (model_explorer.node_data_builder, ai-edge-model-explorer 0.1.34)."""
    data = json.loads((made / "data.json").read_text())
    assert set(data) == {"results", "name", "gradient"}
    cores = {row["name"]: row["cores"] for row in compilation_json(check(MODEL, "mini"))["layers"]}
    expected = {
        key: {"value": cores[said(node)["qsnnc.layer"]]}
        for at, node in enumerate(onnx.load(made / "out.onnx").graph.node)
        if said(node)["qsnnc.place"] == "chip"
        for key in (node.name or f"<node_{at}>", *node.output)
    }
    assert data["results"] == expected
    assert expected


def test_a_nir_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.nir").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    done = qsnnc("annotate", "net.nir", "-o", "out.onnx", cwd=tmp_path)
    assert "nir-annotate" in refused(done, 2, "MODEL: ")
    assert not (tmp_path / "out.onnx").exists()


def test_layers_of_a_loop_are_annotated_one_by_one(tmp_path: Path) -> None:
    """Its nodes stand in its place, each with the layer that it belongs to; the copy computes the same."""
    model = network(f"{LEVELS.format(domain='')} {LOOP}", f"{CONSTANTS}, {WEIGHTS}, {SECOND}, int64 two = {{2}}")
    (tmp_path / "loop.onnx").write_bytes(model.SerializeToString())
    done = qsnnc("annotate", "loop.onnx", "-o", "out.onnx", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    written = onnx.load(tmp_path / "out.onnx")
    found = {node.name: said(node) for node in written.graph.node}
    assert {name: found[name]["qsnnc.layer"] for name in ("s", "y/0/o", "y/1/o")} == {
        "s": "s",
        "y/0/o": "y.0.o",
        "y/1/o": "y.1.o",
    }
    assert all(found[name]["qsnnc.place"] == "chip" for name in ("s", "y/0/r", "y/0/o", "y/1/o"))
    before, after = (onnxruntime.InferenceSession(each.SerializeToString()) for each in (model, written))
    np.testing.assert_array_equal(before.run(None, {"x": IMAGES})[0], after.run(None, {"x": IMAGES})[0])
