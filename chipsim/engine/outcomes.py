"""Which images a network takes for what: the confusion matrix, and the images that it gets most wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.files import let_go

Int = npt.NDArray[np.int64]

#: images of a result that are listed as the worst
WORST = 10
#: images that are looked at together
BLOCK = 1 << 16


def confusion(labels: Int, predictions: Int) -> list[list[int]]:
    """Count the images of each label and prediction.

    Returns
    -------
    list of [label, prediction, images]
        In order; pairs that do not occur are left out.
    """
    found: Counter[tuple[int, int]] = Counter()
    for first in range(0, len(labels), BLOCK):
        part = slice(first, first + BLOCK)
        own, row = np.unique(labels[part], return_inverse=True)
        said, column = np.unique(predictions[part], return_inverse=True)
        pairs, counts = np.unique(row * len(said) + column, return_counts=True)
        rows, columns = np.divmod(pairs, len(said))
        for label, prediction, count in zip(own[rows].tolist(), said[columns].tolist(), counts.tolist(), strict=True):
            found[label, prediction] += count
    return [[*pair, count] for pair, count in sorted(found.items())]


def worst(labels: Int, predictions: Int, scores: npt.NDArray[Any], most: int = WORST) -> list[dict[str, Any]]:
    """List the images whose label has the smallest margin, the worst first.

    Parameters
    ----------
    labels, predictions : ndarray, int64, (images,)
    scores : ndarray, (images, ...)
        One score for each class, in any shape.

    Returns
    -------
    list of dict
        ``image`` (its number in the data set), ``label``, ``prediction``, and ``margin``: the label's score minus the
        largest of the others; below 0 where the network is wrong. Empty for a network with one output.
    """
    if scores[:1].size < 2:
        return []
    margin = np.concatenate([_margins(labels[part], scores[part]) for part in _parts(scores)])
    return [
        {"image": int(i), "label": int(labels[i]), "prediction": int(predictions[i]), "margin": float(margin[i])}
        for i in np.argsort(margin, kind="stable")[:most]
    ]


def _parts(scores: npt.NDArray[Any]) -> Iterator[slice]:
    """Yield blocks of images; those of a mapped file are let go of."""
    for first in range(0, len(scores), BLOCK):
        yield slice(first, first + BLOCK)
        let_go(scores)


def _margins(labels: Int, scores: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the score of each label minus the largest of the others, (images,)."""
    others = np.array(scores, np.float64).reshape(len(labels), -1)
    rows = np.arange(len(labels))
    own = others[rows, labels]
    others[rows, labels] = -np.inf
    return np.asarray(own - others.max(axis=1))
