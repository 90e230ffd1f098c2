"""Integer types of ONNX, those narrower than a byte included."""

from __future__ import annotations

from typing import Any

import numpy as np


def ends(dtype: np.dtype[Any] | None) -> tuple[float, float]:
    """Ends of an integer type, the narrow ones included.

    Raises
    ------
    ValueError
        It is no integer type.
    """
    import ml_dtypes

    info = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    return float(info.min), float(info.max)


def integer_range(dtype: np.dtype[Any] | None) -> tuple[float, float] | None:
    """Ends of an integer type, the narrow ones included; None for any other."""
    try:
        return ends(dtype)
    except ValueError:
        return None
