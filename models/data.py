"""Training images on the device: MNIST's 55,000 + 5,000 split and the training half of the digits, augmented in batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from chipsim.datasets import load_dataset
from torch import Tensor
from torch.nn import functional as F

VALIDATION = 5_000
DIGITS_HELD_OUT = 98  # of the 898 training digits, for validation
DIGITS_TIMES = 4


@dataclass(frozen=True)
class Data:
    """Float32 raw pixels (N, 1, 28, 28) and int64 labels, on one device."""

    images: Tensor
    labels: Tensor
    validation_images: Tensor
    validation_labels: Tensor
    digits_images: Tensor  # held out of the training half, for validation
    digits_labels: Tensor


def load(data_dir: str | None, device: torch.device, *, seed: int = 0, limit: int | None = None) -> Data:
    """Load and split; the split's seed is its own, so that every model is validated on the same images."""
    mnist = load_dataset("mnist", "train", data_dir)
    digits = load_dataset("digits", "train")
    order = np.random.default_rng(seed).permutation(len(mnist))
    held, rest = order[:VALIDATION], order[VALIDATION:][:limit]
    assert mnist.labels is not None and digits.labels is not None
    split = len(digits) - DIGITS_HELD_OUT
    images = np.concatenate([mnist.images[rest], *[digits.images[:split]] * (DIGITS_TIMES if limit is None else 1)])
    labels = np.concatenate([mnist.labels[rest], *[digits.labels[:split]] * (DIGITS_TIMES if limit is None else 1)])

    def tensor(array: np.ndarray) -> Tensor:  # type: ignore[type-arg]
        return torch.from_numpy(array).to(device)

    def pixels(array: np.ndarray) -> Tensor:  # type: ignore[type-arg]
        return tensor(array.astype(np.float32)[:, None])

    return Data(
        pixels(images), tensor(labels), pixels(mnist.images[held]), tensor(mnist.labels[held]),
        pixels(digits.images[split:]), tensor(digits.labels[split:]),
    )


def augment(images: Tensor, draw: Tensor) -> Tensor:
    """Rotate 12 degrees, scale 12 %, stretch 8 %, shear 0.15, shift 2.5 pixels at most; bilinear, rounded to whole pixels.

    Parameters
    ----------
    images : Tensor, (N, 1, 28, 28)
    draw : Tensor, (N, 6), uniform in -1 .. 1
    """
    angle = draw[:, 0] * np.deg2rad(12.0)
    scale = 1 + 0.12 * draw[:, 1]
    stretch = 1 + 0.08 * draw[:, 2]
    shear = 0.15 * draw[:, 3]
    cos, sin = torch.cos(angle), torch.sin(angle)
    sx, sy = 1 / (scale * stretch), stretch / scale
    matrix = torch.stack(
        [
            torch.stack([cos * sx, (shear * cos - sin) * sy, draw[:, 4] * 2.5 / 14], dim=1),
            torch.stack([sin * sx, (shear * sin + cos) * sy, draw[:, 5] * 2.5 / 14], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return torch.round(F.grid_sample(images, grid, align_corners=False))
