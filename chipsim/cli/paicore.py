"""How ``chipsim run`` executes a ``.paicore``."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING

from chipsim import terminal
from chipsim.errors import UsageError

if TYPE_CHECKING:
    from chipsim.cli.products import Products
    from chipsim.options import RunOptions


def refuse(
    given: RunOptions,
    products: Products,
    timing: str | None,
    timing_limit: int | None,
    cluster: str | None,
    resume: str | None,
) -> None:
    """Refuse options that apply to crossbar chips only.

    Raises
    ------
    UsageError
    """
    from chipsim.engine.paicore.run import refuse_crossbar_options

    refuse_crossbar_options(
        {
            "--timing": timing,
            "--timing-limit": timing_limit,
            "--per-image": products.per_image,
            "--logs": products.logs,
            "--faults": given.faults,
            "--avoid": given.avoid,
            "--trains": products.trains or None,
        }
    )
    for option, value in (("--cluster", cluster), ("--resume", resume)):
        if value is not None:
            said = "is for a .map, whose images can be cut into tasks; a .paicore is executed in one process: leave it out"
            raise UsageError(option, said, code="option-unused")


def run(file: str, dataset: str, given: RunOptions, products: Products, *, verbose: bool, quiet: bool) -> None:
    """Run a ``.paicore`` and write what was asked for."""
    from chipsim.engine.paicore.run import run_program
    from chipsim.engine.run import with_origin
    from chipsim.engine.setup import open_dataset
    from chipsim.report import screen, tables

    with terminal.progress("images", quiet) as report:
        result = run_program(file, dataset, given, progress=report)
    made = with_origin(result, file, dataset, open_dataset(dataset, given), given)
    products.write(made, None, made.to_json())
    if not quiet and "-" not in astuple(products):
        frames = f"{result.work_frames / result.images:,.0f}; configuration: {result.config_words:,} words"
        line = f"work frames from the host per image: {frames}"
        if verbose:
            terminal.show(*tables.summary(made), "", line)
        else:
            terminal.show(screen.run_screen(made, file, more=[line], timeable=False))
