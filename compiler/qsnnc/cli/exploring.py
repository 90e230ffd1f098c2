"""The verb that compiles networks for many chips: explore."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chipsim import paths, reads_writes, terminal
from chipsim.command_options import spread
from chipsim.errors import UsageError
from qsnnc.cli.nir_options import with_nir
from qsnnc.cli.options import DataDir, Quiet, ReadingOptions, model_input
from qsnnc.nir.options import NirOptions

if TYPE_CHECKING:
    from qsnnc.explore.explore import Exploration, Row
    from qsnnc.explore.space import Candidate, Space

Models = Annotated[
    list[str], typer.Argument(metavar="MODEL.onnx|NET.nir...", help="The networks, each of which is compiled for each chip.")
]
SpaceFile = Annotated[
    str, typer.Option("--space", metavar="SPACE.yaml", help="Keys of a chip with their values, and rules.")
]
Folder = Annotated[str, typer.Option("-o", metavar="DIR", help="Where tables, plots and chips are written.")]
Images = Annotated[
    str | None,
    typer.Option(
        "--dataset", metavar="mnist|digits|FILE.npz", help="Measure cycles, energy and links on some of these images."
    ),
]
Split = Annotated[str, typer.Option(metavar="test|train", help="Which part of mnist or digits.")]
Pareto = Annotated[
    str | None,
    typer.Option(
        "--pareto",
        metavar="A,B[,C]",
        help="Figures of the Pareto front.",
        show_default="cores,area_bits; timed: cores,energy_pj",
    ),
]
Smallest = Annotated[
    str | None,
    typer.Option(
        "--smallest",
        metavar="cores|bits",
        help="Only find the smallest chip that holds every network, by bisection over them.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster", metavar="local[:N]|ADDRESS|FILE.json", help="Compute on Dask, as for chipsim run; same tables."
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with an exploration in DIR, and write its tables anew.")
]  # fmt: skip
#: where in DIR the results of tasks are kept
TASKS = "tasks"
#: chips of the front that are printed
SHOWN = 20
PLOTS = ("front.svg", "parallel.svg", "over.svg")
FILES = ("table.csv", "table.json", "pareto.csv", "seconds.csv")


@spread
@with_nir
def explore(
    models: Models,
    space: SpaceFile,
    folder: Folder,
    nir: NirOptions,
    *,
    dataset: Images = None,
    split: Split = "test",
    data_dir: DataDir = None,
    given: ReadingOptions,
    pareto: Pareto = None,
    smallest: Smallest = None,
    cluster: Cluster = None,
    resume: Resume = False,
    quiet: Quiet = False,
) -> int:
    """Compile networks for every chip of a space, and write a table, the Pareto front, plots and the best chips' YAML.

    Exits 1 if a task ended every worker of the cluster, 4 if --smallest finds no chip.

    Example: qsnnc explore lenet.onnx --space space.yaml --dataset digits -o chips --cluster local:2
    """
    from chipsim.cluster import computing, expect, parse_address
    from qsnnc.explore.explore import SIZES, Explorer, model_graph, model_names, timed_images
    from qsnnc.explore.front import parse_figures
    from qsnnc.explore.origin import origin
    from qsnnc.explore.space import TIMED, read_space
    from qsnnc.options import FrontendOptions
    from qsnnc.reading import nir_path

    if smallest is not None and smallest not in SIZES:
        text = f"is {smallest!r}; allowed: {' or '.join(SIZES)}"
        raise UsageError("--smallest", text, code="option-value", found=smallest, allowed=list(SIZES))
    figures = parse_figures(pareto or ("cores,area_bits" if dataset is None else "cores,energy_pj"))
    reading = replace(FrontendOptions(**given.keywords()), nir=nir)
    for path in models:
        nir_path(path, reading)  # options of another kind of file are refused before anything is read
    where = None if cluster is None else parse_address(cluster)
    reads = [*map(model_input, models), reads_writes.Input(space, "file-unreadable")]
    reads += reads_writes.dataset(dataset, split, data_dir)
    reads_writes.check(reads, {"-o": reads_writes.Folder(folder, FILES, parents=True)})
    if not resume and paths.is_folder(paths.join(folder, TASKS)):
        text = f"{folder} holds an exploration; add --resume to go on with it, or choose another directory"
        raise UsageError("-o", text, code="output-twice", found=folder)
    found = read_space(space)
    timed = [name for name in (*found.figures, *figures) if name in TIMED]
    if timed and dataset is None:
        raise UsageError("--dataset", f"is needed for {timed[0]}; name some images", code="options-conflict", found=timed)
    expect(where, 1, "qsnnc.explore.evaluate")
    images = None if dataset is None else timed_images(dataset, found, split, data_dir)
    graphs = tuple((name, model_graph(path, reading)) for name, path in zip(model_names(models), models, strict=True))
    with (
        terminal.progress("tasks", quiet) as report,
        computing(where, paths.join(folder, TASKS)) as kept,
    ):
        explorer = Explorer(graphs, found, images, kept)
        if smallest is not None:
            chip, seen = explorer.smallest(smallest)
        else:
            chip, seen = None, explorer.explore(found.chips, report)
    made = origin(models, found, reading, dataset, split, None if images is None else images.sha256)
    chosen = _write(folder, seen, figures, made, quiet)
    for label in seen.failed:
        print(f"{label}: ended every worker that ran it; not measured", file=sys.stderr)  # noqa: T201
    if smallest is not None:
        return _smallest(folder, found, chip, smallest, seen, quiet)
    if not quiet:
        _show(seen, chosen, figures, made)
    return 1 if seen.failed else 0


def _write(folder: str, seen: Exploration, figures: tuple[str, ...], made: dict[str, Any], quiet: bool) -> list[Row]:
    """Write all files, and return the front."""
    from chipsim.provenance import digest
    from qsnnc.explore import table
    from qsnnc.explore.front import front

    space, chosen = seen.space, front(seen.rows, figures)
    columns = ["model", "chip", *space.keys, *table.COLUMNS, "made_by"]
    rows, best = (
        [record | {"made_by": digest(made)} for record in table.records(space, several)] for several in (seen.rows, chosen)
    )
    contents: dict[str, bytes | None] = {
        "table.csv": table.to_csv(rows, columns),
        "table.json": table.to_json(seen, figures, chosen, made),
        "table.parquet": table.to_parquet(rows, columns),
        "pareto.csv": table.to_csv(best, columns),
        "seconds.csv": table.to_csv(
            [{"model": row.model, "chip": row.chip.name, "seconds": row.figures.get("seconds")} for row in seen.rows],
            ["model", "chip", "seconds"],
        ),
    }
    contents |= _plots(space, rows, best, figures, made, quiet)
    paths.make_folder(paths.join(folder, "chips"), parents=True)
    for row in chosen:
        contents[paths.join("chips", f"{row.chip.name}.yaml")] = table.chip_yaml(space, row.chip)
    for name, content in contents.items():
        if content is not None:
            terminal.write_output(paths.join(folder, name), content)
    return chosen


def _plots(
    space: Space,
    rows: list[dict[str, Any]],
    chosen: list[dict[str, Any]],
    figures: tuple[str, ...],
    made: dict[str, Any],
    quiet: bool,
) -> dict[str, bytes | None]:
    """Draw what can be drawn; without matplotlib nothing, and without a chip that fits there is nothing to draw."""
    from qsnnc.explore import plots
    from qsnnc.explore.origin import line

    fitting = [row for row in rows if row["fits"]]
    if not chosen:
        return {}
    known = [name for name in ("cores", "area_bits", "cycles", "energy_pj") if all(row[name] is not None for row in fitting)]
    try:
        drawn = (
            plots.front(fitting, chosen, figures, line(made)),
            plots.parallel(fitting, chosen, [*space.keys, *known], line(made)),
            plots.over(fitting, figures[0], space.keys[0], line(made)),
        )
    except UsageError as error:
        if error.code != "library-missing":
            raise
        if not quiet:
            print(f"plots: not drawn, {error.message}", file=sys.stderr)  # noqa: T201
        return {}
    return dict(zip(PLOTS, drawn, strict=True))


def _smallest(folder: str, space: Space, chip: Candidate | None, by: str, seen: Exploration, quiet: bool) -> int:
    """Write the smallest chip, or say that there is none."""
    from qsnnc.explore import table
    from qsnnc.explore.explore import SIZES

    if seen.failed:
        return 1
    looked = len({row.chip.name for row in seen.rows})
    if chip is None:
        print(f"no chip of {len(space.chips):,} holds every network", file=sys.stderr)  # noqa: T201
        return 4
    name = paths.join(folder, "smallest.yaml")
    terminal.write_output(name, table.chip_yaml(space, chip))
    if not quiet:
        print(f"{name}: {SIZES[by](chip):,} {by}, {chip.values}; {looked} of {len(space.chips):,} chips were compiled for")  # noqa: T201
    return 0


def _show(seen: Exploration, chosen: list[Row], figures: tuple[str, ...], made: dict[str, Any]) -> None:
    """Print the front on one screen: figures first, then as many of the varied keys as there is room for."""
    from chipsim import screen
    from chipsim.wording import shortened
    from qsnnc.explore.origin import line

    fits = sum(bool(row.figures.get("fits")) for row in seen.rows)
    more = f", the first {SHOWN} of {len(chosen)}" if len(chosen) > SHOWN else ""
    names = shortened((row.model for row in chosen), screen.NAME)
    rows = [
        [
            names[row.model], row.chip.name, *(f"{row.figures[name]:,.6g}" for name in figures),
            *(str(row.chip.values[key]) for key in seen.space.keys),
        ]
        for row in chosen[:SHOWN]
    ]  # fmt: skip
    head = f"{fits:,} of {len(seen.rows):,} fit; Pareto front by {', '.join(figures)}{more}:"
    shown = screen.table(("model", "chip", *figures, *seen.space.keys), rows, left=(0, 1))
    said = ["pareto.csv and table.csv have all figures and keys"]
    terminal.show(screen.screen(screen.wrap(head), shown, screen.wrap(line(made)), said))
