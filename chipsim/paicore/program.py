"""A network on a PAICORE 2.5: the content of a ``.paicore`` as frozen values; ``FORMAT.md`` specifies it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.chip.paicore import PaicoreSpec
from chipsim.mapping.program import InputSpec, Population
from chipsim.paicore.fields import Int, Words

#: every array of a ``.paicore`` with its dtype
ARRAYS: dict[str, str] = {"words": "uint64", "neuron_element": "int32", "dense_fanout": "int32"}
#: codes of a population: one neuron a level, each one bit; or one neuron a feature, whose output is the level
THERMOMETER, VALUE = "thermometer", "value"


@dataclass(frozen=True, slots=True)
class Signal(Population):
    """A population and how its levels travel: ``width`` is the bits of one input, 1 with the thermometer code."""

    code: str
    width: int

    @property
    def per_feature(self) -> int:
        """Inputs that one feature takes."""
        return max(self.levels, 1) if self.code == THERMOMETER else 1


@dataclass(frozen=True, slots=True)
class Block(Signal):
    """A population on the chip, with what the compiler says of it; `mapping.program.Layer` explains the keys it shares."""

    kind: str
    weight_bits: int
    fan_in: int
    neurons: int  # records' positions; a value-coded feature is one
    removed: int
    synapses: int
    cores: int
    bound: int
    limiting: str  # what the bound counts: rows, inputs


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where the host sends the encoder's spikes: to the cores of one vertical run, all at the same addresses.

    Input i of the feature (channel, row, column) has the bit address
    ``base + channel * steps[0] + row * steps[1] + column * steps[2] + i * steps[3]``. Only rows ``first_row`` to
    ``last_row`` are sent.
    """

    x: int
    y: int
    copies: int  # further cores above the first, y + 1 .. y + copies
    base: int
    steps: tuple[int, int, int, int]
    first_row: int
    last_row: int

    def addresses(self, shape: tuple[int, int, int], inputs: int) -> Int:
        """Bit address of each input, int64 (channels, rows, columns, inputs); -1 where it is not sent."""
        grid = np.indices((*shape, inputs)).astype(np.int64)
        found = self.base + np.tensordot(np.array(self.steps, np.int64), grid, 1)
        outside = (grid[1] < self.first_row) | (grid[1] > self.last_row)
        return np.asarray(np.where(outside, -1, found))


@dataclass(frozen=True, slots=True)
class Core:
    """What the words leave in a core, by use. ``rows`` that nothing uses are the rest of 4,096."""

    x: int
    y: int
    layer: int
    records: int  # rows of Part 1 and fold rows
    parameters: int  # rows of Part 2
    potentials: int
    weights: int
    neurons: int


@dataclass(frozen=True, slots=True)
class Output:
    """Potentials that arrive at (0, 0): element e of the read-out layer has the bit address ``base + e * 32``.

    Byte k of it comes in slot address // 512 on axon address % 512 + 8 k.
    """

    tensor: str
    shape: tuple[int, ...]
    base: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A network on the chip, as its words and what a host needs around them.

    Neurons are numbered in the order of ``cores``, within a core in the order of its records, within a record in the order
    of its fold. ``neuron_element`` says which element of its layer each is: feature-major, level innermost (thermometer),
    or the feature (value).
    """

    model_sha256: str
    exactness: str  # certified or tested
    generator: str
    chip: PaicoreSpec
    input: InputSpec
    encoder: Signal
    encoder_shape: tuple[int, int, int]  # channels, rows, columns, as ``deliveries`` count them
    deliveries: tuple[Delivery, ...]
    layers: tuple[Block, ...]
    cores: tuple[Core, ...]
    output: Output
    steps: int  # that one image takes
    root: int  # the core that INIT and SYNC are sent to
    in_flight: int  # images that may be streamed at once
    words: Words  # configuration, in load order
    neuron_element: npt.NDArray[np.int32]  # (N,)
    dense_fanout: npt.NDArray[np.int32]  # (E + N,): for the paper's count
    encoder_onnx: bytes | None
    readout_onnx: bytes

    def __post_init__(self) -> None:
        for array in (self.words, self.neuron_element, self.dense_fanout):
            array.setflags(write=False)

    @property
    def encoder_inputs(self) -> int:
        """E: inputs that the host sends, feature-major, level innermost."""
        return int(np.prod(self.encoder_shape)) * self.encoder.per_feature

    @property
    def output_tensor(self) -> str:
        """The model's output."""
        return self.output.tensor
