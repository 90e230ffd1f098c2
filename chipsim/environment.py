"""What surrounds a command: the signals that end it, and variables that no library may trip over."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

#: what ends a command
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
#: characters of a terminal's line, at least and at most; rich builds lines as long as COLUMNS says
NARROWEST, WIDEST = 20, 500
#: read by rich and typer, as numbers
SIZES = ("COLUMNS", "LINES", "TERMINAL_WIDTH")

#: parameters of glibc's mallopt (malloc.h), and the bytes that both are set to
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, KEPT = -1, -3, 1 << 30


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


def keep_memory() -> None:
    """Let the C library use the memory of large arrays again that were freed, instead of returning it to the system.

    The weights of a large network pass through arrays of hundreds of megabytes, and clearing new pages for each takes as
    long as the arithmetic. No effect with other C libraries than glibc.
    """
    import ctypes

    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, KEPT)
        library.mallopt(M_TRIM_THRESHOLD, KEPT)
