"""Compare the layer graph with the reference in batches, each layer on the levels that the model itself has before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim import paths
from chipsim.errors import InputError
from chipsim.mapping.pixels import prepare
from chipsim.qonnx_ops import origins
from qsnnc.errors import ModelError
from qsnnc.frontend.model.model import Model
from qsnnc.frontend.model.outcomes import UnevenLevels
from qsnnc.frontend.model.reference import session
from qsnnc.ir.execute import run
from qsnnc.ir.layers import Int, LayerGraph, Population
from qsnnc.verification.explain import Mismatch, Uncertainty
from qsnnc.verification.inner import Reference, with_outputs
from qsnnc.verification.reproduce import Reproduction, reproduce
from qsnnc.verification.result import Agreement
from qsnnc.verification.weight_effects import predictions

Array = npt.NDArray[Any]

#: images per batch; fewer where an image has many features
BATCH = 50
#: features of all images of a batch together
MOST_FEATURES = 1 << 24
#: how far a score of a tested (not certified) network may be off, relative to the largest
TOLERANCE = 1e-5


class Comparison:
    """The integer network and the model, compared batch by batch."""

    def __init__(self, model: Model, graph: LayerGraph) -> None:
        self.model, self.graph = model, graph
        self.watched = [entry for entry in (graph.encoder, *graph.layers) if entry.tensor and entry.levels]
        self.features = sum(entry.features for entry in (graph.encoder, *graph.layers))
        last = graph.layers[-1].tensor
        self.sums = [last] if last != model.output and last in model.written else []  # the scores are computed from
        self.reference = Reference(model, [*(entry.tensor for entry in self.watched), *self.sums])
        assert graph.encoder_onnx is not None, "a network of an ONNX model"
        self.encoder, self.readout = session(graph.encoder_onnx), session(with_outputs(graph.readout_onnx, self.sums))
        self.uncertain = Uncertainty(graph)
        names = origins(model.reference.graph.node)
        self.made = {
            name: names.get(node.name, node.name) or node.op_type
            for node in model.reference.graph.node
            for name in node.output
        }
        self.values = self.differences = self.unexplained = 0
        self.largest, self.largest_in = 0.0, ""
        self.changed, self.right, self.labelled = 0, [0, 0], 0  # predictions: the model's and the integer network's
        self.found: dict[str, Mismatch] = {}
        self._samples: dict[str, tuple[str, dict[str, Array], Array]] = {}  # of each mismatch: tensor, reference, own

    def add_all(self, images: Array, name: str, labels: Array | None = None, start: int = 0) -> None:
        """Compare images of the model's dtype, or uint8 pixels, batch by batch.

        ``name`` is what errors call them, ``start`` the index of the first.
        """
        size = max(1, min(BATCH, MOST_FEATURES // self.features))
        for first in range(0, len(images), size):
            part = slice(first, first + size)
            mine = None if labels is None else labels[part]
            self.add(prepare(images[part], self.graph.input, name), start + first, mine)

    def add(self, batch: Array, first: int, labels: Array | None = None) -> None:
        """Compare a batch; ``first`` is the index of its first image."""
        scores, *tensors = self.reference(batch)
        theirs = dict(zip([*(entry.tensor for entry in self.watched), *self.sums], tensors, strict=True))
        theirs[self.model.input] = batch
        expected = {entry.name: _levels(entry, theirs[entry.tensor], first) for entry in self.watched}
        (levels,) = self.encoder.run(["levels"], {self.model.input: batch})
        levels = np.minimum(levels, self.graph.encoder.levels)  # a limited one may tell more
        own = {self.graph.encoder.name: _of_images(self.graph.encoder, levels)}
        given = dict(expected)
        self._compare(self.graph.encoder, given, own, expected, theirs, first)
        for layer in self.graph.layers:
            own[layer.name] = run(layer, {**own, **given})
            self._compare(layer, {**own, **given}, own, expected, theirs, first)
        potentials = own[self.graph.layers[-1].name].reshape(len(batch), -1)
        mine, *sums = self.readout.run(None, {"potentials": potentials})
        rounded = self._rounded(sums[0], theirs[self.sums[0]]) if sums else np.zeros(len(batch), bool)
        self._compare_scores(mine, scores, {**own, **given}, theirs, first, rounded)
        self._compare_predictions(levels, mine, scores, own, given, labels)

    def agreement(self) -> Agreement:
        """Return how the predictions of both networks agree."""
        if not self.labelled:
            return Agreement(self.changed, None, None)
        model, integer = (right / self.labelled for right in self.right)
        return Agreement(self.changed, model, integer)

    def mismatches(self) -> tuple[Mismatch, ...]:
        """Return the mismatches in the order of the layers, those of scores last."""
        order = [entry.name for entry in (self.graph.encoder, *self.graph.layers)]
        return tuple(sorted(self.found.values(), key=lambda m: order.index(m.layer) if m.layer in order else len(order)))

    def written(self, mismatches: tuple[Mismatch, ...], folder: str | Path | None) -> tuple[Reproduction | None, str]:
        """Write the first mismatch to a folder if one is given; return it, or why it could not be written."""
        if not mismatches or folder is None:
            return None, ""
        try:
            return self.write(mismatches[0].layer, Path(folder) / f"{self.model.path.stem}.repro"), ""
        except (OSError, InputError) as error:  # the comparison itself is worth more
            return None, f"{folder}: cannot write the reproduction there: {' '.join(str(error).split())}"

    def write(self, layer: str, place: Path) -> Reproduction:
        """Write a small model and input that reproduce the difference in a layer."""
        tensor, values, found = self._samples[layer]
        paths.make_folder(place.parent, parents=True)
        return reproduce(self.model.reference, tensor, values, found, place)

    def _compare(
        self,
        entry: Population,
        given: dict[str, Int],
        own: dict[str, Int],
        expected: dict[str, Int],
        theirs: dict[str, Array],
        first: int,
    ) -> None:
        if entry.name not in expected:
            return
        mine, right = own[entry.name], expected[entry.name]
        self.values += right.size
        wrong = mine != right
        known, differences = self.found.get(entry.name), int(wrong.sum())
        if not differences:
            return
        self.differences += differences
        self._widen(entry.scale * float(np.abs(mine - right).max()), entry.name)
        beyond = self.uncertain.unexplained(entry, given, mine, right)
        self.unexplained += int(beyond.sum())
        explained = not beyond.any()
        if known is not None and (explained or not known.attributed):
            return
        where = np.argwhere(wrong if explained else beyond)[0]
        sample, channel, *_ = where.tolist()
        self.found[entry.name] = Mismatch(
            layer=entry.name,
            node=self.made.get(entry.tensor, entry.tensor),
            tensor=entry.tensor,
            sample=first + sample,
            channel=channel,
            element=int(np.ravel_multi_index(tuple(where[1:]), entry.shape)),
            expected=float(right[tuple(where)]),
            found=float(mine[tuple(where)]),
            attributed=explained,
            differences=differences,
        )
        values = {name: array[sample : sample + 1] for name, array in theirs.items()}
        value = entry.scale * (mine[sample : sample + 1].reshape(values[entry.tensor].shape) + entry.zero_point)
        self._samples[entry.name] = entry.tensor, values, value.astype(values[entry.tensor].dtype)

    def _widen(self, difference: float, place: str) -> None:
        """Record a difference if it is the largest so far."""
        if difference > self.largest:
            self.largest, self.largest_in = difference, place

    def _compare_predictions(
        self,
        levels: Array,
        mine: Array,
        scores: Array,
        own: dict[str, Int],
        given: dict[str, Int],
        labels: Array | None,
    ) -> None:
        """Compare the predictions; images in which a level differs are executed from the image to the scores."""
        model, integer = predictions(scores), predictions(mine)
        apart = [(own[name] != right).reshape(len(right), -1).any(axis=1) for name, right in given.items()]
        free = np.flatnonzero(np.any(apart, axis=0)) if apart else np.zeros(0, np.int64)
        if len(free):
            alone = {self.graph.encoder.name: levels[free].astype(np.int64).reshape(-1, *self.graph.encoder.shape)}
            for layer in self.graph.layers:
                alone[layer.name] = run(layer, alone)
            potentials = alone[self.graph.layers[-1].name].reshape(len(free), -1)
            integer[free] = predictions(self.readout.run(None, {"potentials": potentials})[0])
        self.changed += int((model != integer).sum())
        if labels is not None:
            self.labelled += len(labels)
            self.right = [self.right[0] + int((model == labels).sum()), self.right[1] + int((integer == labels).sum())]

    def _rounded(self, mine: Array, theirs: Array) -> npt.NDArray[np.bool_]:
        """Find the images whose sums before the output differ, but all by no more than rounding can explain."""
        within = ~_score_errors(mine, theirs, self.graph.certified, self.graph.layers[-1].slack)
        return np.asarray([bool(good.all() and (a != b).any()) for good, a, b in zip(within, mine, theirs, strict=True)])

    def _compare_scores(
        self,
        mine: Array,
        scores: Array,
        given: dict[str, Int],
        theirs: dict[str, Array],
        first: int,
        rounded: npt.NDArray[np.bool_],
    ) -> None:
        self.values += scores.size
        slack = self.graph.layers[-1].slack if self.graph.layers[-1].tensor == self.model.output else 0.0
        wrong = np.argwhere(_score_errors(mine, scores, self.graph.certified, slack))
        if not len(wrong):
            return
        self.differences += len(wrong)
        name = self.model.output
        with np.errstate(invalid="ignore"):
            gap = np.abs(mine.astype(np.float64) - scores.astype(np.float64))
        self._widen(float(np.nan_to_num(gap, nan=np.inf).max()), name)
        last = self.graph.layers[-1]
        # a score after the other hangs on the same potentials
        asked = np.isin(np.arange(len(mine)), wrong[:, 0]) & ~rounded
        firms = np.flatnonzero(asked & ~self.uncertain.are_open(last, given, asked))
        self.unexplained += int(np.isin(wrong[:, 0], firms).sum())
        firm = firms[0] if len(firms) else None
        known = self.found.get(name)
        if known is not None and (firm is None or not known.attributed):
            return
        where = tuple(wrong[0] if firm is None else wrong[wrong[:, 0] == firm][0])
        sample, *rest = map(int, where)
        self.found[name] = Mismatch(
            layer=name,
            node=self.made.get(name, name),
            tensor=name,
            sample=first + sample,
            channel=rest[0] if rest else 0,
            element=int(np.ravel_multi_index(rest, mine.shape[1:])) if rest else 0,
            expected=float(scores[where]),
            found=float(mine[where]),
            attributed=firm is None,
            differences=len(wrong),
        )
        values = {key: array[sample : sample + 1] for key, array in theirs.items()}
        values[name] = scores[sample : sample + 1]
        self._samples[name] = name, values, mine[sample : sample + 1]


def _levels(entry: Population, tensor: Array, first: int) -> Int:
    """Convert a tensor's values to levels; ``first`` is the index of the first image.

    Raises
    ------
    ModelError
        A value is no number, as where the model divides by an activation that is zero; or there are other values than those
        of so many images, as where one image is a weight of the other.
    """
    bad = np.isnan(tensor)
    if bad.any():
        image = first + int(np.argwhere(bad)[0][0])
        raise UnevenLevels(
            entry.tensor, f"is no number in the model's own result for image {image}; do not divide by activations",
            node=entry.tensor, found="NaN",
        )  # fmt: skip
    level = np.round(tensor.astype(np.float64) / entry.scale - entry.zero_point)
    return _of_images(entry, level)


def _of_images(entry: Population, levels: Array) -> Int:
    if levels.size != len(levels) * entry.features:
        raise ModelError(
            entry.name, f"has {levels.size:,} values for {len(levels):,} images; compute each image without the others",
            code="batch-moved", node=entry.name, found=levels.size, allowed=len(levels) * entry.features,
        )  # fmt: skip
    return levels.astype(np.int64).reshape(len(levels), *entry.shape)


def _score_errors(found: Array, expected: Array, certified: bool, slack: float) -> npt.NDArray[np.bool_]:
    if expected.dtype.kind not in "fiub":
        return np.asarray(found != expected)
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))  # no number, as the logarithm of a negative score
    if certified or expected.dtype.kind != "f":
        return np.asarray(~same)
    finite = np.where(np.isfinite(expected), np.abs(expected), 0)
    largest = finite.reshape(len(expected), -1).max(axis=1).reshape(-1, *([1] * (expected.ndim - 1)))
    with np.errstate(invalid="ignore"):  # of infinities
        near = np.abs(found - expected) <= np.maximum(slack, TOLERANCE * np.maximum(1.0, largest))
    return np.asarray(~(same | near))
