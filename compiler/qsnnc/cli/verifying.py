"""The verb that needs no chip: verify."""

from __future__ import annotations

from typing import Annotated

import typer

from chipsim import ranges, reads_writes, terminal
from chipsim.errors import UsageError
from chipsim.numbers import whole
from qsnnc.cli.options import (
    DataDir,
    Encoder,
    Json,
    Levels,
    ModelFile,
    Output,
    Pixels,
    Quiet,
    Verbose,
    frontend_keywords,
    model_input,
)

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


def verify(
    model: ModelFile,
    dataset: Images = None,
    data_dir: DataDir = None,
    limit: Limit = 100,
    seed: Seed = None,
    pixels: Pixels = None,
    output: Output = None,
    levels: Levels = None,
    encoder: Encoder = "host",
    repro: Repro = None,
    json: Json = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> int:
    """Check the integer network against the ONNX model, layer by layer, without a chip.

    Exits 1 on any mismatch of a level or a score.

    Example: qsnnc verify lenet.onnx --dataset digits
    """
    import sys

    from qsnnc.explain import tables
    from qsnnc.verification import verify as verify_model
    from qsnnc.verification.reproduce import names

    reading = frontend_keywords(pixels, output, levels, encoder)
    _check_images(dataset, data_dir, seed)
    folder = None if repro is None else reads_writes.Folder(repro, names(model), parents=True)
    reads = [model_input(model), *reads_writes.dataset(dataset, None, data_dir)]
    reads_writes.check(reads, {"--json": json, "--repro": folder})
    images, name = None, "random images"
    if dataset is not None:
        import numpy as np

        from chipsim.datasets import load_dataset

        images, name = np.asarray(load_dataset(dataset, data_dir=data_dir, limit=limit).images), dataset
    with terminal.watched(quiet=quiet, verbose=verbose) as tell, terminal.progress("images", quiet) as report:
        tell("verify")
        found = verify_model(model, images, limit=limit, seed=seed or 0, name=name, repro=repro, progress=report, **reading)
    if json:
        terminal.write_json(json, found.to_json())
    if not quiet and json != "-":
        terminal.show(*tables.verification_lines(found, name))
    hint = "" if found.equal or repro else "--repro DIR writes a small model and input that reproduce the first difference"
    for line in (*found.mismatches, *filter(None, (found.reproduction, found.unwritten, hint))):
        print(line, file=sys.stderr)  # noqa: T201
    return 0 if found.equal else 1


def _check_images(dataset: str | None, data_dir: str | None, seed: int | None) -> None:
    """Refuse options about images that are not the ones compared."""
    if dataset is None and data_dir is not None:
        text = "has no effect without --dataset; add --dataset mnist, or leave it out"
        raise UsageError("--data-dir", text, code="option-unused", found=data_dir)
    if dataset is not None and seed is not None:
        text = "has no effect with --dataset; it draws random images"
        raise UsageError("--seed", text, code="option-unused", found=seed)
