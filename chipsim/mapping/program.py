"""The content of a ``.map`` as frozen values.

``FORMAT.md`` beside this file is the specification; the names here are its names.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec

IntArray = npt.NDArray[np.int64] | npt.NDArray[np.int32] | npt.NDArray[np.uint8]

#: kind of a layer whose neurons pass on the spikes of another population: in no count but those of relays
RELAY = "relay"
#: kinds of a readout layer that hands levels to the host: its synapses count as packets to the host, not as SOPs. Levels
#: are the network's output, or features from which the host computes the last linear layer
OUTPUT, FEATURES = "output", "features"
HANDED_OVER = (OUTPUT, FEATURES)

#: every array of a mapping with its dtype; shapes stand in ``FORMAT.md``
ARRAYS: dict[str, str] = {
    "core_layer": "int32",
    "core_position": "int32",
    "core_fold": "int32",
    "core_weight_bits": "int32",
    "core_crossbar": "int32",
    "axon_offset": "int64",
    "axon_source": "int32",
    "neuron_offset": "int64",
    "neuron_element": "int32",
    "neuron_threshold": "int32",
    "target_offset": "int64",
    "target_axon": "int32",
    "target_delay": "uint8",
    "dense_fanout": "int32",
    "crossbar_shape": "int32",
    "crossbar_offset": "int64",
    "crossbar_bits": "uint8",
}


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The model's own input tensor, and what becomes of uint8 pixels.

    ``pixels`` is ``"raw"`` (0..255 as they are), ``"unit"`` (x / 255) or ``"normal"``
    ((x / 255 - mean) / std); ``mean`` and ``std`` are per channel (or one for all) and matter for the last only.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]  # of one image, without the batch axis
    pixels: str = "unit"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, slots=True)
class Population:
    """Features of one ONNX tensor, each thermometer-coded by ``levels`` neurons.

    Neuron ``i`` of a feature fires iff the feature's level is above ``i``; the tensor's value is
    ``scale * (level + zero_point)``. ``tick`` is the tick of the frame in which it fires (the encoder: 0).
    """

    name: str
    tensor: str
    shape: tuple[int, ...]
    levels: int
    scale: float
    zero_point: float
    tick: int


@dataclass(frozen=True, slots=True)
class Layer(Population):
    """A population on the chip, with figures from the compiler.

    ``levels`` is 0 for the layer whose potentials are read out: it has one neuron a feature and never fires.
    """

    kind: str  # convolution, dense, pool, add, ...: for the reader; only `RELAY` and `HANDED_OVER` have a meaning
    weight_bits: int
    fan_in: int  # axons of its widest neuron
    fold: int  # the largest of its cores
    neurons: int
    removed: int
    synapses: int
    cores: int
    bound: int
    limiting: str  # columns, axons, targets, potential or cores


@dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    """A network placed on a chip.

    Sources are numbered 0 .. E-1 for the encoder's neurons (feature-major, level innermost) and E .. E+N-1 for the
    chip's neurons in core order. ``arrays`` holds one read-only array for each name of `ARRAYS`.
    """

    model_sha256: str
    exactness: str  # certified or tested
    generator: str
    chip: ChipSpec
    input: InputSpec
    encoder: Population
    layers: tuple[Layer, ...]
    output_tensor: str
    output_shape: tuple[int, ...]  # of one image
    ticks: int
    arrays: dict[str, npt.NDArray[Any]]
    encoder_onnx: bytes | None  # None: the input is the encoder population's spikes themselves
    readout_onnx: bytes

    @property
    def cores(self) -> int:
        """Number of cores in use."""
        return len(self.arrays["core_layer"])

    @property
    def encoder_neurons(self) -> int:
        """E: thermometer neurons on the host, sources 0 .. E-1."""
        return int(np.prod(self.encoder.shape, dtype=np.int64)) * self.encoder.levels

    @property
    def neurons(self) -> int:
        """N: neurons on the chip, read-out neurons included."""
        return len(self.arrays["neuron_element"])

    @property
    def relay_cores(self) -> npt.NDArray[np.bool_]:
        """Which cores hold relays, bool (C,)."""
        return np.asarray(np.array([layer.kind == RELAY for layer in self.layers], bool)[self.arrays["core_layer"]])

    @property
    def output_cores(self) -> npt.NDArray[np.bool_]:
        """Which cores hand levels to the host, bool (C,)."""
        return np.asarray(np.array([layer.kind in HANDED_OVER for layer in self.layers], bool)[self.arrays["core_layer"]])

    @property
    def passing_cores(self) -> npt.NDArray[np.bool_]:
        """Which cores hold relays or hand levels to the host, bool (C,): what they add is no work of the network."""
        return np.asarray(self.relay_cores | self.output_cores)

    @property
    def readout(self) -> str:
        """Where the last linear layer is computed: ``host`` or ``chip``."""
        return "host" if any(layer.kind == FEATURES for layer in self.layers) else "chip"

    def __getattr__(self, name: str) -> npt.NDArray[Any]:  # mapping.axon_source
        try:
            return self.arrays[name]
        except KeyError:
            raise AttributeError(name) from None

    def crossbar(self, index: int) -> npt.NDArray[np.int8]:
        """Weights (axons, neurons) of a distinct crossbar, int8; 0 is no synapse."""
        axons, neurons, bits = (int(v) for v in self.arrays["crossbar_shape"][index])
        start, stop = self.arrays["crossbar_offset"][index : index + 2]
        return unpack_crossbar(self.arrays["crossbar_bits"][start:stop], axons, neurons, bits)


def pack_crossbar(weights: npt.NDArray[np.int8], bits: int) -> npt.NDArray[np.uint8]:
    """Pack (axons, neurons) weights into bits, axon-major, then neuron, then bit, least significant first."""
    planes = (weights.astype(np.uint8)[..., None] >> np.arange(bits, dtype=np.uint8)) & 1
    return np.packbits(planes.reshape(-1), bitorder="little")


def unpack_crossbar(packed: npt.NDArray[np.uint8], axons: int, neurons: int, bits: int) -> npt.NDArray[np.int8]:
    """Undo `pack_crossbar`; 1 bit is {0, 1}, more bits are two's complement."""
    return _weights_of_bytes(bits)[packed].view(np.int8)[: axons * neurons].reshape(axons, neurons)


@cache
def _weights_of_bytes(bits: int) -> npt.NDArray[Any]:
    """The 8 / ``bits`` int8 weights that each byte holds, as one number of so many bytes."""
    planes = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").reshape(256, -1, bits)
    weight = np.left_shift(1, np.arange(bits), dtype=np.int16)
    if bits > 1:
        weight[-1] = -weight[-1]
    return (planes @ weight).astype(np.int8).view(f"u{8 // bits}").reshape(256)
