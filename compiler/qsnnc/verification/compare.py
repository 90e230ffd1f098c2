"""Compare the layer graph with onnxruntime, layer by layer, each on the levels that the model itself has before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import numpy.typing as npt

from chipsim.errors import InputError
from chipsim.mapping import InputSpec
from qsnnc.ir.layers import LayerGraph
from qsnnc.options import FrontendKeywords, FrontendOptions, merged
from qsnnc.reading import front
from qsnnc.verification.comparison import MOST_FEATURES, Comparison
from qsnnc.verification.result import Verification
from qsnnc.verification.weight_effects import effects_of

if TYPE_CHECKING:
    from qsnnc.reading import ModelSource

Array = npt.NDArray[Any]

#: random images, where no number is given
RANDOM_IMAGES = 100
#: random images that are drawn at a time
PART = 1000


def verify(
    model: ModelSource,
    images: Array | None = None,
    options: FrontendOptions | None = None,
    *,
    labels: Array | None = None,
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
    labels : ndarray, int64, (N,), optional
        Classes of the images, for the accuracy of both networks.
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
            held.add_all(part, name, start=first)
            images = part if images is None else images  # weights are judged on the first
            if progress is not None:
                progress(first + len(part), count)
    else:
        images = images[:limit]
        count = len(images)
        if labels is not None:
            labels = _checked(np.asarray(labels)[:count], count, name)
        held.add_all(images, name, labels)
    assert images is not None, "one image at least"
    mismatches = held.mismatches()
    written, unwritten = held.written(mismatches, repro)
    return Verification(
        model_sha256=read.sha256,
        exactness="certified" if graph.certified else "tested",
        images=count,
        values=held.values,
        uncertain={layer.name: layer.uncertain for layer in graph.layers if layer.uncertain},
        thresholds={layer.name: layer.thresholds.size for layer in graph.layers if not layer.readout},
        inexact=inexact(graph),
        mismatches=mismatches,
        differences=held.differences,
        unexplained=held.unexplained,
        largest=held.largest,
        largest_in=held.largest_in,
        agreement=held.agreement(),
        reference=held.reference.run.executor,
        weights=effects_of(read, graph, images, labels, name) if graph.weights_changed else None,
        reproduction=written,
        unwritten=unwritten,
    )


def _checked(labels: Array, count: int, name: str) -> Array:
    if labels.shape == (count,):
        return labels
    raise InputError(
        name,
        f"labels have shape {labels.shape}; expected: ({count},)",
        code="data-labels",
        found=labels.shape,
        allowed=(count,),
    )


def inexact(graph: LayerGraph) -> tuple[str, ...]:
    """List the populations, and the output, whose float sums can depend on the order of summation."""
    names = [] if graph.encoder_exact else [graph.encoder.name]
    host = [] if graph.readout_exact else [graph.output_tensor]
    return (*names, *(layer.name for layer in graph.layers if not layer.exact_sums), *host)


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
