"""The committed LeNets: certified, described by their cards, and each measured once on the test sets."""

import hashlib
import json
from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from support.places import MODELS

from models.certify import margins
from models.evaluate import evaluate, load, same_in_any_batch

FILES = sorted(MODELS.glob("lenet*.onnx"))
NAMES = [path.stem for path in FILES]
TERNARY = [path for path in FILES if "fp32" not in path.name]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_card_names_the_file(path):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"`{digest}`" in path.with_suffix(".md").read_text()


def logged() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (MODELS / "test-log.jsonl").read_text().splitlines()]


def test_each_network_met_the_test_set_once():
    entries = logged()
    assert set(Counter(entry["sha256"] for entry in entries).values()) == {1}
    latest = {entry["model"]: entry for entry in entries}  # a network may replace another
    assert latest.keys() == {path.name for path in FILES}
    for entry in latest.values():
        assert entry["sha256"] == hashlib.sha256((MODELS / entry["model"]).read_bytes()).hexdigest()
        assert (entry["dataset"], entry["split"], entry["images"]) == ("mnist", "test", 10_000)


def test_a_network_replaces_another_by_its_validation_images():
    best: dict[str, float] = {}
    for entry in logged():
        assert entry["validation"] > best.get(entry["model"], 0)
        best[entry["model"]] = entry["validation"]


@pytest.mark.parametrize("path", TERNARY, ids=lambda path: path.stem)
def test_certified(path):
    found = margins(onnx.load(str(path)))
    assert found[0].units > 0.25
    assert min(m.units for m in found[1:]) > 0.01
    assert min(m.safety for m in found) > 1


@pytest.mark.slow
@pytest.mark.parametrize("path", TERNARY, ids=lambda path: path.stem)
def test_same_scores_in_any_batch(path):
    images = np.random.default_rng(0).integers(0, 256, (210, 28, 28)).astype(np.uint8)
    assert same_in_any_batch(path, images)


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_digits_accuracy_is_the_one_logged(path):
    said = {entry["model"]: entry["digits"] for entry in logged()}[path.name]
    assert evaluate(path, load("digits", "test"))["accuracy"] == pytest.approx(said, abs=0.003)
