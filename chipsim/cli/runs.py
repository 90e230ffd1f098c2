"""Verbs that run a data set through a mapping: run, compare, sweep."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chipsim import terminal
from chipsim.cli.options import DatasetName, Json, MapFile, Published, Quiet, options
from chipsim.errors import UsageError
from chipsim.options import DataOptions, EngineOptions, RunOptions

if TYPE_CHECKING:
    from chipsim.engine.run import RunResult
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
    typer.Option(
        "--timing-limit",
        "--timing-images",
        metavar="N",
        help="Time at most N images, spaced evenly over the data set.",
        show_default="200",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Products:
    """The files that a run writes, ``-`` for standard output."""

    json: Json = None
    per_core: Annotated[str | None, typer.Option(metavar="FILE.csv", help="Write one row per core.")] = None
    per_image: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.npz",
            help="Write spikes, SOPs and axon events of each core for each image; with --timing also cycles and energy.",
        ),
    ] = None
    outputs: Annotated[str | None, typer.Option(metavar="FILE.npz", help="Write predictions, scores and potentials.")] = None
    logs: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Write accuracy.txt, spike_num.txt and sop_num.txt there, one number per batch of 200 images.",
        ),
    ] = None

    def check(self, *inputs: str | None) -> None:
        """Refuse files that cannot be written, before the work starts."""
        files = {"--json": self.json, "--per-core": self.per_core, "--per-image": self.per_image, "--outputs": self.outputs}
        terminal.check_products(files, *inputs)

    def write(self, result: RunResult, profile: Profile | None, value: dict[str, Any]) -> None:
        """Write each file that was asked for."""
        from chipsim.report import logs, tables

        if self.logs:
            logs.write(result, self.logs)
        if self.per_core:
            terminal.write_output(self.per_core, tables.per_core_csv(result))
        if self.per_image:
            terminal.write_stream(self.per_image, lambda out: tables.write_per_image(result, out, profile))
        if self.outputs:
            terminal.write_stream(self.outputs, lambda out: tables.write_outputs(result, out))
        if self.json:
            terminal.write_json(self.json, value)


@options
def run(
    file: MapFile,
    dataset: DatasetName,
    given: RunOptions,
    products: Products,
    timing: Timing = None,
    timing_limit: TimingLimit = None,
    quiet: Quiet = False,
) -> None:
    """Run a data set through a mapping and count spikes and synaptic operations (SOPs).

    Example: chipsim run lenet.map --dataset mnist --json result.json --per-core cores.csv
    """
    from chipsim.engine.run import execute
    from chipsim.engine.setup import open_dataset, set_up
    from chipsim.report import logs, tables

    products.check(file, dataset, given.faults, given.avoid)  # type: ignore[arg-type]  # paths, on a command line
    sample = _sample(timing, timing_limit)
    setup = set_up(file, given)
    if sample:
        from chipsim.timing.profile import planned

        plan = planned(setup)  # a chip that cannot be timed is refused before the run
    images = open_dataset(dataset, given)
    if products.logs:
        logs.check(products.logs, images)
    with terminal.progress("images", quiet) as report:
        result = execute(setup, images, given, per_image=bool(products.logs or products.per_image), progress=report)
    value, lines, found = result.to_json(), tables.summary(result), None
    if sample:
        from chipsim.report import timing as timing_tables
        from chipsim.timing.keys import profile_json
        from chipsim.timing.profile import measure

        with terminal.progress("frames and pipelined ticks", quiet) as report:
            found = measure(setup, plan, images, given, mode=timing, limit=sample, progress=report)  # type: ignore[arg-type]
        value |= profile_json(found)
        lines += ["", *timing_tables.summary(found)]
    products.write(result, found, value)
    if not quiet and "-" not in astuple(products):
        terminal.show(*lines)


def _sample(timing: str | None, limit: int | None) -> int:
    """Return how many images are timed at most; 0 without --timing."""
    if timing is None and limit is not None:
        raise UsageError("--timing-limit", "needs --timing cycle or --timing ideal", code="timing-unknown")
    if timing in (None, "none"):
        return 0
    from chipsim.timing.profile import SAMPLE, check_timing

    sample = SAMPLE if limit is None else limit
    check_timing(timing, sample)
    return sample


@options
def compare(
    file: MapFile,
    model: Annotated[str, typer.Option(metavar="MODEL.onnx", help="The model that the mapping was compiled from.")],
    dataset: DatasetName,
    given: DataOptions,
    quiet: Quiet = False,
) -> int:
    """Check every level and score of a mapping against the ONNX model. Exits 1 at the first difference.

    Example: chipsim compare lenet.map --model lenet.onnx --dataset digits
    """
    from chipsim.engine.compare import compare as execute

    with terminal.progress("images", quiet) as report:
        found = execute(file, model, dataset, given, progress=report)
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


@options
def sweep(
    file: MapFile,
    fault: Annotated[
        list[str],
        typer.Option(
            metavar="KIND|all", help="Kind of fault, as in a faults file, or noise=LAYER, stuck_axons=1 ...; repeatable."
        ),
    ],
    rates: Annotated[str, typer.Option(metavar="R,R,...", help="Fault rates, 0 to 1.")],
    dataset: DatasetName,
    given: EngineOptions,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Number of seeds for each rate.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="First seed.")] = 0,
    csv: Annotated[str | None, typer.Option(metavar="FILE.csv|-", help="Write fault,rate,seed,accuracy.")] = None,
    json: Json = None,
    plot: Annotated[
        str | None, typer.Option(metavar="FILE.png|.svg|.pdf", help="Plot accuracy against rate; needs matplotlib.")
    ] = None,
    published: Published = False,
    quiet: Quiet = False,
) -> None:
    """Measure accuracy against the rate of faults, over several seeds.

    Example: chipsim sweep lenet.map --fault dead_neurons --rates 0,0.01,0.1 --seeds 5 --dataset digits --csv dead.csv
    """
    from chipsim.engine.sweep import parse_faults, parse_rates
    from chipsim.engine.sweep import sweep as execute
    from chipsim.report import curves, plots

    terminal.check_products({"--csv": csv, "--json": json, "--plot": plot}, file, dataset)
    form = plots.suffix(plot, "--plot") if plot else ""
    if published and not plot:
        raise UsageError("--published", "needs --plot", code="plot-published")
    kinds, shares = parse_faults(fault), parse_rates(rates)
    with terminal.progress("runs", quiet) as report:
        found = execute(file, dataset, kinds, shares, given, seeds=seeds, seed=seed, progress=report)
    if csv:
        terminal.write_output(csv, curves.to_csv(found))
    if json:
        terminal.write_json(json, found.to_json())
    if plot:
        terminal.write_output(plot, curves.draw(found, form, beside=published))
    if not quiet and "-" not in (csv, json, plot):
        terminal.show(curves.table(found))
