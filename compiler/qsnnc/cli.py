"""The command ``qsnnc``: compile, verify, check, inspect, export, chips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from chipsim import terminal
from chipsim.front import before_the_verb

if TYPE_CHECKING:
    import numpy.typing as npt

app = typer.Typer(
    name="qsnnc",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compile a quantized network onto crossbar cores.\n\nExample: qsnnc compile lenet.onnx -o lenet.map",
)  # fmt: skip

ModelFile = Annotated[str, typer.Argument(metavar="MODEL.onnx", help="A quantized network.")]
Chip = Annotated[str, typer.Option(metavar="NAME|FILE.yaml", help="A preset (qsnnc chips lists them) or a chip YAML.")]
Pixels = Annotated[
    str | None, typer.Option(metavar="raw|unit|MEAN,STD", help="What becomes of uint8 pixels, where the model does not say.")
]
Graph = Annotated[str | None, typer.Option("--output", metavar="NAME", help="Which output, where the graph has several.")]
Levels = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=N", help="The activation of this layer, node or tensor never exceeds N levels. Repeatable."),
]
Encoder = Annotated[
    str,
    typer.Option(metavar="host|chip", help="Where the first layer is computed: with chip the pixels themselves enter it."),
]
CodeOption = Annotated[
    str,
    typer.Option(
        "--code", metavar="auto|thermometer|value", help="How levels travel where the chip can send words of several bits."
    ),
]
Avoid = Annotated[str | None, typer.Option(metavar="FILE.yaml", help="Dead cores and links of the chip at hand.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No summary.")]


app.callback(help=app.info.help)(before_the_verb)


@app.command("compile")
def compile_(
    model: ModelFile,
    file: Annotated[str, typer.Option("-o", metavar="OUT.map|OUT.paicore|-", help="Where to write the mapping.")],
    chip: Chip = "xbar1152",
    pixels: Pixels = None,
    output: Graph = None,
    levels: Levels = None,
    encoder: Encoder = "host",
    avoid: Avoid = None,
    code: CodeOption = "auto",
    keep_dead: Annotated[
        bool, typer.Option("--keep-dead", help="Keep neurons that never change or that nothing reads, and zero rows.")
    ] = False,
    calibrate: Annotated[
        str | None,
        typer.Option(metavar="mnist|digits|FILE.npz", help="Place cores by how often neurons fire on these images."),
    ] = None,
    calibrate_images: Annotated[int | None, typer.Option(min=1, metavar="N", help="How many of them; 100.")] = None,
    split: Annotated[str | None, typer.Option(metavar="train|test", help="Which of them; train.")] = None,
    data_dir: Annotated[str | None, typer.Option(help="Directory of the four MNIST files.")] = None,
    effort: Annotated[
        float,
        typer.Option(
            min=0, max=1000, metavar="N", help="Of the placement: N times the usual work; 0 keeps the greedy start."
        ),
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the placement.")] = 0,
    json: Json = None,
    time: Annotated[bool, typer.Option("--time", help="Print the seconds of each stage.")] = False,
    quiet: Quiet = False,
) -> int:
    """Compile a network onto a chip and write the mapping.

    Example: qsnnc compile lenet.onnx -o lenet.map --chip xbar1152
    """
    from qsnnc.errors import DoesNotFit
    from qsnnc.explain import tables
    from qsnnc.pipeline import Placing
    from qsnnc.pipeline import check as compile_as_far_as_it_fits

    terminal.check_products({"-o": file, "--json": json}, model, chip, avoid, calibrate)
    images = _calibration(calibrate, calibrate_images, split, data_dir)
    placing = Placing(images, calibrate or "", effort, seed)
    done = compile_as_far_as_it_fits(
        model,
        chip,
        pixels,
        keep_dead=keep_dead,
        output=output,
        levels=_levels(levels),
        encoder=encoder,
        avoid=avoid,
        placing=placing,
        coding=code,
    )
    if done.mapping is not None:
        terminal.write_output(file, done.to_bytes())
    if json:
        terminal.write_json(json, tables.compilation_json(done))
    if done.mapping is None:
        raise DoesNotFit(done.violations, done.chip.name)
    if not quiet and "-" not in (file, json):
        terminal.show(*tables.compilation_tables(done))
    if time:
        _print_times(done.seconds)
    return 0


@app.command()
def check(
    model: ModelFile,
    chip: Chip = "xbar1152",
    pixels: Pixels = None,
    output: Graph = None,
    levels: Levels = None,
    encoder: Encoder = "host",
    avoid: Avoid = None,
    code: CodeOption = "auto",
    json: Json = None,
    quiet: Quiet = False,
) -> int:
    """Say whether a network fits, what each layer takes and all that stands against it.

    Exit code 3 if it cannot be compiled at all, 4 if it does not fit.

    Example: qsnnc check lenet.onnx --chip mini
    """
    import sys

    from chipsim.chip import load_any_chip
    from qsnnc.errors import ModelError
    from qsnnc.explain import tables
    from qsnnc.pipeline import check as judge

    terminal.check_products({"--json": json}, model, chip, avoid)
    spec = load_any_chip(chip)
    try:
        done = judge(model, spec, pixels, output=output, levels=_levels(levels), encoder=encoder, avoid=avoid, coding=code)
    except ModelError as error:
        if json:
            terminal.write_json(json, tables.problems_json(error, model, spec))
        for problem in error.problems:
            print(problem, file=sys.stderr)  # noqa: T201
        return error.exit_code
    if json:
        terminal.write_json(json, tables.compilation_json(done))
    if not quiet and json != "-":
        terminal.show(*tables.compilation_tables(done))
    if quiet:
        for violation in done.violations:
            print(violation, file=sys.stderr)  # noqa: T201
    return 0 if done.mapping is not None else 4


@app.command()
def verify(
    model: ModelFile,
    dataset: Annotated[str | None, typer.Option(metavar="NAME|FILE.npz", help="Images; random ones without it.")] = None,
    data_dir: Annotated[str | None, typer.Option(help="Directory of the four MNIST files.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="How many images.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random images.")] = 0,
    pixels: Pixels = None,
    output: Graph = None,
    levels: Levels = None,
    encoder: Encoder = "host",
    repro: Annotated[
        str, typer.Option(metavar="DIR", help="Where MODEL.repro.onnx and .npz are written if something differs.")
    ] = ".",
    json: Json = None,
    quiet: Quiet = False,
) -> int:
    """Hold the integer network against the model, without a chip; exit code 1 if a level or score differs.

    Example: qsnnc verify lenet.onnx --dataset digits
    """
    import sys

    from qsnnc.explain import tables
    from qsnnc.verification import verify as hold

    terminal.check_products({"--json": json}, model, dataset)
    images, name = None, "random images"
    if dataset is not None:
        import numpy as np

        from chipsim.datasets import load_dataset

        images, name = np.asarray(load_dataset(dataset, data_dir=data_dir, limit=samples).images), dataset
    found = hold(
        model, images, pixels=pixels, samples=samples, seed=seed, name=name, output=output, levels=_levels(levels),
        encoder=encoder, repro=repro,
    )  # fmt: skip
    if json:
        terminal.write_json(json, found.to_json())
    if not quiet and json != "-":
        terminal.show(*tables.verification_lines(found, name))
    for line in (*found.mismatches, *filter(None, (found.reproduction, found.unwritten))):
        print(line, file=sys.stderr)  # noqa: T201
    return 0 if found.equal else 1


@app.command()
def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE.map|FILE.paicore", help="A mapping.")],
    layer: Annotated[str | None, typer.Option(help="Only this layer's cores.")] = None,
    core: Annotated[int | None, typer.Option(help="Only this core, to the last weight.")] = None,
    yaml: Annotated[bool, typer.Option("--yaml", help="Print YAML.")] = False,
    json: Json = None,
) -> None:
    """Show a mapping: layers, cores, or all of one core.

    Example: qsnnc inspect lenet.map --core 7 --yaml
    """
    from chipsim.errors import UsageError
    from qsnnc.explain.inspect import inspect as describe

    if layer is not None and core is not None:
        raise UsageError("--layer", "cannot be given with --core; choose one", code="options-conflict")
    if yaml and json == "-":
        raise UsageError("--yaml", "cannot be given with --json -; choose one", code="options-conflict")
    terminal.check_products({"--json": json}, file)
    found = describe(file, layer=layer, core=core)
    if json:
        terminal.write_json(json, found)
    if yaml:
        from chipsim.mapping.write import to_yaml

        terminal.write_output("-", to_yaml(found).encode())
    elif json != "-":
        from qsnnc.explain import paicore, tables

        drawn: Any = paicore if found["format"].startswith("qsnnc-paicore") else tables
        totals = found["totals"]
        rest = len(found["cores"]) - 20
        terminal.show(
            drawn.layer_table(found["layers"]), "", ", ".join(f"{name} {value:,}" for name, value in totals.items()), "",
            drawn.core_table(found["cores"]), *([f"and {rest:,} more: --yaml or --json shows all"] if rest > 0 else []),
        )  # fmt: skip


@app.command()
def export(
    file: Annotated[str, typer.Argument(metavar="FILE.paicore", help="A network on a PAICORE 2.5.")],
    words: Annotated[str, typer.Option("--words", metavar="OUT.bin|-", help="Where to write the configuration words.")],
) -> None:
    """Write what a chip loads: the configuration words in load order, 64 bits each, little-endian.

    Example: qsnnc export lenet.paicore --words lenet.bin
    """
    from chipsim.paicore import read_program

    terminal.check_products({"--words": words}, file)
    terminal.write_output(words, read_program(file).words.astype("<u8").tobytes())


@app.command()
def chips(
    name: Annotated[str | None, typer.Argument(help="A preset or a chip YAML.")] = None,
    yaml: Annotated[bool, typer.Option("--yaml", help="Print the whole chip as YAML.")] = False,
) -> None:
    """List the chips, or show one with the source of each number.

    Example: qsnnc chips xbar1152 --yaml
    """
    from chipsim.chip import load_any_chip, preset_names

    chosen = [load_any_chip(each) for each in (preset_names() if name is None else [name])]
    if yaml:
        from chipsim.mapping.write import to_yaml

        values = [chip.model_dump(mode="json") for chip in chosen]
        terminal.write_output("-", to_yaml(values if name is None else values[0]).encode())
        return
    from qsnnc.explain.chips import chip_tables

    terminal.show(*chip_tables(chosen, detailed=name is not None))


def _levels(given: list[str] | None) -> dict[str, int]:
    """NAME=N, any number of them."""
    from chipsim.errors import UsageError

    found = {}
    for text in given or []:
        name, _, count = text.rpartition("=")
        if not name or not count.isdecimal():
            raise UsageError("--levels", f"{text!r} is not NAME=N, as in conv1=4", code="levels-invalid", found=text)
        found[name] = int(count)
    return found


def _calibration(name: str | None, limit: int | None, split: str | None, data_dir: str | None) -> npt.NDArray[Any] | None:
    """The calibration set, if there is one; an unknown one is said to be this option's."""
    from chipsim.errors import UsageError

    if name is None:
        for option, value in (("--calibrate-images", limit), ("--split", split), ("--data-dir", data_dir)):
            if value is not None:
                said = f"is {value}, and nothing is calibrated without --calibrate; add --calibrate, or leave {option} out"
                raise UsageError(option, said, code="option-unused", found=value)
        return None
    import numpy as np

    from chipsim.datasets import load_dataset

    try:
        return np.asarray(load_dataset(name, split or "train", data_dir, limit or 100).images)
    except UsageError as error:
        if error.subject != "--dataset":
            raise
        raise UsageError("--calibrate", error.message, code=error.code, **error.fields) from None  # type: ignore[arg-type]


def _print_times(seconds: dict[str, float]) -> None:
    import sys

    for stage, spent in seconds.items():
        print(f"{stage:12} {spent:7.3f} s", file=sys.stderr)  # noqa: T201
    print(f"{'all':12} {sum(seconds.values()):7.3f} s", file=sys.stderr)  # noqa: T201


def main() -> NoReturn:
    """Entry point."""
    terminal.run_app(app, "qsnnc")
