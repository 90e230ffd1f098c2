"""Turn Gemm and MatMul into accumulators: on levels, flat or with leading axes, or on another operator's sums."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.linear.accumulate import Offsets, Operand, Piece, Sums, accumulate, idle
from qsnnc.frontend.linear.convolve import convolve
from qsnnc.frontend.linear.tensors import F64, Accumulator, Quantized, Terms, natural
from qsnnc.frontend.linear.views import POINT, Window, space_of
from qsnnc.frontend.linear.weight_grid import integer_weights
from qsnnc.frontend.model.model import Model, Node
from qsnnc.frontend.numerics.exactness import EXACT_BELOW, dyadic_units
from qsnnc.ir.layers import Connection, Int, Population, reachable

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """Weights (outputs, inputs) and bias (outputs,) along one axis of a tensor."""

    weights: F64
    bias: F64
    axis: int  # axis of the data that is summed over; the batch is axis 0
    out_axis: int  # axis of the outputs in the result


def constant(model: Model, node: Node, position: int) -> F64:
    """Return a node's constant input.

    Raises
    ------
    ModelError
        It is not constant.
    """
    name = node.inputs[position]
    if name not in model.constants:
        raise ModelError(
            node.name,
            f"input {name!r} of {node.op} depends on the data; it must be a constant (a product of two activations is not "
            "supported)",
            code="weights-not-constant",
            node=node.name,
        )
    return model.constants[name].astype(np.float64)


def matrix_of(model: Model, node: Node, rank: int) -> Matrix:
    """Return the matrix of a Gemm or MatMul whose data has ``rank`` axes, including the batch."""
    left = node.inputs[0] in model.constants
    weights = constant(model, node, 0 if left else 1)
    if node.op == "Gemm":
        return _gemm(model, node, weights, left=left)
    if weights.ndim > rank:
        raise ModelError(
            node.name,
            f"{node.op} with a constant of shape {weights.shape} moves the batch axis; remove its leading axes",
            code="batch-moved",
            node=node.name,
        )
    while weights.ndim > 2 and weights.shape[0] == 1:
        weights = weights[0]
    if left and weights.ndim == 2 and rank >= 3:
        return Matrix(weights, np.zeros(len(weights)), rank - 2, rank - 2)
    if left or weights.ndim > 2:
        raise ModelError(
            node.name,
            f"{node.op} with a constant of shape {weights.shape} on the {'left' if left else 'right'} is not supported; use "
            "one matrix that sums over an axis other than the batch",
            code="tensor-rank",
            node=node.name,
        )
    if weights.ndim == 1:
        raise ModelError(
            node.name,
            "MatMul with a vector is not supported; use a matrix of one column",
            code="tensor-rank",
            node=node.name,
        )
    return Matrix(weights.T, np.zeros(weights.shape[1]), rank - 1, rank - 1)


def _gemm(model: Model, node: Node, weights: F64, *, left: bool) -> Matrix:
    if left or node.attributes.get("transA", 0):
        raise ModelError(
            node.name,
            "Gemm that sums over the batch axis (transA, or data on the right) is not supported; put the data on the left, "
            "batch first",
            code="model-attribute",
            node=node.name,
        )
    if not node.attributes.get("transB", 0):
        weights = weights.T
    alpha = float(node.attributes.get("alpha", 1.0))
    weights = weights if alpha == 1 else weights * alpha
    bias = np.zeros(())
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = constant(model, node, 2) * float(node.attributes.get("beta", 1.0))
    # C broadcasts to (images, outputs), and is the same for all images
    return Matrix(weights, np.broadcast_to(bias, (1, len(weights)))[0].copy(), 1, 1)


def multiply(model: Model, node: Node, terms: Terms, name: str, *, last: bool) -> Accumulator:
    """Turn a Gemm or MatMul on levels into an accumulator."""
    batched = _batch_of_matrices(model, node, terms.shape)
    if batched is not None:
        return _grouped(model, node, terms, batched, name, last=last)
    found = matrix_of(model, node, len(terms.shape) + 1)
    if len(terms.shape) == 1:
        assert not terms.composed, "flat sums are multiplied as they are"
        return _flat(model, node, terms.tensors[0], found, name, last=last)
    return _along(model, node, terms, found, name, last=last)


def _flat(model: Model, node: Node, tensor: Quantized, found: Matrix, name: str, *, last: bool) -> Accumulator:
    """Multiply a flat tensor; reordering before it becomes an order of the matrix's columns."""
    weights, bias = found.weights, found.bias
    whole, scales = integer_weights(name, node.name, weights, per_channel=not last)
    outputs = len(weights)
    pieces = []
    offset = bias.copy()
    for start, part in zip(tensor.starts[:-1], tensor.parts, strict=True):
        population = part.population
        mine = (tensor.index >= start) & (tensor.index < start + population.features)
        if not mine.any():
            continue
        at, size = np.where(mine, tensor.index - start, -1), population.features
        real, integers = spread_columns(weights, at, size), spread_columns(whole, at, size)
        kernel = (outputs, *population.shape)
        pieces.append(Piece(part, real.reshape(kernel), integers.reshape(kernel), 1, Window(population.shape[1:])))
        if part.zero_point:
            offset += part.scale * part.zero_point * weights[:, mine].sum(axis=1)
    held = tensor.index < 0
    magnitude, grid = np.abs(bias), dyadic_units(bias[:, None])
    if held.any():
        values = tensor.fixed[-1 - tensor.index[held]]
        offset += weights[:, held] @ values
        magnitude = magnitude + np.abs(weights[:, held]) @ np.abs(values)
        grid = np.minimum(grid, dyadic_units(weights[:, held]) * dyadic_units(values[None])[0])
    offsets = Offsets(np.zeros((1, 1), np.int64), offset[None], magnitude, grid)
    shape = (outputs, 1, 1)
    sums = Sums(name, "dense", node, shape, natural(shape, (outputs,)))
    return with_exact_integer_sums(model, accumulate(sums, pieces or idle([tensor], shape), scales, offsets))


