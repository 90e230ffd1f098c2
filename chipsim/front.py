"""The options of both command lines that precede the verb: ``--version`` and ``--quiet``."""

from __future__ import annotations

from typing import Annotated

import typer


def _version(context: typer.Context, wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        print(f"{context.info_name} {metadata.version('qsnnc')}")  # noqa: T201
        raise typer.Exit


def before_the_verb(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show neither a progress bar nor a summary.")] = False,
) -> None:
    """Callback of a command line: accept --quiet before the verb as after it."""
    if quiet:
        context.default_map = {verb: {"quiet": True} for verb in context.command.commands}  # type: ignore[attr-defined]
