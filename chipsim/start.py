"""Entry point of the command; an interrupt while libraries are loading leaves no traceback."""

from __future__ import annotations

import os
import signal

from chipsim.environment import SIGNALS, tame_environment


def watch() -> None:
    """Exit on an interrupt until the command line installs its own handlers."""
    for name in SIGNALS:
        if signal.getsignal(name) != signal.SIG_IGN:
            signal.signal(name, lambda *_: _leave())


def _leave() -> None:
    os.write(2, b"interrupted\n")
    os._exit(130)


def main() -> None:
    """Run the command ``chipsim``."""
    watch()
    tame_environment()
    from chipsim.cli import main as command

    command()
