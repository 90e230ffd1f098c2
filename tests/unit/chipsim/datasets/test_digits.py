"""The digits and the names of data sets."""

import numpy as np
import pytest

from chipsim.datasets import digits, load_dataset
from chipsim.datasets.digits import enlarge
from chipsim.errors import UsageError


def slow_pixel(small, r, c):
    """The documented formula, one pixel at a time."""

    def taps(i):
        at = 4 * i - 3
        low, part = at // 10, at % 10
        return [(min(max(low, 0), 7), 10 - part), (min(max(low + 1, 0), 7), part)]

    total = sum(wy * wx * int(small[y, x]) for y, wy in taps(r) for x, wx in taps(c))
    return (255 * total + 800) // 1600


def test_enlarge_by_the_formula():
    small = np.random.default_rng(0).integers(0, 17, (3, 8, 8))
    large = enlarge(small)
    assert large.dtype == np.uint8
    assert large.shape == (3, 28, 28)
    for n, image in enumerate(small):
        for r in range(20):
            for c in range(20):
                assert large[n, r + 4, c + 4] == slow_pixel(image, r, c)
    large[:, 4:24, 4:24] = 0
    assert not large.any()


@pytest.mark.parametrize(("value", "pixel"), [(0, 0), (16, 255), (8, 128)])
def test_flat_images(value, pixel):
    assert (enlarge(np.full((1, 8, 8), value))[0, 4:24, 4:24] == pixel).all()


@pytest.mark.slow
@pytest.mark.parametrize("file", ["there", "elsewhere"])
def test_halves(file, monkeypatch):
    from sklearn.datasets import load_digits

    if file == "elsewhere":  # as if another scikit-learn kept it in another place
        monkeypatch.setattr(digits, "find_spec", lambda name: None)
    whole = load_digits()
    train, test = load_dataset("digits", "train"), load_dataset("digits")
    assert (len(train), len(test)) == (898, 899)
    assert train.images.shape == (898, 28, 28)
    assert test.labels.dtype == np.int64
    np.testing.assert_array_equal(np.concatenate([train.images, test.images]), enlarge(whole.images))
    np.testing.assert_array_equal(np.concatenate([train.labels, test.labels]), whole.target)


def test_limit():
    assert len(load_dataset("digits", limit=5)) == 5


@pytest.mark.parametrize("name", ["cifar", "data.npy", "", "MNIST", "dir/"])
def test_unknown_name(name):
    with pytest.raises(UsageError) as caught:
        load_dataset(name)
    assert caught.value.exit_code == 2
    for word in ("mnist", "digits", ".npz"):
        assert word in str(caught.value)


def test_unknown_split():
    with pytest.raises(UsageError, match=r"--split: unknown split 'valid'; expected test or train"):
        load_dataset("digits", "valid")