def spread_columns(weights: npt.NDArray[T], at: Int, size: int) -> npt.NDArray[T]:
    """Return weights (outputs, size) with each column where ``at`` says, -1 for nowhere; columns at one place add up."""
    if len(at) == size and np.array_equal(at, np.arange(size)):
        return np.ascontiguousarray(weights)
    found = np.zeros((len(weights), size), weights.dtype)
    mine = np.flatnonzero(at >= 0)
    if len(np.unique(at[mine])) == len(mine):
        found[:, at[mine]] = weights[:, mine]
    else:
        np.add.at(found.T, at[mine], weights.T[mine])
    return found


def _along(model: Model, node: Node, terms: Terms, found: Matrix, name: str, *, last: bool) -> Accumulator:
    """Multiply along one of several axes: a 1x1 convolution, with the other axes as its positions."""
    axis = found.axis - 1
    moved = [replace(tensor, index=np.moveaxis(tensor.index, axis, 0)) for tensor in terms.tensors]
    index = moved[0].index
    rest = index.shape[1:]
    outputs = len(found.weights)
    space = space_of(moved[0], index, node)
    kernel = found.weights[:, :, None, None]
    operands = [
        Operand(tensor, (len(index), *space), sign * kernel, 1, POINT)
        for tensor, sign in zip(moved, terms.signs, strict=True)
    ]
    shape = (outputs, *space)
    layout = np.moveaxis(natural(shape, (outputs, *rest)), 0, axis)
    sums = Sums(name, "dense", node, shape, np.ascontiguousarray(layout), found.out_axis)
    done = convolve(sums, operands, found.bias, per_channel=not last, written_out=not terms.composed)
    return with_exact_integer_sums(model, terms.read(done))


def _batch_of_matrices(model: Model, node: Node, shape: tuple[int, ...]) -> F64 | None:
    """Return constant matrices (leading axes of the result, outputs, inputs), one per leading index; None for one matrix.

    `_grouped` determines whether they are the left operand.
    """
    left = node.inputs[0] in model.constants
    weights = constant(model, node, 0 if left else 1)
    if node.op == "Gemm" or weights.ndim < 3 or len(shape) < 3 or (weights.ndim > len(shape) and weights.shape[0] != 1):
        return None
    weights = weights.reshape(weights.shape[-len(shape) :])
    if np.prod(weights.shape[:-2]) == 1:
        return None
    lead = np.broadcast_shapes(weights.shape[:-2], shape[:-2])
    weights = weights if left else weights.swapaxes(-1, -2)
    return np.ascontiguousarray(np.broadcast_to(weights, (*lead, *weights.shape[-2:])))


def _grouped(model: Model, node: Node, terms: Terms, weights: F64, name: str, *, last: bool) -> Accumulator:
    """Multiply by one matrix per leading index: a grouped 1x1 convolution."""
    left = node.inputs[0] in model.constants
    *lead, outputs, inputs = weights.shape
    groups = int(np.prod(lead))
    operands = []
    for tensor, sign in zip(terms.tensors, terms.signs, strict=True):
        index = tensor.index if left else tensor.index.swapaxes(-1, -2)
        index = np.broadcast_to(index, (*lead, *index.shape[-2:])).reshape(groups * inputs, 1, -1)
        kernel = sign * weights.reshape(groups * outputs, inputs, 1, 1)
        operands.append(Operand(replace(tensor, index=index), index.shape, kernel, groups, POINT))
    shape = (groups * outputs, 1, operands[0].shape[2])
    layout = natural(shape, (*lead, outputs, shape[2]))
    layout = layout if left else np.ascontiguousarray(layout.swapaxes(-1, -2))
    sums = Sums(name, "dense", node, shape, layout, len(lead) + (1 if left else 2))
    bias = np.zeros(groups * outputs)
    return with_exact_integer_sums(
        model, terms.read(convolve(sums, operands, bias, per_channel=not last, written_out=not terms.composed))
    )


