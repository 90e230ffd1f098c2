"""The verb that states what a NIR file means: nir-annotate."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from chipsim import reads_writes, terminal
from chipsim.errors import UsageError
from qsnnc.cli.nir_options import with_nir
from qsnnc.cli.options import model_input
from qsnnc.nir.options import NirOptions


@with_nir
def nir_annotate(
    file: Annotated[str, typer.Argument(metavar="NET.nir", help="The NIR file.")],
    out: Annotated[str, typer.Option("-o", metavar="OUT.nir|-", help="The annotated copy to write.")],
    nir: NirOptions,
    node: Annotated[
        str | None, typer.Option("--node", metavar="NAME", help="Annotate one node (OUTER/INNER in a nested graph).")
    ] = None,
) -> None:
    """Write a copy of a NIR file whose metadata says what the file means; nothing else in it changes.

    Every option becomes a key (docs/nir.md lists them), which qsnnc compile then reads.

    Example: qsnnc nir-annotate net.nir --semantics snntorch --steps 16 --input spikes -o stated.nir
    """
    from pathlib import Path

    from qsnnc.nir.annotating import annotate

    reads_writes.check([model_input(file)], {"-o": out})
    given = {name: value for name, value in asdict(nir).items() if name != "settings"} | asdict(nir.settings)
    keys = {name: str(value) for name, value in given.items() if value not in (None, {})}
    for option in ("weight_bits", "tolerance"):
        if option in keys:
            name = "--" + option.replace("_", "-")
            raise UsageError(
                name, "is no property of a file; give it to qsnnc compile", code="option-unused", found=keys[option]
            )
    if not keys:
        raise UsageError(
            "nir-annotate", "needs at least one option that says something of the file", code="options-conflict"
        )
    terminal.write_output(out, annotate(Path(file), keys, node))
