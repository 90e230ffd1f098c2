"""Arrays inside the page: deflated, then base64."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

#: dtypes that the page unpacks (assets/data.js)
DTYPES = ("int8", "uint8", "int32", "float64")


def packed(values: npt.ArrayLike, dtype: str, *, delta: bool = False) -> dict[str, Any]:
    """Pack an array for the page.

    Parameters
    ----------
    values : array_like
        Flattened in C order; every value must be one of ``dtype``.
    dtype : str
        One of `DTYPES`.
    delta : bool
        Store the differences from value to value, which deflate better where values grow steadily; integers only.
    """
    assert dtype in DTYPES, dtype
    array = np.ascontiguousarray(np.asarray(values).reshape(-1), dtype)
    if delta:
        array = np.diff(array, prepend=array.dtype.type(0))
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    content = base64.b64encode(zlib.compress(little.tobytes(), 9)).decode()
    return {"dtype": dtype, "delta": delta, "base64": content}
