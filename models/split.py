"""Split the training images: 55,000 for training and 5,000 for validation of MNIST, 800 and 98 of the digits."""

from __future__ import annotations

import numpy as np

from chipsim.datasets import Dataset, load_dataset

VALIDATION = 5_000
DIGITS_HELD_OUT = 98
SEED = 0  # the split's own, so that every model is validated on the same images


def training_part(name: str, data_dir: str | None = None, limit: int | None = None) -> Dataset:
    """Return the training images that networks are trained on.

    Raises
    ------
    UsageError
        An unknown data set.
    InputError
        The images cannot be had.
    """
    data = load_dataset(name, "train", data_dir)
    return _take(data, _order(name, len(data))[1][:limit], "train")


def validation_part(name: str, data_dir: str | None = None) -> Dataset:
    """Return the training images that are held out for validation."""
    data = load_dataset(name, "train", data_dir)
    return _take(data, _order(name, len(data))[0], "validation")


def _order(name: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the images that are held out, and of the rest."""
    if name == "mnist":
        order = np.random.default_rng(SEED).permutation(size)
        return order[:VALIDATION], order[VALIDATION:]
    order = np.arange(size)
    return order[size - DIGITS_HELD_OUT :], order[: size - DIGITS_HELD_OUT]


def _take(data: Dataset, index: np.ndarray, split: str) -> Dataset:
    assert data.labels is not None
    return Dataset(data.name, split, data.images[index], data.labels[index])
