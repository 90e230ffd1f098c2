"""The verbs area, network and data, which execute no mapping."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from chipsim import ranges, reads_writes, terminal
from chipsim.cli.options import DataDir, MapFile, Quiet, Split, options
from chipsim.command_options import Json
from chipsim.numbers import real, whole


def area(file: MapFile, json: Json = None, quiet: Quiet = False) -> None:
    """Report memory per core, how much of it a mapping uses, and which resource is the bottleneck.

    Example: chipsim area lenet.map --json area.json
    """
    from chipsim.report import area as area_tables
    from chipsim.timing.area import area as measure

    reads_writes.check([reads_writes.mapping(file)], {"--json": json})
    found = measure(file)
    if json:
        terminal.write_json(json, found.to_json())
    if not quiet and json != "-":
        terminal.show(*area_tables.summary(found))


@dataclass(frozen=True, kw_only=True)
class NetworkFlags:
    """The options of ``chipsim network``: the parameters of `chipsim.network`."""

    mesh: Annotated[
        str | None,
        typer.Option(metavar="COLUMNSxROWS", help="Size of the mesh.", show_default="the chip's grid, or 8x8"),
    ] = None
    traffic: Annotated[
        str,
        typer.Option(
            metavar="uniform|all-pairs|transpose|complement|FILE.csv", help="Traffic pattern, or a file of packets."
        ),
    ] = "uniform"
    buffer: Annotated[int | None, whole("Flits that each FIFO holds.", "--buffer", most=ranges.FLITS, show_default="4")] = (
        None
    )
    rate: Annotated[
        float | None,
        real(
            "Packets per node and cycle; 0 sends the packets of other patterns than uniform one at a time.",
            "--rate",
            least=0,
            most=1,
            metavar="R",
            show_default="uniform: 0.1, others: 1",
        ),
    ] = None
    cycles: Annotated[
        int | None,
        whole(
            "Cycles measured under uniform traffic.", "--cycles", most=ranges.CYCLES, show_default="640000/nodes, >= 1000"
        ),
    ] = None
    warmup: Annotated[
        int | None,
        whole("Cycles before the measurement.", "--warmup", least=0, most=ranges.CYCLES, show_default="a fifth of --cycles"),
    ] = None
    seed: Annotated[int, whole("Seed of uniform traffic.", "--seed", least=0, most=ranges.SEED)] = 0
    router_cycles: Annotated[
        int | None, whole("Cycles in a router.", "--router-cycles", most=ranges.STEP_CYCLES, show_default="2")
    ] = None
    link_cycles: Annotated[
        int | None, whole("Cycles on a link.", "--link-cycles", least=0, most=ranges.STEP_CYCLES, show_default="1")
    ] = None
    credit_cycles: Annotated[
        int | None,
        whole("Cycles until a freed slot is known upstream.", "--credit-cycles", most=ranges.STEP_CYCLES, show_default="1"),
    ] = None
    chip: Annotated[
        str | None, typer.Option(metavar="NAME|FILE.yaml", help="Take the grid and the network's parameters from a chip.")
    ] = None
    multicast: Annotated[
        bool,
        typer.Option(
            "--multicast",
            help="Merge packets that a source of FILE.csv creates in the same cycle into one multicast packet.",
        ),
    ] = False


@options
def network(flags: NetworkFlags, json: Json = None, quiet: Quiet = False) -> None:
    """Simulate the on-chip network under synthetic traffic, or under packets from a file.

    FILE.csv has one packet per line: source_x,source_y,destination_x,destination_y,cycle

    Example: chipsim network --mesh 8x8 --buffer 4 --traffic uniform --rate 1 --json -
    """
    from chipsim.report.network import summary
    from chipsim.timing.network.alone import network as simulate

    packets = [reads_writes.Input(flags.traffic, "network-file")] if flags.traffic.lower().endswith(".csv") else []
    reads_writes.check([*packets, *reads_writes.chip(flags.chip)], {"--json": json})
    with terminal.progress("packets", quiet) as report:
        result = simulate(**asdict(flags), progress=report)
    if json:
        terminal.write_json(json, result.to_json())
    if not quiet and json != "-":
        terminal.show(summary(result))


def data(
    name: Annotated[str, typer.Argument(metavar="mnist|digits", help="Data set.")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="FILE.npz", help="File to write.")],
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
        raise UsageError(
            "NAME", f"unknown data set {name!r}; expected {' or '.join(NAMES)}", code="dataset-unknown", found=name
        )
    reads_writes.check(reads_writes.dataset(name, split, data_dir, "NAME"), {"--output": output})
    dataset = load_dataset(name, split, data_dir)  # type: ignore[arg-type]  # checked there
    terminal.write_output(output, to_npz(dataset))
    if not quiet:
        print(f"{output}: {len(dataset):,} images of {name} ({split})", file=sys.stderr)  # noqa: T201
