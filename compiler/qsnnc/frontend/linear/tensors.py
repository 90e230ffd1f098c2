"""What is known of a tensor: levels of populations, or the sums of a linear operator."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.model.model import Node
from qsnnc.ir.layers import Connection, Int, Population

if TYPE_CHECKING:
    from qsnnc.frontend.quantizers.levels import Levels

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A population as a tensor shows it: value = scale * (level + zero_point), and the very floats of the graph."""

    population: Population
    scale: float
    zero_point: float
    values: F64  # (levels + 1,)
    slack: int = 0  # float32 roundings of the largest value that lie between a value here and the reference's

    @classmethod
    def of(cls, population: Population, levels: Levels) -> Part:
        """A population at a quantizer's values."""
        return cls(population, levels.scale, levels.zero_point, levels.values)

    @property
    def largest(self) -> float:
        """Largest magnitude of a value."""
        return float(np.abs(self.values).max())

    @property
    def key(self) -> tuple[str, float, float]:
        """Equal where two parts show the same."""
        return self.population.name, self.scale, self.zero_point

    @property
    def step(self) -> float:
        """Power of two that divides every value, or 0 where a value is not what its level says, to the last bit."""
        from qsnnc.frontend.numerics.exactness import dyadic_unit

        return dyadic_unit(self.said) if not self.slack and (self.said == self.values).all() else 0.0

    @property
    def said(self) -> F64:
        """What each level says of its value."""
        return np.asarray(self.scale * np.arange(len(self.values)) + self.scale * self.zero_point, np.float64)

    @property
    def roundings(self) -> int:
        """How many float32 roundings of the largest value hold the distance of any value to what its level says."""
        unit = 2.0**-24 * self.largest
        return self.slack + (int(np.ceil(np.abs(self.said - self.values).max() / unit)) if unit else 0)

    def scaled(self, factor: float) -> Part:
        """The same levels at other values."""
        return replace(self, scale=self.scale * factor, values=self.values * factor)


@dataclass(frozen=True, slots=True, eq=False)
class Quantized:
    """A tensor of levels.

    Element e shows feature ``index[e]``, the features of all parts numbered through; a negative index stands for the
    constant ``fixed[-1 - index]``.
    """

    parts: tuple[Part, ...]
    index: Int  # shape of the tensor, without the batch axis
    fixed: F64 = field(default_factory=lambda: np.zeros(0))

    @property
    def starts(self) -> Int:
        """First number of each part's features, and the end of the last."""
        return np.cumsum([0, *(part.population.features for part in self.parts)])

    @property
    def canonical(self) -> bool:
        """Whether the tensor is one population, in its own order."""
        return (
            len(self.parts) == 1
            and self.index.size == self.parts[0].population.features
            and bool((self.index.reshape(-1) == np.arange(self.index.size)).all())
        )


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """A tensor that is a sum of tensors of levels, one of them as a rule."""

    tensors: tuple[Quantized, ...]
    signs: tuple[int, ...]
    roundings: int  # of the reference's own sums before what reads it

    @classmethod
    def of(cls, tensor: Quantized) -> Terms:
        """A tensor of levels itself."""
        return cls((tensor,), (1,), 0)

    @property
    def composed(self) -> bool:
        """Whether there is an operator between the levels and what reads them."""
        return self.roundings > 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor, for one image."""
        return self.tensors[0].index.shape

    def read(self, sums: Accumulator) -> Accumulator:
        """Sums over the terms, the reference's roundings before them counted."""
        return replace(sums, terms=sums.terms + self.roundings)


def whole(part: Part, shape: tuple[int, ...]) -> Quantized:
    """All features of a population, in their order."""
    return Quantized((part,), np.arange(part.population.features).reshape(shape))


def together(tensors: list[Quantized]) -> tuple[tuple[Part, ...], F64, list[Int]]:
    """Parts and constants of several tensors numbered through, and each tensor's index in those numbers."""
    parts: list[Part] = []
    fixed: list[F64] = []
    indices: list[Int] = []
    known: dict[tuple[str, float, float], int] = {}
    starts = [0]
    constants = 0
    for tensor in tensors:
        shift = np.zeros(len(tensor.parts), np.int64)
        for i, part in enumerate(tensor.parts):
            key = part.key
            if key not in known:
                known[key] = len(parts)
                parts.append(part)
                starts.append(starts[-1] + part.population.features)
            shift[i] = starts[known[key]] - tensor.starts[i]
        owner = np.searchsorted(tensor.starts, tensor.index, side="right") - 1
        moved = tensor.index + shift[np.clip(owner, 0, len(shift) - 1)] if len(shift) else tensor.index
        indices.append(np.where(tensor.index >= 0, moved, tensor.index - constants))
        fixed.append(tensor.fixed)
        constants += len(tensor.fixed)
    return tuple(parts), np.concatenate([np.zeros(0), *fixed]), indices


@dataclass(frozen=True, slots=True, eq=False)
class Accumulator:
    """The result of a linear operator: value = scale * potential + offset, per border class and channel."""

    name: str
    kind: str
    node: Node
    shape: tuple[int, int, int]
    connections: tuple[Connection, ...]
    scale: F64  # (classes, channels)
    offset: F64  # (classes, channels)
    border: Int  # (rows, columns)
    reach: Int  # (classes, channels, 2)
    exact: npt.NDArray[np.bool_]  # (channels,): every float32 partial sum is exact in any order
    grid: F64  # (channels,): a power of two that divides every term; 0 where there is none
    magnitude: F64  # (channels,): the largest sum of |terms|
    terms: int
    sources: dict[str, Population]
    layout: Int  # shape of the ONNX tensor: which feature stands where
    axis: int = 1  # of the ONNX tensor, the batch counted: where the channels are

    def value(self, potential: Int) -> npt.NDArray[np.float32]:
        """Float32 accumulators of potentials (classes, channels, ...)."""
        extra = (1,) * (potential.ndim - 2)
        exact = self.scale.reshape(*self.scale.shape, *extra) * potential + self.offset.reshape(*self.offset.shape, *extra)
        return exact.astype(np.float32)

    @property
    def canonical(self) -> bool:
        """Whether the ONNX tensor has the features, all of them, in their own order."""
        whole = self.layout.size == int(np.prod(self.shape))
        return whole and bool((self.layout.reshape(-1) == np.arange(self.layout.size)).all())


def natural(shape: tuple[int, int, int], out: tuple[int, ...]) -> Int:
    """The layout of a tensor that has a layer's features in their order."""
    return np.arange(int(np.prod(shape))).reshape(out)


def as_map(shape: tuple[int, ...], node: Node) -> tuple[int, int, int]:
    """View a tensor's shape (one image) as (channels, rows, columns)."""
    if len(shape) == 1:
        return shape[0], 1, 1
    if len(shape) == 2:
        return shape[0], 1, shape[1]
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    raise ModelError(
        node.name,
        f"{node.op} on a tensor of shape {shape}; at most 3 axes beside the batch are supported",
        code="tensor-rank",
        node=node.name,
    )
