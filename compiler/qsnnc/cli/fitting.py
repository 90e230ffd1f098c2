"""The verb that looks for the smallest change that fits: fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from chipsim import reads_writes, terminal
from chipsim.command_options import Json, spread
from chipsim.errors import UsageError
from chipsim.numbers import real, whole
from qsnnc.cli.options import Chip, CompilingOptions, DataDir, Quiet, Verbose, model_input

if TYPE_CHECKING:
    from qsnnc.fitting.images import Chosen

Model = Annotated[str, typer.Argument(metavar="MODEL.onnx", help="The quantized ONNX model.")]
Folder = Annotated[str, typer.Option("-o", metavar="DIR", help="Where the changed models and chip files are written.")]
Images = Annotated[
    str | None,
    typer.Option("--dataset", metavar="mnist|digits|FILE.npz", help="Images that the accuracy is reported on (test split)."),
]
Calibrate = Annotated[
    str | None,
    typer.Option(
        metavar="mnist|digits|FILE.npz",
        help="Images that changes are chosen on (train split).",
        show_default="those of --dataset: its train split, or every other image of a file",
    ),
]
Budget = Annotated[
    float,
    real("Seconds after which no further kind of change is begun, once something fits.", "--budget", least=0, most=1e6),
]
Limit = Annotated[int, whole("Number of images to choose on, and to report on.", "--limit")]


@spread
def fit(
    model: Model,
    folder: Folder,
    *,
    chip: Chip = "xbar1152",
    dataset: Images = None,
    calibrate: Calibrate = None,
    limit: Limit = 500,
    data_dir: DataDir = None,
    given: CompilingOptions,
    budget: Budget = 45,
    json: Json = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Look for the smallest changes with which a network fits a chip.

    Tries fewer levels, weight bits and channels, more of the network on the host, other codes, a larger grid and other
    chips. Each change is compiled; printed are up to five with their cores, their accuracy without training, and the
    command that makes them. Exits 4 if none fits.

    Example: qsnnc fit lenet.onnx --chip mini --dataset mnist -o smaller
    """
    from chipsim.provenance import line
    from chipsim.screen import wrap
    from qsnnc.explain.origin import origin
    from qsnnc.fitting.fit import fit as search
    from qsnnc.fitting.images import chosen_images
    from qsnnc.fitting.result import NAMES
    from qsnnc.options import CompileOptions

    options = CompileOptions(**given.keywords())
    _check_data_dir(data_dir, dataset, calibrate)
    reads = [
        model_input(model),
        *reads_writes.chip(chip),
        *reads_writes.listed(given.avoid, "file-unreadable"),
        *reads_writes.dataset(dataset, None, data_dir if dataset == "mnist" else None),
        *reads_writes.dataset(calibrate, None, data_dir if calibrate == "mnist" else None, "--calibrate"),
    ]
    reads_writes.check(reads, {"-o": reads_writes.Folder(folder, NAMES, parents=True), "--json": json})
    images: Chosen = chosen_images(dataset, calibrate, data_dir, limit)
    with terminal.watched(quiet=quiet, verbose=verbose) as tell, terminal.progress("kinds of change", quiet) as report:
        found = search(
            model, chip, options, calibration=images.calibration, dataset=images.dataset, choice=images.said, folder=folder,
            tell=tell, report=report, budget=budget,
        )  # fmt: skip
    found.write(folder)
    made = origin(given.keywords() | {"limit": limit, "budget": budget}, found.chip, found.model_sha256, **images.facts)
    if json:
        terminal.write_json(json, found.to_json() | {"provenance": made})
    if not found.found:
        raise found.refusal(model)
    if not quiet and json != "-":
        terminal.show(*found.lines(), "", *wrap(line(made)))
    return 0


def _check_data_dir(data_dir: str | None, *names: str | None) -> None:
    if data_dir is not None and "mnist" not in names:
        text = "has no effect without mnist; leave it out, or use --dataset mnist"
        raise UsageError("--data-dir", text, code="option-unused", found=data_dir)
