"""The integer network against the ONNX model, layer by layer, before there is any chip."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.mapping import InputSpec
from chipsim.mapping.pixels import prepare
from chipsim.standard import rewrite
from qsnnc.frontend.read import Model, session
from qsnnc.ir.execute import fire, potentials
from qsnnc.ir.layers import Doubt, Int, Layer, LayerGraph, Population
from qsnnc.pipeline import front

#: samples at a time
BATCH = 50
#: a tested (not certified) network may miss a score by this, relative to the largest
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A level or score that differs; ``attributed`` where its threshold is one that float rounding can move."""

    layer: str
    node: str
    sample: int
    channel: int
    element: int
    expected: float
    found: float
    attributed: bool

    def __str__(self) -> str:
        why = "inside the float error bound" if self.attributed else "outside every float error bound: a defect"
        return (
            f"{self.layer}: sample {self.sample}, channel {self.channel}, feature {self.element}: "
            f"the model ({self.node}) has {self.expected:g}, the integer network {self.found:g}; {why}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """What was compared, and what differs."""

    model_sha256: str
    exactness: str
    samples: int
    values: int
    doubts: dict[str, tuple[Doubt, ...]]
    inexact: tuple[str, ...]  # layers whose float sums depend on their order
    mismatches: tuple[Mismatch, ...]  # at most one a layer

    @property
    def equal(self) -> bool:
        """Whether every level and score was equal."""
        return not self.mismatches

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {
            "schema": "qsnnc-verify/1",
            "model_sha256": self.model_sha256,
            "exactness": self.exactness,
            "equal": self.equal,
            "samples": self.samples,
            "values": self.values,
            "inexact_sums": list(self.inexact),
            "doubts": {name: [asdict(doubt) for doubt in doubts] for name, doubts in self.doubts.items()},
            "mismatches": [asdict(mismatch) for mismatch in self.mismatches],
        }


def verify(
    path: str | Path,
    images: npt.NDArray[Any] | None = None,
    *,
    pixels: str | None = None,
    samples: int = 100,
    seed: int = 0,
    name: str = "images",
) -> Verification:
    """Hold the layer graph against onnxruntime (optimisation off) on every level and score.

    Each layer is given the levels that the model itself has before it, so a difference is found where it arises.

    Parameters
    ----------
    path : path
        The ONNX file.
    images : ndarray, optional
        (N, ...), of the model's dtype or uint8 pixels; random ones without it.
    samples, seed : int
        How many random images, from which seed.

    Raises
    ------
    ModelError, InputError
    """
    model, graph, rule = front(path, pixels)
    if images is None:
        images = random_images(rule, samples, seed)
    watched = [entry for entry in (graph.encoder, *graph.layers) if entry.tensor and entry.levels]
    reference = _Reference(model, [entry.tensor for entry in watched])
    encoder, readout = session(graph.encoder_onnx), session(graph.readout_onnx)
    found: dict[str, Mismatch] = {}
    values = 0
    for first in range(0, len(images), BATCH):
        batch = prepare(images[first : first + BATCH], rule, name)
        scores, *tensors = reference(batch)
        expected = {
            entry.name: np.round(tensor.astype(np.float64) / entry.scale - entry.zero_point)
            .astype(np.int64)
            .reshape(len(batch), *entry.shape)
            for entry, tensor in zip(watched, tensors, strict=True)
        }
        (levels,) = encoder.run(["levels"], {model.input: batch})
        own = {graph.encoder.name: levels.astype(np.int64).reshape(len(batch), *graph.encoder.shape)}
        for layer in graph.layers:
            given = {link.source: expected.get(link.source, own[link.source]) for link in layer.connections}
            potential = potentials(layer, given)
            own[layer.name] = potential if layer.readout else fire(layer, potential)
        for entry in watched:
            values += expected[entry.name].size
            wrong = np.argwhere(own[entry.name] != expected[entry.name])
            if len(wrong) and entry.name not in found:
                found[entry.name] = _mismatch(entry, wrong[0], first, own[entry.name], expected[entry.name])
        (mine,) = readout.run(None, {"potentials": own[graph.layers[-1].name].reshape(len(batch), -1)})
        values += scores.size
        wrong = np.argwhere(_score_errors(mine, scores, graph.certified))
        if len(wrong) and model.output not in found:
            sample, *rest = wrong[0].tolist()
            found[model.output] = Mismatch(
                model.output,
                model.output,
                first + sample,
                rest[0] if rest else 0,
                int(np.ravel_multi_index(rest, mine.shape[1:])) if rest else 0,
                float(scores[tuple(wrong[0])]),
                float(mine[tuple(wrong[0])]),
                False,
            )
    return Verification(
        model.sha256,
        "certified" if graph.certified else "tested",
        len(images),
        values,
        {layer.name: layer.doubts for layer in graph.layers if layer.doubts},
        inexact(graph),
        tuple(found.values()),
    )


def inexact(graph: LayerGraph) -> tuple[str, ...]:
    """Populations whose float sums depend on their order."""
    names = [] if graph.encoder_exact else [graph.encoder.name]
    return (*names, *(layer.name for layer in graph.layers if not layer.exact_sums))


def random_images(rule: InputSpec, samples: int, seed: int) -> npt.NDArray[Any]:
    """Random pixels: a third each of all values, of few bright ones, and of flat grey with a little noise."""
    rng = np.random.default_rng(seed)
    shape = (samples, *rule.shape)
    dtype = np.dtype(rule.dtype)
    if dtype.kind in "iu" and dtype != np.uint8:
        low, high = max(np.iinfo(dtype).min, -128), min(np.iinfo(dtype).max, 255)
        return rng.integers(low, high + 1, shape).astype(dtype)
    noise = rng.integers(0, 256, shape)
    kind = np.arange(samples).reshape(-1, *([1] * len(rule.shape))) % 3
    sparse = np.where(rng.random(shape) < 0.15, noise, 0)
    flat = np.clip(rng.integers(0, 256, kind.shape) + noise // 16 - 8, 0, 255)
    return np.choose(np.broadcast_to(kind, shape), [noise, sparse, flat]).astype(np.uint8)


class _Reference:
    """The model with more outputs, one batch at a time or, where its batch is fixed, image by image."""

    def __init__(self, model: Model, tensors: list[str]) -> None:
        import onnx

        proto = rewrite(onnx.load(str(model.path)))
        there = {value.name for value in proto.graph.output}
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in there)
        self.wanted = [model.output, *tensors]
        self.run = session(proto)
        self.input = model.input

    def __call__(self, images: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        size = self.run.get_inputs()[0].shape[0]
        step = 1 if size == 1 else len(images)
        parts = [self.run.run(self.wanted, {self.input: images[i : i + step]}) for i in range(0, len(images), step)]
        return [np.concatenate(columns) for columns in zip(*parts, strict=True)]


def _mismatch(entry: Population, where: Int, first: int, found: Int, expected: Int) -> Mismatch:
    sample, channel, row, column = where.tolist()
    low, high = sorted((int(found[tuple(where)]), int(expected[tuple(where)])))
    doubted = False
    if isinstance(entry, Layer):
        border = int(entry.border[row, column])
        known = {(d.border_class, d.channel, d.level) for d in entry.doubts}
        doubted = all((border, channel, level) in known for level in range(low, high))
    element = int(np.ravel_multi_index((channel, row, column), entry.shape))
    return Mismatch(
        entry.name,
        entry.tensor,
        first + sample,
        channel,
        element,
        float(expected[tuple(where)]),
        float(found[tuple(where)]),
        doubted,
    )


def _score_errors(found: npt.NDArray[Any], expected: npt.NDArray[Any], certified: bool) -> npt.NDArray[np.bool_]:
    if certified or expected.dtype.kind != "f":
        return np.asarray(found != expected)
    largest = np.abs(expected.reshape(len(expected), -1)).max(axis=1).reshape(-1, *([1] * (expected.ndim - 1)))
    return np.asarray(np.abs(found - expected) > TOLERANCE * np.maximum(1.0, largest))
