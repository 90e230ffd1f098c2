"""Command-line options that several verbs share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

import typer

from chipsim import ranges, reads_writes
from chipsim.errors import UsageError

if TYPE_CHECKING:
    from qsnnc.frontend.integerize.host_parts import Readout
    from qsnnc.options import CompileKeywords, FrontendKeywords, LevelCode

ModelFile = Annotated[
    str, typer.Argument(metavar="MODEL.onnx|NET.nir", help="The quantized ONNX model, or a spiking network.")
]
Chip = Annotated[
    str, typer.Option(metavar="NAME|FILE.yaml", help="A preset (qsnnc chips lists them) or the path of a chip YAML.")
]
Pixels = Annotated[
    str | None,
    typer.Option(
        metavar="raw|unit|MEAN,STD",
        help="How uint8 pixels become the model's input: unchanged (raw), divided by 255 (unit), or divided by 255 and "
        "normalized.",
        show_default="as the model's metadata says, else unit",
    ),
]
Output = Annotated[
    str | None, typer.Option("--output", metavar="NAME", help="Which output of the graph to use, if it has several.")
]
Levels = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=N",
        help=f"Clip the activation of this layer, node or tensor at level N, 1 to {ranges.LEVEL:,}. Repeatable.",
    ),
]
Encoder = Annotated[
    str,
    typer.Option(
        metavar="host|chip|LAYER",
        help="Where the host's part ends: host, at the first quantized activation (after the first layer if the image is "
        "quantized to more than 15 levels); LAYER, at that layer's activation; chip, the pixels themselves enter the chip.",
    ),
]
ReadoutPlace = Annotated[
    str,
    typer.Option(
        "--readout",
        metavar="auto|host|chip",
        help="Where the last linear layer is computed; auto: on the chip if its weights are quantized to at most 8 bits.",
    ),
]
WeightBits = Annotated[
    list[str] | None,
    typer.Option(
        "--weight-bits",
        metavar="N|NAME=N",
        help="Quantize the weights of all layers on the chip, or of one, to N bits (2 to 8) per channel. Repeatable.",
    ),
]
Avoid = Annotated[
    str | None, typer.Option(metavar="FILE.yaml", help="Dead cores and links to avoid, in addition to those of the chip.")
]
Code = Annotated[
    str,
    typer.Option(
        "--code", metavar="auto|thermometer|value", help="How levels travel on a chip that can send words of several bits."
    ),
]
DataDir = Annotated[str | None, typer.Option(metavar="DIR", help="Directory with the four MNIST files.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="Print every figure, not one screen; say what was changed to read the model.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no summary.")]


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """How a model is read."""

    pixels: Pixels = None
    output: Output = None
    levels: Levels = None
    encoder: Encoder = "host"
    readout: ReadoutPlace = "auto"
    weight_bits: WeightBits = None

    def keywords(self) -> FrontendKeywords:
        """Return the fields as `qsnnc.options.FrontendOptions` takes them.

        Raises
        ------
        UsageError
            Levels or weight bits of another form.
        """
        return {
            "pixels": self.pixels,
            "output": self.output,
            "levels": parse_levels(self.levels),
            "encoder": self.encoder,
            "readout": cast("Readout", self.readout),  # checked by FrontendOptions
            "weight_bits": parse_weight_bits(self.weight_bits),
        }


@dataclass(frozen=True, kw_only=True)
class CompilingOptions(ReadingOptions):
    """How a model is read and put on a chip."""

    avoid: Avoid = None
    code: Code = "auto"

    def keywords(self) -> CompileKeywords:
        """Return the fields as `qsnnc.options.CompileOptions` takes them; raises as for reading."""
        asked = cast("CompileKeywords", super().keywords())
        asked["avoid"], asked["code"] = self.avoid, cast("LevelCode", self.code)
        return asked


def model_input(path: str) -> reads_writes.Input:
    """Return a model as an input, with the files that hold its weights."""

    def external(path: str) -> list[str]:
        from qsnnc.frontend.importer.parse import external_files

        return external_files(path)

    return reads_writes.Input(path, "file-unreadable", others=external)


def parse_weight_bits(given: list[str] | None) -> dict[str, int]:
    """Parse N or NAME=N, any number of times; the key of N alone is the empty string.

    Raises
    ------
    UsageError
        Text of another form, or a name or N that is given twice.
    """
    found: dict[str, int] = {}
    for text in given or []:
        name, _, count = text.rpartition("=")
        shown = _shortened(text)
        if not re.fullmatch("[0-9]{1,9}", count) or text.startswith("="):
            text = f"{shown!r} is not of the form N or NAME=N, as in 8 or fc=4"
            raise UsageError("--weight-bits", text, code="option-value", found=shown)
        if name in found:
            text = f"names {name!r} twice" if name else "gives the bits of all layers twice"
            raise UsageError("--weight-bits", f"{text}; give it once", code="options-conflict", found=shown)
        found[name] = int(count)
    return found


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text):,} characters)"


def parse_levels(given: list[str] | None) -> dict[str, int]:
    """Parse NAME=N, any number of times.

    Raises
    ------
    UsageError
        Text of another form, a level out of range, or a name that is given twice.
    """
    found: dict[str, int] = {}
    for text in given or []:
        name, _, count = text.rpartition("=")
        level = int(count) if re.fullmatch("[0-9]{1,9}", count) else 0
        shown = _shortened(text)
        if not name or not 1 <= level <= ranges.LEVEL:
            allowed = f"NAME=N with N from 1 to {ranges.LEVEL:,}, as in conv1=4"
            raise UsageError("--levels", f"is {shown!r}; allowed: {allowed}", code="option-value", found=shown)
        if name in found:
            raise UsageError("--levels", f"names {name!r} twice; give it once", code="options-conflict", found=shown)
        found[name] = level
    return found
