"""Images with optional labels, whatever source they were loaded from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from chipsim.datasets.events import EventFrames
from chipsim.datasets.stream import ImageStream

Split = Literal["test", "train"]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Images with optional labels.

    ``images`` is (N, ...), uint8 pixels (N, 28, 28) for mnist and digits, or for networks of several steps their own spikes,
    uint8 (N, steps, ...), or events; ``labels`` int64 (N,) or None.
    """

    name: str
    split: str
    images: npt.NDArray[Any] | ImageStream | EventFrames
    labels: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)

    def head(self, limit: int | None) -> Dataset:
        """Return the first ``limit`` images."""
        if limit is None:
            return self
        labels = None if self.labels is None else self.labels[:limit]
        images = self.images.head(limit) if isinstance(self.images, ImageStream) else self.images[:limit]
        return replace(self, images=images, labels=labels)
