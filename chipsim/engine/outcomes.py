"""Which images a network takes for what: the confusion matrix, and the images that it gets most wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Int = npt.NDArray[np.int64]

#: images of a result that are listed as the worst
WORST = 10


def confusion(labels: Int, predictions: Int) -> list[list[int]]:
    """Count the images of each label and prediction.

    Returns
    -------
    list of [label, prediction, images]
        In order; pairs that do not occur are left out.
    """
    pairs, counts = np.unique(np.stack([labels, predictions], axis=1), axis=0, return_counts=True)
    return [[*pair, count] for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True)]


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
    flat = np.asarray(scores, np.float64).reshape(len(labels), -1)
    if flat.shape[1] < 2:
        return []
    rows = np.arange(len(labels))
    own = flat[rows, labels]
    others = flat.copy()
    others[rows, labels] = -np.inf
    margin = own - others.max(axis=1)
    return [
        {"image": int(i), "label": int(labels[i]), "prediction": int(predictions[i]), "margin": float(margin[i])}
        for i in np.argsort(margin, kind="stable")[:most]
    ]
