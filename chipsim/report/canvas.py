"""Render figures with matplotlib, reproducibly."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from chipsim.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def printed(draw: Callable[[], Figure], form: str, option: str = "plot") -> bytes:
    """Render a figure as ``png``, ``svg`` or ``pdf``.

    Raises
    ------
    UsageError
        matplotlib is not there; the message begins with ``option``.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise UsageError(
            option, "matplotlib is not installed; run pip install 'qsnnc[plot]'", code="plot-matplotlib"
        ) from None
    with mpl.rc_context({"svg.hashsalt": "qsnnc", "font.size": 9}):
        buffer = io.BytesIO()
        metadata = {"Date": None} if form == "svg" else {"CreationDate": None} if form == "pdf" else None
        draw().savefig(buffer, format=form, dpi=160, metadata=metadata)
    return buffer.getvalue()
