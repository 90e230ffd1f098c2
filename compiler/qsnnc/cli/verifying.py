"""The verb that needs no chip: verify."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from chipsim import terminal
from chipsim.errors import UsageError
from qsnnc.cli.nir_options import with_nir
from qsnnc.cli.options import (
    DataDir,
    Encoder,
    Json,
    Levels,
    ModelFile,
    Output,
    Pixels,
    Quiet,
    ReadoutPlace,
    Verbose,
    WeightBits,
    frontend_keywords,
)
from qsnnc.nir.options import NirOptions

if TYPE_CHECKING:
    from qsnnc.options import FrontendOptions

Images = Annotated[
    str | None,
    typer.Option("--dataset", metavar="mnist|digits|FILE.npz", help="Images to compare on.", show_default="random images"),
]
Limit = Annotated[int, typer.Option("--limit", "--samples", min=1, metavar="N", help="Number of images.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the random images.")]
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


@with_nir
def verify(
    model: ModelFile,
    nir: NirOptions,
    dataset: Images = None,
    data_dir: DataDir = None,
    limit: Limit = 100,
    seed: Seed = 0,
    pixels: Pixels = None,
    output: Output = None,
    levels: Levels = None,
    encoder: Encoder = "host",
    readout: ReadoutPlace = "auto",
    weight_bits: WeightBits = None,
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
    from qsnnc.pipeline import nir_path
    from qsnnc.verification import verify as verify_model

    terminal.check_products({"--json": json}, model, dataset)
    reading = frontend_keywords(pixels, output, levels, encoder, readout, weight_bits)
    stated = replace(FrontendOptions(**reading), nir=nir)
    if nir_path(model, stated) is not None:
        if repro:
            raise UsageError("--repro", "has no effect on a NIR file; leave it out", code="option-unused", found=repro)
        return _verify_spiking(model, dataset, data_dir, limit, seed, stated, json, quiet=quiet)
    images, labels, name = None, None, "random images"
    if dataset is not None:
        import numpy as np

        from chipsim.datasets import load_dataset

        data = load_dataset(dataset, data_dir=data_dir, limit=limit)
        images, labels, name = np.asarray(data.images), data.labels, dataset
    with terminal.watched(quiet=quiet, verbose=verbose) as tell:
        tell("verify")
        found = verify_model(model, images, labels=labels, limit=limit, seed=seed, name=name, repro=repro, **reading)
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
    return 0 if found.passes() else 1
