"""Arrays that machine code reads and writes, and their addresses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.layout import LANES


def aligned(shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    """Zeros that begin at a multiple of 64 bytes."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + LANES, np.uint8)
    start = -raw.ctypes.data % LANES
    return np.asarray(raw[start : start + size].view(dtype).reshape(shape))


def address(value: Any) -> int:
    """Address of an array, 0 of none; a number is itself."""
    if value is None:
        return 0
    return int(value.ctypes.data) if isinstance(value, np.ndarray) else int(value)
