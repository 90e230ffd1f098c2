"""Entry point of the command; an interrupt while libraries are loading leaves no traceback."""

from __future__ import annotations

import os
import signal


def watch() -> None:
    """Exit on an interrupt until the command line installs its own handler."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: _leave())


def _leave() -> None:
    os.write(2, b"interrupted\n")
    os._exit(130)


def main() -> None:
    """Run the command ``chipsim``."""
    watch()
    from chipsim.cli import main as command

    command()
