"""The schema of ``mapping.yaml``: exactly the keys of FORMAT.md."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chipsim.chip import ChipSpec
from chipsim.chip.spec import Width
from chipsim.exact import NUMBER
from chipsim.mapping.dynamics import Reset
from chipsim.mapping.program import InputCode, ReadoutOf

Count = Annotated[int, Field(ge=0, lt=1 << 53)]
Size = Annotated[int, Field(ge=1, lt=1 << 31)]
Shape = Annotated[tuple[Size, ...], Field(strict=False, max_length=8)]
Real = Annotated[float, NUMBER]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=1000)]


class Strict(BaseModel):
    """No key besides, no other type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


class InputEntry(Strict):
    """The model's own input."""

    name: Text
    dtype: Literal[
        "float32", "float64", "float16", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "bool"
    ]
    shape: Shape
    pixels: Literal["raw", "unit", "normal"]
    mean: Annotated[tuple[Real, ...], Field(strict=False, min_length=1, max_length=4096)]
    std: Annotated[tuple[Annotated[float, Field(gt=0), NUMBER], ...], Field(strict=False, min_length=1, max_length=4096)]


class StepInputEntry(InputEntry):
    """The same, and what of it enters in the steps of a frame."""

    code: InputCode = "image"
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0


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


class NeuronEntry(Strict):
    """A neuron model."""

    reset: Reset
    leak: Annotated[tuple[Annotated[int, Field(ge=0, le=1 << 30)], Annotated[int, Field(ge=0, le=30)]], Field(strict=False)]
    fraction_bits: Annotated[int, Field(ge=0, le=30)]
    delay: Annotated[int, Field(ge=0, le=1)]


class LayerEntry(PopulationEntry):
    """A population on the chip."""

    neuron: NeuronEntry | None = None

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


class StepOutputEntry(OutputEntry):
    """The same, and what of the readout layer it is made of."""

    of: ReadoutOf = "potential"


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
    version: Annotated[int, Field(ge=1, le=2)]
    generator: Text
    model_sha256: Digest
    exactness: Literal["certified", "tested"]
    chip: ChipSpec
    input: StepInputEntry
    encoder: PopulationEntry
    layers: Annotated[tuple[LayerEntry, ...], Field(strict=False, min_length=1, max_length=100_000)]
    output: StepOutputEntry
    ticks: Annotated[int, Field(ge=2, le=100_001)]
    steps: Annotated[int, Field(ge=1, le=100_000)] = 1
    watched: Annotated[tuple[Text, ...], Field(strict=False, max_length=100_000)] = ()
    unwatched: Annotated[tuple[Text, ...], Field(strict=False, max_length=100_000)] = ()
    slack: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    totals: TotalsEntry
    arrays: dict[str, ArrayEntry]
    files: dict[Literal["encoder.onnx", "network.json", "readout.onnx"], FileEntry]

    @model_validator(mode="after")
    def _of_its_version(self) -> Manifest:
        """Version 2 states what version 1 does not know."""
        news = {
            "steps": "steps" in self.model_fields_set,
            "input.code": "code" in self.input.model_fields_set,
            "input.seed": "seed" in self.input.model_fields_set,
            "output.of": "of" in self.output.model_fields_set,
        }
        optional = {
            "layers.neuron": any(e.neuron for e in self.layers),
            "watched": bool(self.watched),
            "unwatched": bool(self.unwatched),
            "slack": bool(self.slack),
            "arrays.neuron_margin": "neuron_margin" in self.arrays,
        }
        for key, stated in {**news, **optional}.items():
            if stated and self.version == 1:
                raise ValueError(f"{key} is a key of version 2, and version is 1")
        for key, stated in news.items():
            if not stated and self.version == 2:
                raise ValueError(f"{key} is missing")
        return self
