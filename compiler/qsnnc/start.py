"""Where ``qsnnc`` begins, before its libraries are loaded."""

from __future__ import annotations

from chipsim.start import watch


def main() -> None:
    """``qsnnc``."""
    watch()
    from qsnnc.cli import main as command

    command()
