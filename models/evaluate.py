"""Accuracy, spikes and SOPs of a network of this folder by onnxruntime, optimisation off: the numbers of the cards.

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

from chipsim.datasets import NAMES, SPLITS, Dataset, load_dataset
from chipsim.engine.host import lose
from chipsim.errors import InputError, UsageError
from chipsim.mapping import InputSpec
from chipsim.mapping.pixels import prepare
from models.split import validation_part

BATCH = 200
PIXELS = InputSpec("image", "float32", (1, 28, 28), "raw")
ENCODER = "conv1/level"  # the tensor that is handed to the chip as spikes
F32 = npt.NDArray[np.float32]


def load(dataset: str, split: str, data_dir: str | None = None) -> Dataset:
    """Load labelled images: test, train, or the part of the training images that is held out (validation).

    Raises
    ------
    UsageError
        An unknown data set or split, or a split of an npz file.
    InputError
        The images cannot be had, or have no labels.
    """
    if split not in (*SPLITS, "validation"):
        allowed = ", ".join((*SPLITS, "validation"))
        raise UsageError("--split", f"unknown split {split!r}; expected {allowed}", code="split-unknown")
    if split == "validation" and dataset not in NAMES:
        raise UsageError(
            "--split", f"{dataset!r} has no validation part; only {' and '.join(NAMES)} do", code="split-unknown"
        )
    data = validation_part(dataset, data_dir) if split == "validation" else load_dataset(dataset, split, data_dir)
    if data.labels is None:
        raise InputError(str(dataset), "has no labels, and accuracy needs them; add an array 'labels'", code="data-labels")
    return data


def read_network(path: str | Path) -> onnx.ModelProto:
    """Read an ONNX file that `models.export` wrote.

    Raises
    ------
    InputError
        The file is missing, is not ONNX (a checkpoint, say), or holds another kind of network.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror}; name an ONNX file", code="model-missing") from None
    try:
        proto = onnx.load_model_from_string(content)
        onnx.checker.check_model(proto)
    except Exception:  # noqa: BLE001  # protobuf and onnx raise several types
        kind = "a checkpoint; --mode export makes an ONNX file of it" if content[:2] == b"PK" else "not an ONNX model"
        raise InputError(str(path), f"is {kind}", code="model-invalid") from None
    made = {name for node in proto.graph.node for name in node.output}
    inputs = [value.name for value in proto.graph.input]
    constants = {tensor.name for tensor in proto.graph.initializer}
    quantized = any(node.op_type == "Round" for node in proto.graph.node)
    scales = {"conv1.highest", "conv1.down", "fc.weight"} if quantized else set()
    if inputs != [PIXELS.name] or not {ENCODER, "scores"} <= made or not scales <= constants:
        raise InputError(
            str(path),
            "is not a network that models.train exported; qsnnc verify and chipsim run take any other",
            code="model-foreign",
        )
    return proto


def metadata(proto: onnx.ModelProto) -> dict[str, str]:
    """Return what the exporter wrote into a model: k, B, seed, epochs and so on."""
    return {entry.key: entry.value for entry in proto.metadata_props}


def evaluate(path: str | Path, data: Dataset, noise: float = 0.0, seed: int = 0) -> dict[str, Any]:
    """Measure accuracy on a data set and, of a quantized network, spikes and SOPs per image.

    Spikes are one number per layer, the encoder's (conv1's, after noise) first. A SOP is a spike that meets a
    non-zero weight, times the L neurons that the weight drives (one in the classifier). The paper's count takes
    every weight as two synapses, zeros included, and leaves the classifier out.

    Parameters
    ----------
    path : path
        An ONNX file that `models.export` wrote.
    data : Dataset
        Images with labels.
    noise : float
        Probability with which each encoder spike is lost.
    seed : int
        Seed of the noise; the draws are those of ``chipsim run --noise --seed``.

    Raises
    ------
    UsageError
        Noise for a network without spikes.
    InputError
        The file or the images cannot be used.
    """
    assert data.labels is not None
    proto = read_network(path)
    layers = [n.name for n in proto.graph.node if n.op_type == "Conv"]
    quantized = any(n.op_type == "Round" for n in proto.graph.node)
    if noise and not quantized:
        raise UsageError("--noise", f"{path} has no spikes to lose: it is a full-precision network", code="noise-full")
    levels = [f"{name}/level" for name in layers] if quantized else []
    hits, totals = 0, [np.zeros(())] * len(levels)
    labels = iter(np.array_split(data.labels, range(BATCH, len(data.labels), BATCH)))
    for scores, *values in _run(proto, data.images, levels, BATCH, noise, seed):
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
    if noise:
        result |= {"noise": noise, "noise_seed": seed}
    return result | _counts(proto, [t / len(data) for t in totals]) if quantized else result


