"""Render figures with matplotlib: reproducibly, and the same whatever the user's settings are."""

from __future__ import annotations

import io
import os
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from chipsim.errors import UsageError, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BACKENDS = {"png": "agg", "svg": "svg", "pdf": "pdf"}
#: characters of a name that a figure shows
LONGEST = 60
#: inches that a letter of a legend, its key, and a letter of a signature take
LETTER, KEY, SMALL_LETTER = 0.062, 0.5, 0.047
#: results whose provenance stands under a figure
MOST_RESULTS = 6
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


def sheet(
    sizes: Sequence[tuple[float, float]], *, left: float, right: float, top: float, bottom: float, gap: float = 0.0,
    down: bool = False,
) -> tuple[Figure, list[Axes]]:  # fmt: skip
    """Return a figure with axes of fixed sizes and margins, in inches; a layout that is solved for differs in last digits.

    Parameters
    ----------
    sizes : sequence of (float, float)
        Width and height of each of the axes, which lie beside each other, or with ``down`` below each other.
    gap : float
        Between two of them.
    """
    from matplotlib.figure import Figure

    widths, heights = (list(each) for each in zip(*sizes, strict=True))
    between = gap * (len(sizes) - 1)
    width = left + right + (max(widths) if down else sum(widths) + between)
    height = top + bottom + (sum(heights) + between if down else max(heights))
    figure, found = Figure(figsize=(width, height)), []
    x, y = left, height - top
    for wide, high in sizes:
        found.append(figure.add_axes((x / width, (y - high) / height, wide / width, high / height)))
        x, y = (x, y - high - gap) if down else (x + wide + gap, y)
    return figure, found


def bar_place(figure: Figure, axes: Axes) -> tuple[float, float, float, float]:
    """Return where the bar of colours of some axes stands: at their right."""
    box = axes.get_position(original=True)
    width = figure.get_figwidth()
    return box.x1 + 0.12 / width, box.y0 + 0.15 * box.height, 0.14 / width, 0.7 * box.height


def columns_of(labels: Sequence[str], width: float, most: int) -> int:
    """Return how many columns of a legend with these labels fit a width in inches."""
    return max(1, min(most, int(width / (LETTER * max(map(len, labels), default=1) + KEY)), len(labels)))


def signature(lines: Sequence[str], width: float) -> list[str]:
    """Return what `sign` writes: the provenance of each result, of many the first `MOST_RESULTS`, broken to a width."""
    shown = [each for each in lines if each]
    more = [f"and {len(shown) - MOST_RESULTS} more results"] if len(shown) > MOST_RESULTS else []
    letters = max(20, int((width - 0.2) / SMALL_LETTER))
    return [part for each in (*shown[:MOST_RESULTS], *more) for part in textwrap.wrap(printable(each), letters)]


def sign(figure: Figure, lines: Sequence[str]) -> None:
    """Write at the foot of a figure what made it; the figure's margin has `foot` inches for it."""
    text = "\n".join(signature(lines, figure.get_figwidth()))
    figure.text(0.1 / figure.get_figwidth(), 0.06 / figure.get_figheight(), text, fontsize=6, color="#555555", va="bottom")


def foot(lines: Sequence[str], width: float) -> float:
    """Return the inches that a signature takes."""
    return 0.11 * len(signature(lines, width)) + 0.08


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
