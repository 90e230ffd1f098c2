"""Verbs that run a data set through a mapping: run, compare, sweep."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import astuple, replace
from typing import TYPE_CHECKING, Annotated

import typer

from chipsim import ranges, reads_writes, terminal
from chipsim.cli import paicore
from chipsim.cli.options import Cluster, DatasetName, MapFile, Published, Quiet, Resume, Verbose, options
from chipsim.cli.products import Products
from chipsim.command_options import Json
from chipsim.errors import UsageError
from chipsim.numbers import whole
from chipsim.options import FAULTS, DataOptions, EngineOptions, RunOptions

if TYPE_CHECKING:
    from chipsim.cluster import Address
    from chipsim.datasets import Dataset
    from chipsim.engine.part import Wanted
    from chipsim.engine.result import RunResult
    from chipsim.engine.setup import Setup
    from chipsim.tasks import Outcome
    from chipsim.timing.result import Profile

Timing = Annotated[
    str | None,
    typer.Option(
        metavar="none|ideal|cycle",
        help="Simulate cycles and energy of a sample of the images; ideal ignores contention between packets. "
        "Changes no other result.",
        show_default="none",
    ),
]
TimingLimit = Annotated[
    int | None,
    whole(
        "Time at most N images, spaced evenly over the data set.", "--timing-limit", "--timing-images", show_default="200"
    ),
]


@options
def run(
    file: MapFile,
    dataset: DatasetName,
    given: RunOptions,
    products: Products,
    timing: Timing = None,
    timing_limit: TimingLimit = None,
    cluster: Cluster = None,
    resume: Resume = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Run a data set through a .map or a .paicore and count spikes and synaptic operations (SOPs).

    Exits 1 if some images could not be run because a part ended every worker of the cluster.

    Example: chipsim run lenet.map --dataset mnist --json result.json --per-core cores.csv
    """
    from chipsim.cluster import expect, parse_address
    from chipsim.engine.part import Wanted
    from chipsim.engine.run import execute, with_origin
    from chipsim.engine.setup import open_dataset, set_up
    from chipsim.paicore.kind import is_program
    from chipsim.report import logs

    program = is_program(file)
    if program:
        paicore.refuse(given, products, timing, timing_limit, cluster, resume)
    where = None if cluster is None else parse_address(cluster)
    reads = [
        reads_writes.mapping(file),
        *reads_writes.dataset(dataset, given.split, given.data_dir),
        *reads_writes.listed(given.faults, "file-unreadable"),
        *reads_writes.listed(given.avoid, "file-unreadable"),
    ]
    sample = _sample(timing, timing_limit)
    reads_writes.check(reads, products.declared())
    if program:
        paicore.run(file, dataset, given, products, verbose=verbose, quiet=quiet)
        return 0
    expect(where, given.threads or 1, "chipsim.engine.shards")
    setup = set_up(file, given)
    if sample:
        from chipsim.timing.profile import planned

        plan = planned(setup)  # a chip that cannot be timed is refused before the run
    images = open_dataset(dataset, given)
    if products.logs:
        logs.check_labels(images)
    wanted = Wanted(bool(products.logs or products.per_image), products.trains)
    with terminal.progress("images", quiet) as report:
        if where is not None or resume is not None:
            result = _in_shards(file, dataset, setup, images, given, wanted, where, resume, report)
        else:
            result = execute(setup, images, given, per_image=wanted.per_image, trains=wanted.trains, progress=report)
    result = with_origin(result, file, dataset, images, given)
    value, found = result.to_json(), None
    if sample:
        from chipsim.timing.keys import profile_json
        from chipsim.timing.profile import measure

        with terminal.progress("frames and pipelined ticks", quiet) as report:
            found = measure(setup, plan, images, given, mode=timing, limit=sample, progress=report)  # type: ignore[arg-type]
        value |= profile_json(found)
    products.write(result, found, value)
    if not quiet and "-" not in astuple(products):
        _show(result, file, found, verbose)
    return 1 if result.missing_images else 0


