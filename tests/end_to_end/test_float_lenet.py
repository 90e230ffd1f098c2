"""The LeNet with float ends on all of MNIST's test set: predictions, scores, spikes and SOPs as the file alone gives them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from support.float_ends import counted, float_lenet, with_levels

import chipsim
from chipsim.datasets import load_dataset
from qsnnc import compile_model

#: images at a time
BATCH = 200


@pytest.mark.slow
@pytest.mark.parametrize("form", ["chain", "qdq"])
def test_mnist(tmp_path: Path, mnist_dir: Path, form: str) -> None:
    model = float_lenet(np.random.default_rng(3), form)
    onnx.save(model, tmp_path / "lenet.onnx")
    data = load_dataset("mnist", data_dir=str(mnist_dir))
    done = compile_model(tmp_path / "lenet.onnx", keep_dead=True)
    run = chipsim.run(done.mapping, data)
    reference = with_levels(model)
    total: Counter[str] = Counter()
    for first in range(0, len(data), BATCH):
        images = (data.images[first : first + BATCH].astype(np.float32) / np.float32(255))[:, None]
        scores, *levels = reference.run(None, {"image": images})
        part = slice(first, first + BATCH)
        assert np.array_equal(run.scores[part], scores)
        assert np.array_equal(run.predictions[part], scores.argmax(axis=1))
        total.update(counted(model, levels))
    assert (run.images, run.encoder_spikes, run.spikes, run.sops) == (
        10_000, total["encoder"], total["spikes"], total["sops"],
    )  # fmt: skip
    assert run.output_packets == total["output"]
