"""What surrounds a command: the signals that end it, and variables that no library may trip over."""

from __future__ import annotations

import os
import signal

#: what ends a command
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
#: characters of a terminal's line, at least and at most; rich builds lines as long as COLUMNS says
NARROWEST, WIDEST = 20, 500
#: read by rich and typer, as numbers
SIZES = ("COLUMNS", "LINES", "TERMINAL_WIDTH")


def tame_environment() -> None:
    """Bring variables into a range that libraries can work with; what they cannot read is left out."""
    for name in SIZES:
        text = os.environ.get(name)
        if text is None:
            continue
        if text.isascii() and text.isdecimal():
            os.environ[name] = str(min(max(int(text.lstrip("0")[:9] or "0"), NARROWEST), WIDEST))
        else:
            del os.environ[name]
