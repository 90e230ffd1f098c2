"""Turn images with values from 0 to 1 into spikes over the steps of a frame (rate coding)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from chipsim.errors import InputError

RateKind = Literal["bernoulli", "regular"]


def rate_code(
    values: npt.NDArray[np.floating[Any]], kind: RateKind, steps: int, seed: int, numbers: Sequence[int] | npt.NDArray[Any]
) -> npt.NDArray[np.uint8]:
    """Return spikes, uint8 (N, steps, *shape), of images (N, *shape).

    Parameters
    ----------
    kind : {"bernoulli", "regular"}
        ``bernoulli``: a spike in a step with the value as its probability, drawn from ``numpy.random.Philox`` with the key
        (seed, number of the image), counter (0, 0, 1, 0) and step-major order; float32 draws below the value.
        ``regular``: a spike in step t = 0, 1, ... iff floor((t + 1) * value) > floor(t * value).
    numbers : sequence of int
        The images' numbers in their data set, so that a draw does not depend on the batch.

    Raises
    ------
    InputError
        A value is below 0 or above 1.
    """
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError(
            "images", "have values outside 0 to 1, and a rate is at most 1; use --pixels unit", code="data-rate"
        )
    out = np.empty((len(values), steps, *values.shape[1:]), np.uint8)
    if kind == "regular":
        passed = np.floor(np.arange(steps + 1).reshape(-1, *[1] * (values.ndim - 1)) * values[:, None].astype(np.float64))
        np.greater(passed[:, 1:], passed[:, :-1], out=out, casting="unsafe")
        return out
    counter = np.array([0, 0, 1, 0], np.uint64)
    for row, number in enumerate(numbers):
        bits = np.random.Philox(key=np.array([seed, number], np.uint64), counter=counter)
        out[row] = np.random.Generator(bits).random(out.shape[1:], dtype=np.float32) < values[row]
    return out
