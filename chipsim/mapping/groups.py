"""The groups of neurons that a `MappingBuilder` holds, and the rules for what is put into them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.chip import ChipSpec
from chipsim.errors import MappingError
from chipsim.mapping.dynamics import NeuronModel
from chipsim.mapping.program import InputCode, InputSpec

Int = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Neurons:
    """A sequence of neurons, to be the sources of a core's axons: index it to select some, add two to join them."""

    builder: object
    group: Int  # (neurons,): 0 is the input, 1 + n the n-th layer
    element: Int  # (neurons,): feature * levels + i for thermometer neuron i of a feature

    def __len__(self) -> int:
        """Count the neurons."""
        return len(self.group)

    def __getitem__(self, index: int | slice | Sequence[int] | npt.NDArray[np.integer]) -> Neurons:
        """Select neurons as NumPy does; one index gives a sequence of one."""
        return Neurons(self.builder, np.atleast_1d(self.group[index]), np.atleast_1d(self.element[index]))

    def __add__(self, other: Neurons) -> Neurons:
        """Append the neurons of another sequence."""
        return Neurons(
            self.builder, np.concatenate([self.group, other.group]), np.concatenate([self.element, other.element])
        )


@dataclass(frozen=True, slots=True, eq=False)
class NeuronGroup(Neurons):
    """All neurons of the input or of a layer."""

    name: str
    number: int


@dataclass(slots=True, eq=False)
class LayerGroup:
    """A layer, or with 0 levels the readout, and the cores that hold its neurons so far."""

    name: str
    shape: tuple[int, ...]
    levels: int
    tick: int | None
    weight_bits: int | None
    kind: str
    neuron: NeuronModel | None
    cores: list[CoreOfGroup]
    held: npt.NDArray[np.bool_] | None = None  # (neurons,): on a core already; None: no core yet

    @property
    def delay(self) -> int:
        """How many steps later its spikes are sent."""
        return self.neuron.delay if self.neuron else 0

    @property
    def neurons(self) -> int:
        """Number of neurons, on a core or not."""
        return math.prod(self.shape) * max(self.levels, 1)


@dataclass(frozen=True, slots=True, eq=False)
class CoreOfGroup:
    """A core as it was given; its sources have no numbers yet."""

    layer: int
    sources: Neurons
    weights: Int  # (axons, neurons)
    thresholds: Int
    constants: tuple[Int, Int, Int]  # amount, start and bias of each neuron
    elements: Int
    dense_fanout: Int
    fold: int
    position: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class InputGroup:
    """The input: levels, or spikes themselves."""

    shape: tuple[int, ...]
    levels: int
    spikes: bool
    dense_fanout: Int
    code: InputCode = "image"
    seed: int = 0

    @property
    def neurons(self) -> int:
        """Number of thermometer neurons."""
        return math.prod(self.shape) * self.levels

    @property
    def spec(self) -> InputSpec:
        """The input tensor of the mapping."""
        if self.code == "spikes":
            return InputSpec("spikes", "uint8", self.shape, "raw", code="spikes")
        if self.code in ("bernoulli", "regular"):
            return InputSpec("image", "float32", self.shape, "unit", code=self.code, seed=self.seed)
        if self.spikes:
            return InputSpec("spikes", "uint8", (*self.shape, self.levels), "raw")
        return InputSpec("image", "float32", self.shape, "raw", code=self.code)

    @property
    def on_host(self) -> bool:
        """Whether the host computes levels of the image."""
        return not self.spikes and self.code in ("image", "direct")


def sides(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape as a tuple."""
    return (int(shape),) if isinstance(shape, int | np.integer) else tuple(int(side) for side in shape)


def whole(values: npt.ArrayLike, name: str, what: str) -> Int:
    """Return whole numbers as an array."""
    found = np.asarray(values)
    if found.dtype.kind not in "iub" and not (found.dtype.kind == "f" and (found == np.floor(found)).all()):
        raise MappingError(name, f"{what} are not whole numbers; round them first", code="builder-rule")
    return found.astype(np.int64)


def matrix_of(weights: npt.ArrayLike, axons: int, name: str) -> Int:
    """Return the weights (axons, neurons) of a core."""
    found = whole(weights, name, "weights")
    if found.ndim != 2 or len(found) != axons:
        raise MappingError(
            name,
            f"weights have shape {list(found.shape)}; expected: one row for each of {axons} sources, one column per neuron",
            code="builder-rule",
            found=list(found.shape),
        )
    return found


def each(values: npt.ArrayLike, count: int, name: str, what: str) -> Int:
    """Return one value for each neuron."""
    found = whole(values, name, what)
    if found.ndim > 1 or (found.ndim == 1 and len(found) != count):
        raise MappingError(
            name, f"{what} have shape {list(found.shape)}; expected: one for each of {count} neurons", code="builder-rule"
        )
    return np.broadcast_to(found, count).copy()


def hold(layer: LayerGroup, core: CoreOfGroup) -> None:
    """Add a core to its layer."""
    if layer.held is None:
        layer.held = np.zeros(layer.neurons, np.bool_)
    layer.held[core.elements] = True
    layer.cores.append(core)


def elements_of(layer: LayerGroup, elements: Sequence[int] | None, count: int) -> Int:
    """Check which neurons of a layer a core is to hold; by default take the next ones."""
    held = np.zeros(layer.neurons, np.bool_) if layer.held is None else layer.held
    if elements is None:
        found = np.flatnonzero(~held)[:count]
        if len(found) < count:
            wanted = int(held.sum()) + count
            raise MappingError(
                layer.name, f"has {layer.neurons} neurons; {wanted} are put on cores", code="builder-rule",
                found=wanted, allowed=layer.neurons,
            )  # fmt: skip
        return found
    found = each(elements, count, layer.name, "elements")
    bad = (found < 0) | (found >= layer.neurons)
    if bad.any():
        raise MappingError(
            layer.name, f"has no neuron {int(found[bad][0])}; allowed: 0 to {layer.neurons - 1}", code="builder-rule"
        )
    twice = held[found] | (np.bincount(found, minlength=1)[found] > 1)
    if twice.any():
        raise MappingError(layer.name, f"neuron {int(found[twice][0])} is on a core already", code="builder-rule")
    return found


def fold_of(chip: ChipSpec, axons: int) -> int:
    """Return the smallest fold that holds the axons, or the largest of the chip."""
    return next((fold for fold in sorted(chip.folds) if fold * chip.axons >= axons), max(chip.folds))


def width_of(chip: ChipSpec, layer: LayerGroup) -> int:
    """Return the width of a layer's weights in bits: its own, or the narrowest that holds them."""
    low = min(int(core.weights.min(initial=0)) for core in layer.cores)
    high = max(int(core.weights.max(initial=0)) for core in layer.cores)
    widths = sorted(chip.weight_bits) if layer.weight_bits is None else [layer.weight_bits]
    for bits in widths:
        least, most = (0, 1) if bits == 1 else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        if least <= low and high <= most:
            return bits
    raise MappingError(
        layer.name, f"has weights from {low} to {high}; {widths[-1]} bits hold {least} to {most}", code="builder-rule",
        found=[low, high], allowed=[least, most],
    )  # fmt: skip
