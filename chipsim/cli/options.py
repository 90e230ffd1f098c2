"""Options that several verbs have."""

from __future__ import annotations

from typing import Annotated

import typer

MapFile = Annotated[str, typer.Argument(metavar="FILE.map", help="A mapping, as qsnnc compile writes it.")]
DatasetName = Annotated[str, typer.Option("--dataset", help="mnist, digits or a file FILE.npz with images (and labels).")]
Split = Annotated[str, typer.Option(help="test or train.")]
DataDir = Annotated[str | None, typer.Option(help="Directory of the four MNIST files.")]
Limit = Annotated[int | None, typer.Option(help="Use only the first N images.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no summary.")]
Threads = Annotated[int | None, typer.Option(help="Threads; all processors by default.")]
Engine = Annotated[str, typer.Option(metavar="fast|reference", help="Which engine; both give the same results.")]
