"""The verbs that put a network on a chip: compile, check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from chipsim import ranges, reads_writes, terminal
from chipsim.command_options import Json, spread
from chipsim.errors import UsageError
from chipsim.numbers import real, whole
from qsnnc.cli.nir_options import with_nir
from qsnnc.cli.options import Chip, CompilingOptions, DataDir, ModelFile, Quiet, Verbose, model_input
from qsnnc.nir.options import NirOptions

if TYPE_CHECKING:
    from chipsim.datasets import Dataset
    from qsnnc.compilation import CheckResult
    from qsnnc.errors import DoesNotFit
    from qsnnc.options import CompileOptions

MapFile = Annotated[
    str, typer.Option("-o", metavar="OUT.map|OUT.paicore|-", help="The mapping to write; - is standard output.")
]
KeepDead = Annotated[
    bool,
    typer.Option(
        "--keep-dead", help="Keep neurons that never fire, always fire or are read by nothing, and axons without a weight."
    ),
]
Calibrate = Annotated[
    str | None,
    typer.Option(metavar="mnist|digits|FILE.npz", help="Place cores by the firing rates measured on these images."),
]
Limit = Annotated[
    int | None,
    whole("Number of calibration images.", "--limit", "--calibrate-images", show_default="100"),
]
Split = Annotated[
    str | None, typer.Option(metavar="train|test", help="Split of the calibration images.", show_default="train")
]
Effort = Annotated[
    float,
    real(
        "Work spent on placement, relative to the default; 0 keeps the initial (greedy) placement.",
        "--effort",
        least=0,
        most=ranges.EFFORT,
    ),
]
Seed = Annotated[int, whole("Seed of the placement.", "--seed", least=0, most=ranges.SEED)]
Time = Annotated[bool, typer.Option("--time", help="Print the time of each stage.")]


@spread
@with_nir
def compile_(
    model: ModelFile,
    file: MapFile,
    nir: NirOptions,
    *,
    chip: Chip = "xbar1152",
    given: CompilingOptions,
    keep_dead: KeepDead = False,
    calibrate: Calibrate = None,
    limit: Limit = None,
    split: Split = None,
    data_dir: DataDir = None,
    effort: Effort = 1.0,
    seed: Seed = 0,
    json: Json = None,
    time: Time = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Compile a quantized ONNX or spiking NIR network onto a chip and write the mapping.

    Exits 3 if the model cannot be compiled, 4 if it does not fit the chip.

    Example: qsnnc compile lenet.onnx -o lenet.map --chip xbar1152, or
    qsnnc compile net.nir --semantics snntorch --steps 16 --input spikes -o net.map
    """
    import hashlib

    import numpy as np

    from chipsim.provenance import dataset_facts
    from qsnnc.compilation import Compilation
    from qsnnc.explain import tables
    from qsnnc.explain.origin import origin
    from qsnnc.options import CompileOptions, Placing, merged
    from qsnnc.pipeline import check

    asked = given.keywords()
    asked["nir"], asked["keep_dead"] = nir, keep_dead
    _check_calibration(calibrate, limit, split, data_dir)
    reads = [
        model_input(model),
        *reads_writes.chip(chip),
        *reads_writes.listed(given.avoid, "file-unreadable"),
        *reads_writes.dataset(calibrate, split, data_dir, "--calibrate"),
    ]
    reads_writes.check(reads, {"-o": file, "--json": json})
    measured = _calibration(calibrate, limit, split, data_dir)
    images = None if measured is None else np.asarray(measured.images)
    placing = Placing(images, calibrate or "", effort, seed)
    options = merged(CompileOptions(**asked), {"placing": placing})
    with terminal.watched(quiet=quiet, verbose=verbose) as tell:
        found = check(model, chip, options, tell, whole=True, deflate=True)
    content = found.to_bytes() if isinstance(found, Compilation) else None
    if content is not None:
        terminal.write_output(file, content)
    data = None if measured is None else dataset_facts(measured, str(calibrate))
    facts = {"calibrate": data, "limit": limit, "split": split, "effort": effort, "seed": seed}
    written = None if content is None else hashlib.sha256(content).hexdigest()
    made = origin({**asked, **facts}, found.chip, found.graph.model_sha256, map_sha256=written)
    if json:
        terminal.write_json(json, tables.compilation_json(found) | {"provenance": made})
    if not isinstance(found, Compilation):
        raise _refusal(found, _next_command(found, model, chip, options))
    if not quiet and "-" not in (file, json):
        show_compilation(found, model, file, verbose, made=made)
    if time:
        _print_times(found.seconds)
    return 0


