"""Entry point of ``qsnnc``, before its libraries are loaded."""

from __future__ import annotations

from chipsim.environment import keep_memory, tame_environment
from chipsim.start import watch


def main() -> None:
    """Run ``qsnnc``."""
    watch()
    tame_environment()
    keep_memory()
    from qsnnc.cli import main as command

    command()
