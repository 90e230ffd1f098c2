"""The schema of ``mapping.yaml``: exactly the keys of FORMAT.md."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from chipsim.chip import ChipSpec
from chipsim.chip.spec import Width
from chipsim.exact import NUMBER, one_of

Count = Annotated[int, Field(ge=0, lt=1 << 53)]
Size = Annotated[int, Field(ge=1, lt=1 << 31)]
Shape = Annotated[tuple[Size, ...], Field(strict=False, max_length=8)]
Real = Annotated[float, NUMBER]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=1000)]


class Strict(BaseModel):
    """No key besides, no other type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class InputEntry(Strict):
    """The model's own input."""

    name: Text
    dtype: Literal["float32", "float64", "float16", "uint8", "int8", "uint16", "int16", "int32", "int64", "bool"]
    shape: Shape
    pixels: Literal["raw", "unit", "normal"]
    mean: Annotated[tuple[Real, ...], Field(strict=False, min_length=1, max_length=4096)]
    std: Annotated[tuple[Annotated[float, Field(gt=0), NUMBER], ...], Field(strict=False, min_length=1, max_length=4096)]


class PopulationEntry(Strict):
    """Features, thermometer-coded."""

    name: Text
    tensor: Text
    shape: Shape
    levels: Annotated[int, Field(ge=0, le=65_535)]
    scale: Real
    zero_point: Real
    tick: Annotated[int, Field(ge=0, le=100_000)]
    order: Literal["feature-major, level innermost"]


class LayerEntry(PopulationEntry):
    """A population on the chip."""

    kind: Text
    weight_bits: Width
    fan_in: Count
    fold: Count
    neurons: Count
    removed: Count
    synapses: Count
    cores: Count
    bound: Count
    limiting: Literal["columns", "axons", "targets", "potential", "cores"]


class OutputEntry(Strict):
    """The model's output."""

    tensor: Text
    shape: Annotated[tuple[Size, ...], Field(strict=False, max_length=8)]


class TotalsEntry(Strict):
    """Sums over the cores."""

    cores: Count
    cores_bound: Count
    neurons: Count
    synapses: Count
    axons: Count
    packets_max: Count


class ArrayEntry(Strict):
    """One array and the member that holds it."""

    dtype: Literal["int64", "int32", "uint8"]
    shape: Annotated[tuple[Annotated[int, Field(ge=0, lt=1 << 40)], ...], Field(strict=False, max_length=2)]
    bytes: Count
    sha256: Digest


class FileEntry(Strict):
    """An ONNX member."""

    bytes: Count
    sha256: Digest


class Manifest(Strict):
    """The whole of ``mapping.yaml``."""

    format: Literal["qsnnc-map"]
    version: Annotated[Literal[1], one_of(1)]
    generator: Text
    model_sha256: Digest
    exactness: Literal["certified", "tested"]
    chip: ChipSpec
    input: InputEntry
    encoder: PopulationEntry
    layers: Annotated[tuple[LayerEntry, ...], Field(strict=False, min_length=1, max_length=100_000)]
    output: OutputEntry
    ticks: Annotated[int, Field(ge=2, le=100_001)]
    totals: TotalsEntry
    arrays: dict[str, ArrayEntry]
    files: dict[Literal["encoder.onnx", "readout.onnx"], FileEntry]
