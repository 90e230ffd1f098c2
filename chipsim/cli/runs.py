"""Verbs that run a data set through a mapping: run, compare, sweep."""

from __future__ import annotations

from typing import Annotated

import typer

from chipsim import terminal
from chipsim.cli import paicore
from chipsim.cli.options import DataDir, DatasetName, Engine, Json, Limit, MapFile, Quiet, Split, Threads
from chipsim.errors import UsageError
from chipsim.paicore.kind import is_program


def run(
    file: MapFile,
    dataset: DatasetName,
    split: Split = "test",
    data_dir: DataDir = None,
    limit: Limit = None,
    threads: Threads = None,
    batch: Annotated[int | None, typer.Option(help="Images at a time; changes no result.")] = None,
    engine: Engine = "fast",
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
        str | None,
        typer.Option(
            metavar="none|ideal|cycle",
            help="Cycles and energy of a sample; ideal: packets do not meet. Changes no other result.",
        ),
    ] = None,
    timing_images: Annotated[
        int | None, typer.Option(metavar="N", help="Size of that sample, spread over the data set; 200.")
    ] = None,
    json: Json = None,
    per_core: Annotated[str | None, typer.Option(metavar="FILE.csv", help="Write one row a core.")] = None,
    per_image: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.npz", help="Write spikes, SOPs and axon events of each core, and cycles, for each image."
        ),
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
    """Run a data set through a .map or a .paicore and count spikes and synaptic operations.

    Example: chipsim run lenet.map --dataset mnist --json result.json --per-core cores.csv
    """
    from chipsim.engine.engines import check_engine
    from chipsim.engine.run import execute
    from chipsim.engine.setup import check_options, open_dataset, set_up
    from chipsim.report import logs as log_files
    from chipsim.report import tables

    products = {"--json": json, "--per-core": per_core, "--per-image": per_image, "--outputs": outputs}
    terminal.check_products(products, file, dataset, faults, avoid)
    check_options(threads, batch, noise, seed)
    check_engine(engine)
    if is_program(file):
        given = {
            "--faults": faults, "--avoid": avoid, "--timing": timing, "--timing-images": timing_images,
            "--per-image": per_image, "--logs": logs,
        }  # fmt: skip
        paicore.refuse_crossbar_options(given)
        paicore.run(
            file, dataset, products, quiet, split=split, data_dir=data_dir, limit=limit, threads=threads, batch=batch,
            noise=noise, seed=seed, engine=engine,
        )  # fmt: skip
        return
    if timing is None and timing_images is not None:
        raise UsageError("--timing-images", "has a meaning with --timing cycle or ideal; add one", code="timing-unknown")
    mode = "none" if timing is None else timing
    timed = mode != "none"
    if timed:
        from chipsim.timing.profile import SAMPLE, check_timing, measure, planned

        sample = SAMPLE if timing_images is None else timing_images
        check_timing(mode, sample)
    setup = set_up(file, noise=noise, seed=seed, faults=faults, avoid=avoid)
    plan = planned(setup) if timed else None  # a chip that cannot be timed is refused before the run
    images = open_dataset(dataset, split, data_dir, limit)
    if logs:
        log_files.check(logs, images)
    with terminal.progress("images", quiet) as report:
        result = execute(
            setup, images, threads=threads, batch=batch, per_image=bool(logs or per_image), engine=engine, progress=report
        )
    value, lines, found = result.to_json(), tables.summary(result), None
    if plan is not None:
        from chipsim.report import timing as timing_tables

        with terminal.progress("frames and ticks of a stream", quiet) as report:
            found = measure(setup, plan, images, mode=mode, images=sample, threads=threads, batch=batch, progress=report)
        value |= found.to_json()
        lines += ["", *timing_tables.summary(found)]
    if logs:
        log_files.write(result, logs)
    if per_core:
        terminal.write_output(per_core, tables.per_core_csv(result))
    if per_image:
        terminal.write_stream(per_image, lambda out: tables.write_per_image(result, out, found))
    if outputs:
        terminal.write_stream(outputs, lambda out: tables.write_outputs(result, out))
    if json:
        terminal.write_json(json, value)
    if not quiet and "-" not in products.values():
        terminal.show(*lines)


def compare(
    file: MapFile,
    model: Annotated[str, typer.Option(metavar="MODEL.onnx", help="The model that was compiled.")],
    dataset: DatasetName,
    split: Split = "test",
    data_dir: DataDir = None,
    limit: Limit = None,
    quiet: Quiet = False,
) -> int:
    """Compare every level and score of a .map or a .paicore with the ONNX model; exit code 1 if one differs.

    Example: chipsim compare lenet.map --model lenet.onnx --dataset digits
    """
    from chipsim.engine.compare import compare as hold
    from chipsim.engine.paicore.compare import compare_program as hold_program

    with terminal.progress("images", quiet) as report:
        if is_program(file):
            found = hold_program(file, model, dataset, split=split, data_dir=data_dir, limit=limit, progress=report)
        else:
            found = hold(file, model, dataset, split=split, data_dir=data_dir, limit=limit, progress=report)
    if found.difference is not None:
        print(found.difference)  # noqa: T201
        return 1
    if not quiet:
        what = ", ".join([*found.populations, "scores"])
        print(  # noqa: T201
            f"equal: {found.images:,} images, {found.values:,} levels and scores ({what}); "
            f"largest difference of a score {found.largest_score_error:g}"
        )
    return 0


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
    threads: Threads = None,
    engine: Engine = "fast",
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
    from chipsim.report import curves, plots

    terminal.check_products({"--csv": csv, "--json": json, "--plot": plot}, file, dataset)
    form = plots.suffix(plot, "--plot") if plot else ""
    if published and not plot:
        raise UsageError("--published", "has a meaning with --plot only; add it", code="plot-published")
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
