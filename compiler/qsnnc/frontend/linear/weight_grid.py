"""Find the integers and scales that give quantized float weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.model.outcomes import WeightsNotQuantized
from qsnnc.frontend.numerics.exactness import TOGETHER, in_parts
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
    integers, scales = _by_channel(rows)
    if np.isnan(scales).any():
        channel = int(np.argmax(np.isnan(scales)))
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
    one = None if whole is None else _applied(rows.reshape(1, -1), *whole)
    if one is not None and not (per_channel and bits_needed(integers) < bits_needed(one[0])):
        integers, scales = one[0].reshape(rows.shape), np.full(len(rows), one[1])
    return integers.reshape(weights.shape), scales


def _magnitudes(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the distinct magnitudes that are not 0, in order; looked at in parts that stay in the cache.

    Where those of the first part are multiples of a scale, of the others only the magnitudes that are not among them are
    sorted: next to none.
    """
    flat = rows.reshape(-1)
    found = [_distinct(np.abs(flat[:TOGETHER]))]
    grid = _scale_of(found[0]) if len(flat) > TOGETHER else None
    known = np.full(2 << (MOST_BITS - 1), np.nan)
    known[0] = 0
    if grid is not None:
        known[np.round(grid[1] / grid[0]).astype(np.int64)] = grid[1]
    for first in range(TOGETHER, len(flat), TOGETHER):
        size = np.abs(flat[first : first + TOGETHER])
        if grid is not None:
            with np.errstate(over="ignore"):
                number = np.fmin(np.round(size / grid[0]), len(known) - 1).astype(np.int64)
            size = size[known[number] != size]
        found.append(_distinct(size))
    return found[0] if len(found) == 1 else np.unique(np.concatenate(found))


def _distinct(size: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the distinct numbers that are not 0, in order."""
    found = np.unique(size)
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


def _by_channel(rows: npt.NDArray[np.float64]) -> tuple[Int, npt.NDArray[np.float64]]:
    """Return each row's smallest integers and their scale; nan where there are none of few enough bits."""
    integers, scales = np.zeros(rows.shape, np.int64), np.empty(len(rows))
    for some in in_parts(rows):
        mine = rows[some]
        unit = _units(np.abs(mine))
        q = np.round(mine / unit[:, None])
        most = q.max(axis=1, initial=0)
        there = np.flatnonzero(most < 1 << (MOST_BITS - 1))  # and not nan
        squares = np.multiply(q, q).sum(axis=1)
        squares[squares == 0] = 1.0
        found = np.multiply(q, mine).sum(axis=1) / squares
        found[~mine.any(axis=1)] = 1.0
        scales[some] = np.nan
        scales[some][there] = [_exact(float(scale)) for scale in found[there]]
        integers[some][there] = q[there]
    return integers, scales


def _units(size: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return each row's `_scale_of`, nan where there is none; ``size`` are magnitudes in any order, 0 among them."""
    least, most = np.where(size > 0, size, np.inf).min(axis=1, initial=np.inf), size.max(axis=1, initial=0)
    found = np.where(most > 0, np.nan, 1.0)
    left = np.flatnonzero(most > 0)
    for parts in range(1, (1 << (MOST_BITS - 1)) + 1):
        unit = least[left] / parts
        few = np.round(most[left] / unit) <= 1 << (MOST_BITS - 1)
        left, unit = left[few], unit[few]
        if not len(left):
            break
        ratio = size[left] / unit[:, None]
        whole = np.round(ratio)
        fits = (np.abs(ratio - whole) <= TOLERANCE * whole).all(axis=1)
        found[left[fits]] = unit[fits]
        left = left[~fits]
    return found


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
    flat = row.reshape(-1)
    q, product, squares, most = np.empty(flat.shape), np.empty(flat.shape), 0.0, 0.0
    for first in range(0, flat.size, TOGETHER):
        some = slice(first, first + TOGETHER)
        mine, own = q[some], flat[some]
        np.divide(own, scale, out=mine)
        np.round(mine, out=mine)
        np.multiply(mine, own, out=product[some])
        squares += float(np.multiply(mine, mine).sum())  # integers, which add up exactly; BLAS would start threads
        most = max(most, float(mine.max()))
    if most >= 1 << (MOST_BITS - 1):
        return None
    scale = float(product.sum() / squares)
    integers = product.view(np.int64).reshape(row.shape)  # its memory
    np.copyto(integers, q.reshape(row.shape), casting="unsafe")
    return integers, _exact(scale)


def _exact(scale: float) -> float:
    """Return the power of two that a scale is but for rounding, if it is one."""
    power = float(2.0 ** np.round(np.log2(scale)))
    return power if abs(scale - power) <= 2.0**-30 * power else scale
