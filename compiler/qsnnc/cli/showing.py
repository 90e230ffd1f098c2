"""The verbs that show what is there: inspect, export, chips."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from chipsim import reads_writes, terminal
from chipsim.command_options import Json
from chipsim.errors import UsageError
from chipsim.numbers import whole


def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE.map|FILE.paicore", help="The mapping.")],
    layer: Annotated[str | None, typer.Option(metavar="NAME", help="Show only the cores of this layer.")] = None,
    core: Annotated[
        int | None, whole("Show one core, with its weights and targets.", "--core", least=0, metavar="ID")
    ] = None,
    yaml: Annotated[bool, typer.Option("--yaml", help="Print YAML.")] = False,
    json: Json = None,
) -> None:
    """Show what a mapping contains: its layers, its cores, or one core in full.

    Example: qsnnc inspect lenet.map --core 7 --yaml
    """
    from qsnnc.explain.inspect import inspect as describe

    if layer is not None and core is not None:
        raise UsageError("--layer", "cannot be combined with --core; choose one", code="options-conflict")
    if yaml and json == "-":
        raise UsageError("--yaml", "cannot be combined with --json -; choose one", code="options-conflict")
    reads_writes.check([reads_writes.mapping(file)], {"--json": json})
    found = describe(file, layer=layer, core=core)
    if json:
        terminal.write_json(json, found)
    if yaml:
        from chipsim.mapping.write import to_yaml

        terminal.write_output("-", to_yaml(found).encode())
    elif json != "-":
        from qsnnc.explain import paicore, tables

        drawn: Any = paicore if found["format"].startswith("qsnnc-paicore") else tables
        totals = found["totals"]
        rest = len(found["cores"]) - 20
        terminal.show(
            drawn.layer_table(found["layers"]), "", ", ".join(f"{name} {value:,}" for name, value in totals.items()), "",
            drawn.core_table(found["cores"]),
            *([f"and {rest:,} more cores; --yaml or --json shows all"] if rest > 0 else []),
        )  # fmt: skip


def export(
    file: Annotated[
        str, typer.Argument(metavar="FILE.paicore|FILE.map", help="A network on a PAICORE 2.5, or on another chip.")
    ],
    words: Annotated[
        str | None, typer.Option("--words", metavar="OUT.bin|-", help="The configuration words of a PAICORE 2.5.")
    ] = None,
    nir: Annotated[str | None, typer.Option("--nir", metavar="OUT.nir|-", help="The integer network as NIR.")] = None,
) -> None:
    """Write what a chip loads, or the integer network as NIR.

    --words: the configuration words in load order, 64 bits each, little-endian. --nir: integer weights with metadata that
    says what the neurons mean; compiled again it gives the same mapping.

    Example: qsnnc export lenet.paicore --words lenet.bin, or qsnnc export net.map --nir net.nir
    """
    if (words is None) == (nir is None):
        raise UsageError("export", "needs one of --words and --nir", code="options-conflict")
    reads_writes.check([reads_writes.mapping(file)], {"--words": words, "--nir": nir})
    if words is not None:
        from chipsim.paicore import read_program

        terminal.write_output(words, read_program(file).words.astype("<u8").tobytes())
        return
    from qsnnc.nir.exporting import export_mapping

    terminal.write_output(str(nir), export_mapping(file))


def chips(
    name: Annotated[str | None, typer.Argument(metavar="NAME|FILE.yaml", help="A preset or a chip YAML.")] = None,
    yaml: Annotated[bool, typer.Option("--yaml", help="Print all keys as YAML.")] = False,
) -> None:
    """List the chips, or show one with the source of each number.

    Example: qsnnc chips xbar1152 --yaml
    """
    from chipsim.chip import load_any_chip, preset_names

    reads_writes.check(reads_writes.chip(name, "NAME"), {})
    chosen = [load_any_chip(each) for each in (preset_names() if name is None else [name])]
    if yaml:
        from chipsim.mapping.write import to_yaml

        values = [chip.model_dump(mode="json") for chip in chosen]
        terminal.write_output("-", to_yaml(values if name is None else values[0]).encode())
        return
    from qsnnc.explain.chips import chip_tables

    terminal.show(*chip_tables(chosen, detailed=name is not None))
