"""The layer graph: named populations of integer levels, joined by linear maps with integer weights.

A population has the shape (channels, rows, columns); each feature holds a level 0 .. ``levels``. A layer's potential is

    potential[o, r, c] = sum over its connections of sum over (i, u, v) of weight[o, i, u, v] * level[i, r', c']

and its neuron i of L fires iff potential >= threshold[class of (r, c), o, i]; the level is the number that fire. The last
layer is the readout layer: it has no thresholds, and its potentials are the result.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from chipsim.mapping import InputSpec
from chipsim.mapping.dynamics import Dynamics, exact
from chipsim.mapping.program import FEATURES, ReadoutOf
from qsnnc.ir.uncertain import UncertainThresholds

Int = npt.NDArray[np.int64]
#: weights that are summed at a time: what is made of them stays in the cache
SUMMED = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Connection:
    """A convolution-shaped linear map from one population.

    A matrix is a convolution whose kernel covers the whole map, a pool one with ``groups`` = channels. Where ``level_wise``
    is set (max pool), neuron i reads only neuron i of each feature in its window, not the level.
    """

    source: str
    weights: Int  # (output channels, input channels / groups, kernel rows, kernel columns)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, left, bottom, right
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1
    level_wise: bool = False

    def __post_init__(self) -> None:
        self.weights.setflags(write=False)

    def along(self, axis: int, size: int, out: int) -> Int:
        """Find the rows (axis 0) or columns of the source that those of the layer read at each tap, -1 in the padding."""
        start = np.arange(out) * self.strides[axis] - self.pads[axis]
        at = start[:, None] + np.arange(self.weights.shape[2 + axis]) * self.dilations[axis]
        return np.where((at >= 0) & (at < size), at, -1)

    def taps(self, shape: tuple[int, int], out: tuple[int, int]) -> Int:
        """Find the input positions that each window reads.

        Parameters
        ----------
        shape, out : tuple of int
            Rows and columns of the source population and of the layer.

        Returns
        -------
        ndarray, int64, (out rows * out columns, kernel rows * kernel columns)
            Flat input position of each tap, -1 where it lies in the padding.
        """
        rows, columns = (self.along(axis, shape[axis], out[axis]) for axis in (0, 1))
        flat = rows[:, None, :, None] * shape[1] + columns[None, :, None, :]
        valid = (rows >= 0)[:, None, :, None] & (columns >= 0)[None, :, None, :]
        return np.where(valid, flat, -1).reshape(out[0] * out[1], -1)


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Features of an ONNX tensor: value = scale * (level + zero_point), with levels from 0 to ``levels``."""

    name: str
    tensor: str  # '' where the ONNX graph holds no such tensor
    tensor_shape: tuple[int, ...]  # of one image, as ONNX has it
    shape: tuple[int, int, int]
    levels: int  # the largest level, and the number of thermometer neurons per feature; 0: readout
    scale: float
    zero_point: float

    @property
    def features(self) -> int:
        """Number of features."""
        return int(np.prod(self.shape))

    @property
    def neurons(self) -> int:
        """Number of thermometer neurons; the readout layer has one per feature."""
        return self.features * max(self.levels, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Layer(Population):
    """A population on the chip, with the connections that drive it."""

    kind: str  # convolution, dense, pool, add
    connections: tuple[Connection, ...]
    thresholds: Int  # (border classes, channels, levels): fires when potential >= threshold
    border: Int  # (rows, columns): the class of each position
    reach: Int  # (border classes, channels, 2): smallest and largest sum of weights in a step (`reachable`), for any input
    exact_sums: bool  # every float32 partial sum of the ONNX node is exact in any order
    uncertain: UncertainThresholds = field(default_factory=UncertainThresholds.of)
    slack: float = 0.0  # read out: what float rounding may add to the ONNX node's sums, half a potential at most
    dynamics: Dynamics | None = None  # None: no state, the potential is 0 before every step
    ceiling: Int | None = None  # (border classes, channels): from this potential on, a level beyond the highest (--levels)

    @property
    def readout(self) -> bool:
        """Whether it is the readout layer, whose potentials are the result."""
        return self.levels == 0

    @property
    def certified(self) -> bool:
        """Whether its levels are proved equal to the ONNX tensor for every input."""
        return self.exact_sums and not self.uncertain


@dataclass(frozen=True, slots=True)
class WeightsChanged:
    """A layer whose weights are not the file's, because they were quantized on request."""

    layer: str
    bits: int
    changed: int  # weights that are another number than the file's
    weights: int
    error: float  # root of the squared error, relative to that of the file's weights
    tensor: str = ""  # name of the new weights in the reference, and of those that they replace
    replaced: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class LayerGraph:
    """A network on integers, in the order of execution, with the encoder and the readout that the host computes."""

    encoder: Population
    layers: tuple[Layer, ...]
    encoder_onnx: bytes | None  # None: the input is the spikes of ``encoder`` (`InputSpec.code`)
    readout_onnx: bytes
    encoder_exact: bool
    input: InputSpec  # the model's own input tensor, and the rule for uint8 pixels
    output_tensor: str
    output_shape: tuple[int, ...]
    model_sha256: str  # of the ONNX file, in hexadecimal; "" where the network comes from none
    of_pixels: bool = False  # whether the encoder's levels are the image's own pixels
    image_on_chip: bool = False  # whether the image enters the chip, as pixels or quantized: its code is to be chosen
    weights_changed: tuple[WeightsChanged, ...] = ()
    direct_encoding: bool = False  # whether the host computes the first linear layer though the image is quantized
    readout_layers: tuple[str, ...] = ()  # linear layers that the host computes behind the chip
    readout_exact: bool = True  # whether the host's part after the chip is computed without float sums
    unwatched: tuple[str, ...] = ()  # limited by the user, but a run cannot tell where the model exceeds the limit
    steps: int = 1  # of a frame
    readout_of: ReadoutOf = "potential"  # with several steps: "last", "largest" or "count"
    batch_rows: int = 0  # rows of the file's batch if that is one image, else 0
    open_encoder: bool = False  # whether the encoder tells levels beyond its highest (--levels)

    def population(self, name: str) -> Population:
        """Return the encoder or a layer by name."""
        if name == self.encoder.name:
            return self.encoder
        return next(layer for layer in self.layers if layer.name == name)

    @property
    def certified(self) -> bool:
        """Whether the network is proved bit-exact with the ONNX model for every input."""
        return self.encoder_exact and self.readout_exact and all(layer.certified for layer in self.layers)

    @property
    def watched(self) -> tuple[str, ...]:
        """Populations limited by the user (--levels) of which a run can tell where the model exceeds them."""
        encoder = (self.encoder.name,) if self.open_encoder else ()
        return (*encoder, *(layer.name for layer in self.layers if layer.ceiling is not None))

    @property
    def readout(self) -> str:
        """Where the last linear layer is computed: ``host`` or ``chip``."""
        return "host" if self.layers[-1].kind == FEATURES else "chip"


def verify_layers(graph: LayerGraph) -> None:
    """Assert every rule of the layer graph; a violation is an internal error."""
    known: dict[str, Population] = {graph.encoder.name: graph.encoder}
    assert graph.encoder.levels >= 1
    for layer in graph.layers:
        assert layer.name not in known, f"two populations are called {layer.name}"
        channels, rows, columns = layer.shape
        classes = layer.thresholds.shape[0]
        assert layer.thresholds.shape == (classes, channels, layer.levels), layer.name
        assert layer.reach.shape == (classes, channels, 2), layer.name
        assert layer.border.shape == (rows, columns), layer.name
        assert layer.border.min() >= 0, layer.name
        assert layer.border.max() < classes, layer.name
        assert (np.diff(layer.thresholds, axis=2) >= 0).all(), f"{layer.name}: thresholds must not fall with the level"
        low, high = layer.reach[..., :1], layer.reach[..., 1:]
        if layer.dynamics is None:
            assert (layer.thresholds >= low).all(), layer.name
            assert (layer.thresholds <= high + 1).all(), layer.name
        else:
            _verify_dynamics(layer, layer.dynamics, graph.steps)
        if layer.ceiling is not None:
            assert layer.ceiling.shape == (classes, channels), layer.name
            assert (layer.ceiling >= layer.thresholds[..., -1]).all(), f"{layer.name}: a ceiling is the next threshold"
        assert layer.connections, layer.name
        for link in layer.connections:
            source = known[link.source]
            assert source.levels > 0, f"{layer.name} reads the readout layer"
            out, per_group = link.weights.shape[:2]
            assert out == channels, layer.name
            assert per_group * link.groups == source.shape[0], layer.name
            if link.level_wise:
                assert source.levels == layer.levels, layer.name
                assert (link.weights == 1).all(), layer.name
            for axis in (0, 1):
                span = (link.weights.shape[2 + axis] - 1) * link.dilations[axis] + 1
                padded = source.shape[1 + axis] + link.pads[axis] + link.pads[axis + 2]
                assert (layer.shape[1 + axis] - 1) * link.strides[axis] + span <= padded, layer.name
        known[layer.name] = layer
    last = graph.layers[-1]
    assert not any(layer.readout for layer in graph.layers[:-1])
    assert last.levels == (1 if graph.readout_of == "count" else 0), f"{last.name}: read out by {graph.readout_of}"
    assert graph.steps >= 1
    assert graph.steps == 1 or graph.readout_of != "potential", "which of several steps is read out"
    assert (graph.encoder_onnx is None) == (graph.input.code in ("spikes", "bernoulli", "regular"))
    assert graph.encoder_onnx is not None or graph.encoder.levels == 1
    assert graph.steps == 1 or graph.input.code != "image", "what enters in several steps"


def _verify_dynamics(layer: Layer, found: Dynamics, steps: int) -> None:
    assert all(values.shape == layer.thresholds.shape[:2] for values in found.constants), layer.name
    assert layer.levels <= 1, f"{layer.name}: a neuron with state has one level"
    assert not layer.readout or (found.reset == "none" and not found.delay), f"{layer.name}: never fires"
    assert found.reset != "none" or not found.amount.any(), layer.name
    k, m = found.leak
    assert 0 <= k <= 1 << m, f"{layer.name}: a leak is at most 1"
    assert 0 <= m <= 30, layer.name
    assert 0 <= found.fraction_bits <= 30, layer.name
    assert found.delay in (0, 1), layer.name
    assert exact(found, found.constants, steps), f"{layer.name}: {found.fraction_bits} fraction bits cut its potentials"


def reachable(connections: tuple[Connection, ...], sources: dict[str, Population], layer: tuple[int, int, int]) -> Int:
    """Compute the smallest and largest potential of each feature over all inputs.

    Returns
    -------
    ndarray, int64, (rows * columns, channels, 2)
    """
    channels, rows, columns = layer
    reach = np.zeros((rows * columns, channels, 2), np.int64)
    for link in connections:
        source = sources[link.source]
        valid, at = _patterns(link, source.shape[1:], (rows, columns))
        top = 1 if link.level_wise else source.levels
        for first in range(0, channels, step := max(1, SUMMED // link.weights[0].size)):
            mine = link.weights[first : first + step]
            most = np.maximum(mine, 0).sum(axis=1).reshape(len(mine), -1)
            least = mine.sum(axis=1).reshape(len(mine), -1) - most
            for side, per_tap in enumerate((least, most)):
                reach[:, first : first + step, side] += top * (valid @ per_tap.T)[at]
    return reach


def _patterns(link: Connection, shape: tuple[int, int], out: tuple[int, int]) -> tuple[Int, Int]:
    """Return which taps are not in the padding, as 1, in each kind of window (kinds, taps), and the kind of each window."""
    found, kinds = [], []
    for axis in (0, 1):
        there = link.along(axis, shape[axis], out[axis]) >= 0
        rows, kind = np.unique(there, axis=0, return_inverse=True)
        found.append(rows.astype(np.int64))
        kinds.append(kind.reshape(-1))
    whole = found[0][:, None, :, None] * found[1][None, :, None, :]
    at = kinds[0][:, None] * len(found[1]) + kinds[1]
    return whole.reshape(len(found[0]) * len(found[1]), -1), at.reshape(-1)
