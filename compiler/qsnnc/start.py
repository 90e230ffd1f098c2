"""Entry point of ``qsnnc``, before its libraries are loaded."""

from __future__ import annotations

from chipsim.start import watch


def main() -> None:
    """Run ``qsnnc``."""
    watch()
    from qsnnc.cli import main as command

    command()
