"""MNIST from files: real ones where they are at hand, hostile ones everywhere; no test downloads."""

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from support.places import ROOT

from chipsim.datasets import load_dataset, mnist
from chipsim.errors import InputError

NAMES = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture
def real():
    directory = Path(os.environ.get("QSNNC_MNIST_DIR") or ROOT.parent / "shared" / "mnist")
    if not (directory / "t10k-images-idx3-ubyte.gz").is_file():
        pytest.skip("needs MNIST's files: set QSNNC_MNIST_DIR")
    return directory


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A stand-in for the test half: two images, whose digests are the ones expected."""
    images = bytes(16) + bytes(range(256)) * 6 + bytes(32)
    labels = bytes(8) + b"\x03\x07"
    contents = dict(zip(NAMES, (images, labels), strict=True))
    files = {name: (hashlib.sha256(raw).hexdigest(), len(raw)) for name, raw in contents.items()}
    monkeypatch.setattr(mnist, "FILES", files)
    for name, raw in contents.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(raw))
    return tmp_path


def refusal(directory, code, word):
    with pytest.raises(InputError) as caught:
        load_dataset("mnist", data_dir=directory)
    assert caught.value.code == code
    assert caught.value.exit_code == 3
    text = str(caught.value)
    assert "\n" not in text
    assert word in text
    assert "--data-dir DIR" in text
    assert "t10k-labels-idx1-ubyte" in text
    assert "--dataset digits" in text


@pytest.mark.slow
def test_real_files(real):
    test = load_dataset("mnist", data_dir=real)
    assert test.images.shape == (10_000, 28, 28)
    assert test.images.dtype == np.uint8
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    train = load_dataset("mnist", "train", real, limit=3)
    assert train.images.shape == (3, 28, 28)
    assert train.labels.tolist() == [5, 0, 4]


def test_compressed_or_not(small):
    first = load_dataset("mnist", data_dir=small)
    assert first.labels.tolist() == [3, 7]
    assert first.images.shape == (2, 28, 28)
    for name in NAMES:
        (small / name).write_bytes(gzip.decompress((small / f"{name}.gz").read_bytes()))
        (small / f"{name}.gz").unlink()
    np.testing.assert_array_equal(load_dataset("mnist", data_dir=small).images, first.images)


def test_recompressed_is_as_good(small):
    path = small / f"{NAMES[0]}.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=0))
    assert len(load_dataset("mnist", data_dir=small)) == 2


def test_missing(tmp_path, small):
    refusal(tmp_path / "nowhere", "data-missing", "nowhere")
    (small / f"{NAMES[1]}.gz").unlink()
    refusal(small, "data-missing", NAMES[1])


def test_truncated(small):
    path = small / f"{NAMES[0]}.gz"
    path.write_bytes(path.read_bytes()[:-20])
    refusal(small, "data-corrupt", "damaged")


def test_not_gzip_inside(small):
    (small / f"{NAMES[0]}.gz").write_bytes(b"\x1f\x8b" + bytes(100))
    refusal(small, "data-corrupt", "damaged")


@pytest.mark.parametrize("content", [b"", b"<html>captive portal</html>", bytes(10)])
def test_other_content(small, content):
    (small / f"{NAMES[0]}.gz").write_bytes(content)
    refusal(small, "data-corrupt", "SHA-256")


def test_one_bit_or_one_byte_too_many(small):
    path = small / f"{NAMES[0]}.gz"
    raw = gzip.decompress(path.read_bytes())
    for wrong in (bytes([raw[0] ^ 1]) + raw[1:], raw + b"\0"):
        path.write_bytes(gzip.compress(wrong))
        refusal(small, "data-corrupt", "SHA-256")


class Mirror:
    """Stands in for pooch's downloader."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def __call__(self, url, output, pooch):
        self.asked.append(url)
        content = self.answer(url)
        if isinstance(content, Exception):
            raise content
        output.write(content)


@pytest.fixture
def fetched(small, monkeypatch):
    """Download into an empty cache from mirrors that answer as told."""
    import pooch

    cache = small / "cache"
    monkeypatch.setattr(mnist, "_cache", lambda: cache)

    def set_answer(answer):
        mirror = Mirror(answer)
        monkeypatch.setattr(pooch, "HTTPDownloader", lambda **_: mirror)
        return mirror

    set_answer.cache = cache
    set_answer.good = lambda url: (small / url.rsplit("/", 1)[1]).read_bytes()
    return set_answer


def test_download_once(fetched):
    mirror = fetched(fetched.good)
    assert load_dataset("mnist").labels.tolist() == [3, 7]
    assert sorted(p.name for p in fetched.cache.iterdir()) == sorted(f"{n}.gz" for n in NAMES)
    load_dataset("mnist")
    assert len(mirror.asked) == 2


def test_second_mirror(fetched):
    mirror = fetched(lambda url: fetched.good(url) if mnist.MIRRORS[1] in url else b"<html>")
    assert len(load_dataset("mnist")) == 2
    assert len(mirror.asked) == 4


TOO_MUCH = bytes(mnist.COMPRESSED_MAX + 1)


@pytest.mark.parametrize("answer", [b"<html>", ConnectionError("no network"), TOO_MUCH])
def test_no_download(fetched, answer):
    fetched(lambda url: answer)
    refusal(None, "data-missing", "cannot be downloaded")
    assert not fetched.cache.exists() or not list(fetched.cache.iterdir())


def test_a_mirror_that_trickles(fetched, monkeypatch):
    monkeypatch.setattr(mnist, "DEADLINE_S", -1.0)
    fetched(fetched.good)
    refusal(None, "data-missing", "TimeoutError")


def test_cache_that_cannot_be_made(fetched):
    fetched(fetched.good)
    fetched.cache.write_bytes(b"a file stands in the way")
    with pytest.raises(InputError):
        load_dataset("mnist")
