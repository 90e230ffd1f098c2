"""Linear operators on quantized tensors, as integer connections: value = scale * potential + offset."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from qsnnc.errors import ModelError
from qsnnc.frontend.certify import sums_are_exact
from qsnnc.frontend.read import Model, Node
from qsnnc.frontend.weights import integer_weights
from qsnnc.ir.layers import Connection, Int, Population, reachable

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Quantized:
    """A tensor of levels: element e is feature ``index[e]`` of a population; value = scale * (level + zero_point)."""

    population: Population
    index: Int  # shape of the tensor, without the batch axis
    scale: float
    zero_point: float

    @property
    def canonical(self) -> bool:
        """Whether the tensor is the population itself, in its own order."""
        return self.index.size == self.population.features and bool(
            (self.index.reshape(-1) == np.arange(self.index.size)).all()
        )

    @property
    def largest(self) -> float:
        """Largest magnitude of a value."""
        ends = np.array([self.zero_point, self.zero_point + self.population.levels])
        return float(np.abs(self.scale * ends).max())


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
    magnitude: F64  # (channels,): the largest sum of |terms|
    terms: int
    sources: dict[str, Population] = field(default_factory=dict)

    def value(self, potential: Int) -> npt.NDArray[np.float32]:
        """Float32 accumulators of potentials (classes, channels, ...)."""
        extra = (1,) * (potential.ndim - 2)
        exact = self.scale.reshape(*self.scale.shape, *extra) * potential + self.offset.reshape(*self.offset.shape, *extra)
        return exact.astype(np.float32)


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


def windows(node: Node, kernel: tuple[int, ...], shape: tuple[int, ...], out: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Strides, pads and dilations of a convolution or pool, in two dimensions.

    Padding at the end is what the output's shape asks for, so that ``ceil_mode`` and ``auto_pad`` need no case of their own.
    """
    axes = len(kernel)
    attributes = node.attributes
    strides = tuple(attributes.get("strides", (1,) * axes))
    dilations = tuple(attributes.get("dilations", (1,) * axes))
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    begin = list(attributes.get("pads", (0,) * (2 * axes)))[:axes]
    end = []
    for axis in range(axes):
        span = (kernel[axis] - 1) * dilations[axis] + 1
        total = max(0, (out[axis] - 1) * strides[axis] + span - shape[axis])
        if auto.startswith("SAME"):
            begin[axis] = total // 2 if auto == "SAME_UPPER" else total - total // 2
        elif auto == "VALID":
            begin[axis] = 0
        end.append(max(0, total - begin[axis]))
    one = axes == 1
    return {
        "strides": (1, *strides) if one else strides,
        "dilations": (1, *dilations) if one else dilations,
        "pads": (0, begin[0], 0, end[0]) if one else (begin[0], begin[1], end[0], end[1]),
    }


def border_classes(valid: npt.NDArray[np.bool_], shape: tuple[int, int]) -> tuple[Int, Int]:
    """Classes of positions whose windows have the same taps.

    Parameters
    ----------
    valid : ndarray, bool, (positions, taps)

    Returns
    -------
    border : ndarray, int64, (rows, columns)
    example : ndarray, int64, (classes,)
        A position of each class.
    """
    _, example, border = np.unique(valid, axis=0, return_index=True, return_inverse=True)
    return border.reshape(shape).astype(np.int64), example.astype(np.int64)


def accumulate(
    name: str,
    kind: str,
    node: Node,
    out: tuple[int, ...],
    parts: list[tuple[Quantized, Connection, F64, F64]],
    bias: F64,
) -> Accumulator:
    """Put connections together that have one unit per channel.

    Parameters
    ----------
    parts : list
        Each a quantized tensor, its connection, the real weights (as the connection's) and the scale of an integer weight
        (channels,). The products of weight scale and tensor scale must be the same for every part.
    bias : ndarray, float64, (channels,)
    """
    shape = as_map(out, node)
    channels, rows, columns = shape
    sources = {part[0].population.name: part[0].population for part in parts}
    connections = tuple(part[1] for part in parts)
    unit = parts[0][3] * parts[0][0].scale
    reach = reachable(connections, sources, shape)
    shifted = any(tensor.zero_point for tensor, *_ in parts)
    taps = [link.taps(sources[link.source].shape[1:], (rows, columns)) >= 0 for link in connections]
    every = np.concatenate(taps, axis=1) if shifted else np.ones((rows * columns, 1), bool)
    border, example = border_classes(every, (rows, columns))
    offset = np.tile(bias, (len(example), 1))
    exact = np.ones(channels, bool)
    magnitude = np.abs(bias)
    terms = 1
    for (tensor, link, real, _), valid in zip(parts, taps, strict=True):
        per_tap = real.sum(axis=1).reshape(channels, -1)
        if tensor.zero_point:
            offset += tensor.scale * tensor.zero_point * (valid[example].astype(np.float64) @ per_tap.T)
        rows_of = real.reshape(channels, -1)
        step = dyadic(tensor)
        exact &= (
            sums_are_exact(rows_of, bias, step, tensor.largest) if step and len(parts) == 1 else np.zeros(channels, bool)
        )
        magnitude = magnitude + np.abs(rows_of).sum(axis=1) * tensor.largest
        terms += rows_of.shape[1]
        # integers times scales must be the very floats of the graph
        scaled = link.weights.reshape(channels, -1) * (unit / tensor.scale)[:, None]
        exact &= (scaled == rows_of).all(axis=1)
    classes = len(example)
    span = np.zeros((classes, channels, 2), np.int64)
    for c in range(classes):
        where = border.reshape(-1) == c
        span[c, :, 0] = reach[where, :, 0].min(axis=0)
        span[c, :, 1] = reach[where, :, 1].max(axis=0)
    return Accumulator(
        name,
        kind,
        node,
        shape,
        connections,
        np.tile(unit, (classes, 1)),
        offset,
        border,
        span,
        exact,
        magnitude,
        terms,
        sources,
    )


