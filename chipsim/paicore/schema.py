"""The schema of a ``.paicore``'s ``mapping.yaml``: every key of FORMAT.md, and none besides."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from chipsim.chip.paicore import PaicoreSpec
from chipsim.chip.spec import Width
from chipsim.exact import one_of
from chipsim.mapping.schema import Count, Digest, FileEntry, InputEntry, OutputEntry, PopulationEntry, Size, Strict, Text

Row = Annotated[int, Field(ge=0, le=4096)]
Step = Annotated[int, Field(ge=0, le=65_535)]


class SignalEntry(PopulationEntry):
    """A population and how its levels travel."""

    code: Literal["thermometer", "value"]
    width: Width


class BlockEntry(SignalEntry):
    """A population on the chip."""

    kind: Text
    weight_bits: Width
    fan_in: Count
    neurons: Count
    removed: Count
    synapses: Count
    cores: Count
    bound: Count
    limiting: Literal["rows", "inputs"]


class DeliveryEntry(Strict):
    """Where the host sends the encoder's spikes."""

    x: Annotated[int, Field(ge=0, le=8)]
    y: Annotated[int, Field(ge=0, le=8)]
    copies: Annotated[int, Field(ge=0, le=8)]
    base: Annotated[int, Field(ge=-(1 << 24), le=1 << 24)]  # below 0 where the first rows are not sent
    steps: Annotated[tuple[Step, Step, Step, Step], Field(strict=False)]
    first_row: Count
    last_row: Count


class CoreEntry(Strict):
    """What the words leave in a core."""

    x: Annotated[int, Field(ge=0, le=8)]
    y: Annotated[int, Field(ge=0, le=8)]
    layer: Count
    records: Row
    parameters: Row
    potentials: Row
    weights: Row
    neurons: Annotated[int, Field(ge=1, le=1 << 16)]


class TargetEntry(OutputEntry):
    """Where the potentials arrive."""

    base: Annotated[int, Field(ge=0, le=131_071)]


class ArrayEntry(Strict):
    """One array and the member that holds it."""

    dtype: Literal["uint64", "int32"]
    shape: Annotated[tuple[Annotated[int, Field(ge=0, lt=1 << 31)]], Field(strict=False)]
    bytes: Count
    sha256: Digest


class TotalsEntry(Strict):
    """Sums over the cores."""

    cores: Count
    cores_bound: Count
    neurons: Count
    synapses: Count
    words: Count


class Manifest(Strict):
    """The whole of ``mapping.yaml``."""

    format: Literal["qsnnc-paicore"]
    version: Annotated[Literal[1], one_of(1)]
    generator: Text
    model_sha256: Digest
    exactness: Literal["certified", "tested"]
    chip: PaicoreSpec
    input: InputEntry
    encoder: SignalEntry
    encoder_shape: Annotated[tuple[Size, Size, Size], Field(strict=False)]
    deliveries: Annotated[tuple[DeliveryEntry, ...], Field(strict=False, max_length=63)]
    layers: Annotated[tuple[BlockEntry, ...], Field(strict=False, min_length=1, max_length=63)]
    cores: Annotated[tuple[CoreEntry, ...], Field(strict=False, min_length=1, max_length=81)]
    output: TargetEntry
    steps: Annotated[int, Field(ge=1, le=65_535)]
    root: Annotated[int, Field(ge=0, le=80)]
    in_flight: Annotated[int, Field(ge=1, le=256)]
    totals: TotalsEntry
    arrays: dict[Literal["words", "neuron_element", "dense_fanout"], ArrayEntry]
    files: dict[Literal["encoder.onnx", "readout.onnx"], FileEntry]
