"""Entry point of ``qsnnc``, before its libraries are loaded."""

from __future__ import annotations

from chipsim.start import tame_environment, watch


def main() -> None:
    """Run ``qsnnc``."""
    watch()
    tame_environment()
    from qsnnc.cli import main as command

    command()
