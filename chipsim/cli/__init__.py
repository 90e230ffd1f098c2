"""The command ``chipsim``: run a mapping, hold it against its model, draw what came of it, fetch data."""

from __future__ import annotations

from typing import NoReturn

import typer

from chipsim import terminal
from chipsim.cli import chips, crosscheck, figures, runs
from chipsim.front import before_the_verb

app = typer.Typer(
    name="chipsim", no_args_is_help=True, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Execute a mapping of crossbar cores, spike by spike.\n\nExample: chipsim run lenet.map --dataset digits",
)  # fmt: skip


app.callback(help=app.info.help)(before_the_verb)
VERBS = (
    runs.run, figures.trace, chips.area, runs.compare, crosscheck.crosscheck, chips.network, runs.sweep, figures.plot,
    chips.data,
)  # fmt: skip
for verb in VERBS:
    app.command()(verb)


def main() -> NoReturn:
    """Entry point."""
    terminal.run_app(app, "chipsim")