def _in_shards(
    file: str, dataset: str, setup: Setup, images: Dataset, given: RunOptions, wanted: Wanted, cluster: Address | None,
    resume: str | None, report: Callable[[int, int], None] | None,
) -> RunResult:  # fmt: skip
    """Run the images in parts, on a cluster or with results that are kept."""
    from chipsim.cluster import computing
    from chipsim.engine.batches import processors
    from chipsim.engine.setup import check_labels
    from chipsim.engine.shards import preparation, run_in_shards, shards_of
    from chipsim.tasks import aside

    threads = given.threads or (processors() if cluster is None else 1)
    source = dataset if dataset.endswith(".npz") else None
    check_labels(images, math.prod(setup.mapping.output_shape))
    # a large data set is hashed while workers start and load the mapping
    prepared = aside(lambda: shards_of(file, setup, images, source, given, wanted, threads))
    with computing(cluster, resume, threads=threads) as kept:
        kept.begin(preparation(file, given, wanted, threads))
        result, failed = run_in_shards(prepared(), kept, workers=kept.workers, progress=report)
    _report(failed)
    return result


def _report(failed: list[Outcome]) -> None:
    """Name the tasks that have no result."""
    for outcome in failed:
        print(f"{outcome.task.label}: {outcome.failure}; left out of the result", file=sys.stderr)  # noqa: T201


def _show(result: RunResult, file: str, timing: Profile | None, verbose: bool) -> None:
    """Print a run on one screen, or with ``verbose`` everything about it."""
    from chipsim.report import screen, tables
    from chipsim.report import timing as timing_tables

    if verbose:
        terminal.show(*tables.summary(result), *(["", *timing_tables.summary(timing)] if timing else []))
    else:
        terminal.show(screen.run_screen(result, file, timing))


def _sample(timing: str | None, limit: int | None) -> int:
    """Return how many images are timed at most; 0 without --timing."""
    if timing in (None, "none") and limit is not None:
        raise UsageError("--timing-limit", "needs --timing cycle or --timing ideal", code="option-unused")
    if timing in (None, "none"):
        return 0
    from chipsim.timing.profile import SAMPLE, check_timing

    sample = SAMPLE if limit is None else limit
    check_timing(timing, sample)
    return sample


Strict = Annotated[
    bool,
    typer.Option("--strict", help="Exit 1 on any difference, also one that float rounding explains."),
]


@options
def compare(
    file: MapFile,
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL.onnx|TRAINS.npz",
            help="The model that the mapping was compiled from; or spike trains spikes_LAYER (N, steps, ...) of a network "
            "of several steps, which a framework recorded.",
        ),
    ],
    dataset: DatasetName,
    given: DataOptions,
    strict: Strict = False,
    quiet: Quiet = False,
) -> int:
    """Check every level and score of a .map or .paicore against the ONNX model, or every spike against recorded trains.

    Exits 1 at the first difference that float rounding does not explain; with --strict at the first of all.

    Example: chipsim compare lenet.map --model lenet.onnx --dataset digits
    """
    from chipsim.engine.compare import compare as compare_mapping
    from chipsim.engine.paicore.compare import compare_program
    from chipsim.paicore.kind import is_program

    reads = [reads_writes.mapping(file), reads_writes.Input(model, "file-unreadable")]
    reads_writes.check([*reads, *reads_writes.dataset(dataset, given.split, given.data_dir)], {})
    if model.endswith(".npz"):
        if strict:
            raise UsageError("--strict", "has no effect on recorded trains; leave it out", code="option-unused")
        return _compare_trains(file, model, dataset, given, quiet)
    with terminal.progress("images", quiet) as report:
        if is_program(file):
            found = compare_program(file, model, dataset, given, progress=report)
        else:
            found = compare_mapping(file, model, dataset, given, strict=strict, progress=report)
    if found.difference is not None:
        print(found.difference)  # noqa: T201
        return 1
    if not quiet:
        print(found)  # noqa: T201
    return 0


