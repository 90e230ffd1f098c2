"""Entry point of the command, before its libraries are loaded: interrupts, and an environment that no library trips over."""

from __future__ import annotations

import os
import signal

#: what ends a command
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
#: characters of a terminal's line, at least and at most; rich builds lines as long as COLUMNS says
NARROWEST, WIDEST = 20, 500
#: read by rich and typer, as numbers
SIZES = ("COLUMNS", "LINES", "TERMINAL_WIDTH")


def watch() -> None:
    """Exit on an interrupt until the command line installs its own handlers."""
    for name in SIGNALS:
        if signal.getsignal(name) != signal.SIG_IGN:
            signal.signal(name, lambda *_: _leave())


def _leave() -> None:
    os.write(2, b"interrupted\n")
    os._exit(130)


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


def main() -> None:
    """Run the command ``chipsim``."""
    watch()
    tame_environment()
    from chipsim.cli import main as command

    command()
