"""MNIST: from a directory, from the user's cache, or from its published mirrors; never a part of this project."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tempfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chipsim.datasets import Dataset
from chipsim.errors import InputError

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
#: SHA-256 of the decompressed files, and their sizes in bytes
FILES = {
    "train-images-idx3-ubyte": ("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", 47_040_016),
    "train-labels-idx1-ubyte": ("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", 60_008),
    "t10k-images-idx3-ubyte": ("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", 7_840_016),
    "t10k-labels-idx1-ubyte": ("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", 10_008),
}
ADVICE = "use --data-dir DIR with MNIST's four files, or --dataset digits, which needs no download"
TIMEOUT_S = 20


def read_mnist(split: str, data_dir: Path | None) -> Dataset:
    """Load MNIST's train (60,000) or test (10,000) images.

    Raises
    ------
    InputError
        A file is missing, damaged, or cannot be downloaded.
    """
    part = "t10k" if split == "test" else "train"
    images = _content(f"{part}-images-idx3-ubyte", data_dir)
    labels = _content(f"{part}-labels-idx1-ubyte", data_dir)
    return Dataset("mnist", split, images[16:].reshape(-1, 28, 28), labels[8:].astype(np.int64))


def _content(name: str, data_dir: Path | None) -> npt.NDArray[np.uint8]:
    """Decompressed bytes of one file, checked."""
    directory = _cache() if data_dir is None else data_dir
    for path in (directory / f"{name}.gz", directory / name):
        if path.is_file():
            try:
                raw = path.read_bytes()
            except OSError as error:
                raise InputError(str(path), f"cannot be read: {error.strerror}", code="data-unreadable") from None
            return _checked(name, str(path), raw)
    if data_dir is not None:
        raise InputError(str(data_dir), f"holds no {name}.gz and no {name}; {ADVICE}", code="data-missing")
    return _download(name, directory)


def _checked(name: str, where: str, raw: bytes) -> npt.NDArray[np.uint8]:
    digest, size = FILES[name]
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.GzipFile(fileobj=io.BytesIO(raw)).read(size + 1)  # no more than is expected
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(where, f"is damaged ({error}); fetch it again", code="data-corrupt") from None
    if hashlib.sha256(raw).hexdigest() != digest:
        raise InputError(where, f"is not MNIST's {name}: its SHA-256 differs; fetch it again", code="data-corrupt")
    return np.frombuffer(raw, np.uint8)


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("qsnnc"))


def _download(name: str, cache: Path) -> npt.NDArray[np.uint8]:
    """Fetch into a temporary directory, check, then put into the cache."""
    import pooch
    import requests

    reasons = []
    for mirror in MIRRORS:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as directory:
                fetched = pooch.retrieve(
                    f"{mirror}{name}.gz", known_hash=None, fname=f"{name}.gz", path=directory, progressbar=False,
                    downloader=pooch.HTTPDownloader(timeout=TIMEOUT_S),
                )
                content = _checked(name, mirror + name, Path(fetched).read_bytes())
                os.replace(fetched, cache / f"{name}.gz")
                return content
        except InputError as error:
            reasons.append(error.message)
        except (OSError, ValueError, requests.RequestException) as error:
            reasons.append(type(error).__name__)
    raise InputError("mnist", f"cannot be downloaded ({'; '.join(reasons)}); {ADVICE}", code="data-unavailable")