def _compare_trains(file: str, trains: str, dataset: str, given: DataOptions, quiet: bool) -> int:
    from chipsim.engine.compare_trains import compare_trains

    with terminal.progress("images", quiet) as report:
        found = compare_trains(file, trains, dataset, given, progress=report)
    if found.difference is not None:
        print(found.difference)  # noqa: T201
        return 1
    if not quiet:
        names = ", ".join(found.populations)
        print(f"equal: {found.images:,} images, {found.values:,} spikes and silences ({names})")  # noqa: T201
    return 0


@options
def sweep(
    file: MapFile,
    fault: Annotated[
        list[str],
        typer.Option(
            metavar="KIND|all",
            help="Kind of fault, repeatable: " + ", ".join(FAULTS) + "; noise=LAYER for one layer, stuck_axons=0 or =1 and "
            "stuck_synapses=0 or =1 for one value; all: each of them.",
        ),
    ],
    rates: Annotated[
        list[str],
        typer.Option(metavar="[KIND=]R,R,...", help="Fault rates, 0 to 1: of every kind, or of one. Repeatable."),
    ],
    dataset: DatasetName,
    given: EngineOptions,
    seeds: Annotated[int, whole("Number of seeds for each rate.", "--seeds", most=ranges.SEEDS)] = 5,
    seed: Annotated[int, whole("First seed.", "--seed", least=0, most=ranges.SEED)] = 0,
    csv: Annotated[str | None, typer.Option(metavar="FILE.csv|-", help="Write fault,rate,seed,accuracy,made_by.")] = None,
    json: Json = None,
    plot: Annotated[
        str | None, typer.Option(metavar="FILE.png|.svg|.pdf", help="Plot accuracy against rate; needs matplotlib.")
    ] = None,
    published: Published = False,
    cluster: Cluster = None,
    resume: Resume = None,
    quiet: Quiet = False,
) -> int:
    """Measure accuracy against the rate of faults, over several seeds.

    Exits 1 if a run ended every worker of the cluster.

    Example: chipsim sweep lenet.map --fault dead_neurons --rates 0,0.01,0.1 --seeds 5 --dataset digits --csv dead.csv
    """
    from chipsim.cluster import computing, expect, parse_address
    from chipsim.engine.sweep import parse_faults, parse_rates_of
    from chipsim.engine.sweep import sweep as execute
    from chipsim.provenance import line
    from chipsim.report import curves, plots, schema

    form = plots.suffix(plot, "--plot") if plot else ""
    if published and not plot:
        raise UsageError("--published", "needs --plot", code="option-unused")
    kinds = parse_faults(fault)
    shares = parse_rates_of(rates, kinds)
    where = None if cluster is None else parse_address(cluster)
    reads = [reads_writes.mapping(file), *reads_writes.dataset(dataset, given.split, given.data_dir)]
    reads_writes.check(reads, {"--csv": csv, "--json": json, "--plot": plot})
    expect(where, given.threads or 1, "chipsim.engine.sweep")
    with terminal.progress("runs", quiet) as report:
        if where is None and resume is None:
            found = execute(file, dataset, kinds, shares, given, seeds=seeds, seed=seed, progress=report)
        else:
            given = replace(given, threads=given.threads or (None if where is None else 1))
            with computing(where, resume, threads=given.threads or 1) as kept:
                found = execute(file, dataset, kinds, shares, given, seeds=seeds, seed=seed, progress=report, kept=kept)
    for label in found.failed:
        print(f"{label}: ended every worker that ran it; left out of the result", file=sys.stderr)  # noqa: T201
    if csv:
        terminal.write_output(csv, curves.to_csv(found))
    if json:
        value = found.to_json()
        schema.check_written(value, schema.SweepFile)
        terminal.write_json(json, value)
    if plot:
        terminal.write_output(plot, curves.draw(found, form, beside=published))
    if not quiet and "-" not in (csv, json, plot):
        terminal.show(curves.table(found), *(line(each) for each in found.provenance))
    return 1 if found.failed else 0
