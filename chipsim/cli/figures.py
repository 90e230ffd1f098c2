"""The verbs plot and trace."""

from __future__ import annotations

from typing import Annotated

import typer

from chipsim import reads_writes, terminal
from chipsim.cli.options import DataDir, DatasetName, MapFile, Published, Quiet, Split
from chipsim.numbers import whole


def plot(
    kind: Annotated[
        str,
        typer.Argument(metavar="map|links|ticks|sparsity|sops|accuracy|faults|saturation", help="Figure to draw."),
    ],
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RESULT.json|FILE.map...",
            help="Results of chipsim run --json or a results table; faults: of chipsim sweep --json; saturation: none.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="FILE.png|.svg|.pdf", help="File to write.", show_default="KIND.png"),
    ] = None,
    published: Published = False,
    quiet: Quiet = False,
) -> None:
    """Draw a figure from results; needs matplotlib.

    map: SOPs of each core on the grid; of a .map or .paicore that was not run, its synapses or rows.

    links: flits on each link; ticks: breakdown of the cycles. Both need a run with --timing.

    sparsity, sops, accuracy: results next to the published figures; faults: accuracy against fault rate.

    saturation: accepted traffic and latency against offered traffic, for an 8x8 mesh.

    Example: chipsim plot sops results/results.json -o sops.svg
    """
    import sys

    from chipsim.report import figures, plots

    target, given = output or f"{kind}.png", files or []
    figures.check(kind, given, target, published)
    reads_writes.check([reads_writes.result(path) for path in given], {"--output": target})
    with terminal.progress("meshes", quiet) as report:
        drawn = figures.draw(kind, given, plots.suffix(target), published=published, progress=report)
    terminal.write_output(target, drawn)
    if not quiet and target != "-":
        print(f"{target}: {kind}" + (f" of {', '.join(given)}" if given else ""), file=sys.stderr)  # noqa: T201


def trace(
    file: MapFile,
    dataset: DatasetName,
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE.perfetto-trace|.pftrace|.vcd",
            help="Trace to write; the suffix selects the format.",
        ),
    ],
    image: Annotated[int, whole("Index of the image in the data set.", "--image", least=0)] = 0,
    split: Split = "test",
    data_dir: DataDir = None,
    mode: Annotated[
        str, typer.Option(metavar="cycle|ideal", help="Timing model; ideal ignores contention between packets.")
    ] = "cycle",
    packets: Annotated[
        int | None,
        whole("Packets that a Perfetto trace shows individually.", "--packets", least=0, show_default="5000"),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write a cycle-by-cycle trace of one image, for ui.perfetto.dev or a waveform viewer; 1 ns stands for 1 cycle.

    Example: chipsim trace lenet.map --dataset digits --image 3 -o frame.pftrace
    """
    import sys

    from chipsim.report import trace as traces
    from chipsim.timing.history import history

    write = traces.writer(output, packets)
    reads = [reads_writes.mapping(file), *reads_writes.dataset(dataset, split, data_dir)]
    reads_writes.check(reads, {"--output": output})
    found = history(file, dataset, image=image, mode=mode, split=split, data_dir=data_dir)  # type: ignore[arg-type]  # checked
    terminal.write_output(output, write(found))
    if not quiet and output != "-":
        print(  # noqa: T201
            f"{output}: image {image}, {found.cycles:,} cycles in {len(found.frame.ticks)} ticks, "
            f"{len(found.packets.sent):,} packets; 1 ns = 1 cycle",
            file=sys.stderr,
        )
