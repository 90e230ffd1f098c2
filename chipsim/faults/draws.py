"""Draw random numbers that depend only on the seed, the place and the image.

One Philox generator a (seed, image, stream): a *stream* is a kind of fault, and for what sits in a core that core's place on
the grid. Its n-th number is the n-th place's, so neither batches, threads, engines nor other faults move a draw. A place
is hit where its number is below the rate: what is hit at one rate is hit at every higher one.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]


def stream(kind: str) -> int:
    """Number of a kind's stream; the encoder's noise has stream 0 (FORMAT.md, step 3)."""
    return int.from_bytes(hashlib.sha256(kind.encode()).digest()[:8], "little") | 1


def draw(seed: int, kind: int, count: int, *, image: int = 0, block: int = 0) -> F32:
    """Numbers in [0, 1) of the first ``count`` places, float32.

    Parameters
    ----------
    kind : int
        From `stream`.
    image : int
        Index in the data set; 0 for what is broken once and for all.
    block : int
        Core's place on the grid, y * columns + x, for what sits in a core.
    """
    key = np.array([seed, image], np.uint64)
    counter = np.array([0, 0, block, kind], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter)).random(count, dtype=np.float32)


def below(numbers: F32, rate: float) -> npt.NDArray[np.bool_]:
    """Which numbers are below a rate; every one of them is below 1."""
    return np.asarray(numbers < np.float32(rate))
