"""Load MNIST from a directory, the user's cache or its published mirrors."""

from __future__ import annotations

import gzip
import hashlib
import io
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from chipsim import paths
from chipsim.datasets.dataset import Dataset
from chipsim.errors import InputError
from chipsim.files import write_atomically

if TYPE_CHECKING:
    from typing_extensions import Buffer

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
#: SHA-256 of the decompressed files, and their sizes in bytes
FILES = {
    "train-images-idx3-ubyte": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        47_040_016,
    ),
    "train-labels-idx1-ubyte": ("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", 60_008),
    "t10k-images-idx3-ubyte": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        7_840_016,
    ),
    "t10k-labels-idx1-ubyte": ("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", 10_008),
}
ADVICE = (
    f"use --data-dir DIR with {', '.join(f'{name}.gz' for name in FILES)} (or the same without .gz), "
    "or --dataset digits, which needs no download"
)
TIMEOUT_S = 15.0  # to connect, and between two pieces
DEADLINE_S = 180.0  # for one file from one mirror
COMPRESSED_MAX = 20_000_000  # the largest of the four has 9.9 million bytes


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
        if paths.is_stored(path):
            return _checked(name, str(path), paths.read(path, max(COMPRESSED_MAX, FILES[name][1]), "file-unreadable"))
    if data_dir is not None:
        raise InputError(str(data_dir), f"holds no {name}.gz and no {name}; {ADVICE}", code="data-missing")
    return _download(name, directory)


def places(data_dir: Path | None) -> list[Path]:
    """Where the four files may lie, compressed or not."""
    directory = _cache() if data_dir is None else data_dir
    return [directory / f"{name}{suffix}" for name in FILES for suffix in (".gz", "")]


def _checked(name: str, where: str, raw: bytes) -> npt.NDArray[np.uint8]:
    """Decompress, no further than the expected size, and compare the digest."""
    digest, size = FILES[name]
    advice = f"delete it and fetch it again, or {ADVICE}"
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.GzipFile(fileobj=io.BytesIO(raw)).read(size + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(where, f"is damaged ({error}); {advice}", code="data-corrupt") from None
    if hashlib.sha256(raw).hexdigest() != digest:
        reason = f"is not MNIST's {name}: the SHA-256 of its content differs; {advice}"
        raise InputError(where, reason, code="data-corrupt")
    return np.frombuffer(raw, np.uint8)


def _cache() -> Path:
    import pooch  # type: ignore[import-untyped]

    return Path(pooch.os_cache("qsnnc"))


class _Bounded(io.BytesIO):
    """Takes a download, up to a size and a time."""

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self.deadline = deadline

    def write(self, piece: Buffer, /) -> int:
        """Take a piece."""
        if time.monotonic() > self.deadline:
            raise TimeoutError
        if self.tell() + memoryview(piece).nbytes > COMPRESSED_MAX:
            raise OSError("larger than MNIST's files")
        return super().write(piece)


def _download(name: str, cache: Path) -> npt.NDArray[np.uint8]:
    """Fetch from the first mirror that answers, check, and only then put it into the cache."""
    import pooch

    fetch = pooch.HTTPDownloader(timeout=TIMEOUT_S)
    reasons = []
    for mirror in MIRRORS:
        received = _Bounded(time.monotonic() + DEADLINE_S)
        try:
            fetch(f"{mirror}{name}.gz", received, None)
            content = _checked(name, mirror + name, received.getvalue())
        except InputError:
            reasons.append(f"{mirror} sent something else")
        except (OSError, ValueError) as error:  # requests' errors are OSErrors
            reasons.append(f"{mirror} {type(error).__name__}")
        else:
            _keep(cache / f"{name}.gz", received.getvalue())
            return content
    found = "; ".join(reasons)
    raise InputError("mnist", f"cannot be downloaded ({found}); {ADVICE}", code="data-missing")


def _keep(path: Path, content: bytes) -> None:
    paths.make_folder(path.parent, parents=True)
    write_atomically(path, content)
