"""Load scikit-learn's 1,797 handwritten digits, enlarged from 8x8 to 28x28; no download is needed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.datasets.dataset import Dataset

FIRST_TEST = 898  # index 0 to 897 train, 898 to 1796 test


def enlarge(small: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Enlarge 8x8 values 0..16 to 28x28 pixels 0..255.

    Bilinear to 20x20 in integers, then four black pixels on every side, as MNIST frames its digits: output
    row r samples the source at (4 r - 3) / 10 (rows outside 0..7 repeat the edge), columns alike; with the
    weights in tenths, S is the sum of the four weighted values (weights sum to 100) and the pixel is
    (255 S + 800) // 1600.

    Parameters
    ----------
    small : ndarray, (N, 8, 8)

    Returns
    -------
    ndarray, uint8, (N, 28, 28)
    """
    at = 4 * np.arange(20) - 3
    low = at // 10
    weight = np.zeros((20, 8), np.int64)
    np.add.at(weight, (np.arange(20), np.clip(low, 0, 7)), 10 - at % 10)
    np.add.at(weight, (np.arange(20), np.clip(low + 1, 0, 7)), at % 10)
    total = weight @ small.astype(np.int64) @ weight.T
    pixels = (255 * total + 800) // 1600
    return np.pad(pixels, ((0, 0), (4, 4), (4, 4))).astype(np.uint8)


def read_digits(split: str) -> Dataset:
    """Load one half of the digits."""
    rows = _rows()
    part = slice(FIRST_TEST, None) if split == "test" else slice(0, FIRST_TEST)
    images, labels = rows[part, :-1].reshape(-1, 8, 8), rows[part, -1]
    return Dataset("digits", split, enlarge(images), labels.astype(np.int64))


def _rows() -> npt.NDArray[np.uint8]:
    """Return 64 values 0 to 16 and a label for each image, from scikit-learn's file: importing its reader takes seconds."""
    package = find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or ():
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            return np.loadtxt(path, np.uint8, delimiter=",")
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target]).astype(np.uint8)
