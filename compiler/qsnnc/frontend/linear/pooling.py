"""Determine the geometry of pools, and turn average pools into accumulators."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qsnnc.errors import ModelError
from qsnnc.frontend.linear.accumulate import Operand, Sums
from qsnnc.frontend.linear.convolve import convolve
from qsnnc.frontend.linear.matmul import constant
from qsnnc.frontend.linear.tensors import Accumulator, Quantized, Terms, as_map, natural
from qsnnc.frontend.linear.views import Window, space_of
from qsnnc.frontend.model.model import Model, Node
from qsnnc.frontend.model.reference import session
from qsnnc.ir.layers import Int


def window_of(node: Node, kernel: tuple[int, ...], space: tuple[int, ...], out: tuple[int, ...]) -> Window:
    """Return the window of a convolution or pool, in two dimensions.

    The padding at the end follows from the output's shape, so ``ceil_mode`` and ``auto_pad`` are not special cases.
    """
    axes = len(kernel)
    attributes = node.attributes
    strides = tuple(attributes.get("strides", (1,) * axes))
    dilations = tuple(attributes.get("dilations", (1,) * axes))
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    begin = list(attributes.get("pads", (0,) * (2 * axes)))[:axes]
    if axes > 2:
        raise ModelError(
            node.name,
            f"{node.op} over {axes} axes is not supported; use one or two",
            code="tensor-rank",
            node=node.name,
            found=axes,
            allowed=2,
        )
    end = []
    for axis in range(axes):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        total = max(0, (out[axis] - 1) * strides[axis] + reach - space[axis])
        if auto.startswith("SAME"):
            begin[axis] = total // 2 if auto == "SAME_UPPER" else total - total // 2
        elif auto == "VALID":
            begin[axis] = 0
        end.append(max(0, total - begin[axis]))
    if axes == 1:
        return Window((1, kernel[0]), (1, strides[0]), (0, begin[0], 0, end[0]), (1, dilations[0]))
    return Window(
        (kernel[0], kernel[1]), (strides[0], strides[1]), (begin[0], begin[1], end[0], end[1]), (dilations[0], dilations[1])
    )


def reduced(model: Model, node: Node, rank: int) -> tuple[int, ...]:
    """Return the axes (the batch is axis 0) that an operator reduces; () for a pool with a window.

    Raises
    ------
    ModelError
        The batch is among them.
    """
    if node.op.startswith("Global"):
        return tuple(range(2, rank))
    if not node.op.startswith("Reduce"):
        return ()
    axes = node.attributes.get("axes")
    if axes is None and len(node.inputs) > 1 and node.inputs[1]:
        axes = constant(model, node, 1).astype(np.int64).tolist()
    if axes is None:
        axes = [] if node.attributes.get("noop_with_empty_axes", 0) else list(range(rank))
    found = tuple(sorted({int(axis) % rank for axis in axes}))
    if not found:
        raise ModelError(
            node.name,
            f"{node.op} has an empty list of axes; name the axes that it reduces",
            code="tensor-rank",
            node=node.name,
        )
    if 0 in found:
        raise ModelError(
            node.name,
            f"{node.op} over the batch axis is not supported; remove axis 0",
            code="batch-moved",
            node=node.name,
            found=list(axes),
        )
    return found


def over_every_axis(node: Node) -> ModelError:
    """Return the error for an operator that leaves one number of each image."""
    text = f"{node.op} over every axis is not supported; keep the channels"
    return ModelError(node.name, text, code="tensor-rank", node=node.name)


class Pool:
    """Geometry of a pool: its input as (channels, rows, columns), and its window."""

    def __init__(self, model: Model, node: Node, tensor: Quantized) -> None:
        rank = tensor.index.ndim + 1
        out = model.shapes[node.outputs[0]]
        axes = [axis - 1 for axis in reduced(model, node, rank)]
        self.tensor, self.axis = tensor, 1
        if not axes:
            kernel = tuple(node.attributes["kernel_shape"])
            self.seen = as_map(tensor.index.shape, node)
            self.window = window_of(node, kernel, tensor.index.shape[1:], out[1:])
            self.shape = as_map(out, node)
            self.layout = natural(self.shape, out)
            return
        if len(axes) == tensor.index.ndim:
            raise over_every_axis(node)
        kept = [axis for axis in range(tensor.index.ndim) if axis not in axes]
        if kept[0] == 0 and tensor.index.ndim <= 3:
            self.seen = as_map(tensor.index.shape, node)
            first = 4 - tensor.index.ndim  # the first spatial axis
            over = {axis - 1 + first for axis in axes}
            self.window = Window(tuple(size if axis in over else 1 for axis, size in enumerate(self.seen[1:], start=1)))  # type: ignore[arg-type]
            self.shape = (self.seen[0], *(1 if axis in over else self.seen[axis] for axis in (1, 2)))  # type: ignore[assignment]
        else:  # order: channels, other kept axes, reduced axes
            index = tensor.index.transpose(*kept, *axes)
            self.tensor = replace(tensor, index=index)
            if len(kept) == 1:
                space = space_of(tensor, index, node)
                self.seen, self.window, self.shape = (len(index), *space), Window(space), (len(index), 1, 1)
            else:
                rest = int(np.prod(index.shape[1 : len(kept)]))
                gone = int(np.prod(index.shape[len(kept) :]))
                self.seen, self.window, self.shape = (len(index), rest, gone), Window((1, gone)), (len(index), rest, 1)
        self.layout = natural(self.shape, out)
        self.axis = 1 + kept[0] if node.attributes.get("keepdims", 1) else 1


def average(model: Model, node: Node, terms: Terms, name: str) -> Accumulator:
    """Turn AveragePool, GlobalAveragePool, ReduceMean and ReduceSum into a sum, divided as the reference does."""
    seen = [Pool(model, node, tensor) for tensor in terms.tensors]
    pool = seen[0]
    channels = pool.seen[0]
    ones = np.ones((channels, 1, *pool.window.kernel))
    operands = [
        Operand(mine.tensor, pool.seen, sign * ones, channels, pool.window)
        for mine, sign in zip(seen, terms.signs, strict=True)
    ]
    counts = divisors(model, node, pool)
    uniform = len(np.unique(counts)) == 1
    sums = Sums(name, "pool", node, pool.shape, pool.layout, pool.axis)
    found = terms.read(convolve(sums, operands, np.zeros(channels), separate=None if uniform else counts))
    if uniform:
        divisor = counts[:1, None].astype(np.float64)
    elif found.shape == pool.shape:
        example = np.unique(found.border.reshape(-1), return_index=True)[1]
        divisor = counts[example][:, None].astype(np.float64)
    else:  # as a matrix, feature by feature
        divisor = np.tile(counts, channels)[None].astype(np.float64)
    largest, smallest = float(counts.max()), float(counts.min())
    clean = bool((counts & (counts - 1) == 0).all())
    return replace(
        found,
        scale=found.scale / divisor,
        offset=found.offset / divisor,
        exact=(found.exact | (node.name in model.integral)) & clean,
        grid=found.grid / largest if clean else np.zeros_like(found.grid),
        magnitude=found.magnitude / smallest,
    )


def divisors(model: Model, node: Node, pool: Pool) -> Int:
    """Return what the reference divides each window's sum by: int64 (positions,)."""
    positions = pool.shape[1] * pool.shape[2]
    if node.op == "ReduceSum":
        return np.ones(positions, np.int64)
    if node.op != "AveragePool":
        return np.full(positions, pool.window.kernel[0] * pool.window.kernel[1], np.int64)
    from onnx import TensorProto

    shape = (1, 1, *pool.tensor.index.shape[1:])
    part = model.subgraph({node.inputs[0]: (TensorProto.FLOAT, shape)}, [node.outputs[0]], [node])
    (means,) = session(part).run(None, {node.inputs[0]: np.ones(shape, np.float32)})
    inside = (pool.window.taps(pool.seen[1:], pool.shape[1:]) >= 0).sum(axis=1)
    if not (np.isfinite(means).all() and (means > 0).all() and (inside > 0).all()):
        raise ModelError(
            node.name,
            "AveragePool has windows that lie entirely in the padding; use less padding",
            code="pad-value",
            node=node.name,
        )
    return np.asarray(np.round(inside / means.reshape(-1).astype(np.float64)), np.int64)
