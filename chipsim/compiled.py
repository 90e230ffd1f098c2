"""Compile functions with Numba and cache the result where possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compile a function on its first call, once per machine, to code that releases the interpreter's lock.

    The code is kept beside the source, or in the user's cache where the package's folder cannot be written. Where neither
    can be, as in some containers, each process compiles anew. Options are those of numba's `njit`.
    """
    try:
        found: Callable[..., Any] = njit(nogil=True, cache=True, **options)(function)
    except RuntimeError:  # numba: no locator available
        found = njit(nogil=True, **options)(function)
    return found
