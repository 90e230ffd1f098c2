"""MNIST, scikit-learn's digits and a user's own arrays, as one `Dataset`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.datasets.stream import ImageStream
from chipsim.errors import UsageError

NAMES = ("mnist", "digits")
SPLITS = ("test", "train")


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Images, with labels where there are any.

    ``images`` is (N, ...), uint8 pixels (N, 28, 28) for mnist and digits; ``labels`` int64 (N,) or None.
    """

    name: str
    split: str
    images: npt.NDArray[Any] | ImageStream
    labels: npt.NDArray[np.int64] | None

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)

    def head(self, limit: int | None) -> Dataset:
        """Return the first images."""
        if limit is None:
            return self
        labels = None if self.labels is None else self.labels[:limit]
        images = self.images.head(limit) if isinstance(self.images, ImageStream) else self.images[:limit]
        return replace(self, images=images, labels=labels)


def load_dataset(
    name: str | Path, split: str = "test", data_dir: str | Path | None = None, limit: int | None = None
) -> Dataset:
    """Load a data set by name, or a ``.npz`` file.

    Parameters
    ----------
    name : str or Path
        ``"mnist"``, ``"digits"`` or a file that ends in .npz (which has no splits).
    split : {"test", "train"}
    data_dir : path, optional
        Where the four MNIST files lie; without it they come from the cache or are downloaded.
    limit : int, optional
        Use only the first images.

    Raises
    ------
    UsageError
        An unknown name or split, a limit below one.
    InputError
        The data cannot be had or used.
    """
    if split not in SPLITS:
        allowed = ", ".join(SPLITS)
        raise UsageError("--split", f"{split!r} is no split; allowed: {allowed}", code="split-unknown")
    if limit is not None and limit < 1:
        raise UsageError("--limit", f"{limit} is below 1", code="limit-invalid", found=limit, allowed=">= 1")
    text = str(name)
    if text.endswith(".npz"):
        from chipsim.datasets.npz import read_npz

        return read_npz(Path(text)).head(limit)
    if text == "mnist":
        from chipsim.datasets.mnist import read_mnist

        return read_mnist(split, None if data_dir is None else Path(data_dir)).head(limit)
    if text == "digits":
        from chipsim.datasets.digits import read_digits

        return read_digits(split).head(limit)
    raise UsageError(
        "--dataset",
        f"{text!r} is no data set; allowed: {', '.join(NAMES)} or a file that ends in .npz",
        code="dataset-unknown",
        found=text,
        allowed=list(NAMES),
    )


def to_npz(dataset: Dataset) -> bytes:
    """Return an npz file's bytes: ``images`` and, where there are any, ``labels``."""
    import io

    arrays = {"images": dataset.images}
    if dataset.labels is not None:
        arrays["labels"] = dataset.labels
    assert not any(array.dtype.hasobject for array in arrays.values()), "nothing is pickled"
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def write_npz(dataset: Dataset, path: str | Path) -> None:
    """Write an npz file, whole or not at all.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    from chipsim.files import write_atomically

    write_atomically(path, to_npz(dataset))
