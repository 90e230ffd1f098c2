"""Lay out what a command prints by default: one screen of 80 columns and 40 lines, the detail behind ``--verbose``."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from chipsim.errors import printable

WIDTH, HEIGHT = 80, 40
#: characters of a name in a table
NAME = 18
MORE = "--verbose shows all"

Row = Sequence[str]


def count(value: float | None) -> str:
    """Return a count in at most 11 characters; '-' for None."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.3g}"


def table(heads: Row, rows: Sequence[Row], left: Sequence[int] = (0,)) -> list[str]:
    """Return a table as lines; columns whose numbers are in ``left`` are flushed left, the others right.

    A row that is wider than `WIDTH` all the same is cut.
    """
    rows = [[printable(text) for text in row] for row in rows]
    widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(len(heads))]
    lines = []
    for row in (heads, *rows):
        cells = [
            text.ljust(width) if at in left else text.rjust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(cut("  ".join(cells).rstrip()))
    return lines


def cut(line: str) -> str:
    """Cut a line to `WIDTH`."""
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."


def wrap(text: str) -> list[str]:
    """Break a line of prose at `WIDTH`, the rest indented."""
    return textwrap.wrap(printable(text), WIDTH, subsequent_indent="  ", break_on_hyphens=False) or [""]


def largest(sizes: Sequence[float], most: int) -> list[int]:
    """Return the numbers of the rows to show, in order: all, or the ``most - 1`` largest beside one for the others."""
    if len(sizes) <= most:
        return list(range(len(sizes)))
    return sorted(sorted(range(len(sizes)), key=lambda at: -sizes[at])[: most - 1])


def some(lines: Sequence[str], most: int, what: str) -> list[str]:
    """Return at most ``most`` wrapped lines; the last says how many ``what`` are left out."""
    broken = [wrap(line) for line in lines]
    found: list[str] = []
    for number, part in enumerate(broken):
        rest = len(broken) - number
        if len(found) + len(part) > most - (rest > 1):
            return [*found[: most - 1], f"... {rest} more {what}: {MORE}"]
        found += part
    return found


def screen(*parts: Sequence[str]) -> str:
    """Join parts with an empty line between them, where there is something; never more than `HEIGHT` lines.

    The last part, what to do next, stays; lines above it go.
    """
    *before, last = [list(part) for part in parts if part] or [[]]
    last = last[:HEIGHT]
    lines = [line for part in before for line in (*part, "")]
    room = HEIGHT - len(last)
    if len(lines) > room:
        lines = [*lines[: room - 2], f"... {MORE}", ""][:room]
    return "\n".join([*lines, *last])
