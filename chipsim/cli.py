"""The command ``chipsim``: run a mapping, hold it against its model, fetch data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from chipsim import terminal

if TYPE_CHECKING:
    from chipsim.datasets import Dataset
    from chipsim.mapping import Mapping

app = typer.Typer(
    name="chipsim", no_args_is_help=True, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Execute a mapping of crossbar cores, spike by spike.\n\nExample: chipsim run lenet.map --dataset digits",
)  # fmt: skip

MapFile = Annotated[str, typer.Argument(metavar="FILE.map", help="A mapping, as qsnnc compile writes it.")]
DatasetName = Annotated[str, typer.Option("--dataset", help="mnist, digits or a file FILE.npz with images (and labels).")]
Split = Annotated[str, typer.Option(help="test or train.")]
DataDir = Annotated[str | None, typer.Option(help="Directory of the four MNIST files.")]
Limit = Annotated[int | None, typer.Option(help="Use only the first N images.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no summary.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        print(f"chipsim {metadata.version('qsnnc')}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
    quiet: Quiet = False,
) -> None:
    if quiet:  # before or after the verb
        context.default_map = {verb: {"quiet": True} for verb in context.command.commands}  # type: ignore[attr-defined]


@app.command()
def run(
    file: MapFile,
    dataset: DatasetName,
    split: Split = "test",
    data_dir: DataDir = None,
    limit: Limit = None,
    threads: Annotated[int | None, typer.Option(help="Threads; all processors by default.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images at a time; changes no result.")] = None,
    engine: Annotated[
        str, typer.Option(metavar="fast|reference", help="Which engine; both give the same results.")
    ] = "fast",
    noise: Annotated[float, typer.Option(help="Probability with which each encoder spike is lost.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the noise, and of faults whose rate has none.")] = 0,
    faults: Annotated[
        str | None, typer.Option(metavar="FILE.yaml", help="What is broken on the chip, unknown to the mapping.")
    ] = None,
    avoid: Annotated[
        str | None,
        typer.Option(metavar="FILE.yaml", help="Dead cores and links: refuse a mapping that does not avoid them."),
    ] = None,
    timing: Annotated[
        str,
        typer.Option(
            metavar="none|ideal|cycle",
            help="Cycles and energy of a sample; ideal: packets do not meet. Changes no other result.",
        ),
    ] = "none",
    timing_images: Annotated[int, typer.Option(metavar="N", help="Size of that sample, spread over the data set.")] = 200,
    json: Json = None,
    per_core: Annotated[str | None, typer.Option(metavar="FILE.csv", help="Write one row a core.")] = None,
    per_image: Annotated[
        str | None, typer.Option(metavar="FILE.npz", help="Write spikes, SOPs and axon events of each core for each image.")
    ] = None,
    outputs: Annotated[str | None, typer.Option(metavar="FILE.npz", help="Write predictions, scores, potentials.")] = None,
    logs: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Write accuracy.txt, spike_num.txt and sop_num.txt there: a number a batch of 200 images."
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Run a data set through a mapping and count spikes and synaptic operations.

    Example: chipsim run lenet.map --dataset mnist --json result.json --per-core cores.csv
    """
    from chipsim.engine.run import check_options, open_dataset, open_mapping
    from chipsim.engine.run import run as execute
    from chipsim.files import check_writable
    from chipsim.report import logs as log_files
    from chipsim.report import tables

    terminal.one_stdout(json, per_core, per_image, outputs)
    check_options(threads, batch, noise, seed)
    for path in (json, per_core, per_image, outputs):
        check_writable(path)
    images: str | Dataset = dataset
    mapping: str | Mapping = file
    timed = timing != "none"
    if timed:
        from chipsim.timing.plan import plan
        from chipsim.timing.profile import check_faults, check_timing, profile

        check_timing(timing, timing_images)
        mapping = open_mapping(file, avoid)
        plan(mapping)  # a chip that cannot be timed is refused before the run
        check_faults(mapping, faults)
    if logs or timed:
        images = loaded = open_dataset(dataset, split, data_dir, limit)
        if logs:
            log_files.check(logs, loaded)
    with terminal.progress("images", quiet) as report:
        result = execute(
            mapping,
            images,
            split=split,
            data_dir=data_dir,
            limit=limit,
            threads=threads,
            batch=batch,
            noise=noise,
            seed=seed,
            per_image=logs is not None or per_image is not None,
            engine=engine,
            faults=faults,
            avoid=avoid,
            progress=report,
        )
    value, lines = result.to_json(), tables.summary(result)
    if timed:
        from chipsim.report import timing as timing_tables

        with terminal.progress("frames and ticks of a stream", quiet) as report:
            found = profile(
                mapping, images, mode=timing, images=timing_images, threads=threads, batch=batch, noise=noise, seed=seed,
                faults=faults, progress=report,
            )  # fmt: skip
        value |= found.to_json()
        lines += ["", *timing_tables.summary(found)]
    if logs:
        log_files.write(result, logs)
    if per_core:
        terminal.write_output(per_core, tables.per_core_csv(result))
    if per_image:
        terminal.write_stream(per_image, lambda file: tables.write_per_image(result, file))
    if outputs:
        terminal.write_stream(outputs, lambda file: tables.write_outputs(result, file))
    if json:
        terminal.write_json(json, value)
    if not quiet and "-" not in (json, per_core, per_image, outputs):
        terminal.show(*lines)


