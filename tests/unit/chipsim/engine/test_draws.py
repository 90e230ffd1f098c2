"""What is lost image by image: the law, NumPy's generator against it, and the kernel against both."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from chipsim.engine.fast import draw_kernel
from chipsim.engine.fast.kernels import DECLARED
from chipsim.engine.fast.losses import Drawing
from chipsim.engine.fast.memory import address, aligned
from chipsim.engine.fast.native import Code
from chipsim.faults.draws import DIGITS, TOGETHER, digits_of, lost, stream

RATES = (0.1, 0.5, 1e-9, 1 - 2**-50, 1.0, 0.0)


def numbers(seed: int, kind: int, count: int, images: range) -> np.ndarray:
    """Numbers of 56 bits, (count, images), byte by byte from NumPy."""
    found = np.zeros((count, len(images)), np.int64)
    for column, image in enumerate(images):
        for digit in range(DIGITS):
            key, counter = np.array([seed, image // TOGETHER], np.uint64), np.array([0, digit, 0, kind], np.uint64)
            blocks = np.random.Philox(key=key, counter=counter).random_raw(4 * count).view(np.uint8)
            found[:, column] = (found[:, column] << 8) | blocks.reshape(count, TOGETHER)[:, image % TOGETHER]
    return found


@pytest.fixture(scope="module", params=[False, True], ids=["one", "eight"])
def kernel(request):
    code = Code(cached=False)
    text = "\n".join([*DECLARED, draw_kernel.draw(eight=request.param)])
    place = code.add(b"draw", lambda _: text, "draw", optimise=True)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)(place)

    def drawn(seed: int, kind: int, count: int, rate: float, images: range) -> np.ndarray:
        drawing, out = Drawing(rate, seed, kind), aligned((count, 64), np.uint8)
        drawing.of(images.start, len(images))
        call(address(drawing.record), count, address(out))
        assert np.isin(out, (0, 255)).all()
        assert code.made, "the code is still there"
        return out[:, : len(images)] == 0

    return drawn


@pytest.mark.parametrize("seed", [0, 2**40 + 7, 2**64 - 1])
@pytest.mark.parametrize("images", [range(64), range(1000, 1005), range(31, 95), range(95, 98)], ids=str)
def test_kernel_and_numpy_draw_the_same(kernel, seed: int, images: range) -> None:
    for kind in (0, stream("noise conv2")):
        want = numbers(seed, kind, 50, images)
        for rate in RATES:
            below = want < np.ceil(rate * 2.0**56)
            np.testing.assert_array_equal(lost(seed, kind, 50, rate, images), below)
            np.testing.assert_array_equal(kernel(seed, kind, 50, rate, images), below)


def test_a_rate_is_exact_to_the_last_digit(kernel) -> None:
    images = range(40, 90)
    drawn = numbers(3, 0, 20, images)
    for place, column in np.argwhere(drawn < 2**53)[:20].tolist():  # so that a float64 holds it
        number = int(drawn[place, column])
        for rate, want in ((number / 2**56, False), ((number + 1) / 2**56, True)):
            assert lost(3, 0, 20, rate, images)[place, column] == want
            assert kernel(3, 0, 20, rate, images)[place, column] == want


def test_digits_of_a_rate() -> None:
    assert digits_of(0) == b""
    assert digits_of(1) == b"\xff" * 7
    assert digits_of(0.5) == b"\x7f" + b"\xff" * 6
    assert digits_of(2.0**-56) == bytes(7)
    assert digits_of(5e-324) == bytes(7), "not 0, so it may happen"


def test_moments() -> None:
    # 204,800 draws: shares within five standard deviations, places and images that are not correlated
    for rate in (0.1, 0.37, 1 / 256):
        hit = lost(1, 0, 3200, rate, range(64)).astype(np.float64)
        deviation = np.sqrt(rate * (1 - rate))
        assert abs(hit.mean() - rate) < 5 * deviation / np.sqrt(hit.size)
        for axis in (0, 1):
            spread = hit.mean(axis=axis).std() / (deviation / np.sqrt(hit.shape[axis]))
            assert 0.7 < spread < 1.3
        centred = (hit - rate) / deviation
        for one, other in (
            (centred[1:], centred[:-1]),
            (centred[:, 1:], centred[:, :-1]),
            (centred[:, 32:], centred[:, :32]),
        ):
            assert abs((one * other).mean()) < 5 / np.sqrt(one.size)
