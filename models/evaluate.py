"""Accuracy, spikes and SOPs of an ONNX file by onnxruntime, optimisation off: what the cards quote.

``python -m models.train --mode inference --model models/lenet.onnx --dataset mnist --split test``
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from chipsim.datasets import Dataset, load_dataset
from models.split import validation_part

BATCH = 200
F32 = npt.NDArray[np.float32]


def load(dataset: str, split: str, data_dir: str | None = None) -> Dataset:
    """Load test, train, or the images held out of the training half (validation)."""
    return validation_part(dataset, data_dir) if split == "validation" else load_dataset(dataset, split, data_dir)


def evaluate(path: str | Path, data: Dataset) -> dict[str, Any]:
    """Accuracy on a data set; of a quantized network spikes and SOPs an image too.

    Spikes are one number a layer, the encoder's (conv1's) first. A SOP is a spike that meets a non-zero
    weight, times the L neurons that the weight drives (one in the classifier). The paper's count takes
    every weight as two synapses, zeros included, and leaves the classifier out.
    """
    assert data.labels is not None
    proto = onnx.load(str(path))
    layers = [n.name for n in proto.graph.node if n.op_type == "Conv"]
    quantized = any(n.op_type == "Round" for n in proto.graph.node)
    levels = [f"{name}/level" for name in layers] if quantized else []
    hits, totals = 0, [np.zeros(())] * len(levels)
    labels = iter(np.array_split(data.labels, range(BATCH, len(data.labels), BATCH)))
    for scores, *values in _run(proto, data.images, levels, BATCH):
        hits += int((scores.argmax(axis=1) == next(labels)).sum())
        totals = [t + v.sum(axis=0, dtype=np.float64) for t, v in zip(totals, values, strict=True)]
    result: dict[str, Any] = {
        "model": Path(path).name,
        "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest(),
        "dataset": data.name,
        "split": data.split,
        "images": len(data),
        "accuracy": hits / len(data),
    }
    return result | _counts(proto, [t / len(data) for t in totals]) if quantized else result


def scores(path: str | Path, images: npt.NDArray[np.uint8], batch: int = BATCH) -> F32:
    """Scores (N, 10) of raw pixels (N, 28, 28)."""
    return np.concatenate([first for (first,) in _run(onnx.load(str(path)), images, [], batch)])


def same_in_any_batch(path: str | Path, images: npt.NDArray[np.uint8], sizes: tuple[int, ...] = (1, 7, 200)) -> bool:
    """Whether the scores are the same bits whatever the batch size."""
    first, *others = (scores(path, images, size).tobytes() for size in sizes)
    return all(other == first for other in others)


def _run(proto: onnx.ModelProto, images: npt.NDArray[np.uint8], extra: list[str], batch: int) -> Iterator[list[F32]]:
    """Scores and further tensors, batch by batch."""
    import onnxruntime as ort

    probed = onnx.ModelProto()
    probed.CopyFrom(proto)
    probed.graph.output.extend(helper.make_tensor_value_info(name, 1, None) for name in extra)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(probed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for start in range(0, len(images), batch):
        yield session.run(None, {"image": images[start : start + batch, None].astype(np.float32)})


def _counts(proto: onnx.ModelProto, activations: list[npt.NDArray[np.float64]]) -> dict[str, Any]:
    """Spikes and SOPs from each layer's mean activation (channels, height, width)."""
    constants = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    levels = float(constants["conv1.highest"])
    spikes = [a / float(constants["conv1.down"]) for a in activations]
    nodes = [n for n in proto.graph.node if n.op_type == "Conv"][1:]
    sops, paper = 0.0, 0.0
    for node, source, target in zip(nodes, spikes, spikes[1:], strict=False):
        weights = constants[node.input[1]]
        stride = next(helper.get_attribute_value(a) for a in node.attribute if a.name == "strides")[0]
        height, width = target.shape[1:]
        for y, x in np.ndindex(weights.shape[2:]):  # every window's spikes under this weight of the kernel
            seen = source[:, y : y + stride * height : stride, x : x + stride * width : stride].sum(axis=(1, 2))
            sops += levels * float(((weights[:, :, y, x] != 0) * seen).sum())
            paper += levels * 2 * len(weights) * float(seen.sum())
    sops += float(((constants["fc.weight"] != 0) * spikes[-1].ravel()).sum())
    by_layer = [float(s.sum()) for s in spikes]
    return {
        "spikes_by_layer": by_layer, "paper_spikes": sum(by_layer), "spikes": sum(by_layer[1:]),
        "sops": sops, "paper_sops": paper,
    }  # fmt: skip