@app.command()
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

    from chipsim.files import check_writable
    from chipsim.report import trace as traces
    from chipsim.timing.history import check_mode, history

    write = traces.writer(output, packets)
    check_mode(mode)
    check_writable(output)
    found = history(file, dataset, image=image, mode=mode, split=split, data_dir=data_dir)
    terminal.write_output(output, write(found))
    if not quiet and output != "-":
        print(  # noqa: T201
            f"{output}: image {image}, {found.cycles:,} cycles in {len(found.frame.ticks)} ticks, "
            f"{len(found.packets.sent):,} packets; 1 ns = 1 cycle",
            file=sys.stderr,
        )


@app.command()
def area(file: MapFile, json: Json = None, quiet: Quiet = False) -> None:
    """Say what memory a core has and what of it a mapping uses: crossbar, tables, state, axons; and what binds.

    Example: chipsim area lenet.map --json area.json
    """
    from chipsim.files import check_writable
    from chipsim.report import area as area_tables
    from chipsim.timing.area import area as measure

    check_writable(json)
    found = measure(file)
    if json:
        terminal.write_json(json, found.to_json())
    if not quiet and json != "-":
        terminal.show(*area_tables.summary(found))


@app.command()
def compare(
    file: MapFile,
    model: Annotated[str, typer.Option(metavar="MODEL.onnx", help="The model that was compiled.")],
    dataset: DatasetName,
    split: Split = "test",
    data_dir: DataDir = None,
    limit: Limit = None,
    quiet: Quiet = False,
) -> int:
    """Compare every level and score with the ONNX model; exit code 1 if one differs.

    Example: chipsim compare lenet.map --model lenet.onnx --dataset digits
    """
    from chipsim.engine.compare import compare as hold

    with terminal.progress("images", quiet) as report:
        found = hold(file, model, dataset, split=split, data_dir=data_dir, limit=limit, progress=report)
    if found.difference is not None:
        print(found.difference)  # noqa: T201
        return 1
    if not quiet:
        print(  # noqa: T201
            f"equal: {found.images:,} images, {found.values:,} levels and scores ({', '.join(found.populations)}, scores); "
            f"largest difference of a score {found.largest_score_error:g}"
        )
    return 0


