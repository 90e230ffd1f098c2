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
from chipsim.faults.draws import DIGITS, FIRST, TOGETHER, digits_of, lost, stream

BITS = FIRST + 8 * (DIGITS - 1)
#: where other digits follow the first, more images of a group may have it in common than a turn takes
RATES = (0.1, 0.5, 0.5 - 2**-20, 1e-9, 1 - 2**-50, 1.0, 0.0)


def word(seed: int, kind: int, number: int, counter: tuple[int, int, int]) -> int:
    """A word of a generator whose counter has these upper words."""
    philox = np.random.Philox(key=np.array([seed, kind], np.uint64), counter=np.array([0, *counter], np.uint64))
    return int(philox.random_raw(number + 1)[number])


def numbers(seed: int, kind: int, count: int, images: range) -> np.ndarray:
    """Numbers of 52 bits, (count, images): images that begin alike take bytes in turn."""
    found = np.zeros((count, len(images)), np.int64)
    for group in sorted({image // TOGETHER for image in images}):
        for place in range(count):
            first = [word(seed, kind, 4 * place + bit, (0, 0, group)) for bit in range(FIRST)]
            own = [int("".join(str(each >> image & 1) for each in first), 2) for image in range(TOGETHER)]
            for digit in range(1, DIGITS):
                taken: dict[int, int] = {}
                for image, prefix in enumerate(own):
                    rank = taken.get(prefix, 0)
                    taken[prefix] = rank + 1
                    own[image] = prefix << 8 | word(seed, kind, place, (digit, rank // 8, group)) >> 8 * (rank % 8) & 255
            for column, image in enumerate(images):
                if image // TOGETHER == group:
                    found[place, column] = own[image % TOGETHER]
    return found


@pytest.fixture(scope="module", params=[None, "avx2", "avx512bw"], ids=str)
def kernel(request):
    code = Code(cached=False)
    if request.param and not {f"+{request.param}", "+bmi2"} <= set(code.target.features.split(",")):
        pytest.skip("the processor has no such instructions")
    text = "\n".join([*DECLARED, draw_kernel.draw(request.param)])
    place = code.add(b"draw", lambda _: text, "draw", optimise=True)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)(place)

    def drawn(seed: int, kind: int, count: int, rate: float, images: range) -> np.ndarray:
        drawing, out = Drawing(rate, seed, kind), aligned((count, 64), np.uint8)
        drawing.of(images.start)
        call(address(drawing.record), count, address(out))
        assert np.isin(out, (0, 255)).all()
        assert code.made, "the code is still there"
        return out[:, : len(images)] == 0

    return drawn


@pytest.mark.parametrize("seed", [0, 2**40 + 7, 2**64 - 1])
@pytest.mark.parametrize("images", [range(64), range(1000, 1005), range(31, 95), range(95, 98)], ids=str)
def test_kernel_and_numpy_draw_the_same(kernel, seed: int, images: range) -> None:
    for kind in (0, stream("noise conv2")):
        want = numbers(seed, kind, 20, images)
        for rate in RATES:
            below = want < np.ceil(rate * 2.0**BITS)
            np.testing.assert_array_equal(lost(seed, kind, 20, rate, images), below)
            np.testing.assert_array_equal(kernel(seed, kind, 20, rate, images), below)


def test_a_rate_is_exact_to_the_last_digit(kernel) -> None:
    images = range(40, 90)
    drawn = numbers(3, 0, 20, images)
    for place, column in np.ndindex(2, len(images)):
        number = int(drawn[place, column])
        for rate, want in ((number / 2**BITS, False), ((number + 1) / 2**BITS, True)):
            assert lost(3, 0, 20, rate, images)[place, column] == want
            assert kernel(3, 0, 20, rate, images)[place, column] == want


def test_what_is_lost_is_lost_at_every_higher_rate() -> None:
    before = np.zeros((30, 64), bool)
    for rate in np.linspace(0, 1, 50):
        hit = lost(5, 0, 30, rate, range(64))
        assert not (before & ~hit).any()
        before = hit
    assert before.all()


def test_digits_of_a_rate() -> None:
    assert digits_of(0) == []
    assert digits_of(1) == [15]
    assert digits_of(0.5) == [7]
    assert digits_of(0.5 + 2.0**-12) == [8, 0]
    assert digits_of(2.0**-52) == [0] * 7
    assert digits_of(5e-324) == [0] * 7, "not 0, so it may happen"


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
