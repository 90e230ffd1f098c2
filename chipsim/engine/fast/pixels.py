"""The encoder's linear part in exact integers, where it is one Conv, Gemm or MatMul of pixels.

If all sums are multiples of one power of two and fit a float32 (`chipsim.engine.fast.exact`), they are integers times that
power, whatever adds them up. Then the encoder is like the cores behind it: rows of pixels, a matrix of integers, and a
value is how many of its neurons' thresholds a sum reaches. Outputs at one place, for which the same pixels are read, are a
*block*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.exact import PIXEL, any_order_is_exact, grid
from chipsim.engine.fast.layout import CORE, FEATURES, LANES, PLACES
from chipsim.engine.fast.lines import Int, numbered
from chipsim.engine.fast.merge import Form, make_form
from chipsim.engine.fast.native import Code
from chipsim.engine.fast.products import HALF
from chipsim.engine.fast.programs import Costs, Programs, programs, width, with_code
from chipsim.engine.host import Array
from chipsim.mapping import Mapping
from chipsim.onnx_graphs import initial_values

if TYPE_CHECKING:
    from chipsim.engine.fast.tables import Tables

#: weights beyond this are left to onnxruntime: a product takes 16 bits
LARGEST = HALF
#: blocks of an encoder
MOST = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Outputs that are sums of the same pixels."""

    pixels: Int  # (rows,)
    outputs: Int  # (columns,): elements of the tensor
    weights: Int  # (rows, columns)
    bias: Int  # (columns,)


@dataclass(frozen=True, slots=True, eq=False)
class PixelTables:
    """Records and lists of `kernels`, for the encoder."""

    slots: int  # pixels, filled up
    cores: Int  # (blocks, fields of CORE)
    found: Programs
    row_offset: npt.NDArray[np.uint32]  # (all rows,): 64 bytes a pixel, from the first pixel on
    fires: npt.NDArray[np.uint32]  # (values of the encoder, 4)
    thresholds: npt.NDArray[np.int32]
    sources: npt.NDArray[np.uint32]  # (thresholds,): of the encoder
    most_rows: int
    most_accumulators: int


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """A Conv, Gemm or MatMul of pixels in integers."""

    kind: str
    attributes: dict[str, Any]
    whole: list[Int]  # weights, and what is added
    unit: float  # the power of two that all sums are multiples of


def operator(graph: Any, source: str) -> Operator | None:
    """Return the linear part in integers; None where it is not of this kind.

    Parameters
    ----------
    graph : onnx.GraphProto
        One node, from ``source`` to what is graded.
    """
    from onnx import helper

    if not any_order_is_exact(graph, source):
        return None
    node = graph.node[0]
    constant = initial_values(graph)
    operands = [constant[name].astype(np.float64) for name in node.input[1:] if name]
    unit = grid(operands)
    whole = [np.round(operand / unit).astype(np.int64) for operand in operands]
    if max(int(np.abs(whole[0]).max(initial=0)), 1) > LARGEST:
        return None
    return Operator(node.op_type, {a.name: helper.get_attribute_value(a) for a in node.attribute}, whole, unit)


def blocks(op: Operator, shape: tuple[int, ...]) -> tuple[list[Block], float] | None:
    """Return the blocks for images of a shape, and the unit of their sums; None where it is not of this kind."""
    made = _conv(op.attributes, op.whole, shape) if op.kind == "Conv" else _dense(op.kind, op.attributes, op.whole, shape)
    return None if made is None else (made, op.unit)


def _dense(kind: str, attributes: dict[str, Any], whole: list[Int], shape: tuple[int, ...]) -> list[Block] | None:
    if len(shape) != 1:
        return None
    weights = whole[0].T if kind == "Gemm" and attributes.get("transB", 0) else whole[0]
    bias = np.zeros(weights.shape[1], np.int64)
    if len(whole) > 1:
        if whole[1].size not in (1, len(bias)):
            return None
        bias = bias + whole[1].reshape(-1)
    return [Block(np.arange(shape[0]), np.arange(weights.shape[1]), np.ascontiguousarray(weights), bias)]


