"""Find the integers and scales that give quantized float weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qsnnc.frontend.model.outcomes import WeightsNotQuantized
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
    rows = weights.astype(np.float64).reshape(len(weights), -1)
    sizes = [np.unique(np.abs(row[row != 0])) for row in rows]
    whole = _smallest_grid(rows.reshape(1, -1), np.unique(np.concatenate([np.zeros(0), *sizes])))
    each = [_smallest_grid(row[None], size) for row, size in zip(rows, sizes, strict=True)]
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
    if whole is not None and not (per_channel and bits_needed(integers) < bits_needed(whole[0])):
        integers, scales = whole[0].reshape(rows.shape), np.full(len(rows), whole[1])
    return integers.reshape(weights.shape), scales


def _smallest_grid(row: npt.NDArray[np.float64], size: npt.NDArray[np.float64]) -> tuple[Int, float] | None:
    """Return the smallest integers and their scale; None if there are none of few enough bits.

    Parameters
    ----------
    size : ndarray, float64
        The distinct magnitudes of the row that are not 0, in order.
    """
    if not len(size):
        return np.zeros(row.shape, np.int64), 1.0
    for parts in range(1, (1 << (MOST_BITS - 1)) + 1):
        scale = size[0] / parts
        ratio = size / scale
        whole = np.round(ratio)
        if whole[-1] > 1 << (MOST_BITS - 1):
            return None
        if np.all(np.abs(ratio - whole) <= TOLERANCE * whole):
            q = np.round(row / scale).astype(np.int64)
            if q.max() >= 1 << (MOST_BITS - 1):
                return None
            # the least-squares scale, or the exact power of two if that is one
            scale = float((q * row).sum() / (q * q).sum())
            power = float(2.0 ** np.round(np.log2(scale)))
            return q, power if abs(scale - power) <= 2.0**-30 * power else scale
    return None
