"""Find the integers and scales that give quantized float weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.model.outcomes import WeightsNotQuantized
from qsnnc.frontend.numerics.exactness import TOGETHER
from qsnnc.ir.layers import Int
from qsnnc.ir.weights import bits_needed

#: an 8-bit weight minus its zero point takes 9 bits; whether a chip holds it is decided when the layer is lowered
MOST_BITS = 9
#: relative tolerance: integer * scale in float32 may be off by a few units in the last place
TOLERANCE = 2.0**-20


def integer_weights(
    name: str, node: str, weights: npt.NDArray[np.floating], *, per_channel: bool = True
) -> tuple[Int, npt.NDArray[np.float64]]:
    """Find integers q and scales s with weights = q * s.

    The whole tensor gets one scale unless per-channel scales need fewer bits and ``per_channel`` is set. Without
    ``per_channel``, as for the readout, scales differ only if one scale is impossible.

    Parameters
    ----------
    weights : ndarray, float, (channels, ...)
    per_channel : bool
        Whether a per-channel scale is preferred where that makes the weights narrower.

    Returns
    -------
    integers : ndarray, int64, as ``weights``
    scales : ndarray, float64, (channels,)

    Raises
    ------
    ModelError
        The weights of a channel are not integers of at most `MOST_BITS` bits times one scale.
    """
    rows = np.ascontiguousarray(weights, np.float64).reshape(len(weights), -1)
    whole = _scale_of(_magnitudes(rows))
    if whole is not None and not (per_channel and _may_be_narrower(rows, whole)):
        one = _applied(rows.reshape(1, -1), *whole)
        if one is not None:
            return one[0].reshape(weights.shape), np.full(len(rows), one[1])
    each = [_smallest_grid(row[None], _magnitudes(row)) for row in rows]
    if any(found is None for found in each):
        channel = next(i for i, found in enumerate(each) if found is None)
        values = len(np.unique(rows[channel]))
        raise WeightsNotQuantized(
            name,
            f"the weights of channel {channel} ({values} distinct values) are not integers of at most {MOST_BITS} bits "
            "times one scale; quantize them before export, or with --weight-bits 8",
            layer=name,
            node=node,
            found=values,
            allowed=1 << MOST_BITS,
        )
    integers = np.concatenate([found[0] for found in each if found is not None])
    scales = np.array([found[1] for found in each if found is not None])
    one = None if whole is None else _applied(rows.reshape(1, -1), *whole)
    if one is not None and not (per_channel and bits_needed(integers) < bits_needed(one[0])):
        integers, scales = one[0].reshape(rows.shape), np.full(len(rows), one[1])
    return integers.reshape(weights.shape), scales


def _magnitudes(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the distinct magnitudes that are not 0, in order; looked at in parts that stay in the cache."""
    flat = rows.reshape(-1)
    parts = [np.unique(np.abs(flat[i : i + TOGETHER])) for i in range(0, len(flat), TOGETHER)]
    found = parts[0] if len(parts) == 1 else np.unique(np.concatenate([np.zeros(0), *parts]))
    return np.asarray(found[found != 0])


def _may_be_narrower(rows: npt.NDArray[np.float64], whole: tuple[float, npt.NDArray[np.float64]]) -> bool:
    """Return whether scales of their own could make the weights narrower than the one scale of all.

    They cannot if a channel with the widest integers has no common divisor: its own integers are the same ones. To be
    told so, every weight must lie so close to its integer that a channel's own smallest magnitude gives the same.
    """
    unit, sizes = whole
    if not len(sizes):
        return False
    ratio = sizes / unit
    if (np.abs(ratio - np.round(ratio)) > TOLERANCE / 4 * ratio).any():
        return True
    low, high = (np.round(end / unit).astype(np.int64) for end in (rows.min(axis=1), rows.max(axis=1)))
    bits = bits_needed(np.concatenate([low, high]))
    widest = (row for row, ends in zip(rows, np.stack([low, high], axis=1), strict=True) if bits_needed(ends) == bits)
    return all(np.gcd.reduce(np.round(row / unit).astype(np.int64)) > 1 for row in widest)


def _smallest_grid(row: npt.NDArray[np.float64], size: npt.NDArray[np.float64]) -> tuple[Int, float] | None:
    """Return the smallest integers and their scale; None if there are none of few enough bits.

    Parameters
    ----------
    size : ndarray, float64
        The distinct magnitudes of the row that are not 0, in order.
    """
    found = _scale_of(size)
    return None if found is None else _applied(row, *found)


def _scale_of(size: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]] | None:
    """Return the largest scale of which all magnitudes are small multiples, with the magnitudes; None if there is none."""
    if not len(size):
        return 1.0, size
    for parts in range(1, (1 << (MOST_BITS - 1)) + 1):
        scale = float(size[0] / parts)
        ratio = size / scale
        whole = np.round(ratio)
        if whole[-1] > 1 << (MOST_BITS - 1):
            return None
        if np.all(np.abs(ratio - whole) <= TOLERANCE * whole):
            return scale, size
    return None


def _applied(row: npt.NDArray[np.float64], scale: float, size: npt.NDArray[np.float64]) -> tuple[Int, float] | None:
    """Return a row's integers at a scale, and their least-squares scale, or the exact power of two if that is one."""
    if not len(size):
        return np.zeros(row.shape, np.int64), 1.0
    q = row / scale
    np.round(q, out=q)
    if q.max() >= 1 << (MOST_BITS - 1):
        return None
    product = q * row
    squares = sum(float(np.dot(part, part)) for part in np.array_split(q.reshape(-1), -(-q.size // TOGETHER)))
    scale = float(product.sum() / squares)
    power = float(2.0 ** np.round(np.log2(scale)))
    integers = product.view(np.int64)  # its memory
    np.copyto(integers, q, casting="unsafe")
    return integers, power if abs(scale - power) <= 2.0**-30 * power else scale
