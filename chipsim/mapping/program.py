"""The content of a ``.map`` as frozen values.

``FORMAT.md`` beside this file is the specification; the names here are its names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from chipsim.mapping.dynamics import NeuronModel

IntArray = npt.NDArray[np.int64] | npt.NDArray[np.int32] | npt.NDArray[np.uint8]

#: what enters the chip in the steps of a frame
InputCode = Literal["image", "direct", "computed", "spikes", "bernoulli", "regular"]
#: what is read from the readout layer: its potential in the only step, in the last step, the largest of all steps, or how
#: often each of its neurons fired
ReadoutOf = Literal["potential", "last", "largest", "count"]

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

#: arrays that a mapping has besides where a layer has a neuron model: constants of each neuron, (N,)
STATE_ARRAYS: dict[str, str] = {"neuron_amount": "int32", "neuron_start": "int32", "neuron_bias": "int32"}


#: array that a mapping has besides where a layer is watched: the potential, (N,), from which on the model's level is beyond
#: the layer's highest, and `UNREACHED` where there is none
CEILING = "neuron_ceiling"
UNREACHED = (1 << 31) - 1
#: array of neurons where float rounding of the model can change decisions: how close to its threshold a potential has to be
#: for that; 0 where it cannot
MARGIN = "neuron_margin"


def array_dtypes(*, stateful: bool, limited: bool = False, uncertain: bool = False) -> dict[str, str]:
    """Return the arrays of a mapping with their dtypes."""
    more = {name: "int32" for name, there in ((CEILING, limited), (MARGIN, uncertain)) if there}
    return {**ARRAYS, **(STATE_ARRAYS if stateful else {}), **more}


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The model's own input tensor, and what becomes of uint8 pixels.

    ``pixels`` is ``"raw"`` (0..255 as they are), ``"unit"`` (x / 255) or ``"normal"``
    ((x / 255 - mean) / std); ``mean`` and ``std`` are per channel (or one for all) and matter for the last only.

    ``code`` says what enters the chip in the steps of a frame: ``"image"`` (one step: the encoder's levels), ``"direct"``
    (the same levels in every step), ``"computed"`` (the spikes of every step, which the encoder computes of the image),
    ``"spikes"`` (the data set's own, uint8 (steps, *shape) for each frame), or spikes that the host makes of an image with
    values 0 to 1: ``"bernoulli"`` (drawn with ``seed``) or ``"regular"``.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]  # of one image, without the batch axis
    pixels: str = "unit"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    code: InputCode = "image"
    seed: int = 0


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

    ``levels`` is 0 for the layer whose potentials are read out: it has one neuron a feature and never fires. One with a
    neuron model has at most one level.
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
    neuron: NeuronModel | None = None  # None: a potential does not outlive a step

    @property
    def sent_tick(self) -> int:
        """The tick in which its spikes of the first step are sent, as their readers count the steps."""
        return self.tick - (self.neuron.delay if self.neuron else 0)


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
    network: bytes | None = None  # the layer graph that it was compiled from, for `qsnnc export`; no part of a run
    steps: int = 1  # of a frame
    readout_of: ReadoutOf = "potential"  # with several steps: "last", "largest" or "count"
    watched: tuple[str, ...] = ()  # populations limited by the user: a run counts where the model's level is beyond them
    unwatched: tuple[str, ...] = ()  # activations limited by the user of which a run cannot tell that
    slack: float = 0.0  # how far float rounding can move the model's sums from the readout layer's potentials, as values
    #: what ``arrays`` held when every rule was checked
    validated: dict[str, npt.NDArray[Any]] = field(default_factory=dict, init=False, repr=False)

    @property
    def cores(self) -> int:
        """Number of cores in use."""
        return len(self.arrays["core_layer"])

    @property
    def encoder_neurons(self) -> int:
        """E: thermometer neurons on the host, sources 0 .. E-1."""
        return math.prod(self.encoder.shape) * self.encoder.levels

    @property
    def neurons(self) -> int:
        """N: neurons on the chip, read-out neurons included."""
        return len(self.arrays["neuron_element"])

    @property
    def stateful(self) -> bool:
        """Whether some neurons keep their potential from one step to the next."""
        return any(layer.neuron is not None for layer in self.layers)

    @property
    def limited(self) -> bool:
        """Whether a layer is watched, so that there are ceilings."""
        return any(layer.name in self.watched for layer in self.layers)

    @property
    def uncertain(self) -> bool:
        """Whether float rounding of the model can change the decisions of some neurons."""
        return MARGIN in self.arrays

    @property
    def tells_rounding(self) -> bool:
        """Whether anything is told of float rounding of the model: margins, or a slack of the sums."""
        return self.uncertain or self.slack > 0

    @property
    def dtypes(self) -> dict[str, str]:
        """The arrays that it has, with their dtypes."""
        return array_dtypes(stateful=self.stateful, limited=self.limited, uncertain=self.uncertain)

    @property
    def readout(self) -> int:
        """Number of the readout layer: the one with 0 levels, or the last if its spikes are counted."""
        if self.readout_of == "count":
            return len(self.layers) - 1
        return next(number for number, layer in enumerate(self.layers) if layer.levels == 0)

    @property
    def outputs(self) -> int:
        """Number of potentials, or of counts, that are read out."""
        return int(np.prod(self.layers[self.readout].shape, dtype=np.int64))

    @property
    def frame_ticks(self) -> int:
        """Ticks from the first spike of a frame to its last potential; with one step these are ``ticks``."""
        return self.ticks + self.steps - 1

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
    def readout_place(self) -> str:
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
