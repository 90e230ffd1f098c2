"""The committed LeNets: certified, described by their cards, and each measured once on the test sets."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from models.certify import margins
from models.evaluate import evaluate, load, same_in_any_batch

MODELS = Path(__file__).parents[3] / "models"
FILES = sorted(MODELS.glob("lenet*.onnx"))
NAMES = [path.stem for path in FILES]
TERNARY = [path for path in FILES if "fp32" not in path.name]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_card_names_the_file(path):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"`{digest}`" in path.with_suffix(".md").read_text()


def test_one_meeting_with_the_test_set_for_each_model():
    log = MODELS / "test-log.jsonl"
    entries = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    assert Counter(entry["model"] for entry in entries) == Counter(path.name for path in FILES)
    for entry in entries:
        assert entry["sha256"] == hashlib.sha256((MODELS / entry["model"]).read_bytes()).hexdigest()
        assert (entry["dataset"], entry["split"], entry["images"]) == ("mnist", "test", 10_000)


@pytest.mark.parametrize("path", TERNARY, ids=lambda path: path.stem)
def test_certified(path):
    found = margins(onnx.load(str(path)))
    assert found[0].units > 0.25
    assert min(m.units for m in found[1:]) > 0.01
    assert min(m.safety for m in found) > 1


@pytest.mark.parametrize("path", TERNARY, ids=lambda path: path.stem)
def test_same_scores_in_any_batch(path):
    images = np.random.default_rng(0).integers(0, 256, (210, 28, 28)).astype(np.uint8)
    assert same_in_any_batch(path, images)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_digits_accuracy_is_the_one_logged(path):
    entries = [json.loads(line) for line in (MODELS / "test-log.jsonl").read_text().splitlines()]
    logged = next(e["digits"] for e in entries if e["model"] == path.name)
    assert evaluate(path, load("digits", "test"))["accuracy"] == pytest.approx(logged, abs=0.003)
