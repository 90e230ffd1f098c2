"""The command ``chipsim``: run a mapping, hold it against its model, draw what came of it, fetch data."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer

from chipsim import terminal
from chipsim.cli import chips, figures, runs
from chipsim.cli.options import Quiet

app = typer.Typer(
    name="chipsim", no_args_is_help=True, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Execute a mapping of crossbar cores, spike by spike.\n\nExample: chipsim run lenet.map --dataset digits",
)  # fmt: skip


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        print(f"chipsim {metadata.version('qsnnc')}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
    quiet: Quiet = False,
) -> None:
    if quiet:  # before or after the verb
        context.default_map = {verb: {"quiet": True} for verb in context.command.commands}  # type: ignore[attr-defined]


for verb in (runs.run, figures.trace, chips.area, runs.compare, chips.network, runs.sweep, figures.plot, chips.data):
    app.command()(verb)


def main() -> NoReturn:
    """Entry point."""
    terminal.run_app(app, "chipsim")
