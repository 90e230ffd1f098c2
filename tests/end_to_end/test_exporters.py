"""Networks that Brevitas, torch, onnxruntime and QONNX wrote, on the digits: what the file scores, the chip scores."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from support.places import MODELS

import chipsim
from chipsim.datasets import load_dataset
from models.exporters import card
from qsnnc import compile_model

FILES = {path.stem: path for path in sorted((MODELS / "exporters").glob("*.onnx"))}


@pytest.fixture(scope="module", params=FILES)
def path(request) -> Path:
    return FILES[request.param]


@pytest.fixture(scope="module")
def mapping(path):
    return compile_model(path).mapping


@pytest.fixture(scope="module")
def result(mapping):
    return chipsim.run(mapping, "digits")


@pytest.fixture(scope="module")
def expected(path) -> np.ndarray:
    """Scores by onnxruntime of the whole test half, as an outsider would compute them."""
    return card.scores(path, load_dataset("digits").images[:, None].astype(np.float32) / np.float32(255))


def test_all_four_are_here() -> None:
    assert set(FILES) == {"brevitas_qcdq", "brevitas_qonnx", "ort_static", "torch_fakequant"}


def test_accuracy_is_the_exporters(path, result, expected) -> None:
    labels = load_dataset("digits").labels
    assert result.images == 899
    assert result.accuracy == (expected.argmax(axis=1) == labels).mean()
    assert result.accuracy >= (0.93 if path.stem == "brevitas_qonnx" else 0.95)  # a small perceptron; the others convolve


def test_scores(mapping, result, expected) -> None:
    if mapping.exactness == "certified":
        np.testing.assert_array_equal(result.scores, expected)
    else:
        np.testing.assert_allclose(result.scores, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_every_level(path, mapping) -> None:
    found = chipsim.compare(mapping, path, "digits", limit=100)
    assert found.equal, str(found.difference)
    assert {entry.name for entry in mapping.layers[:-1]} <= {mapping.encoder.name, *found.populations}


def test_the_card_tells_the_truth(path, mapping, result) -> None:
    text = path.with_suffix(".md").read_text()
    assert f"`{hashlib.sha256(path.read_bytes()).hexdigest()}`" in text
    assert f"| Accuracy, chip | {100 * result.accuracy:.2f} % of the same 899 |" in text
    assert f"| Exactness | {mapping.exactness} |" in text
    row = next(
        line for line in (path.parents[1] / "README.md").read_text().splitlines() if f"(exporters/{path.stem}.md)" in line
    )
    assert f"| {100 * result.accuracy:.2f} % | {mapping.cores} | {mapping.exactness} |" in row
    assert f"| Cores | {mapping.cores:,} of `xbar1152`; lower bound " in text


def test_sizes_and_operators_are_what_their_names_say() -> None:
    assert all(path.stat().st_size < 300_000 for path in FILES.values())
    ops = {name: onnx.load(str(path)).graph.node for name, path in FILES.items()}
    assert {node.domain for node in ops["brevitas_qonnx"]} == {"", "qonnx.custom_op.general"}
    assert sum(node.op_type == "Add" for node in ops["brevitas_qcdq"]) == 2  # two blocks with short cuts
    groups = [onnx.helper.get_node_attr_value(node, "group") for node in ops["torch_fakequant"] if node.op_type == "Conv"]
    assert [group for group in groups if group > 1] == [16, 24, 32]  # depthwise
    assert not any(node.op_type == "Conv" for node in ops["brevitas_qonnx"])  # a perceptron
    types = {tensor.data_type for tensor in onnx.load(str(FILES["ort_static"])).graph.initializer}
    assert {onnx.TensorProto.UINT4, onnx.TensorProto.INT4} <= types
