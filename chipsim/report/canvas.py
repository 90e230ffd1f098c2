"""Render figures with matplotlib: reproducibly, and the same whatever the user's settings are."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chipsim.errors import UsageError, printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BACKENDS = {"png": "agg", "svg": "svg", "pdf": "pdf"}
#: characters of a name that a figure shows
LONGEST = 60
#: the setting of the user's that counts: whether an SVG's text stays text
KEPT = "svg.fonttype"
#: a name is text, whatever dollar signs it holds
OURS = {"svg.hashsalt": "qsnnc", "font.size": 9, "text.parse_math": False, "text.usetex": False}


def named(text: str) -> str:
    """Return a name as a figure shows it: one short line, without control characters.

    matplotlib leaves labels that begin with an underscore out of a legend; a space before it keeps them there.
    """
    shown = printable(text)
    shown = shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 3]}..."
    return f" {shown}" if shown.startswith("_") else shown


def printed(draw: Callable[[], Figure], form: str, option: str = "plot") -> bytes:
    """Render a figure as ``png``, ``svg`` or ``pdf``.

    Raises
    ------
    UsageError
        matplotlib is not there; the message begins with ``option``.
    """
    mpl = _matplotlib(option)
    with mpl.rc_context():
        kept = mpl.rcParams[KEPT]
        mpl.rcdefaults()
        mpl.rcParams.update({**OURS, KEPT: kept})
        buffer = io.BytesIO()
        metadata = {"Date": None} if form == "svg" else {"CreationDate": None} if form == "pdf" else None
        draw().savefig(buffer, format=form, dpi=160, metadata=metadata, backend=BACKENDS[form])
    return buffer.getvalue()


def _matplotlib(option: str) -> Any:
    """Import matplotlib; its import fails where MPLBACKEND names a backend that it does not know."""
    chosen = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib as mpl
    except ImportError:
        raise UsageError(
            option, "matplotlib is not installed; run pip install 'qsnnc[plot]'", code="library-missing"
        ) from None
    finally:
        if chosen is not None:
            os.environ["MPLBACKEND"] = chosen
    return mpl
