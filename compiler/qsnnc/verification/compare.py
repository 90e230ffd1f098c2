"""Compare the layer graph with onnxruntime, layer by layer, each on the levels that the model itself has before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np
import numpy.typing as npt

from chipsim import paths
from chipsim.errors import InputError
from chipsim.mapping import InputSpec
from chipsim.mapping.pixels import prepare
from qsnnc.frontend.model.model import Model
from qsnnc.frontend.model.reference import session
from qsnnc.ir.execute import run
from qsnnc.ir.layers import Int, LayerGraph, Population, Uncertain
from qsnnc.options import FrontendKeywords, FrontendOptions, merged
from qsnnc.pipeline import front
from qsnnc.verification.explain import Mismatch, Uncertainty
from qsnnc.verification.inner import Reference, with_outputs
from qsnnc.verification.reproduce import Reproduction, reproduce

if TYPE_CHECKING:
    from qsnnc.pipeline import ModelSource

Array = npt.NDArray[Any]

#: random images, where no number is given
RANDOM_IMAGES = 100
#: images per batch; fewer where an image has many features
BATCH = 50
#: random images that are drawn at a time
PART = 1000
#: features of all images of a batch together
MOST_FEATURES = 1 << 24
#: how far a score of a tested (not certified) network may be off, relative to the largest
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """The result of `verify`: what was compared, and what differs."""

    model_sha256: str
    exactness: Literal["certified", "tested"]
    images: int
    values: int
    uncertain: dict[str, tuple[Uncertain, ...]]
    thresholds: dict[str, int]  # of each layer but the readout: how many there are, uncertain or not
    inexact: tuple[str, ...]  # layers whose float sums depend on their order
    mismatches: tuple[Mismatch, ...]  # at most one per layer, in the order of the layers
    differences: int  # levels and scores that differ, over all layers and images
    reproduction: Reproduction | None = None
    unwritten: str = ""  # why no reproduction could be written

    @property
    def equal(self) -> bool:
        """Whether every level and score was equal."""
        return not self.mismatches

    @property
    def explained(self) -> bool:
        """Whether rounding at an uncertain threshold explains every difference."""
        return all(mismatch.attributed for mismatch in self.mismatches)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {
            "schema": "qsnnc-verify/1",
            "model_sha256": self.model_sha256,
            "exactness": self.exactness,
            "equal": self.equal,
            "differences": self.differences,
            "explained": self.explained,
            "samples": self.images,
            "values": self.values,
            "inexact_sums": list(self.inexact),
            "thresholds": self.thresholds,
            "uncertain_thresholds": {
                name: [asdict(span) for span in uncertain] for name, uncertain in self.uncertain.items()
            },
            "mismatches": [asdict(mismatch) for mismatch in self.mismatches],
            "reproduction": None if self.reproduction is None else asdict(self.reproduction),
        }


def verify(
    model: ModelSource,
    images: Array | None = None,
    options: FrontendOptions | None = None,
    *,
    limit: int | None = None,
    seed: int = 0,
    name: str = "images",
    repro: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    **keywords: Unpack[FrontendKeywords],
) -> Verification:
    """Check the integer network against onnxruntime (optimisation off), level by level and score by score.

    Each layer is given the levels that the model itself has before it, so a difference is found where it arises.

    Parameters
    ----------
    model : path or onnx.ModelProto
    images : ndarray, optional
        (N, ...), of the model's dtype or uint8 pixels; without them, images are drawn at random.
    options, **keywords
        One `FrontendOptions`, or its fields as keywords. With ``levels`` the reference is the model with a Clip at each
        of these activations.
    limit : int, optional
        Use only the first N images; of random ones, draw N instead of 100.
    seed : int
        Seed of the random images.
    name : str
        What errors call the images.
    repro : path, optional
        Directory for ``MODEL.repro.onnx`` and ``.npz``, which are written on a difference; without it nothing is.
    progress : callable, optional
        Called with (random images done, random images in all).

    Raises
    ------
    ModelError, InputError, UsageError
    """
    read, graph = front(model, merged(options or FrontendOptions(), keywords))
    held = Comparison(read, graph)
    if images is None:
        count = RANDOM_IMAGES if limit is None else limit
        for first, part in random_parts(graph.input, count, seed):
            held.add_all(part, name, first)
            if progress is not None:
                progress(first + len(part), count)
    else:
        count = len(images[:limit])
        held.add_all(images[:limit], name)
    mismatches = held.mismatches()
    written, unwritten = held.written(mismatches, repro)
    return Verification(
        read.sha256,
        "certified" if graph.certified else "tested",
        count,
        held.values,
        {layer.name: layer.uncertain for layer in graph.layers if layer.uncertain},
        {layer.name: layer.thresholds.size for layer in graph.layers if not layer.readout},
        inexact(graph),
        mismatches,
        held.differences,
        written,
        unwritten,
    )


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
        self.made = {name: node.name or node.op_type for node in model.reference.graph.node for name in node.output}
        self.values = self.differences = 0
        self.found: dict[str, Mismatch] = {}
        self._samples: dict[str, tuple[str, dict[str, Array], Array]] = {}  # of each mismatch: tensor, reference, own

    def add_all(self, images: Array, name: str, start: int = 0) -> None:
        """Compare images of the model's dtype, or uint8 pixels, batch by batch.

        ``name`` is what errors call them, ``start`` the index of the first.
        """
        size = max(1, min(BATCH, MOST_FEATURES // self.features))
        for first in range(0, len(images), size):
            self.add(prepare(images[first : first + size], self.graph.input, name), start + first)

    def add(self, batch: Array, first: int) -> None:
        """Compare a batch; ``first`` is the index of its first image."""
        scores, *tensors = self.reference(batch)
        theirs = dict(zip([*(entry.tensor for entry in self.watched), *self.sums], tensors, strict=True))
        theirs[self.model.input] = batch
        expected = {entry.name: _levels(entry, theirs[entry.tensor]) for entry in self.watched}
        (levels,) = self.encoder.run(["levels"], {self.model.input: batch})
        own = {self.graph.encoder.name: levels.astype(np.int64).reshape(len(batch), *self.graph.encoder.shape)}
        given = dict(expected)
        self._compare(self.graph.encoder, given, own, expected, theirs, first)
        for layer in self.graph.layers:
            own[layer.name] = run(layer, {**own, **given})
            self._compare(layer, {**own, **given}, own, expected, theirs, first)
        potentials = own[self.graph.layers[-1].name].reshape(len(batch), -1)
        mine, *sums = self.readout.run(None, {"potentials": potentials})
        rounded = self._rounded(sums[0], theirs[self.sums[0]]) if sums else np.zeros(len(batch), bool)
        self._compare_scores(mine, scores, {**own, **given}, theirs, first, rounded)

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
        known, differences = self.found.get(entry.name), int((mine != right).sum())
        self.differences += differences
        if not differences or (known is not None and not known.attributed):
            return
        where, explained = self.uncertain.first(entry, given, mine, right)
        if known is not None and explained:
            return
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
        self.differences += len(wrong)
        name = self.model.output
        known = self.found.get(name)
        if not len(wrong) or (known is not None and not known.attributed):
            return
        last = self.graph.layers[-1]
        samples = np.unique(wrong[:, 0]).tolist()  # a score after the other hangs on the same potentials
        firm = next((s for s in samples if not rounded[s] and not self.uncertain.are_open(last, given, s)), None)
        if known is not None and firm is None:
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


def _levels(entry: Population, tensor: Array) -> Int:
    """Convert a tensor's values to levels."""
    level = np.round(tensor.astype(np.float64) / entry.scale - entry.zero_point)
    return level.astype(np.int64).reshape(len(tensor), *entry.shape)