def _conv(attributes: dict[str, Any], whole: list[Int], shape: tuple[int, ...]) -> list[Block] | None:
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or len(shape) < 2:
        return None
    weights, (channels, *size) = whole[0], shape
    rank, groups = len(size), attributes.get("group", 1)
    pads = attributes.get("pads", [0] * 2 * rank)
    strides, dilations = attributes.get("strides", [1] * rank), attributes.get("dilations", [1] * rank)
    kernel = weights.shape[2:]
    taps = []  # of each axis: (places, taps), -1 outside
    for axis in range(rank):
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        places = (size[axis] + pads[axis] + pads[rank + axis] - reach) // strides[axis] + 1
        at = np.arange(places)[:, None] * strides[axis] - pads[axis] + dilations[axis] * np.arange(kernel[axis])
        taps.append(np.where((at >= 0) & (at < size[axis]), at, -1))
    if min(len(t) for t in taps) < 1 or groups * math.prod(len(t) for t in taps) > MOST:
        return None
    bias = whole[1].reshape(-1) if len(whole) > 1 else np.zeros(len(weights), np.int64)
    return _places(weights, bias, channels, size, groups, taps)


def _places(weights: Int, bias: Int, channels: int, size: Sequence[int], groups: int, taps: list[Int]) -> list[Block]:
    """Blocks place by place, group by group; those that reach as far into the image share their weights."""
    inside, out = channels // groups, len(weights) // groups
    plane, places = math.prod(size), math.prod(len(t) for t in taps)
    at, good = np.zeros((1, 1), np.int64), np.ones((1, 1), bool)  # (places, taps): pixel of a channel, and whether it is one
    for axis, line in enumerate(taps):
        shape = len(at) * len(line), -1
        at = (at[:, None, :, None] + line[:, None] * math.prod(size[axis + 1 :])).reshape(shape)
        good = (good[:, None, :, None] & (line[:, None] >= 0)).reshape(shape)
    reach, first = numbered(good.view(np.int8))
    found: dict[tuple[int, int], Block] = {}
    for number, place in enumerate(first.tolist()):
        mine, valid = np.flatnonzero(reach == number), np.flatnonzero(good[place])
        for group in range(groups):
            own = weights[group * out : (group + 1) * out].reshape(out, inside, -1)[:, :, valid]
            shared = np.ascontiguousarray(own.reshape(out, -1).T)
            pixels = (group * inside + np.arange(inside))[:, None] * plane + at[mine][:, None, valid]
            outputs = group * out + np.arange(out)
            own_bias = bias[outputs]
            of_places = zip(mine.tolist(), pixels.reshape(len(mine), -1), outputs * places + mine[:, None], strict=True)
            found |= {(where, group): Block(taken, made, shared, own_bias) for where, taken, made in of_places}
    return [found[key] for key in sorted(found)]


@dataclass(frozen=True, slots=True, eq=False)
class Graded:
    """What the blocks of an encoder give: sums of pixels, and values from thresholds on them."""

    blocks: list[Block]
    forms: list[Form]  # their distinct weights, each column's sign such that its sums are to be reached
    form: Int  # (blocks,)
    value: Int  # (values,): of the encoder, block by block and column by column
    block: Int  # (values,)
    column: Int  # (values,): of its block
    first: Int  # (values,): its first threshold
    size: Int  # (values,): how many it has
    source: Int  # (thresholds,): of the encoder
    threshold: Int  # (thresholds,): what sums of its column reach; beyond all of them where none does

    @property
    def largest(self) -> Int:
        """No sum of a block is larger in magnitude, (blocks,)."""
        return np.array([form.largest for form in self.forms], np.int64)[self.form]


