"""The verb that checks a mapping on another simulator."""

from __future__ import annotations

from typing import Annotated

import typer

from chipsim import reads_writes, terminal
from chipsim.cli.options import DatasetName, MapFile, Quiet, options
from chipsim.command_options import Json
from chipsim.options import DataOptions


@options
def crosscheck(
    file: MapFile,
    simulator: Annotated[str, typer.Option("--with", metavar="rtl|paisim|sanafe", help="The other simulator.")],
    given: DataOptions,
    dataset: DatasetName = "digits",
    python: Annotated[
        str | None,
        typer.Option(
            "--python",
            metavar="PATH",
            help="Interpreter that has paisim or sanafe; by default one in the user's cache.",
        ),
    ] = None,
    json: Json = None,
    quiet: Quiet = False,
) -> int:
    """Check a mapping on another simulator, integer for integer. Exits 1 on a difference, 3 if it cannot be had.

    rtl: the chip in SystemVerilog, run by Verilator; every spike, potential and cycle. Needs a checkout and verilator.

    paisim: paisim 0.1.0, for a .paicore; every frame and potential, image by image and as a stream; 100 images by default.

    sanafe: SANA-FE 2.2.9; every spike, the potentials read out, synaptic events and messages a core; 100 images by default.

    Example: chipsim crosscheck tiny-mini.map --with rtl --dataset digits --limit 20
    """
    from chipsim.crosscheck import Request
    from chipsim.crosscheck import crosscheck as check

    reads = [reads_writes.mapping(file), *reads_writes.dataset(dataset, given.split, given.data_dir)]
    reads_writes.check(reads, {"--json": json})
    with terminal.progress("images", quiet) as report:
        found = check(simulator, Request(file, dataset, given, python, report))
    if json:
        terminal.write_json(json, found.to_json())
    if json != "-" and not (found.equal and quiet):
        equal = f"equal: {found.images:,} images on {found.version} ({found.compared})"
        print(equal if found.equal else found.difference)  # noqa: T201
    return 0 if found.equal else 1
