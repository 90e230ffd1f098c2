"""Accuracy of an ONNX file by onnxruntime, optimisation off: the number that the cards quote."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from chipsim.datasets import load_dataset

BATCH = 200


def scores(path: str, images: npt.NDArray[np.uint8], batch: int = BATCH) -> npt.NDArray[np.float32]:
    """Scores (N, 10) of raw pixels (N, 28, 28)."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    pixels = images[:, None].astype(np.float32)
    parts = [session.run(None, {"image": pixels[i : i + batch]})[0] for i in range(0, len(pixels), batch)]
    return np.concatenate(parts)


def accuracy(path: str, dataset: str, split: str, data_dir: str | None) -> dict[str, object]:
    """Fraction of images whose largest score is their label's."""
    data = load_dataset(dataset, split, data_dir)
    assert data.labels is not None
    found = scores(path, data.images).argmax(axis=1)
    return {
        "model": Path(path).name,
        "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest(),
        "dataset": dataset,
        "split": split,
        "images": len(data),
        "accuracy": float((found == data.labels).mean()),
    }
