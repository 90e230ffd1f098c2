"""The table of results holds what the runs measured."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import chipsim
from chipsim.datasets import load_dataset
from models import results
from qsnnc import DoesNotFit, compile_model

MODELS = Path(results.__file__).parent


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("results") / "out"
    results.main([str(MODELS / "lenet.onnx"), "--dataset", "digits", "--limit", "120", "-o", str(out)])
    return out


@pytest.mark.slow
def test_three_files_agree(made: Path, lenet) -> None:
    table = json.loads((made / "results.json").read_text())
    (row,) = table["networks"]
    data = load_dataset("digits").head(120)
    run = chipsim.run(lenet.mapping, data)
    assert (row["snn_accuracy"], row["sops"], row["spikes"]) == (run.accuracy, run.sops / 120, run.spikes / 120)
    assert row["ann_accuracy"] == row["snn_accuracy"]
    assert row["images_that_differ"] == 0
    assert (row["cores"], row["cores_bound"], row["refused"]) == (405, 405, None)
    noisy = [chipsim.run(lenet.mapping, data, noise=0.2, seed=seed).accuracy for seed in range(5)]
    assert row["noise"]["0.2"]["mean"] == pytest.approx(sum(noisy) / 5)
    assert (row["noise"]["0.2"]["lowest"], row["noise"]["0.2"]["highest"]) == (min(noisy), max(noisy))
    first, *rest = csv.DictReader((made / "results.csv").read_text().splitlines())
    assert float(first["sops"]) == row["sops"]
    assert [r["paper_sops"] for r in rest if (r["model"], r["k"], r["B"]) == ("published", "1", "2")] == ["27879201"]
    page = (made / "results.md").read_text()
    for shown in ("k=1, B=2 (lenet)", "405 (405)", "*27,879,201*", "differ from the ANN's: none"):
        assert shown in page, shown


def test_every_quantized_model_is_in_the_table() -> None:
    names = [path.stem for path in results.quantized_models()]
    wanted = {path.stem for path in MODELS.glob("lenet*.onnx")} - {"lenet-fp32"}
    assert set(names) == wanted
    assert names == sorted(names, key=lambda name: ("sparse" in name, names.index(name)))


def eight_levels() -> Path:
    path = MODELS / "lenet-k1b4.onnx"
    if not path.exists():
        pytest.skip("no network with eight levels is here")
    return path


@pytest.mark.slow
def test_eight_levels_need_the_larger_grid() -> None:
    path = eight_levels()
    with pytest.raises(DoesNotFit) as error:
        compile_model(path)
    assert error.value.exit_code == 4
    assert "cores" in str(error.value)
    done, refused = results.compiled(path)
    assert done.chip.name == "xbar1152-40x40"
    assert refused == str(error.value)
    assert done.cores_bound <= done.mapping.cores <= 1600
