"""The command ``qsnnc``: compile, check, fit, verify, inspect, export, chips, report, explore, explain, (nir-)annotate."""

from __future__ import annotations

from typing import NoReturn

import typer

from chipsim import terminal
from chipsim.explain.verb import explain
from chipsim.front import before_the_verb
from qsnnc.cli import annotating, compiling, exploring, fitting, reporting, showing, verifying

app = typer.Typer(
    name="qsnnc",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compile quantized networks onto chips of crossbar cores.\n\nExample: qsnnc compile lenet.onnx -o lenet.map",
)

app.callback(help=app.info.help)(before_the_verb)
for name, verb in (
    ("compile", compiling.compile_), ("check", compiling.check), ("fit", fitting.fit), ("verify", verifying.verify),
    ("inspect", showing.inspect), ("export", showing.export), ("chips", showing.chips),
    ("report", reporting.report), ("explore", exploring.explore), ("explain", explain),
    ("annotate", annotating.annotate), ("nir-annotate", annotating.nir_annotate),
):  # fmt: skip
    app.command(name)(verb)


def main() -> NoReturn:
    """Run the command line."""
    terminal.run_app(app, "qsnnc")
