"""Represent tensors as levels of populations, as sums of levels, or as accumulators of a linear operator."""

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
    """A population with its values in a tensor: value = scale * (level + zero_point), and the graph's exact floats."""

    population: Population
    scale: float
    zero_point: float
    values: F64  # (levels + 1,)
    slack: int = 0  # error bound of a value, in float32 roundings of the largest value

    @classmethod
    def of(cls, population: Population, levels: Levels) -> Part:
        """Return a population with a quantizer's values."""
        return cls(population, levels.scale, levels.zero_point, levels.values)

    @property
    def largest(self) -> float:
        """Largest magnitude of a value."""
        return float(np.abs(self.values).max())

    @property
    def key(self) -> tuple[str, float, float]:
        """Equal for parts with the same population, scale and zero point."""
        return self.population.name, self.scale, self.zero_point

    @property
    def step(self) -> float:
        """Power of two that divides every value; 0 if a value is not exactly scale * (level + zero_point)."""
        from qsnnc.frontend.numerics.exactness import dyadic_unit

        return dyadic_unit(self.said) if not self.slack and (self.said == self.values).all() else 0.0

    @property
    def said(self) -> F64:
        """scale * (level + zero_point) of each level."""
        return np.asarray(self.scale * np.arange(len(self.values)) + self.scale * self.zero_point, np.float64)

    @property
    def roundings(self) -> int:
        """Bound of |value - scale * (level + zero_point)|, in float32 roundings of the largest value."""
        unit = 2.0**-24 * self.largest
        return self.slack + (int(np.ceil(np.abs(self.said - self.values).max() / unit)) if unit else 0)

    def scaled(self, factor: float) -> Part:
        """Return the same levels with all values multiplied by a factor."""
        return replace(self, scale=self.scale * factor, values=self.values * factor)


@dataclass(frozen=True, slots=True, eq=False)
class Quantized:
    """A tensor of levels.

    Element e is feature ``index[e]``, where the features of all parts are numbered consecutively; a negative index is the
    constant ``fixed[-1 - index]``.
    """

    parts: tuple[Part, ...]
    index: Int  # shape of the tensor, without the batch axis
    fixed: F64 = field(default_factory=lambda: np.zeros(0))

    @property
    def starts(self) -> Int:
        """Index of each part's first feature, and the end of the last part."""
        return np.cumsum([0, *(part.population.features for part in self.parts)])

    @property
    def canonical(self) -> bool:
        """Whether the tensor is exactly one population, in its order."""
        return (
            len(self.parts) == 1
            and self.index.size == self.parts[0].population.features
            and bool((self.index.reshape(-1) == np.arange(self.index.size)).all())
        )


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """A tensor that is the sum of one or more tensors of levels."""

    tensors: tuple[Quantized, ...]
    signs: tuple[int, ...]
    roundings: int  # roundings of the reference in computing the sum
    values: F64 | None = None  # the values that the sum takes in the reference, ascending, where they are known

    @classmethod
    def of(cls, tensor: Quantized) -> Terms:
        """Return a single tensor of levels as the only term."""
        return cls((tensor,), (1,), 0)

    @property
    def composed(self) -> bool:
        """Whether there is an operator between the levels and their reader."""
        return self.roundings > 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor for one image."""
        return self.tensors[0].index.shape

    def read(self, sums: Accumulator) -> Accumulator:
        """Return sums over the terms with the error of the reference's own roundings added."""
        return replace(sums, terms=sums.terms + self.roundings)


def whole(part: Part, shape: tuple[int, ...]) -> Quantized:
    """Return the tensor of all features of a population, in order."""
    return Quantized((part,), np.arange(part.population.features).reshape(shape))


def together(tensors: list[Quantized]) -> tuple[tuple[Part, ...], F64, list[Int]]:
    """Number the parts and constants of several tensors consecutively, and return each tensor's index so renumbered."""
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
    grid: F64  # (channels,): a power of two that divides every term; 0 if there is none
    magnitude: F64  # (channels,): the largest sum of |terms|
    terms: int
    sources: dict[str, Population]
    layout: Int  # shape of the ONNX tensor: the feature at each element
    axis: int = 1  # channel axis of the ONNX tensor; the batch is axis 0

    def value(self, potential: Int) -> npt.NDArray[np.float32]:
        """Return the float32 accumulators of potentials (classes, channels, ...)."""
        extra = (1,) * (potential.ndim - 2)
        exact = self.scale.reshape(*self.scale.shape, *extra) * potential + self.offset.reshape(*self.offset.shape, *extra)
        return exact.astype(np.float32)

    @property
    def canonical(self) -> bool:
        """Whether the ONNX tensor has all features, in order."""
        whole = self.layout.size == int(np.prod(self.shape))
        return whole and bool((self.layout.reshape(-1) == np.arange(self.layout.size)).all())


def natural(shape: tuple[int, int, int], out: tuple[int, ...]) -> Int:
    """Return the layout of a tensor that has a layer's features in order."""
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
        f"{node.op} on a tensor of shape {shape} is not supported; use at most 3 axes besides the batch",
        code="tensor-rank",
        node=node.name,
    )
