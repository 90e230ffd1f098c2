"""Tensors between neurons: sums of linear maps of populations, plus a constant.

A map is a `Window` (a convolution: one kernel for all positions) as long as linear operators compose to one, else a matrix
from all features of the population to all of the tensor. Weights are float64, in which sums and products of what the files
hold are exact for weights on a grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd, prod

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.ir.layers import Connection, Int
from qsnnc.nir.network import F64

Shape3 = tuple[int, int, int]

#: most weights of a matrix, or of a kernel
MOST_WEIGHTS = 1 << 24
#: most features of a tensor
MOST_FEATURES = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A convolution: output (o, r, c) reads input (i, r * stride - pad + u * dilation, ...)."""

    kernel: F64  # (outputs, inputs / groups, rows, columns)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)  # before the first row and column; behind the last, as many as the output needs
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def identity(self) -> bool:
        """Whether it passes every feature on."""
        plain = self.kernel.shape[1:] == (1, 1, 1) and self.groups == len(self.kernel) and self.strides == (1, 1)
        return plain and self.pads == (0, 0) and bool((self.kernel == 1).all())

    def taps(self, space: tuple[int, int], out: tuple[int, int]) -> Int:
        """Flat input position of each tap at each output position, -1 in the padding: (positions, taps)."""
        link = Connection(
            "", np.empty((1, 1, *self.kernel.shape[2:]), np.int64), self.strides, (*self.pads, 0, 0), self.dilations
        )
        return link.taps(space, out)

    def apply(self, x: F64, out: Shape3) -> F64:
        """Convolve a batch (N, channels, rows, columns) in float64."""
        taps = self.taps(x.shape[2:], out[1:])  # type: ignore[arg-type]
        flat = np.zeros((*x.shape[:2], x.shape[2] * x.shape[3] + 1))
        flat[..., :-1] = x.reshape(*x.shape[:2], -1)
        seen = flat[:, :, taps].reshape(
            len(x), self.groups, -1, *taps.shape
        )  # N, groups, inputs of a group, positions, taps
        kernel = self.kernel.reshape(self.groups, -1, self.kernel.shape[1], taps.shape[1])
        return np.asarray(np.einsum("ngipt,goit->ngop", seen, kernel, optimize=True).reshape(len(x), *out))

    def matrix(self, source: Shape3, out: Shape3) -> F64:
        """Return the same map as a matrix (features of the output, features of the source)."""
        features, inputs = prod(out), prod(source)
        refuse_size(features * inputs)
        taps = self.taps(source[1:], out[1:])
        kernel = ungrouped(self.kernel, self.groups, source[0]).reshape(out[0], source[0], -1)
        full = np.zeros((out[0], len(taps), source[0], source[1] * source[2]))
        for tap in range(taps.shape[1]):  # at one tap, no two windows read the same position
            at = np.flatnonzero(taps[:, tap] >= 0)
            full[:, at, :, taps[at, tap]] += kernel[:, :, tap]
        return full.reshape(features, inputs)

    def after(self, first: Window, source: Shape3, between: Shape3) -> Window | None:
        """Return this window on the result of another as one window; None if there is no such window."""
        if first.identity:
            return self
        for axis in (0, 1):
            if not self._padding_stays_zero(first, axis, source, between):
                return None
        strides = tuple(a * b for a, b in zip(self.strides, first.strides, strict=True))
        pads = tuple(mine * stride + other for mine, stride, other in zip(self.pads, first.strides, first.pads, strict=True))
        steps, sizes = [], []
        for axis in (0, 1):
            outer, inner = self.dilations[axis] * first.strides[axis], first.dilations[axis]
            many = [
                step
                for step, size in ((outer, self.kernel.shape[2 + axis]), (inner, first.kernel.shape[2 + axis]))
                if size > 1
            ]
            step = gcd(*many) if many else 1
            reach = (self.kernel.shape[2 + axis] - 1) * outer + (first.kernel.shape[2 + axis] - 1) * inner
            steps.append(step)
            sizes.append(reach // step + 1)
        refuse_size(len(self.kernel) * source[0] * prod(sizes))
        mine = ungrouped(self.kernel, self.groups, between[0])
        other = ungrouped(first.kernel, first.groups, source[0])
        kernel = np.zeros((len(mine), source[0], *sizes))
        for u, v in np.ndindex(*mine.shape[2:]):
            for s, t in np.ndindex(*other.shape[2:]):
                row = (u * self.dilations[0] * first.strides[0] + s * first.dilations[0]) // steps[0]
                column = (v * self.dilations[1] * first.strides[1] + t * first.dilations[1]) // steps[1]
                kernel[:, :, row, column] += mine[:, :, u, v] @ other[:, :, s, t]
        found = Window(kernel, strides, pads, (steps[0], steps[1]))  # type: ignore[arg-type]
        return found.regrouped(gcd(self.groups, first.groups))

    def regrouped(self, wish: int) -> Window:
        """Return the same window, one group so far, with the most groups that its zeros allow, at most ``wish``."""
        outputs, inputs = self.kernel.shape[:2]
        there = np.argwhere(self.kernel.reshape(outputs, inputs, -1).any(axis=2))
        for groups in range(min(wish, outputs, inputs), 1, -1):
            if outputs % groups or inputs % groups:
                continue
            if (there[:, 0] // (outputs // groups) == there[:, 1] // (inputs // groups)).all():
                parts = self.kernel.reshape(groups, outputs // groups, groups, inputs // groups, *self.kernel.shape[2:])
                mine = np.stack([parts[group, :, group] for group in range(groups)])
                return replace(self, kernel=mine.reshape(outputs, inputs // groups, *self.kernel.shape[2:]), groups=groups)
        return self

    def _padding_stays_zero(self, first: Window, axis: int, source: Shape3, between: Shape3) -> bool:
        """Whether what this window takes for padding lies in the other's padding too, along an axis."""
        size, inside = source[1 + axis], between[1 + axis]
        reach = (self.kernel.shape[2 + axis] - 1) * self.dilations[axis] + inside  # beyond it no tap reads
        beyond = [*range(-self.pads[axis], 0), *range(inside, reach)]
        at = np.array(beyond)[:, None] * first.strides[axis] - first.pads[axis]
        taps = at + np.arange(first.kernel.shape[2 + axis]) * first.dilations[axis]
        return not ((taps >= 0) & (taps < size)).any()


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """A linear map of a population: a window or, where there is none, a matrix (features of the tensor, of the source)."""

    source: str
    shape: Shape3  # of the source
    window: Window | None
    matrix: F64 | None = None

    def as_matrix(self, out: Shape3) -> F64:
        """Return it as a matrix."""
        if self.matrix is not None:
            return self.matrix
        assert self.window is not None
        return self.window.matrix(self.shape, out)


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor of NIR: its shape there, and its features as (channels, rows, columns)."""

    shape: tuple[int, ...]
    space: Shape3
    terms: tuple[Term, ...]
    constant: F64  # of ``space``
    swapped: bool = False  # flattened with the channels last

    @classmethod
    def of(cls, source: str, shape: tuple[int, ...], space: Shape3 | None = None) -> Tensor:
        """Return a population as a tensor."""
        space = space or space_of(shape, source)
        identity = Window(np.ones((space[0], 1, 1, 1)), groups=space[0])
        return cls(shape, space, (Term(source, space, identity),), np.zeros(space))

    def arranged(self, values: F64, name: str, key: str) -> F64:
        """Return values of ``shape``, or that are broadcast to it, in the order of ``space``.

        Raises
        ------
        ModelError
            Their shape fits neither.
        """
        if values.size == 1:
            return np.full(self.space, values.reshape(-1)[0])
        try:
            full = np.broadcast_to(_without_ones(values, len(self.shape)), self.shape)
        except ValueError:
            raise ModelError(
                name, f"'{key}' has shape {values.shape}, its input {self.shape}; export the network again",
                code="nir-shape", node=name, found=list(values.shape), allowed=list(self.shape),
            ) from None  # fmt: skip
        if self.swapped:
            channels, rows, columns = self.space
            return full.reshape(rows, columns, channels).transpose(2, 0, 1)
        return full.reshape(self.space)

    def apply(self, window: Window, shape: tuple[int, ...], space: Shape3, bias: F64 | None = None) -> Tensor:
        """Return the convolution of the tensor; ``bias`` (channels,) is added."""
        terms = []
        for term in self.terms:
            moved = window.after(term.window, term.shape, self.space) if term.window is not None else None
            if moved is not None:
                terms.append(replace(term, window=moved))
                continue
            whole = window.matrix(self.space, space) @ term.as_matrix(self.space)
            terms.append(Term(term.source, term.shape, None, whole))
        constant = window.apply(self.constant[None], space)[0]
        if bias is not None:
            constant = constant + bias[:, None, None]
        return Tensor(shape, space, tuple(terms), constant)

    def scaled(self, factor: F64) -> Tensor:
        """Return the tensor times a factor for each feature, (channels, rows, columns)."""
        each = factor[:, 0, 0]
        terms = []
        for term in self.terms:
            if term.window is not None and (factor == each[:, None, None]).all():
                kernel = term.window.kernel * each[:, None, None, None]
                terms.append(replace(term, window=replace(term.window, kernel=kernel)))
            else:
                terms.append(Term(term.source, term.shape, None, term.as_matrix(self.space) * factor.reshape(-1, 1)))
        return replace(self, terms=tuple(terms), constant=self.constant * factor)

    def flattened(self, order: str) -> Tensor:
        """Return the tensor as one axis, channels first or last."""
        return replace(self, shape=(prod(self.shape),), swapped=order == "hwc" and len(self.shape) == 3)

    def in_order(self) -> Tensor:
        """Return a flattened tensor feature by feature: (features, 1, 1)."""
        if self.space[1:] == (1, 1):
            return self
        order = np.arange(prod(self.space)).reshape(self.space)
        rows = (order.transpose(1, 2, 0) if self.swapped else order).reshape(-1)
        terms = tuple(Term(term.source, term.shape, None, term.as_matrix(self.space)[rows]) for term in self.terms)
        return Tensor(self.shape, (len(rows), 1, 1), terms, self.constant.reshape(-1)[rows].reshape(-1, 1, 1))


def added(tensors: Sequence[Tensor], name: str) -> Tensor:
    """Return the sum of tensors: several edges that enter one node.

    Raises
    ------
    ModelError
        Their shapes differ.
    """
    first = tensors[0]
    if len(tensors) == 1:
        return first
    shapes = {tensor.shape for tensor in tensors}
    if len(shapes) > 1:
        found = ", ".join(str(tensor.shape) for tensor in tensors)
        raise ModelError(
            name, f"adds tensors of shapes {found}; they must be equal", code="nir-shape", node=name, found=sorted(shapes)
        )
    if any((tensor.space, tensor.swapped) != (first.space, first.swapped) for tensor in tensors):
        tensors = [tensor.in_order() for tensor in tensors]
    constant = np.sum([tensor.constant for tensor in tensors], axis=0)
    return replace(tensors[0], terms=tuple(term for tensor in tensors for term in tensor.terms), constant=constant)


def space_of(shape: tuple[int, ...], name: str) -> Shape3:
    """View a shape as (channels, rows, columns).

    Raises
    ------
    ModelError
        It has more than three axes, none, or too many features.
    """
    if not 1 <= len(shape) <= 3 or min(shape) < 1 or prod(shape) > MOST_FEATURES:
        raise ModelError(
            name, f"has shape {shape}; allowed: 1 to 3 axes besides the batch, with at most {MOST_FEATURES:,} features",
            code="nir-shape", node=name, found=list(shape),
        )  # fmt: skip
    if len(shape) == 3:
        return shape
    return (shape[0], 1, 1) if len(shape) == 1 else (shape[0], 1, shape[1])


def ungrouped(kernel: F64, groups: int, channels: int) -> F64:
    """Expand a grouped kernel with zeros: (outputs, channels, rows, columns)."""
    if groups == 1:
        return kernel
    outputs, inputs = kernel.shape[:2]
    refuse_size(outputs * channels * prod(kernel.shape[2:]))
    full = np.zeros((groups, outputs // groups, groups, inputs, *kernel.shape[2:]))
    for group in range(groups):
        full[group, :, group] = kernel.reshape(groups, outputs // groups, *kernel.shape[1:])[group]
    return full.reshape(outputs, channels, *kernel.shape[2:])


def refuse_size(weights: int) -> None:
    """Refuse to write out more than `MOST_WEIGHTS` weights.

    Raises
    ------
    ModelError
    """
    if weights > MOST_WEIGHTS:
        raise ModelError(
            "network",
            f"has linear nodes without a neuron between them that make {weights:,} weights together; allowed: "
            f"{MOST_WEIGHTS:,}. Put neurons between them",
            code="nir-parameter", found=weights, allowed=MOST_WEIGHTS,
        )  # fmt: skip


def _without_ones(values: F64, axes: int) -> F64:
    """Drop leading axes of size one that the tensor does not have: a batch axis."""
    while values.ndim > axes and values.shape[0] == 1:
        values = values[0]
    return values