def graded(
    m: Mapping,
    tables: Tables,
    integers: tuple[list[Block], float],
    thresholds: npt.NDArray[np.float32],
    signs: npt.NDArray[np.uint32],
) -> Graded:
    """Bring an encoder's thresholds to the whole numbers of its blocks.

    ``thresholds`` (levels, features) and ``signs`` (features,) are those of `chipsim.engine.fast.encoder.Encoder`,
    ``integers`` what `blocks` returns.
    """
    made, unit = integers
    with np.errstate(invalid="ignore"):
        reached = np.ceil(thresholds.astype(np.float64) / unit)
    sign = np.where(signs > 0, -1, 1)
    forms: list[Form] = []
    known: dict[tuple[int, bytes], int] = {}
    form_of = []
    for block in made:
        flips = sign[block.outputs]
        key = (id(block.weights), flips.tobytes())
        if key not in known:
            known[key] = len(forms)
            forms.append(make_form(block.weights * flips, np.full(len(block.pixels), PIXEL)))
        form_of.append(known[key])
    columns = np.array([len(block.outputs) for block in made])
    outputs = np.concatenate([block.outputs for block in made])
    block_of, column_of, bias = (np.zeros(thresholds.shape[1], np.int64) for _ in range(3))
    block_of[outputs] = np.repeat(np.arange(len(made)), columns)
    column_of[outputs] = np.arange(len(outputs)) - np.repeat(np.cumsum(columns) - columns, columns)
    bias[outputs] = np.concatenate([block.bias for block in made])
    most = np.array([form.largest for form in forms], np.int64)[form_of] + 1
    values, own = tables.merged.values, np.arange(tables.merged.values.encoder)
    producer = values.producer[own]
    own = own[np.lexsort((column_of[producer], block_of[producer]))]
    producer, size = values.producer[own], values.size[own]
    first = np.cumsum(size) - size
    member = values.member[np.repeat(values.offset[own] - first, size) + np.arange(int(size.sum()))]
    feature, level = np.divmod(member, m.encoder.levels)
    limit = most[block_of[feature]]
    bound = np.where(np.isnan(reached[level, feature]), limit, reached[level, feature] - bias[feature] * sign[feature])
    threshold = np.clip(bound, -limit, limit).astype(np.int64)
    return Graded(
        made, forms, np.array(form_of), own, block_of[producer], column_of[producer], first, size, member, threshold
    )


def build(m: Mapping, tables: Tables, g: Graded, code: Code) -> PixelTables | None:
    """Lay out the encoder as cores whose rows are pixels; None without products of bytes, or where memory is too wide.

    The pixels lie behind the values.
    """
    slots = pixel_slots(m)
    if code.target.lookup is None or LANES * (tables.all_slots + slots) >= 1 << 32:  # where rows lie is held in 32 bits
        return None
    costs, once = Costs(code.target.lookup), np.ones(len(g.forms), np.int64)
    found = with_code(programs(g.forms, once, code, costs, bytes_without_sign=True), g.forms, code)
    blocks = len(g.blocks)
    begin = np.searchsorted(g.block, np.arange(blocks + 1))
    rows, columns = np.array([each.weights.shape for each in g.blocks]).T
    record = {name: np.zeros(blocks, np.int64) for name in CORE}
    record |= dict(zip(PLACES, found.places[g.form].T, strict=True))
    record |= {"row": np.cumsum(rows) - rows, "rows": rows, "fire": begin[:-1], "fires": np.diff(begin)}
    record |= {"accumulators": columns, "spiking": np.ones(blocks, np.int64)}
    record["together"] = record["unit"] = record["spiking"]
    record["narrow"], record["wide"], record["short"] = width(g.largest, found.wide[g.form])
    pixels = np.concatenate([block.pixels for block in g.blocks])
    return PixelTables(
        slots=slots,
        cores=np.stack([record[name] for name in CORE], axis=1),
        found=found,
        row_offset=(LANES * (tables.all_slots + pixels)).astype(np.uint32),
        fires=np.stack([g.column, tables.slot[g.value], g.first, g.size], axis=1).astype(np.uint32),
        thresholds=g.threshold.astype(np.int32),
        sources=g.source.astype(np.uint32),
        most_rows=max(found.packed, int(rows.max())),
        most_accumulators=int(columns.max()),
    )


def pixel_slots(m: Mapping) -> int:
    """Pixels of an image, filled up."""
    return -(-math.prod(m.input.shape) // FEATURES) * FEATURES


def as_bytes(images: Array, pixels: bool, out: npt.NDArray[np.uint8]) -> bool:
    """Write images as bytes, (images, pixels); False where they are not whole numbers from 0 to 255.

    Parameters
    ----------
    pixels : bool
        They are, for sure.
    """
    flat = images.reshape(len(images), -1)
    place = out[: len(flat), : flat.shape[1]]
    with np.errstate(invalid="ignore"):
        np.copyto(place, flat, casting="unsafe")
    return pixels or bool((place == flat).all())
