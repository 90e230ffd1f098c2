"""Where a command begins: an interrupt while its libraries are still being loaded is one too, and leaves no traceback."""

from __future__ import annotations

import os
import signal


def watch() -> None:
    """Leave on an interrupt; the command line takes over once it is there."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: _leave())


def _leave() -> None:
    os.write(2, b"interrupted\n")
    os._exit(130)


def main() -> None:
    """``chipsim``."""
    watch()
    from chipsim.cli import main as command

    command()
