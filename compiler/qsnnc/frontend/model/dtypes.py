"""Return the range of ONNX's integer types, including those narrower than a byte."""

from __future__ import annotations

from typing import Any

import numpy as np


def ends(dtype: np.dtype[Any] | None) -> tuple[float, float]:
    """Return the smallest and largest value of an integer type.

    Raises
    ------
    ValueError
        It is not an integer type.
    """
    import ml_dtypes

    info = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    return float(info.min), float(info.max)


def integer_range(dtype: np.dtype[Any] | None) -> tuple[float, float] | None:
    """Return the smallest and largest value of an integer type; None for any other type."""
    try:
        return ends(dtype)
    except ValueError:
        return None
