"""What ``chipsim run`` and ``chipsim compare`` do with a ``.paicore``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chipsim import terminal
from chipsim.errors import UsageError

#: options of ``chipsim run`` that ask for what only a crossbar chip has here
ONLY_CROSSBARS = ("--faults", "--avoid", "--timing", "--timing-images", "--per-image", "--logs")


def refuse_crossbar_options(given: Mapping[str, object]) -> None:
    """Refuse options that a ``.paicore`` cannot be run with.

    Raises
    ------
    UsageError
    """
    for option in ONLY_CROSSBARS:
        if given.get(option) is not None:
            raise UsageError(option, "is for a .map; a .paicore has no such model, leave it out", code="option-kind")


def run(file: str, dataset: str, products: Mapping[str, str | None], quiet: bool, **options: Any) -> None:
    """Run a ``.paicore`` and write what was asked for; options are those of `run_program`."""
    from chipsim.engine.paicore.run import run_program
    from chipsim.report import tables

    with terminal.progress("images", quiet) as report:
        result = run_program(file, dataset, progress=report, **options)
    per_core, outputs, json = (products[name] for name in ("--per-core", "--outputs", "--json"))
    if per_core:
        terminal.write_output(per_core, tables.per_core_csv(result))
    if outputs:
        terminal.write_stream(outputs, lambda out: tables.write_outputs(result, out))
    if json:
        terminal.write_json(json, result.to_json())
    if not quiet and "-" not in products.values():
        frames = (
            f"work frames an image: {result.work_frames / result.images:,.0f}; configuration: {result.config_words:,} words"
        )
        terminal.show(*tables.summary(result), "", frames)
