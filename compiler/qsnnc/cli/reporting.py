"""The verb report."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from chipsim.command_options import Page, PageOptions, spread
from qsnnc.cli.options import DataDir, Quiet


@spread
def report(
    file: Annotated[str, typer.Argument(metavar="FILE.map|FILE.paicore", help="The mapping.")],
    output: Page,
    run: Annotated[str | None, typer.Option("--run", metavar="RUN.json", help="Result of chipsim run --json.")] = None,
    *,
    shown: PageOptions,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Write a page that shows a mapping: its chip, cores, weights and network. One HTML file, which opens offline.

    Example: qsnnc report lenet.map --run run.json -o lenet.html
    """
    from chipsim.report.page.writing import write_page

    write_page(file, output, run=run, data_dir=data_dir, quiet=quiet, **asdict(shown))
