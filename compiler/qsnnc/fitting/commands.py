"""The command that makes a change, and the files that it reads."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from chipsim import paths
from chipsim.chip import PaicoreSpec
from chipsim.chip.load import preset_names
from qsnnc.fitting.change import chip_file
from qsnnc.fitting.compiled import Fitting
from qsnnc.fitting.result import Found
from qsnnc.options import CompileOptions
from qsnnc.pipeline import DEFAULT_CHIP


def found_of(
    fitting: Fitting, number: int, levels: Mapping[str, int], source: str, chip: str, folder: str, given: CompileOptions,
) -> Found:  # fmt: skip
    """Return a change with its files and the command that compiles it."""
    files: dict[str, bytes] = {}
    change, name = fitting.change, f"fit-{number}"
    model = source
    if fitting.content is not None:
        files[f"{name}.onnx"] = fitting.content
        model = paths.join(folder, f"{name}.onnx")
    target = change.chip or chip
    if change.grid is not None:
        preset = chip if chip in preset_names() else None
        files[f"{name}.yaml"] = chip_file(fitting.chip, change.grid, preset).encode()
        target = paths.join(folder, f"{name}.yaml")
    ending = "paicore" if isinstance(fitting.chip, PaicoreSpec) else "map"
    words = ["qsnnc", "compile", model, "--chip", target, *_options(change.options(given))]
    command = shlex.join([*words, "-o", paths.join(folder, f"{name}.{ending}")])
    said = tuple(change.words(levels, fitting.uncut))
    return Found(fitting, change.kind(levels), said, change.to_json(levels), command, files)


def fit_command(model: str, chip: str, options: CompileOptions) -> str:
    """Return the command that looks for changes with which a model fits."""
    return shlex.join(["qsnnc", "fit", model, *_target(chip), *_options(options), "-o", "smaller"])


def compile_command(model: str, chip: str, options: CompileOptions, ending: str) -> str:
    """Return the command that compiles a model that fits."""
    return shlex.join(["qsnnc", "compile", model, *_target(chip), *_options(options), "-o", f"OUT.{ending}"])


def _target(chip: str) -> list[str]:
    return [] if chip == DEFAULT_CHIP else ["--chip", chip]


def _options(options: CompileOptions) -> list[str]:
    """Return the command-line words of options that are not the default."""
    words: list[str] = []
    for name, default in (("pixels", None), ("output", None), ("encoder", "host"), ("readout", "auto"), ("code", "auto")):
        value = getattr(options, name)
        if value != default:
            words += [f"--{name}", str(value)]
    for name, count in options.levels.items():
        words += ["--levels", f"{name}={count}"]
    bits = options.weight_bits
    for name, count in (bits if isinstance(bits, Mapping) else {} if bits is None else {"": bits}).items():
        words += ["--weight-bits", f"{name}={count}" if name else str(count)]
    if options.avoid is not None:
        words += ["--avoid", str(options.avoid)]
    return words