@app.command()
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
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Simulate the network on chip alone. FILE.csv: source_x,source_y,destination_x,destination_y,cycle, a packet a line.

    Example: chipsim network --mesh 8x8 --buffer 4 --traffic uniform --rate 1 --json -
    """
    from chipsim.files import check_writable
    from chipsim.report.network import summary
    from chipsim.timing.network.alone import network as simulate

    check_writable(json)
    result = simulate(
        mesh, traffic, buffer=buffer, rate=rate, cycles=cycles, warmup=warmup, seed=seed, chip=chip,
        router_cycles=router_cycles, link_cycles=link_cycles, credit_cycles=credit_cycles,
    )  # fmt: skip
    if json:
        terminal.write_json(json, result.to_json())
    if not quiet and json != "-":
        terminal.show(summary(result))


@app.command()
def sweep(
    file: MapFile,
    fault: Annotated[
        list[str],
        typer.Option(metavar="KIND|all", help="A kind of a faults file, noise=LAYER, stuck_axons=1 ... Repeatable."),
    ],
    rates: Annotated[str, typer.Option(metavar="R,R,...", help="Rates from 0 to 1.")],
    dataset: DatasetName,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="The first of them.")] = 0,
    split: Split = "test",
    data_dir: DataDir = None,
    limit: Limit = None,
    threads: Annotated[int | None, typer.Option(help="Threads; all processors by default.")] = None,
    engine: Annotated[
        str, typer.Option(metavar="fast|reference", help="Which engine; both give the same results.")
    ] = "fast",
    csv: Annotated[str | None, typer.Option(metavar="FILE.csv|-", help="Write fault,rate,seed,accuracy.")] = None,
    json: Json = None,
    plot: Annotated[
        str | None, typer.Option(metavar="FILE.png|.svg|.pdf", help="Draw accuracy against rate; needs matplotlib.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Draw the authors' four-spike network with noise beside.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Break a chip at growing rates: accuracy, mean and spread over seeds.

    Example: chipsim sweep lenet.map --fault dead_neurons --rates 0,0.01,0.1 --seeds 5 --dataset digits --csv dead.csv
    """
    from chipsim.engine.sweep import parse_faults, parse_rates
    from chipsim.engine.sweep import sweep as execute
    from chipsim.files import check_writable
    from chipsim.report import curves, plots

    terminal.one_stdout(csv, json, plot)
    form = plots.suffix(plot, "--plot") if plot else ""
    for path in (csv, json, plot):
        check_writable(path)
    kinds, shares = parse_faults(fault), parse_rates(rates)
    with terminal.progress("runs", quiet) as report:
        found = execute(
            file,
            dataset,
            kinds,
            shares,
            seeds=seeds,
            seed=seed,
            split=split,
            data_dir=data_dir,
            limit=limit,
            threads=threads,
            engine=engine,
            progress=report,
        )
    if csv:
        terminal.write_output(csv, curves.to_csv(found))
    if json:
        terminal.write_json(json, found.to_json())
    if plot:
        terminal.write_output(plot, curves.draw(found, form, beside=published))
    if not quiet and "-" not in (csv, json, plot):
        terminal.show(curves.table(found))


@app.command()
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

    from chipsim.files import check_writable
    from chipsim.report import figures, plots

    target, given = output or f"{kind}.png", files or []
    figures.check(kind, given, target)
    check_writable(target)
    terminal.write_output(target, figures.draw(kind, given, plots.suffix(target), published=published))
    if not quiet and target != "-":
        print(f"{target}: {kind}{f' of {len(given)} files' if given else ''}", file=sys.stderr)  # noqa: T201


@app.command()
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
    from chipsim.files import check_writable

    if name not in NAMES:
        raise UsageError("NAME", f"{name!r} is no data set; allowed: {', '.join(NAMES)}", code="dataset-unknown", found=name)
    check_writable(output)
    dataset = load_dataset(name, split, data_dir)
    terminal.write_output(output, to_npz(dataset))
    if not quiet:
        print(f"{output}: {len(dataset):,} images of {name} ({split})", file=sys.stderr)  # noqa: T201


def main() -> NoReturn:
    """Entry point."""
    terminal.run_app(app, "chipsim")
