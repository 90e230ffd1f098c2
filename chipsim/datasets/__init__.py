"""Load MNIST, scikit-learn's digits or a user's arrays as a `Dataset`."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np

from chipsim.datasets.dataset import Dataset, Split
from chipsim.errors import UsageError

NAMES = ("mnist", "digits")
SPLITS = get_args(Split)

__all__ = [
    "NAMES", "SPLITS", "Dataset", "Split", "check_limit", "check_source", "check_split", "files", "load_dataset", "to_npz",
    "write_npz",
]  # fmt: skip


def load_dataset(
    name: str | Path, split: Split = "test", data_dir: str | Path | None = None, limit: int | None = None
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
    check_split(split)
    check_limit(limit)
    text = str(name)
    check_name(text)
    if text.endswith(".npz"):
        from chipsim.datasets.npz import read_npz

        return read_npz(Path(text)).head(limit)
    if text == "mnist":
        from chipsim.datasets.mnist import read_mnist

        return read_mnist(split, None if data_dir is None else Path(data_dir)).head(limit)
    from chipsim.datasets.digits import read_digits

    return read_digits(split).head(limit)


def check_name(name: str, option: str = "--dataset") -> None:
    """Refuse a name that is neither of a data set nor of a file; the error begins with ``option``."""
    if not name.endswith(".npz") and name not in NAMES:
        raise UsageError(
            option,
            f"unknown data set {name!r}; expected {', '.join(NAMES)} or a .npz file",
            code="dataset-unknown",
            found=name,
            allowed=list(NAMES),
        )


def check_source(name: str, split: str | None, data_dir: object = None, option: str = "--dataset") -> None:
    """Refuse an unknown data set, and what has no effect with the one that is named.

    Parameters
    ----------
    split : str, optional
        ``"test"`` is the default, and is accepted with any data set.
    option : str
        What an error about the name begins with.

    Raises
    ------
    UsageError
    """
    check_name(name, option)
    if split is not None:
        check_split(split)
    is_file = name.endswith(".npz")
    unused: list[tuple[str, object]] = [("--split", split)] if is_file and split == "train" else []
    unused += [("--data-dir", data_dir)] if data_dir is not None and name != "mnist" else []
    for each, value in unused:
        text = f"has no effect with {name}; leave it out" + (f", or use {option} mnist" if each == "--data-dir" else "")
        raise UsageError(each, text, code="option-unused", found=str(value))


def files(name: str, data_dir: object = None) -> list[Path]:
    """Files that a data set that is called by name may be read from; none for one that is installed with a library."""
    if name != "mnist":
        return []
    from chipsim.datasets.mnist import places

    return places(None if data_dir is None else Path(str(data_dir)))


def check_split(split: str) -> None:
    """Refuse a split that no data set has."""
    if split not in SPLITS:
        raise UsageError("--split", f"unknown split {split!r}; expected {' or '.join(SPLITS)}", code="option-value")


def check_limit(limit: int | None) -> None:
    """Refuse a number of images below one."""
    if limit is not None and limit < 1:
        raise UsageError("--limit", f"is {limit}; allowed: >= 1", code="option-value", found=limit, allowed=">= 1")


def to_npz(dataset: Dataset) -> bytes:
    """Return the bytes of an npz file with ``images`` and, if there are any, ``labels``."""
    import io

    arrays = {"images": dataset.images}
    if dataset.labels is not None:
        arrays["labels"] = dataset.labels
    assert not any(array.dtype.hasobject for array in arrays.values()), "nothing is pickled"
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def write_npz(dataset: Dataset, path: str | Path) -> None:
    """Write an npz file atomically.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    from chipsim.files import write_atomically

    write_atomically(path, to_npz(dataset))
