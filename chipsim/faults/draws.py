"""Draw random numbers that depend only on the seed, the place and the image.

Philox4x64-10 with the seed in its key. A *stream* is a kind of fault, and for what is broken once and for all in a core that
core's place on the grid; the n-th number of a stream is the n-th place's. So neither batches, threads, engines nor other
faults move a draw. A place is hit where its number is below the rate: what is hit at one rate is hit at every higher one.

What is broken once and for all has a float32 number (`draw`). What is lost image by image (`lost`) has a number of 52 bits,
of which the first four decide but once in 16 times: only then are eight more drawn, and so on.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

#: images that share blocks
TOGETHER = 64
#: bits of the first digit of a number that says whether something is lost, one in each of a block's words; the others are
#: bytes; how many there are
FIRST, DIGITS = 4, 7
#: places that share a block of a later digit, a word each; and images that take a byte each of it, before the next turn
SHARING, TURN = 4, 8


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


def digits_of(rate: float) -> list[int]:
    """Digits of the largest number that is lost at a rate, ceil(rate * 2**52) - 1, highest first; empty if there is none.

    Without those of 255 at the end: what begins alike is lost, whatever follows.
    """
    bits = 8 * (DIGITS - 1)
    largest = math.ceil(rate * 2.0 ** (FIRST + bits)) - 1  # exact: a power of two
    if largest < 0:
        return []
    return [largest >> bits, *(largest % (1 << bits)).to_bytes(DIGITS - 1, "big").rstrip(b"\xff")]


def lost(seed: int, kind: int, count: int, rate: float, images: Sequence[int]) -> Bools:
    """What is lost in some images of a data set.

    Place n has a number in each image j, of 52 bits; it is lost where this number divided by 2**52 is below the rate. The
    key is (seed, kind), and the last word of a counter is the group of 64 images, j // 64. The first four bits, the highest
    first, are bits j % 64 of the four words of the counter (n + 1, 0, 0, group). Eight more are digit d = 1, 2, ...: those
    images of a group whose digits before are the same as the rate's take bytes in turn, the r-th byte r % 8 of the n-th word
    that follows the counter (0, d, r // 8, group).

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
        out[:, mine] = _lost_together((seed, kind), group, digits, count, numbers[mine] % TOGETHER)
    return out


def _lost_together(key: tuple[int, int], group: int, digits: list[int], count: int, lanes: npt.NDArray[np.int64]) -> Bools:
    """What is lost in some of the images of a group, (count, lanes)."""

    def words(digit: int, turn: int, many: int) -> npt.NDArray[np.uint64]:
        counter = np.array([0, digit, turn, group], np.uint64)  # Philox raises it before each block
        return np.random.Philox(key=np.array(key, np.uint64), counter=counter).random_raw(many).astype("<u8")

    below, equal = np.zeros(count, np.uint64), np.full(count, (1 << TOGETHER) - 1, np.uint64)
    for bit, drawn in enumerate(words(0, 0, FIRST * count).reshape(count, FIRST).T):
        one = digits[0] >> (FIRST - 1 - bit) & 1
        if one:
            below |= equal & ~drawn
        equal &= drawn if one else ~drawn
    gone = _images(below)
    wanted = np.bitwise_or.reduce(np.uint64(1) << lanes.astype(np.uint64))
    places = np.flatnonzero(equal & wanted)
    row, image = np.nonzero(_images(equal[places]))
    place = places[row]
    for number, digit in enumerate(digits[1:], 1):
        if not len(place):
            break
        rank, taken = np.arange(len(place)) - np.searchsorted(place, place), np.empty(len(place), np.uint8)
        for turn in range(int(rank.max()) // TURN + 1):
            mine = np.flatnonzero(rank // TURN == turn)
            bytes_of = words(number, turn, int(place[mine[-1]]) + 1).view(np.uint8).reshape(-1, TURN)
            taken[mine] = bytes_of[place[mine], rank[mine] % TURN]
        gone[place, image] |= taken < digit
        place, image = place[taken == digit], image[taken == digit]
    gone[place, image] = True
    return gone[:, lanes]


def _images(words: npt.NDArray[np.uint64]) -> Bools:
    """Bits of words as what they say of each image of a group, (words, 64)."""
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")
    return bits.reshape(-1, TOGETHER).view(bool)
