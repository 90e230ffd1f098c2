"""The verb report."""

from __future__ import annotations

from typing import Annotated

import typer

from qsnnc.cli.options import DataDir, Quiet


def report(
    file: Annotated[str, typer.Argument(metavar="FILE.map|FILE.paicore", help="The mapping.")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="PAGE.html|-", help="Page to write.")],
    run: Annotated[str | None, typer.Option("--run", metavar="RUN.json", help="Result of chipsim run --json.")] = None,
    compiled: Annotated[
        str | None,
        typer.Option("--compile", metavar="FILE.json", help="Result of qsnnc compile --json: exactness of layers."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL.onnx", help="The model: its nodes can be searched for.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="mnist|digits|FILE.npz", help="The images of the run: pictures of the worst."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="test|train", help="Which part of mnist or digits.", show_default="test")
    ] = None,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Write a page that shows a mapping: its chip, cores, weights and network. One HTML file, which opens offline.

    Example: qsnnc report lenet.map --run run.json -o lenet.html
    """
    from chipsim.report.page.writing import write_page

    write_page(
        file, output, run=run, compiled=compiled, model=model, dataset=dataset, split=split, data_dir=data_dir, quiet=quiet
    )
