"""Verbs that draw: plot, trace."""

from __future__ import annotations

from typing import Annotated

import typer

from chipsim import terminal
from chipsim.cli.options import DataDir, DatasetName, MapFile, Quiet, Split


def plot(
    kind: Annotated[
        str,
        typer.Argument(metavar="map|links|ticks|sparsity|sops|accuracy|faults|saturation", help="Which figure."),
    ],
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RESULT.json...",
            help="Of chipsim run --json, or a results table; for faults of chipsim sweep --json; none for saturation.",
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE.png|.svg|.pdf", help="Where to draw; KIND.png without it.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="With faults: the authors' four-spike network with noise beside.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Draw a run's chip, or our networks beside the published figures, or what faults do; needs matplotlib.

    map: the cores by SOPs; links: the network's links by flits; ticks: what the cycles are spent on (both need --timing).

    sparsity, sops, accuracy: one or more results beside the published figures; faults: accuracy against fault rate.

    saturation: what an 8x8 network accepts, and how long packets take, against what it is offered.

    Example: chipsim plot sops results/results.json -o sops.svg
    """
    import sys

    from chipsim.report import figures, plots

    target, given = output or f"{kind}.png", files or []
    figures.check(kind, given, target, published)
    terminal.check_products({"--output": target}, *given)
    terminal.write_output(target, figures.draw(kind, given, plots.suffix(target), published=published))
    if not quiet and target != "-":
        print(f"{target}: {kind}" + (f" of {', '.join(given)}" if given else ""), file=sys.stderr)  # noqa: T201


def trace(
    file: MapFile,
    dataset: DatasetName,
    output: Annotated[
        str,
        typer.Option("-o", "--output", metavar="FILE.perfetto-trace|.pftrace|.vcd", help="What to write, by its suffix."),
    ],
    image: Annotated[int, typer.Option(metavar="N", help="Number of the image in the data set, from 0.")] = 0,
    split: Split = "test",
    data_dir: DataDir = None,
    mode: Annotated[str, typer.Option(metavar="cycle|ideal", help="As --timing of chipsim run.")] = "cycle",
    packets: Annotated[
        int | None, typer.Option(metavar="N", help="Packets that a Perfetto trace shows one by one; 5000.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write what happens in one frame, cycle by cycle: for ui.perfetto.dev or a waveform viewer; 1 ns is 1 cycle.

    Example: chipsim trace lenet.map --dataset digits --image 3 -o frame.pftrace
    """
    import sys

    from chipsim.report import trace as traces
    from chipsim.timing.history import check_mode, history

    write = traces.writer(output, packets)
    check_mode(mode)
    terminal.check_products({"--output": output}, file, dataset)
    found = history(file, dataset, image=image, mode=mode, split=split, data_dir=data_dir)
    terminal.write_output(output, write(found))
    if not quiet and output != "-":
        print(  # noqa: T201
            f"{output}: image {image}, {found.cycles:,} cycles in {len(found.frame.ticks)} ticks, "
            f"{len(found.packets.sent):,} packets; 1 ns = 1 cycle",
            file=sys.stderr,
        )