def scores(path: str | Path, images: npt.NDArray[Any], batch: int = BATCH) -> F32:
    """Return the scores (N, 10) of images (N, 28, 28): uint8 pixels, or float32 from 0 to 255."""
    return np.concatenate([first for (first,) in _run(read_network(path), images, [], batch)])


def same_in_any_batch(path: str | Path, images: npt.NDArray[np.uint8], sizes: tuple[int, ...] = (1, 7, 200)) -> bool:
    """Return whether the scores are bit-identical at every batch size."""
    first, *others = (scores(path, images, size).tobytes() for size in sizes)
    return all(other == first for other in others)


def _run(
    proto: onnx.ModelProto, images: Any, extra: list[str], batch: int, noise: float = 0.0, seed: int = 0
) -> Iterator[list[F32]]:
    """Yield the scores and the tensors ``extra`` of one batch after the other."""
    if not noise:
        whole = _session(proto, ["scores", *extra])
        for start in range(0, len(images), batch):
            yield whole.run(None, {PIXELS.name: prepare(images[start : start + batch], PIXELS, "images")})
        return
    constants = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    step, count = float(constants["conv1.down"]), int(constants["conv1.highest"])
    before, after = _session(proto, [ENCODER]), _session(_behind_encoder(proto), ["scores", *extra[1:]])
    for start in range(0, len(images), batch):
        (value,) = before.run(None, {PIXELS.name: prepare(images[start : start + batch], PIXELS, "images")})
        kept = _lose_spikes(value, step, count, start, noise, seed)
        first, *rest = after.run(None, {ENCODER: kept})
        yield [first, kept, *rest]


def _lose_spikes(value: F32, step: float, count: int, first: int, noise: float, seed: int) -> F32:
    """Drop spikes of the encoder's levels, value / step; neuron i of ``count`` fires where the level is above i."""
    level = np.rint(value / step).astype(np.int32).reshape(len(value), -1).T
    fired = (level[:, None] > np.arange(count)[:, None]).reshape(-1, len(value)).view(np.uint8)
    kept = lose(fired, range(first, first + len(value)), noise, seed).reshape(len(level), count, len(value)).sum(axis=1)
    return (kept.T * step).astype(np.float32).reshape(value.shape)


def _behind_encoder(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return what a network computes from the encoder's levels."""
    rest = onnx.ModelProto()
    rest.CopyFrom(proto)
    last = next(i for i, node in enumerate(proto.graph.node) if ENCODER in node.output)
    del rest.graph.node[: last + 1]
    del rest.graph.input[:]
    rest.graph.input.append(helper.make_tensor_value_info(ENCODER, 1, ["N", None, None, None]))
    return rest


def _session(proto: onnx.ModelProto, outputs: list[str]) -> Any:
    """Return an onnxruntime session with the outputs that are named, optimisation off."""
    import onnxruntime as ort

    probed = onnx.ModelProto()
    probed.CopyFrom(proto)
    del probed.graph.output[:]
    probed.graph.output.extend(helper.make_tensor_value_info(name, 1, None) for name in outputs)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return ort.InferenceSession(probed.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _counts(proto: onnx.ModelProto, activations: list[npt.NDArray[np.float64]]) -> dict[str, Any]:
    """Return spikes and SOPs per image from each layer's mean activation (channels, height, width)."""
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