def dyadic(tensor: Quantized) -> float:
    """Power of two that divides every value of the tensor, or 0 where float32 does not hold them exactly."""
    from qsnnc.frontend.certify import dyadic_unit

    values = tensor.scale * (np.arange(tensor.population.levels + 1) + tensor.zero_point)
    return dyadic_unit(values) if (values.astype(np.float32) == values).all() else 0.0


def convolution(model: Model, node: Node, tensor: Quantized, name: str) -> Accumulator:
    """Conv with constant weights."""
    weights = constant(model, node, 1)
    bias = constant(model, node, 2) if len(node.inputs) > 2 and node.inputs[2] else np.zeros(len(weights))
    shape, out = tensor.index.shape, model.shapes[node.outputs[0]]
    _needs_canonical(node, tensor)
    geometry = windows(node, weights.shape[2:], shape[1:], out[1:])
    integers, scales = integer_weights(name, node.name, weights)
    kernel = (*weights.shape[:2], *([1] * (4 - weights.ndim)), *weights.shape[2:])
    link = Connection(
        tensor.population.name,
        integers.reshape(kernel),
        groups=int(node.attributes.get("group", 1)),
        **geometry,  # type: ignore[arg-type]
    )
    part = (tensor, link, weights.astype(np.float64).reshape(kernel), scales)
    return _settled(model, accumulate(name, "convolution", node, out, [part], bias.astype(np.float64)))


def matrix(model: Model, node: Node, tensor: Quantized, name: str, *, last: bool) -> Accumulator:
    """Gemm or MatMul with a constant matrix on a flat tensor; any relabelling before it becomes an order of columns."""
    weights, bias = _matrix_of(model, node, tensor.index.ndim, tensor.index.shape)
    integers, scales = integer_weights(name, node.name, weights, per_channel=not last)
    full = np.zeros((len(weights), tensor.population.features), np.int64)
    real = np.zeros(full.shape)
    np.add.at(full.T, tensor.index, integers.T)
    np.add.at(real.T, tensor.index, weights.T)
    kernel = (len(weights), *tensor.population.shape)
    link = Connection(tensor.population.name, full.reshape(kernel))
    out = (len(weights),)
    return _settled(model, accumulate(name, "dense", node, out, [(tensor, link, real.reshape(kernel), scales)], bias))


def _settled(model: Model, sums: Accumulator) -> Accumulator:
    """Sums of integers are exact, whatever their size."""
    return replace(sums, exact=np.ones_like(sums.exact)) if sums.node.name in model.integral else sums


def _matrix_of(model: Model, node: Node, axes: int, shape: tuple[int, ...]) -> tuple[F64, F64]:
    """Weights (outputs, inputs) and bias (outputs,) of a Gemm or MatMul on a flat tensor."""
    weights = constant(model, node, 1).astype(np.float64)
    bias = np.zeros(())
    if node.op == "Gemm":
        if node.attributes.get("transA", 0):
            raise ModelError(node.name, "Gemm with transA is not supported", code="gemm-transposed", node=node.name)
        if not node.attributes.get("transB", 0):
            weights = weights.T
        weights = weights * float(node.attributes.get("alpha", 1.0))
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = constant(model, node, 2).astype(np.float64) * float(node.attributes.get("beta", 1.0))
    else:
        weights = weights.T
    if axes != 1 or weights.ndim != 2:
        raise ModelError(
            node.name,
            f"{node.op} on a tensor of shape {shape} per image; flatten it first",
            code="matrix-rank",
            node=node.name,
        )
    return weights, np.broadcast_to(bias.reshape(-1) if bias.size > 1 else bias, (len(weights),)).astype(np.float64)


