"""Load the training images onto a device, MNIST and the digits' training half, and augment them in batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.split import training_part, validation_part

DIGITS_TIMES = 4  # how often each digits image occurs in an epoch


@dataclass(frozen=True)
class Data:
    """Float32 raw pixels (N, 1, 28, 28) and int64 labels, on one device."""

    images: Tensor
    labels: Tensor
    validation_images: Tensor
    validation_labels: Tensor
    digits_images: Tensor  # held out of the training half, for validation
    digits_labels: Tensor


def load(data_dir: str | None, device: torch.device, *, limit: int | None = None) -> Data:
    """Load both data sets onto a device; with ``limit``, that many MNIST images and each digits image once, for tests."""
    mnist, digits = training_part("mnist", data_dir, limit), training_part("digits")
    times = DIGITS_TIMES if limit is None else 1
    held = validation_part("mnist", data_dir), validation_part("digits")

    def pixels(*arrays: np.ndarray | None) -> Tensor:
        return labels(*arrays).float()[:, None]

    def labels(*arrays: np.ndarray | None) -> Tensor:
        return torch.from_numpy(np.concatenate([a for a in arrays if a is not None])).to(device)

    return Data(
        pixels(mnist.images, *[digits.images] * times),
        labels(mnist.labels, *[digits.labels] * times),
        *(part(x) for data in held for part, x in ((pixels, data.images), (labels, data.labels))),
    )


def augment(images: Tensor, draw: Tensor, bend: Tensor | None = None) -> Tensor:
    """Rotate 12 degrees, scale 12 %, stretch 8 %, shear 0.15, shift 2.5 pixels at most.

    Interpolation is bilinear; values are rounded to whole numbers, so that the encoder's sums stay exact.

    Parameters
    ----------
    images : Tensor, (N, 1, 28, 28)
    draw : Tensor, (N, 6), uniform in -1 .. 1
    bend : Tensor, (N, 2, n, n), optional
        Displacements in pixels on a coarse grid, by which strokes are bent smoothly.
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
    if bend is not None:
        smooth = F.interpolate(bend, images.shape[2:], mode="bicubic", align_corners=True)
        grid = grid + smooth.permute(0, 2, 3, 1) * (2 / images.shape[3])
    return torch.round(F.grid_sample(images, grid, align_corners=False))
