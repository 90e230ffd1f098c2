"""Large npz files are read a part at a time and give what a whole read gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.hand_mappings import two_cores

import chipsim
from chipsim.datasets import load_dataset, npz, stream
from chipsim.datasets.stream import ImageStream
from chipsim.engine import spool
from chipsim.errors import InputError


@pytest.fixture
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LARGE", 64)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_slices(tmp_path: Path, everything_is_large: None, save) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 4)).astype(np.uint8)
    save(tmp_path / "x.npz", images=images, labels=np.arange(50))
    data = load_dataset(tmp_path / "x.npz")
    assert isinstance(data.images, ImageStream)
    assert (len(data), data.images.ndim, data.images.shape, data.images.dtype) == (50, 3, (50, 3, 4), np.uint8)
    for part in (slice(0, 4), slice(4, 9), slice(9, 9), slice(20, 25), slice(3, 5), slice(45, 99)):
        np.testing.assert_array_equal(data.images[part], images[part])
    np.testing.assert_array_equal(np.asarray(data.images), images)
    few = data.head(5)
    assert isinstance(few.images, np.ndarray)
    many = data.head(30)
    assert isinstance(many.images, ImageStream)
    assert len(many) == 30
    np.testing.assert_array_equal(np.asarray(many.images), images[:30])


def test_spikes_are_streamed_as_images_are(tmp_path: Path, everything_is_large: None) -> None:
    spikes = np.random.default_rng(0).integers(0, 2, (50, 3, 4)).astype(np.uint8)
    np.savez_compressed(tmp_path / "x.npz", spikes=spikes, labels=np.arange(5, 55))
    data = load_dataset(tmp_path / "x.npz")
    assert isinstance(data.head(30).images, ImageStream)
    np.testing.assert_array_equal(data.head(30).images[20:25], spikes[20:25])


@pytest.mark.parametrize("name", ["labels", "x", "notes"])
def test_members_that_are_no_images_are_not_unpacked_whatever_they_declare(tmp_path: Path, monkeypatch, name) -> None:
    for limit in ("LARGE", "WHOLE"):
        monkeypatch.setattr(npz, limit, 1000)
    arrays = {"t": np.arange(3.0), "offsets": np.array([0, 3]), "x": np.zeros(3, np.int64)}
    np.savez_compressed(tmp_path / "x.npz", **arrays | {name: np.zeros(1000, np.int64)})
    with pytest.raises(InputError, match=f"its member {name}.npy has 8,128 bytes; allowed: 1,000"):
        load_dataset(tmp_path / "x.npz")


def test_what_cannot_be_streamed_is_read(tmp_path: Path, everything_is_large: None) -> None:
    images = np.asfortranarray(np.arange(96, dtype=np.uint8).reshape(24, 4))
    np.savez(tmp_path / "x.npz", images=images)
    found = load_dataset(tmp_path / "x.npz").images
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, images)


def test_a_run_from_a_stream_with_results_in_files(
    tmp_path: Path, everything_is_large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).integers(0, 3, (300, 2)).astype(np.float32)
    np.savez_compressed(tmp_path / "x.npz", images=images, labels=np.zeros(300, np.int64))
    mapping = two_cores().build()
    whole = chipsim.run(mapping, chipsim.Dataset("x.npz", "all", images, np.zeros(300, np.int64)), per_image=True)
    monkeypatch.setattr(spool, "IN_MEMORY", 1000)
    for threads, engine in ((1, "fast"), (2, "fast"), (2, "reference")):
        parts = chipsim.run(mapping, str(tmp_path / "x.npz"), threads=threads, per_image=True, batch=64, engine=engine)
        assert isinstance(parts.potentials, np.memmap)
        assert (parts.accuracy, parts.sops, parts.cores) == (whole.accuracy, whole.sops, whole.cores)
        np.testing.assert_array_equal(parts.potentials, whole.potentials)
        np.testing.assert_array_equal(parts.scores, whole.scores)
        np.testing.assert_array_equal(parts.by_image.sops, whole.by_image.sops)


@pytest.mark.slow
def test_damage_inside_is_found_when_it_is_reached(tmp_path: Path, everything_is_large: None) -> None:
    images = np.random.default_rng(0).integers(0, 3, (300, 2)).astype(np.float32)
    images[250, 1] = np.nan
    np.savez(tmp_path / "nan.npz", images=images)
    with pytest.raises(InputError, match="NaN or infinity") as caught:
        chipsim.run(two_cores().build(), str(tmp_path / "nan.npz"), batch=64)
    assert caught.value.code == "data-not-finite"
    np.savez_compressed(tmp_path / "cut.npz", images=np.random.default_rng(1).integers(0, 3, (40_000, 2)).astype(np.float32))
    content = bytearray((tmp_path / "cut.npz").read_bytes())
    content[20_000:20_050] = bytes(50)
    (tmp_path / "cut.npz").write_bytes(content)
    with pytest.raises(InputError, match="not a readable npz file") as caught:
        chipsim.run(two_cores().build(), str(tmp_path / "cut.npz"))
    assert caught.value.code == "data-corrupt"
