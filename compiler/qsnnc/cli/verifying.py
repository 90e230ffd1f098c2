"""The verb that needs no chip: verify."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from chipsim import ranges, reads_writes, terminal
from chipsim.command_options import Json, spread
from chipsim.errors import UsageError
from chipsim.numbers import whole
from qsnnc.cli.nir_options import with_nir
from qsnnc.cli.options import DataDir, ModelFile, Quiet, ReadingOptions, Verbose, model_input
from qsnnc.nir.options import NirOptions

if TYPE_CHECKING:
    from qsnnc.options import FrontendOptions

Images = Annotated[
    str | None,
    typer.Option("--dataset", metavar="mnist|digits|FILE.npz", help="Images to compare on.", show_default="random images"),
]
Limit = Annotated[int, whole("Number of images.", "--limit", "--samples")]
Seed = Annotated[int | None, whole("Seed of the random images.", "--seed", least=0, most=ranges.SEED, show_default="0")]
Repro = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        help="Where to write MODEL.repro.onnx and .npz, a small model and input that reproduce the first difference. "
        "Without it nothing is written.",
    ),
]

Strict = Annotated[
    bool,
    typer.Option("--strict", help="Exit 1 on any difference, also where float rounding at a listed threshold explains it."),
]


@spread
@with_nir
def verify(
    model: ModelFile,
    nir: NirOptions,
    *,
    dataset: Images = None,
    data_dir: DataDir = None,
    limit: Limit = 100,
    seed: Seed = None,
    given: ReadingOptions,
    strict: Strict = False,
    repro: Repro = None,
    json: Json = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Check the integer network against the ONNX model, or the NIR file in floats, layer by layer, without a chip.

    Exits 1 on a difference of a level or a score that float rounding does not explain; with --strict on any difference.

    Example: qsnnc verify lenet.onnx --dataset digits
    """
    import sys

    from qsnnc.explain import tables
    from qsnnc.options import FrontendOptions
    from qsnnc.reading import nir_path
    from qsnnc.verification import verify as verify_model
    from qsnnc.verification.reproduce import names

    reading = given.keywords()
    stated = replace(FrontendOptions(**reading), nir=nir)
    _check_images(dataset, data_dir, seed)
    folder = None if repro is None else reads_writes.Folder(repro, names(model), parents=True)
    reads = [model_input(model), *reads_writes.dataset(dataset, None, data_dir)]
    reads_writes.check(reads, {"--json": json, "--repro": folder})
    if nir_path(model, stated) is not None:
        if repro:
            raise UsageError("--repro", "has no effect on a NIR file; leave it out", code="option-unused", found=repro)
        return _verify_spiking(model, dataset, data_dir, limit, seed or 0, stated, json, strict=strict, quiet=quiet)
    images, labels, name = None, None, "random images"
    if dataset is not None:
        import numpy as np

        from chipsim.datasets import load_dataset

        data = load_dataset(dataset, data_dir=data_dir, limit=limit)
        images, labels, name = np.asarray(data.images), data.labels, dataset
    with terminal.watched(quiet=quiet, verbose=verbose) as tell, terminal.progress("images", quiet) as report:
        tell("verify")
        found = verify_model(
            model, images, labels=labels, limit=limit, seed=seed or 0, name=name, repro=repro, progress=report, **reading
        )
    if json:
        terminal.write_json(json, found.to_json())
    if not quiet and json != "-":
        terminal.show(*tables.verification_lines(found, name))
    passes = found.passes(strict=strict)
    hint = "" if passes or repro else "--repro DIR writes a small model and input that reproduce the first difference"
    shown = () if passes else found.mismatches
    for line in (*shown, *filter(None, (found.reproduction, found.unwritten, hint))):
        print(line, file=sys.stderr)  # noqa: T201
    return 0 if passes else 1


def _verify_spiking(
    model: str,
    dataset: str | None,
    data_dir: str | None,
    limit: int,
    seed: int,
    options: FrontendOptions,
    json: str | None,
    *,
    strict: bool,
    quiet: bool,
) -> int:
    """Verify a NIR file: every spike, on frames of a data set or on random ones."""
    from chipsim.datasets import load_dataset
    from qsnnc.verification.spiking import verify_spiking

    data = None if dataset is None else load_dataset(dataset, data_dir=data_dir, limit=limit)
    found = verify_spiking(model, data, limit=limit, seed=seed, options=options)
    if json:
        terminal.write_json(json, found.to_json())
    if not quiet and json != "-":
        terminal.show(*found.lines(dataset or "random spikes"))
    return 0 if found.passes(strict=strict) else 1


def _check_images(dataset: str | None, data_dir: str | None, seed: int | None) -> None:
    """Refuse options about images that are not the ones compared."""
    if dataset is None and data_dir is not None:
        text = "has no effect without --dataset; add --dataset mnist, or leave it out"
        raise UsageError("--data-dir", text, code="option-unused", found=data_dir)
    if dataset is not None and seed is not None:
        text = "has no effect with --dataset; it draws random images"
        raise UsageError("--seed", text, code="option-unused", found=seed)