def with_exact_integer_sums(model: Model, sums: Accumulator) -> Accumulator:
    """Mark integer sums as exact, whatever their size.

    Raises
    ------
    ModelError
        They may leave int32, in which onnxruntime computes them.
    """
    if sums.node.name not in model.integral:
        return sums
    ends = sums.scale[..., None] * sums.reach + sums.offset[..., None]
    largest = float(np.abs(ends).max(initial=0))
    if largest >= 1 << 31:
        raise ModelError(
            sums.node.name,
            f"its integer sums may reach {largest:,.0f}, and beyond int32 (2,147,483,647) they wrap; use smaller weights or "
            "a smaller bias",
            code="model-invalid",
            node=sums.node.name,
            found=largest,
            allowed=(1 << 31) - 1,
        )
    return replace(sums, exact=np.ones_like(sums.exact))


def multiply_sums(model: Model, node: Node, inner: Accumulator, index: Int, name: str, *, last: bool) -> Accumulator:
    """Merge a matrix with the linear operator before it (for example an average pool), with no quantizer between.

    Parameters
    ----------
    index : ndarray, int64
        The feature of ``inner`` at each element of the tensor that the matrix reads.
    """
    found = matrix_of(model, node, index.ndim + 1)
    weights, bias, scale = found.weights, found.bias, float(inner.scale.flat[0])
    whole, scales = integer_weights(name, node.name, weights, per_channel=not last)
    features, at = int(np.prod(inner.shape)), index.reshape(-1)
    moved, real = spread_columns(whole, at, features), spread_columns(weights, at, features)
    joined = []
    for link in inner.connections:
        source = inner.sources[link.source]
        through = _through(link, moved, inner.shape, source)
        joined.append(Connection(source.name, through.reshape(len(weights), *source.shape)))
    offsets = inner.offset[inner.border].transpose(2, 0, 1).reshape(-1)
    step = float(inner.grid.min())  # 0: no power of two divides the sums; a row of zeros changes nothing
    grid = np.minimum(dyadic_units(weights) * step if step else 0.0, dyadic_units(bias[:, None]))
    magnitude = np.abs(bias) + np.abs(real).sum(axis=1) * float(inner.magnitude.max())
    exact = inner.exact.all() & (grid > 0) & (magnitude < EXACT_BELOW * grid)
    exact &= (whole * scales[:, None] == weights).all(axis=1)
    shape = (len(weights), 1, 1)
    return Accumulator(
        name=name,
        kind="dense",
        node=node,
        shape=shape,
        connections=tuple(joined),
        scale=(scales * scale)[None],
        offset=(bias + real @ offsets)[None],
        border=np.zeros((1, 1), np.int64),
        reach=reachable(tuple(joined), inner.sources, shape),
        exact=exact,
        grid=grid,
        magnitude=magnitude,
        terms=weights.shape[1] + inner.terms + 2,
        sources=inner.sources,
        layout=natural(shape, shape[:1]),
    )


def _through(link: Connection, outer: Int, shape: tuple[int, int, int], source: Population) -> Int:
    """Multiply a connection by the matrix after it: weights (outputs, features of the source)."""
    channels, rows, columns = shape
    taps = link.taps(source.shape[1:], (rows, columns))
    positions = source.shape[1] * source.shape[2]
    per_group, outputs = link.weights.shape[1], channels // link.groups
    outer = outer.reshape(len(outer), channels, rows * columns)
    kernel = link.weights.reshape(channels, per_group, -1)
    if rows * columns == 1 and link.groups == channels and per_group == 1:  # each position of the map is read once
        spread = np.zeros((channels, positions + 1), np.int64)
        spread[:, taps[0]] = kernel[:, 0]
        spread = spread[:, :positions]
        if (spread == spread[:, :1]).all():  # a global pool: not written out position by position
            return np.broadcast_to(outer * spread[:, :1], (len(outer), *spread.shape))
        return outer * spread
    whole = np.zeros((len(outer), source.shape[0], positions + 1), np.int64)  # the last: the padding
    for group in range(link.groups):
        mine, theirs = slice(group * outputs, (group + 1) * outputs), slice(group * per_group, (group + 1) * per_group)
        for tap in range(kernel.shape[2]):  # at one tap, no two windows read the same position
            whole[:, theirs, taps[:, tap]] += np.einsum("kop,oi->kip", outer[:, mine], kernel[mine, :, tap])
    return whole[:, :, :positions]
