"""Measure what quantized weights do to the file's own output: each layer's alone, and all together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.mapping.pixels import prepare
from qsnnc.frontend.model.model import Model
from qsnnc.ir.layers import LayerGraph, WeightsChanged
from qsnnc.verification.inner import Reference

Array = npt.NDArray[Any]

#: images at a time
BATCH = 50


@dataclass(frozen=True, slots=True)
class Effect:
    """How far the scores with some quantized weights are from those of the file."""

    predictions_changed: int
    largest: float  # difference of a score
    accuracy: float | None  # a fraction; None without labels


@dataclass(frozen=True, slots=True)
class WeightEffects:
    """What quantized weights do: those of each layer alone, and all together."""

    file: Effect  # the file itself: its accuracy
    together: Effect
    alone: dict[str, Effect]
    weights: dict[str, WeightsChanged]

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON."""
        layers = {}
        for name, effect in self.alone.items():
            change = self.weights[name]
            layers[name] = {"bits": change.bits, "changed": change.changed, "error": change.error, **asdict(effect)}
        return {"accuracy_of_file": self.file.accuracy, **asdict(self.together), "layers": layers}

    def lines(self) -> Iterator[str]:
        """Say what changes."""
        was = "" if self.file.accuracy is None else f" instead of {100 * self.file.accuracy:.2f} %"
        for layer, effect in self.alone.items():
            yield f"weights of {layer} alone, {self.weights[layer].bits} bits: {_said(effect, was)}"
        yield f"all quantized weights: {_said(self.together, was)}"


def effects_of(model: Model, graph: LayerGraph, images: Array, labels: Array | None, name: str) -> WeightEffects:
    """Run the file, and the file with the quantized weights of each layer alone and of all, on the same images.

    Parameters
    ----------
    model : Model
        With all quantized weights; the file's own are still in it.
    images : ndarray
        Of the model's dtype, or uint8 pixels; ``name`` is what errors call them.
    labels : ndarray, int64, (N,), optional
    """
    changes = graph.weights_changed

    def scores(kept: Sequence[WeightsChanged]) -> Array:
        run = Reference(_undone(model, [change for change in changes if change not in kept]), [])
        parts = [run(prepare(images[i : i + BATCH], graph.input, name))[0] for i in range(0, len(images), BATCH)]
        return np.concatenate(parts)

    file = scores([])

    def effect(found: Array) -> Effect:
        own, gap = predictions(found), np.abs(found.astype(np.float64) - file.astype(np.float64))
        right = None if labels is None else float((own == labels).mean())
        return Effect(int((own != predictions(file)).sum()), float(gap.max(initial=0.0)), right)

    alone = {change.layer: effect(scores([change])) for change in changes}
    return WeightEffects(effect(file), effect(scores(changes)), alone, {change.layer: change for change in changes})


def _undone(model: Model, changes: Sequence[WeightsChanged]) -> Model:
    """Return the model with the file's own weights in some layers."""
    proto = type(model.reference)()
    proto.CopyFrom(model.reference)
    before = {change.tensor: change.replaced for change in changes}
    for node in proto.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = before.get(name, name)
    return replace(model, reference=proto)


def predictions(scores: Array) -> npt.NDArray[np.int64]:
    """Return the class of each image: an output that is one integer, else the index of the largest score."""
    flat = scores.reshape(len(scores), -1)
    found = flat[:, 0] if flat.shape[1] == 1 and flat.dtype.kind in "iu" else flat.argmax(axis=1)
    return np.asarray(found, np.int64)


def _said(effect: Effect, was: str) -> str:
    accuracy = "" if effect.accuracy is None else f", accuracy {100 * effect.accuracy:.2f} %{was}"
    return f"{effect.predictions_changed:,} predictions change, largest difference of a score {effect.largest:.4g}{accuracy}"
