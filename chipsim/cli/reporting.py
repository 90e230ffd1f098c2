"""The verb report."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from chipsim.cli.options import DataDir, Quiet
from chipsim.command_options import Page, PageOptions, spread


@spread
def report(
    run: Annotated[str, typer.Argument(metavar="RUN.json", help="Result of chipsim run --json.")],
    file: Annotated[str, typer.Option("--map", metavar="FILE.map|FILE.paicore", help="The mapping that was run.")],
    output: Page,
    shown: PageOptions,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Write a page that shows a run: its chip, network, cycles and energy. One HTML file, which opens offline.

    Example: chipsim report run.json --map lenet.map -o lenet.html
    """
    from chipsim.report.page.writing import write_page

    write_page(file, output, run=run, data_dir=data_dir, quiet=quiet, **asdict(shown))
