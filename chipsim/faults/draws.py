"""Draw random numbers that depend only on the seed, the place and the image.

Philox4x64-10 with the seed in its key. A *stream* is a kind of fault, and for what is broken once and for all in a core that
core's place on the grid; the n-th number of a stream is the n-th place's. So neither batches, threads, engines nor other
faults move a draw. A place is hit where its number is below the rate: what is hit at one rate is hit at every higher one.

What is broken once and for all has a float32 number (`draw`). What is lost image by image has a number of `DIGITS` bytes
(`lost`), of which the first decides but once in 256 times: only then is the next one drawn.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

#: images that share a block of Philox, one byte each
TOGETHER = 32
#: bytes of a number that says whether something is lost
DIGITS = 7


def stream(kind: str) -> int:
    """Number of a kind's stream; the encoder's noise has stream 0 (FORMAT.md, step 3)."""
    return int.from_bytes(hashlib.sha256(kind.encode()).digest()[:8], "little") | 1


def draw(seed: int, kind: int, count: int, *, block: int = 0) -> F32:
    """Numbers in [0, 1) of the first ``count`` places, float32, for what is broken once and for all.

    Parameters
    ----------
    kind : int
        From `stream`.
    block : int
        Core's place on the grid, y * columns + x, for what sits in a core.
    """
    key = np.array([seed, 0], np.uint64)
    counter = np.array([0, 0, block, kind], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter)).random(count, dtype=np.float32)


def below(numbers: F32, rate: float) -> Bools:
    """Which numbers are below a rate; every one of them is below 1."""
    return np.asarray(numbers < np.float32(rate))


def digits_of(rate: float) -> bytes:
    """The largest number that is lost at a rate, highest byte first: ceil(rate * 2**56) - 1; empty if there is none."""
    largest = math.ceil(rate * 256.0**DIGITS) - 1  # exact: a power of two
    return b"" if largest < 0 else largest.to_bytes(DIGITS, "big")


def lost(seed: int, kind: int, count: int, rate: float, images: Sequence[int]) -> Bools:
    """What is lost in some images of a data set.

    Image j has place n's byte d, the highest first, in block n + 1 of the key (seed, j // 32) and the counter
    (n + 1, d, 0, kind): the block's byte j % 32. The number of these `DIGITS` bytes divided by 2**56 is below the rate where
    it is lost.

    Parameters
    ----------
    kind : int
        From `stream`.
    count : int
        Places.
    rate : float
        0 to 1.
    images : sequence of int
        Their indices in the data set.

    Returns
    -------
    ndarray, bool, (count, images)
    """
    numbers, digits = np.array(images, np.int64), digits_of(rate)
    out = np.zeros((count, len(numbers)), bool)
    for group in np.unique(numbers // TOGETHER).tolist() if digits else []:
        mine = np.flatnonzero(numbers // TOGETHER == group)
        out[:, mine] = _lost_together(seed, kind, group, digits, (count, numbers[mine] % TOGETHER))
    return out


def _lost_together(seed: int, kind: int, group: int, digits: bytes, places: tuple[int, npt.NDArray[np.int64]]) -> Bools:
    """What is lost in images that share blocks; ``places``: how many, and which bytes of their blocks."""
    count, lanes = places
    gone, undecided = np.zeros((count, len(lanes)), bool), np.ones((count, len(lanes)), bool)
    key = np.array([seed, group], np.uint64)
    for number, digit in enumerate(digits):
        if not undecided.any():
            break
        blocks = np.random.Philox(key=key, counter=np.array([0, number, 0, kind], np.uint64)).random_raw(4 * count)
        drawn = blocks.astype("<u8").view(np.uint8).reshape(count, TOGETHER)[:, lanes]
        gone |= undecided & (drawn < digit)
        undecided &= drawn == digit
    return gone | undecided
