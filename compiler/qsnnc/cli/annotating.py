"""The verbs that write a copy of a file with more metadata: annotate for ONNX, nir-annotate for NIR."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from chipsim import reads_writes, terminal
from chipsim.errors import UsageError
from qsnnc.cli.nir_options import with_nir
from qsnnc.cli.options import (
    Chip,
    Encoder,
    Levels,
    Output,
    Quiet,
    ReadingOptions,
    ReadoutPlace,
    WeightBits,
    model_input,
)  # fmt: skip
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


def annotate(
    model: Annotated[str, typer.Argument(metavar="MODEL.onnx", help="The quantized ONNX model.")],
    out: Annotated[str, typer.Option("-o", metavar="OUT.onnx|-", help="The annotated copy to write.")],
    node_data: Annotated[
        str | None,
        typer.Option("--node-data", metavar="FILE.json|-", help="Cores of each node, as node data for Model Explorer."),
    ] = None,
    chip: Chip = "xbar1152",
    output: Output = None,
    levels: Levels = None,
    encoder: Encoder = "host",
    readout: ReadoutPlace = "auto",
    weight_bits: WeightBits = None,
    quiet: Quiet = False,
) -> None:
    """Write a copy of an ONNX model whose nodes say what they take on a chip, for Netron; it computes the same.

    The metadata of a node names its layer, cores, lower bound, levels, exactness and what limits it. If, Loop and Scan are
    replaced by the nodes that they run.

    Example: qsnnc annotate lenet.onnx -o lenet-annotated.onnx --node-data lenet-cores.json
    """
    from pathlib import Path

    from chipsim.onnx_unrolled import shown
    from qsnnc.explain import node_metadata
    from qsnnc.frontend.importer.parse import opened, parse
    from qsnnc.options import CompileOptions
    from qsnnc.pipeline import check
    from qsnnc.reading import nir_path

    given = ReadingOptions(output=output, levels=levels, encoder=encoder, readout=readout, weight_bits=weight_bits)
    options = CompileOptions(**given.keywords())
    reads_writes.check([model_input(model), *reads_writes.chip(chip)], {"-o": out, "--node-data": node_data})
    if nir_path(model, options) is not None:
        raise UsageError("MODEL", "is a NIR file; use qsnnc nir-annotate", code="option-unused", found=model)
    with terminal.watched(quiet=quiet) as tell:
        found = check(model, chip, options, tell)
    proto = shown(parse(*opened(Path(model))))
    terminal.write_output(out, node_metadata.annotated(proto, found).SerializeToString())
    if node_data:
        terminal.write_json(node_data, node_metadata.node_data(proto, found))
