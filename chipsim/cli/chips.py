"""Verbs of the hardware and of data, without a run: area, network, data."""

from __future__ import annotations

from typing import Annotated

import typer

from chipsim import terminal
from chipsim.cli.options import DataDir, Json, MapFile, Quiet, Split


def area(file: MapFile, json: Json = None, quiet: Quiet = False) -> None:
    """Say what memory a core has and what of it a mapping uses: crossbar, table, state, ring, FIFOs; and what binds.

    Example: chipsim area lenet.map --json area.json
    """
    from chipsim.report import area as area_tables
    from chipsim.timing.area import area as measure

    terminal.check_products({"--json": json}, file)
    found = measure(file)
    if json:
        terminal.write_json(json, found.to_json())
    if not quiet and json != "-":
        terminal.show(*area_tables.summary(found))


def network(
    mesh: Annotated[str | None, typer.Option(metavar="COLUMNSxROWS", help="Routers; the chip's grid, or 8x8.")] = None,
    traffic: Annotated[
        str, typer.Option(metavar="uniform|all-pairs|transpose|complement|FILE.csv", help="Who sends to whom.")
    ] = "uniform",
    buffer: Annotated[int | None, typer.Option(help="Flits of each FIFO; 4.")] = None,
    rate: Annotated[
        float | None, typer.Option(help="Packets a node and cycle (uniform: 0.1, others: 1); 0: others one at a time.")
    ] = None,
    cycles: Annotated[int | None, typer.Option(help="Cycles measured, uniform; 640000/nodes, 1000 or more.")] = None,
    warmup: Annotated[int | None, typer.Option(help="Cycles before them; a fifth.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of uniform traffic.")] = 0,
    router_cycles: Annotated[int | None, typer.Option(help="Cycles in a router; 2.")] = None,
    link_cycles: Annotated[int | None, typer.Option(help="Cycles on a link; 1.")] = None,
    credit_cycles: Annotated[int | None, typer.Option(help="Cycles until a freed slot is known upstream; 1.")] = None,
    chip: Annotated[str | None, typer.Option(metavar="NAME|FILE.yaml", help="Take grid and constants of a chip.")] = None,
    multicast: Annotated[
        bool, typer.Option("--multicast", help="Packets of a file that a source creates in one cycle are one, which forks.")
    ] = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Simulate the network on chip alone. FILE.csv: source_x,source_y,destination_x,destination_y,cycle, a packet a line.

    Example: chipsim network --mesh 8x8 --buffer 4 --traffic uniform --rate 1 --json -
    """
    from chipsim.report.network import summary
    from chipsim.timing.network.alone import network as simulate

    terminal.check_products({"--json": json}, traffic, chip)
    result = simulate(
        mesh, traffic, buffer=buffer, rate=rate, cycles=cycles, warmup=warmup, seed=seed, chip=chip,
        router_cycles=router_cycles, link_cycles=link_cycles, credit_cycles=credit_cycles, multicast=multicast,
    )  # fmt: skip
    if json:
        terminal.write_json(json, result.to_json())
    if not quiet and json != "-":
        terminal.show(summary(result))


def data(
    name: Annotated[str, typer.Argument(metavar="mnist|digits", help="The data set.")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE.npz", help="Where to write it.")],
    split: Split = "test",
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Write a data set as an npz file of uint8 pixels.

    Example: chipsim data digits --split train -o digits.npz
    """
    import sys

    from chipsim.datasets import NAMES, load_dataset, to_npz
    from chipsim.errors import UsageError

    if name not in NAMES:
        raise UsageError("NAME", f"{name!r} is no data set; allowed: {', '.join(NAMES)}", code="dataset-unknown", found=name)
    terminal.check_products({"--output": output})
    dataset = load_dataset(name, split, data_dir)
    terminal.write_output(output, to_npz(dataset))
    if not quiet:
        print(f"{output}: {len(dataset):,} images of {name} ({split})", file=sys.stderr)  # noqa: T201