@spread
@with_nir
def check(
    model: ModelFile,
    nir: NirOptions,
    *,
    chip: Chip = "xbar1152",
    given: CompilingOptions,
    json: Json = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Check whether a network fits a chip: what each layer needs, and every problem at once.

    Exits 3 if the model cannot be compiled, 4 if it does not fit the chip.

    Example: qsnnc check lenet.onnx --chip mini
    """
    import sys

    from chipsim.chip import load_any_chip
    from qsnnc.errors import ModelError
    from qsnnc.explain import tables
    from qsnnc.explain.origin import origin
    from qsnnc.options import CompileOptions
    from qsnnc.pipeline import check as check_model

    asked = given.keywords()
    asked["nir"] = nir
    reads = [model_input(model), *reads_writes.chip(chip), *reads_writes.listed(given.avoid, "file-unreadable")]
    reads_writes.check(reads, {"--json": json})
    spec = load_any_chip(chip)
    try:
        with terminal.watched(quiet=quiet, verbose=verbose) as tell:
            found = check_model(model, spec, CompileOptions(**asked), tell)
    except ModelError as error:
        if json:
            value = tables.problems_json(error, model, spec)
            terminal.write_json(json, value | {"provenance": origin(asked, spec, value["model_sha256"])})
        for problem in error.problems:
            print(problem.shown(), file=sys.stderr)  # noqa: T201
        return error.exit_code
    made = origin(asked, spec, found.graph.model_sha256)
    if json:
        terminal.write_json(json, tables.compilation_json(found) | {"provenance": made})
    if not quiet and json != "-":
        show_compilation(found, model, None, verbose, _next_command(found, model, chip, CompileOptions(**asked)), made)
    if quiet:
        for violation in found.violations:
            print(violation.shown(), file=sys.stderr)  # noqa: T201
    return 0 if found.fits else 4


def _next_command(found: CheckResult, model: str, chip: str, options: CompileOptions) -> str:
    """Return the command that compiles a network, or makes it fit; '' for a NIR file, which has options of its own."""
    from chipsim.chip import PaicoreSpec
    from qsnnc.fitting.commands import compile_command, fit_command
    from qsnnc.reading import nir_path

    if nir_path(model, options) is not None:
        return ""
    ending = "paicore" if isinstance(found.chip, PaicoreSpec) else "map"
    return compile_command(model, chip, options, ending) if found.fits else fit_command(model, chip, options)


def _refusal(found: CheckResult, fit: str) -> DoesNotFit:
    """Return the error of a network that does not fit, with the command to go on with."""
    from qsnnc.errors import DoesNotFit

    error = DoesNotFit(found.violations, found.chip.name)
    error.lines = (f"next: {fit}",) if fit else ()
    return error


def show_compilation(
    found: CheckResult, model: str, file: str | None, verbose: bool, command: str = "",
    made: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Print a compilation on one screen, or with ``verbose`` everything about it; ``made`` is its provenance.

    The rest is as for `qsnnc.explain.screen.compilation_screen`.
    """
    from chipsim.provenance import line
    from qsnnc.explain import screen, tables

    if verbose:
        terminal.show(*tables.compilation_tables(found), "", line(made))
    else:
        terminal.show(screen.compilation_screen(found, model, file, command, made))


def _check_calibration(name: str | None, limit: int | None, split: str | None, data_dir: str | None) -> None:
    """Refuse options about images where there are none."""
    for option, value in (("--limit", limit), ("--split", split), ("--data-dir", data_dir)):
        if name is None and value is not None:
            text = f"has no effect without --calibrate; add --calibrate, or leave {option} out"
            raise UsageError(option, text, code="option-unused", found=value)


def _calibration(name: str | None, limit: int | None, split: str | None, data_dir: str | None) -> Dataset | None:
    """Load the calibration images, if any."""
    if name is None:
        return None
    from chipsim.datasets import load_dataset

    return load_dataset(name, split or "train", data_dir, limit or 100)  # type: ignore[arg-type]  # checked


def _print_times(seconds: dict[str, float]) -> None:
    import sys

    for stage, spent in (*seconds.items(), ("total", sum(seconds.values()))):
        print(f"{stage:12} {spent:7.3f} s", file=sys.stderr)  # noqa: T201
