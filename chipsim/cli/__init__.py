"""The command ``chipsim``: execute mappings, check them against their models, plot results, fetch data."""

from __future__ import annotations

from typing import NoReturn

import typer

from chipsim import terminal
from chipsim.cli import chips, crosscheck, figures, reporting, runs
from chipsim.explain.verb import explain
from chipsim.front import before_the_verb

app = typer.Typer(
    name="chipsim", no_args_is_help=True, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Simulate mappings on chips of crossbar cores, spike by spike.\n\n"
    "Example: chipsim run lenet.map --dataset digits",
)  # fmt: skip


app.callback(help=app.info.help)(before_the_verb)
VERBS = (
    runs.run, figures.trace, chips.area, runs.compare, crosscheck.crosscheck, chips.network, runs.sweep, figures.plot,
    reporting.report, chips.data, explain,
)  # fmt: skip
for verb in VERBS:
    app.command()(verb)


def main() -> NoReturn:
    """Entry point."""
    terminal.run_app(app, "chipsim")