def inexact(graph: LayerGraph) -> tuple[str, ...]:
    """List the populations whose float sums can depend on the order of summation."""
    names = [] if graph.encoder_exact else [graph.encoder.name]
    return (*names, *(layer.name for layer in graph.layers if not layer.exact_sums))


def random_parts(rule: InputSpec, count: int, seed: int) -> Iterator[tuple[int, Array]]:
    """Draw random images in parts that fit in memory, with the index of each part's first.

    The first part is what `random_images` draws for so many; each of the others has a seed of its own.
    """
    most = max(1, min(PART, MOST_FEATURES // math.prod(rule.shape)))
    for number, first in enumerate(range(0, count, most)):
        own = seed if number == 0 else np.random.SeedSequence([seed, number])
        yield first, random_images(rule, min(most, count - first), own)


def random_images(rule: InputSpec, count: int, seed: int | np.random.SeedSequence) -> Array:
    """Draw random images: a third each of uniform noise, of few bright pixels, and of flat grey with a little noise."""
    rng = np.random.default_rng(seed)
    shape = (count, *rule.shape)
    dtype = np.dtype(rule.dtype)
    if dtype.kind in "iu" and dtype != np.uint8:
        low, high = max(np.iinfo(dtype).min, -128), min(np.iinfo(dtype).max, 255)
        return rng.integers(low, high + 1, shape).astype(dtype)
    noise = rng.integers(0, 256, shape)
    kind = np.arange(count).reshape(-1, *([1] * len(rule.shape))) % 3
    sparse = np.where(rng.random(shape) < 0.15, noise, 0)
    flat = np.clip(rng.integers(0, 256, kind.shape) + noise // 16 - 8, 0, 255)
    return np.choose(np.broadcast_to(kind, shape), [noise, sparse, flat]).astype(np.uint8)


def _score_errors(found: Array, expected: Array, certified: bool, slack: float) -> npt.NDArray[np.bool_]:
    if certified or expected.dtype.kind != "f":
        return np.asarray(found != expected)
    largest = np.abs(expected.reshape(len(expected), -1)).max(axis=1).reshape(-1, *([1] * (expected.ndim - 1)))
    return np.asarray(np.abs(found - expected) > np.maximum(slack, TOLERANCE * np.maximum(1.0, largest)))
