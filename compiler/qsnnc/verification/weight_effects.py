"""Measure what quantized weights do to the file's own output: each layer's alone, and all together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.model.model import Model
from qsnnc.ir.layers import WeightsChanged
from qsnnc.verification.inner import Reference

Array = npt.NDArray[Any]


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


class WeightComparison:
    """The file and the file with quantized weights, compared batch by batch."""

    def __init__(self, model: Model, changes: Sequence[WeightsChanged]) -> None:
        """Take the model with all quantized weights; what they replaced is still in it."""
        self.changes = changes
        self.file = Reference(_undone(model, changes), [])
        self.forms = {"": Reference(model, [])}  # by layer; "": all together
        for change in changes:
            self.forms[change.layer] = Reference(_undone(model, [other for other in changes if other is not change]), [])
        self.changed = dict.fromkeys(self.forms, 0)
        self.largest = dict.fromkeys(self.forms, 0.0)
        self.right = dict.fromkeys(("file", *self.forms), 0)
        self.images, self.labelled = 0, True

    def add(self, batch: Array, labels: Array | None) -> None:
        """Compare a batch of images of the model's dtype."""
        (scores,) = self.file(batch)
        expected = predictions(scores)
        self.images += len(batch)
        self.labelled &= labels is not None
        self.right["file"] += 0 if labels is None else int((expected == labels).sum())
        for name, form in self.forms.items():
            (found,) = form(batch)
            own = predictions(found)
            self.changed[name] += int((own != expected).sum())
            gap = np.abs(found.astype(np.float64) - scores.astype(np.float64))
            self.largest[name] = max(self.largest[name], float(gap.max(initial=0.0)))
            self.right[name] += 0 if labels is None else int((own == labels).sum())

    def effects(self) -> WeightEffects:
        """Return what was found."""
        found = {name: Effect(self.changed[name], self.largest[name], self._share(name)) for name in self.forms}
        together = found.pop("")
        file = Effect(0, 0.0, self._share("file"))
        return WeightEffects(file, together, found, {change.layer: change for change in self.changes})

    def _share(self, name: str) -> float | None:
        return self.right[name] / self.images if self.labelled and self.images else None


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
