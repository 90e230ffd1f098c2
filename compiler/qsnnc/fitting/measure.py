"""Run changed networks on images: scores, accuracy, and what the activations of the unchanged network look like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chipsim.datasets.dataset import Dataset
from chipsim.mapping import InputSpec
from chipsim.mapping.pixels import prepare
from qsnnc.frontend.model.model import Model
from qsnnc.ir.layers import Int, Population
from qsnnc.verification.inner import Reference
from qsnnc.verification.weight_effects import predictions

if TYPE_CHECKING:
    import onnx

Array = npt.NDArray[Any]

#: images at a time
BATCH = 64
#: bytes of activations that are kept at most
MOST_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Images to measure on."""

    name: str  # as a report calls them
    images: Array  # of the model's dtype, or uint8 pixels
    labels: Int | None

    @classmethod
    def of(cls, data: Dataset) -> Images:
        """Return the images of a data set."""
        return cls(f"{data.name} {data.split}".strip(), np.asarray(data.images), data.labels)

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)

    def head(self, limit: int) -> Images:
        """Return the first images."""
        return replace(self, images=self.images[:limit], labels=None if self.labels is None else self.labels[:limit])

    def batches(self, rule: InputSpec) -> Iterable[Array]:
        """Iterate over the images as the model takes them."""
        for first in range(0, len(self.images), BATCH):
            yield prepare(self.images[first : first + BATCH], rule, self.name)


def scores(model: Model, rule: InputSpec, images: Images, proto: onnx.ModelProto | None = None) -> Array:
    """Return the scores of a model, (N, outputs), float64; of a changed form of its reference if one is given."""
    run = Reference(model if proto is None else replace(model, reference=proto), [])
    found = [run(batch)[0] for batch in images.batches(rule)]
    return np.concatenate([part.reshape(len(part), -1) for part in found])


def accuracy(found: Array, images: Images) -> float | None:
    """Return the share of images whose prediction is their label; None without labels."""
    return None if images.labels is None else float((predictions(found) == images.labels).mean())


def distance(found: Array, wanted: Array) -> float:
    """Return the squared error of scores relative to their variance: 0 where they are the same, 1 where all is lost."""
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    spread = ((b - b.mean(axis=0)) ** 2).sum()
    return float(((a - b) ** 2).sum() / max(spread, np.finfo(float).tiny))


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """How often an activation takes each of its levels, and the mean level of each channel."""

    histogram: Int  # (levels + 1,)
    rates: npt.NDArray[np.float64]  # (channels,): spikes of a feature


@dataclass(frozen=True, slots=True, eq=False)
class Unchanged:
    """What the unchanged model does on some images."""

    scores: Array  # (N, outputs)
    statistics: dict[str, Statistics]  # by population
    tensors: dict[str, Array]  # by name, (N, ...): those of the populations; empty where they take too much memory


def unchanged(model: Model, rule: InputSpec, images: Images, populations: Iterable[Population]) -> Unchanged:
    """Run the unchanged model: its scores, and the statistics and values of each population."""
    entries = list(populations)
    run = Reference(model, [entry.tensor for entry in entries])
    parts, held = [], 0
    kept: dict[str, list[Array]] = {entry.tensor: [] for entry in entries}
    counts = {entry.name: np.zeros(entry.levels + 1, np.int64) for entry in entries}
    sums = {entry.name: np.zeros(entry.tensor_shape[0] if entry.tensor_shape else 1) for entry in entries}
    for batch in images.batches(rule):
        found, *tensors = run(batch)
        parts.append(found.reshape(len(found), -1))
        held += sum(tensor.nbytes for tensor in tensors)
        for entry, tensor in zip(entries, tensors, strict=True):
            if held <= MOST_BYTES:
                kept[entry.tensor].append(tensor)
            level = np.rint(tensor.astype(np.float64) / entry.scale - entry.zero_point).astype(np.int64)
            level = np.clip(level, 0, entry.levels).reshape(len(tensor), len(sums[entry.name]), -1)
            counts[entry.name] += np.bincount(level.reshape(-1), minlength=entry.levels + 1)
            sums[entry.name] += level.mean(axis=2).sum(axis=0)
    found_of = {e.name: Statistics(counts[e.name], sums[e.name] / max(1, len(images))) for e in entries}
    whole = {name: np.concatenate(each) for name, each in kept.items()} if held <= MOST_BYTES else {}
    return Unchanged(np.concatenate(parts), found_of, whole)