def matrix_of_sums(model: Model, node: Node, inner: Accumulator, index: Int, name: str, *, last: bool) -> Accumulator:
    """A matrix on the sums of another linear operator (an average pool, say), with no quantizer between: one map.

    Parameters
    ----------
    index : ndarray, int64
        Which feature of ``inner`` stands where in the tensor that the matrix reads.
    """
    if len(inner.connections) != 1 or np.unique(inner.scale).size != 1:
        raise ModelError(
            node.name,
            f"reads {inner.name}, whose sums have scales of their own; put a quantizer (scale, round, clip) between",
            code="activation-not-quantized",
            node=node.name,
        )
    weights, bias = _matrix_of(model, node, index.ndim, index.shape)
    integers, scales = integer_weights(name, node.name, weights, per_channel=not last)
    (link,), scale = inner.connections, float(inner.scale.flat[0])
    source = inner.sources[link.source]
    features = int(np.prod(inner.shape))
    moved = np.zeros((len(weights), features), np.int64)
    real = np.zeros(moved.shape)
    np.add.at(moved.T, index.reshape(-1), integers.T)
    np.add.at(real.T, index.reshape(-1), weights.T)
    whole = _through(link, moved, inner.shape, source)
    kernel = (len(weights), *source.shape)
    joined = Connection(source.name, whole.reshape(kernel))
    offsets = inner.offset[inner.border].transpose(2, 0, 1).reshape(-1)
    largest = float(np.abs(scale * inner.reach).max() + np.abs(inner.offset).max())
    unit = _power_of_two_or_none(scale) if not inner.offset.any() else None
    exact = np.zeros(len(weights), bool)
    if unit and inner.exact.all():
        exact = sums_are_exact(weights, bias, unit, largest) & (integers * scales[:, None] == weights).all(axis=1)
    return Accumulator(
        name,
        "dense",
        node,
        (len(weights), 1, 1),
        (joined,),
        (scales * scale)[None],
        (bias + real @ offsets)[None],
        np.zeros((1, 1), np.int64),
        reachable((joined,), inner.sources, (len(weights), 1, 1)),
        exact,
        np.abs(bias) + np.abs(real).sum(axis=1) * max(largest, float(inner.magnitude.max())),
        weights.shape[1] + inner.terms + 2,
        inner.sources,
    )


def _through(link: Connection, outer: Int, shape: tuple[int, int, int], source: Population) -> Int:
    """Weights (outputs, features of the source) of a matrix behind a connection."""
    channels, rows, columns = shape
    taps = link.taps(source.shape[1:], (rows, columns))
    positions = source.shape[1] * source.shape[2]
    per_group, outputs = link.weights.shape[1], channels // link.groups
    outer = outer.reshape(len(outer), channels, rows * columns)
    whole = np.zeros((len(outer), source.shape[0], positions + 1), np.int64)  # the last: the padding
    kernel = link.weights.reshape(channels, per_group, -1)
    for group in range(link.groups):
        mine, theirs = slice(group * outputs, (group + 1) * outputs), slice(group * per_group, (group + 1) * per_group)
        for tap in range(kernel.shape[2]):  # at one tap, no two windows read the same position
            whole[:, theirs, taps[:, tap]] += np.einsum("kop,oi->kip", outer[:, mine], kernel[mine, :, tap])
    return whole[:, :, :positions]


def _power_of_two_or_none(value: float) -> float | None:
    return value if float(2.0 ** np.round(np.log2(value))) == value else None


