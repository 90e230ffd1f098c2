"""The authors' three logs: one number a batch of 200 images, each by its definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import chipsim
from chipsim import paths
from chipsim.datasets import Dataset
from chipsim.errors import InputError
from chipsim.report import logs


@pytest.fixture(scope="module")
def digits():
    from chipsim.datasets import load_dataset

    return load_dataset("digits").head(450)


@pytest.mark.slow
def test_sums_of_batches(lenet, digits) -> None:
    whole = chipsim.run(lenet.mapping, digits, per_image=True, batch=64, noise=0.1, seed=2)
    found = logs.batch_logs(whole)
    assert [len(numbers) for numbers in found.values()] == [3, 3, 3]
    assert sum(found["spike_num.txt"]) == whole.spikes + whole.encoder_spikes
    assert sum(found["sop_num.txt"]) == whole.paper_sops
    assert sum(found["accuracy.txt"]) == round(whole.accuracy * 450)
    # the first batch alone gives the first number
    first = chipsim.run(lenet.mapping, digits.head(200), noise=0.1, seed=2)
    assert found["spike_num.txt"][0] == first.spikes + first.encoder_spikes
    assert found["sop_num.txt"][0] == first.paper_sops
    assert found["accuracy.txt"][0] == round(first.accuracy * 200)


@pytest.mark.slow
def test_written_a_line_a_batch(lenet, digits, tmp_path: Path) -> None:
    result = chipsim.run(lenet.mapping, digits.head(201), per_image=True)
    logs.write(result, tmp_path / "logs")
    files = {path.name: path.read_text() for path in (tmp_path / "logs").iterdir()}
    assert files == {name: "".join(f"{n}\n" for n in numbers) for name, numbers in logs.batch_logs(result).items()}


@pytest.mark.slow
def test_not_counted_where_nobody_asks(lenet, digits) -> None:
    assert chipsim.run(lenet.mapping, digits.head(3)).image_spikes is None


@pytest.mark.slow
def test_refused_before_the_run(tmp_path: Path, digits) -> None:
    (tmp_path / "file").write_text("")
    bare = Dataset("bare", "test", np.zeros((2, 28, 28), np.uint8), None)
    with pytest.raises(InputError) as error:
        logs.check_labels(bare)
    assert error.value.code == "data-labels"
    logs.check_labels(digits)
    paths.check_folder(tmp_path / "logs")
    for place in (tmp_path / "file", tmp_path / "no" / "logs"):
        with pytest.raises(InputError) as error:
            paths.check_folder(place)
        assert error.value.code == "output-unwritable"
    assert not (tmp_path / "logs").exists()
