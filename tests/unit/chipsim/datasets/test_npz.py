"""A user's own arrays: what is taken, and what is refused in one line."""

import io
import zipfile

import numpy as np
import pytest

from chipsim.datasets import Dataset, load_dataset, write_npz
from chipsim.errors import InputError, UsageError

IMAGES = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def refusal(path, code):
    with pytest.raises(InputError) as caught:
        load_dataset(path)
    assert caught.value.code == code
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("labels", [None, np.array([1, 2, 3])])
@pytest.mark.parametrize("images", [IMAGES, IMAGES.astype(np.float32)[:, None] / 7])
def test_round_trip(tmp_path, images, labels):
    path = tmp_path / "a.npz"
    write_npz(Dataset("a", "test", images, labels), path)
    for split in ("test", "train"):  # a file has no splits
        back = load_dataset(path, split)
        assert back.images.dtype == images.dtype
        np.testing.assert_array_equal(back.images, images)
        if labels is None:
            assert back.labels is None
        else:
            assert back.labels.dtype == np.int64
            np.testing.assert_array_equal(back.labels, labels)


def test_the_same_data_make_the_same_bytes(tmp_path):
    data = Dataset("a", "test", IMAGES, np.array([1, 2, 3]))
    write_npz(data, tmp_path / "a.npz")
    write_npz(data, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_limit(tmp_path):
    path = save(tmp_path / "a.npz", images=IMAGES, labels=np.arange(3))
    data = load_dataset(path, limit=2)
    assert len(data) == len(data.labels) == 2
    assert len(load_dataset(path, limit=99)) == 3


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_below_one(tmp_path, limit):
    with pytest.raises(UsageError, match="--limit"):
        load_dataset(save(tmp_path / "a.npz", images=IMAGES), limit=limit)


def test_missing(tmp_path):
    refusal(tmp_path / "none.npz", "data-missing")


def test_directory(tmp_path):
    (tmp_path / "d.npz").mkdir()
    refusal(tmp_path / "d.npz", "data-missing")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + bytes(50), bytes(1000), b"\x80\x04N."])
def test_not_an_npz(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    refusal(path, "data-corrupt")


def test_a_single_array(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    path = (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    refusal(path, "data-corrupt")


def test_an_array_that_is_there_twice(tmp_path):
    path = save(tmp_path / "a.npz", images=IMAGES)
    content = zipfile.ZipFile(path).read("images.npy")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("images.npy", content)
    refusal(path, "data-corrupt")


def test_no_images(tmp_path):
    refusal(save(tmp_path / "a.npz", x=IMAGES), "data-no-images")
    refusal(save(tmp_path / "b.npz"), "data-no-images")


def test_objects_are_not_unpickled(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, images=np.array([{}, []], dtype=object))
    refusal(path, "data-corrupt")
    np.savez(path, images=IMAGES, labels=np.array([1, None, 2], dtype=object))
    refusal(path, "data-corrupt")


@pytest.mark.parametrize(
    "labels", [np.arange(2), np.arange(4), np.zeros((3, 1), int), np.ones(3), np.array(["a", "b", "c"]),
               np.array(5), np.array([True, False, True]), np.full(3, 2**63, np.uint64)]
)  # fmt: skip
def test_labels_that_do_not_match(tmp_path, labels):
    refusal(save(tmp_path / "a.npz", images=IMAGES, labels=labels), "data-labels")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_not_finite(tmp_path, bad, dtype):
    images = np.zeros((2, 4, 4), dtype)
    images[1, 2, 3] = bad
    refusal(save(tmp_path / "a.npz", images=images), "data-not-finite")


@pytest.mark.parametrize("shape", [(0, 28, 28), (5,), ()])
def test_no_image(tmp_path, shape):
    refusal(save(tmp_path / "a.npz", images=np.zeros(shape)), "data-shape")


@pytest.mark.parametrize("dtype", ["U3", "S3", np.complex64, "M8[s]"])
def test_no_numbers(tmp_path, dtype):
    refusal(save(tmp_path / "a.npz", images=np.zeros((2, 4, 4), dtype)), "data-dtype")


def test_encrypted_member(tmp_path):
    path = save(tmp_path / "a.npz", images=IMAGES)
    raw = bytearray(path.read_bytes())
    raw[6] |= 1  # the flags of the local header, and of the central directory
    raw[raw.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    refusal(path, "data-corrupt")


def test_a_header_that_promises_too_much(tmp_path):
    member = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (2**50, 28, 28)}
    np.lib.format.write_array_header_1_0(member, header)
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("images.npy", member.getvalue() + bytes(100))
    refusal(path, "data-corrupt")


@pytest.mark.slow
def test_any_damage_is_refused_or_harmless(tmp_path):
    path = save(tmp_path / "a.npz", images=IMAGES, labels=np.arange(3))
    raw = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.choice(len(raw), 150, replace=False):
        for damaged in (raw[:at], raw[:at] + bytes([raw[at] ^ (1 << rng.integers(8))]) + raw[at + 1 :]):
            path.write_bytes(damaged)
            try:
                data = load_dataset(path)
            except InputError:
                continue
            np.testing.assert_array_equal(data.images, IMAGES)


def test_unwritable(tmp_path):
    with pytest.raises(InputError) as caught:
        write_npz(Dataset("a", "test", IMAGES, None), tmp_path / "none" / "a.npz")
    assert caught.value.code == "output-unwritable"