def sum_pool(model: Model, node: Node, tensor: Quantized, name: str) -> Accumulator:
    """AveragePool, GlobalAveragePool and ReduceMean over rows and columns: a sum, scaled."""
    _needs_canonical(node, tensor)
    channels = tensor.index.shape[0]
    space = tensor.index.shape[1:]
    out = model.shapes[node.outputs[0]]
    if node.op == "AveragePool":
        kernel = tuple(node.attributes["kernel_shape"])
        geometry = windows(node, kernel, space, out[1:])
    else:
        kernel = space
        geometry = windows(node, kernel, space, (1,) * len(space))
        out = out if len(out) > 1 else (channels,)
    taps = int(np.prod(kernel))
    two = (1,) * (2 - len(kernel)) + kernel
    link = Connection(tensor.population.name, np.ones((channels, 1, *two), np.int64), groups=channels, **geometry)  # type: ignore[arg-type]
    real = np.full((channels, 1, *two), 1.0)
    whole = accumulate(name, "pool", node, out, [(tensor, link, real, np.ones(channels))], np.zeros(channels))
    padded = bool(np.any(np.array(link.pads)))
    if node.op != "AveragePool" or not padded:
        return replace(whole, scale=whole.scale / taps, offset=whole.offset / taps, exact=whole.exact & _power_of_two(taps))
    # the divisor depends on the window: count_include_pad counts the padding, but not what ceil_mode adds beyond it
    valid = link.taps(tensor.population.shape[1:], whole.shape[1:]) >= 0
    counts = valid.sum(axis=1)
    if node.attributes.get("count_include_pad", 0):
        if node.attributes.get("ceil_mode", 0):
            raise ModelError(
                node.name,
                "AveragePool with ceil_mode and count_include_pad is not supported; pad explicitly",
                code="pool-divisor",
                node=node.name,
            )
        counts = np.full(len(counts), taps)
    border, example = border_classes(valid, whole.shape[1:])
    divisor = counts[example][:, None].astype(np.float64)
    reach = np.zeros((len(example), channels, 2), np.int64)
    reach[..., 1] = valid[example].sum(axis=1)[:, None] * tensor.population.levels
    value_offset = tensor.scale * tensor.zero_point * valid[example].sum(axis=1)[:, None]
    exact = whole.exact & bool(all(_power_of_two(int(n)) for n in counts))
    return replace(
        whole,
        border=border,
        reach=reach,
        scale=np.broadcast_to(tensor.scale / divisor, (len(example), channels)).copy(),
        offset=np.broadcast_to(value_offset / divisor, (len(example), channels)).copy(),
        exact=exact,
    )


def addition(model: Model, node: Node, left: Quantized, right: Quantized, name: str) -> Accumulator:
    """Add of two quantized tensors: identity connections whose integer weights are the ratio of the scales."""
    from fractions import Fraction

    if left.index.shape != right.index.shape:
        raise ModelError(
            node.name,
            f"adds tensors of shapes {left.index.shape} and {right.index.shape}; only equal shapes are supported",
            code="add-shapes",
            node=node.name,
        )
    ratio = Fraction(left.scale / right.scale).limit_denominator(64)
    if not ratio or max(ratio.numerator, ratio.denominator) > 64 or abs(float(ratio) * right.scale / left.scale - 1) > 2e-7:
        raise ModelError(
            node.name,
            f"adds values of step {left.scale:g} and {right.scale:g}, whose ratio is not a fraction of small integers; "
            "give both arms one scale",
            code="add-scales",
            node=node.name,
        )
    unit = left.scale / ratio.numerator
    parts = []
    for tensor, factor in ((left, ratio.numerator), (right, ratio.denominator)):
        _needs_canonical(node, tensor)
        channels = tensor.population.shape[0]
        weights = np.full((channels, 1, 1, 1), factor, np.int64)
        link = Connection(tensor.population.name, weights, groups=channels)
        scales = np.full(channels, unit / tensor.scale)
        parts.append((tensor, link, np.ones(weights.shape), scales))
    whole = accumulate(name, "add", node, model.shapes[node.outputs[0]], parts, np.zeros(parts[0][1].weights.shape[0]))
    from qsnnc.frontend.certify import EXACT_BELOW

    steps = [dyadic(tensor) for tensor in (left, right)]
    exact = all(steps) and (left.largest + right.largest) / min(steps) < EXACT_BELOW
    return replace(whole, exact=np.full(len(whole.exact), exact))


def identity(node: Node, tensor: Quantized, name: str) -> Accumulator:
    """The levels themselves as potentials: what reads out a network that ends in levels."""
    _needs_canonical(node, tensor)
    channels = tensor.population.shape[0]
    weights = np.ones((channels, 1, 1, 1), np.int64)
    link = Connection(tensor.population.name, weights, groups=channels)
    part = (tensor, link, weights.astype(np.float64), np.ones(channels))
    return accumulate(name, "identity", node, tensor.index.shape, [part], np.zeros(channels))


def constant(model: Model, node: Node, position: int) -> npt.NDArray[np.float64]:
    """Return a node's constant input."""
    name = node.inputs[position]
    if name not in model.constants:
        raise ModelError(
            node.name, f"input {name!r} of {node.op} must be a constant", code="weights-not-constant", node=node.name
        )
    return model.constants[name]


def _needs_canonical(node: Node, tensor: Quantized) -> None:
    if not tensor.canonical or as_map(tensor.index.shape, node) != tensor.population.shape:
        raise ModelError(
            node.name,
            f"{node.op} after a reshape that reorders features is not supported; put the reshape before a matrix",
            code="reshape-before-window",
            node=node.name,
        )


def _power_of_two(number: int) -> bool:
    return number & (number - 1) == 0
