"""The kernel that runs the encoder on pixels: products, thresholds and levels of a block in one pass.

Some rows of bytes lie side by side, interleaved within 16 bytes, so that narrowing sums to 16 bits and counts to bytes,
which works within 16 bytes as well, brings the images back into their order. Sums of 32 bits begin at what lies in the
middle of their column's thresholds, taken off, so that mostly 16 bits tell which of these they reach, however large they
are.
"""

from __future__ import annotations

from dataclasses import dataclass

from chipsim.engine.fast.draw_kernel import LINES, as_bytes, lose_lines
from chipsim.engine.fast.fire_kernel import ADDING, HALF, QUARTER, add_fired, halved
from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import BYTES, LANES
from chipsim.engine.fast.plane_kernel import into_planes
from chipsim.engine.fast.product_kernel import (
    add_products,
    declared_pairs,
    declared_quads,
    multiplied,
    multiplied_wide,
)
from chipsim.engine.fast.registers import declared, narrowed

#: fields of the context, addresses in this order; ``planes`` is 0, or where those of these images begin
CONTEXT = (
    "blocks", "rows", "pixels", "packed", "weights", "bias", "of_column", "records", "thresholds",
    "values", "mask", "totals", "planes", "drawing", "sources", "lines",
)  # fmt: skip
#: fields of a block, int64: where its rows are listed, and in how many steps; where its weights begin; its columns
BLOCK = ("rows", "steps", "weights", "first", "columns")
#: fields of a value, uint32: its slot, its thresholds, and its planes
VALUE = ("slot", "first", "many", "plane", "planes")
#: bytes of 64 images of the rows that are multiplied at a time, at most
STEP = 4 * LANES


@dataclass(frozen=True, slots=True)
class Way:
    """How rows are multiplied: some of them at a time, by a column's weights, in one instruction."""

    rows: int  # at a time
    weights: int  # bits of what these weigh in a column
    sums: str  # a register of sums
    columns: int  # at a time: as many as the registers hold
    loaded: int  # registers of rows, of 512 bits, at a time

    @property
    def parts(self) -> int:
        """Registers of sums of 64 images."""
        return LANES * self.bits // 512

    @property
    def bits(self) -> int:
        """Of a sum."""
        return 32 if self.sums == QUARTER else 16


#: quads of bytes; pairs of bytes whose sums fit 16 bits; pairs of 16 bits, see `chipsim.engine.fast.products`
WAYS = {"quads": Way(4, 32, QUARTER, 4, 4), "pairs": Way(2, 16, HALF, 2, 2), "wide": Way(2, 32, QUARTER, 4, 1)}
#: of the kernels: the way, and in how many bits sums are compared
NAMES = ("quads16", "quads32", "pairs16", "wide16", "wide32")


def dots(lookup: str | None, name: str, *, losing: bool = False) -> str:
    """Blocks begin .. end, or 0 .. end where spikes are lost: what is sent of 64 images of each context, as bytes or bits.

    A block does one context after another, so that what it writes lies near; where spikes are lost, a context does all its
    blocks, for what they fire waits.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    losing : bool
        Some spikes are lost.
    """
    way, bits = WAYS[name[:-2]], int(name[-2:])
    f = Function(f"dots_{name}{'_lost' * losing}", contexts="ptr", count="i64", begin="i64", end="i64")
    a = f.arguments
    sums = [[f.variable(way.sums, "zeroinitializer") for _ in range(way.parts)] for _ in range(way.columns)]
    if losing:
        with f.loop(0, a["count"]) as number:
            c = _context(f, number)
            fire = _Losing(f, lookup, c)
            with f.loop(a["begin"], a["end"]) as block:
                _block(f, lookup, way, bits, c, block, sums, fire)
            fire.end()
    else:
        with f.loop(a["begin"], a["end"]) as block, f.loop(0, a["count"]) as number:
            c = _context(f, number)
            _block(f, lookup, way, bits, c, block, sums, _Firing(f, lookup, c))
    products = [declared_quads(str(lookup))] if way.rows == 4 else declared_pairs(str(lookup))
    more = [*([lose_lines(lookup)] if losing else []), *products]
    return "\n".join([*declared(lookup), ADDING, *more, f.text()])


def _context(f: Function, number: Value) -> dict[str, Value]:
    """Addresses of one of the contexts."""
    context = f.at(f.arguments["contexts"], number, 8 * len(CONTEXT))
    return {name: f.load("ptr", f.at(context, i, 8), 8) for i, name in enumerate(CONTEXT)}


def _block(
    f: Function,
    lookup: str | None,
    way: Way,
    bits: int,
    c: dict[str, Value],
    number: Value,
    sums: list[list[Value]],
    fire: _Firing,
) -> None:
    """Multiply the rows of a block, and fire its columns."""
    weight_size = way.weights // 8
    record = f.at(c["blocks"], number, 8 * len(BLOCK))
    block = {name: f.load("i64", f.at(record, i, 8), 8) for i, name in enumerate(BLOCK)}
    _pack(f, way, c, block)
    with f.loop(0, block["columns"], way.columns) as start:
        first = block["first"] + start
        for column, own in enumerate(sums):
            bias = f.cast("bitcast", _weight(f, f.at(c["bias"], first + column, 4), way), way.sums)
            for part in own:
                f.store(bias, part, 64)
        weights = f.at(f.at(c["weights"], block["weights"]), start * block["steps"], weight_size)
        half = f.flag("sle", block["columns"] - start, way.columns // 2)
        for those, many in ((half, way.columns // 2), (half ^ 1, way.columns)):
            with f.when(those):
                _add_up(f, lookup, way, c["packed"], weights, block["steps"], sums[:many])
        for column, own in enumerate(sums):
            with f.when(f.flag("slt", start + column, block["columns"])):
                made = [f.load(way.sums, part, 64) for part in own]
                fire.column(first + column, halved(f, lookup, made) if bits < way.bits else made)


def _add_up(
    f: Function, lookup: str | None, way: Way, packed: Value, weights: Value, steps: Value, sums: list[list[Value]]
) -> None:
    """Add the products of all steps to the sums of some columns, the first of those whose ``weights`` lie side by side."""
    size = way.weights // 8
    for begin in range(0, way.parts, way.loaded):
        parts = range(begin, begin + way.loaded)
        with f.loop(0, steps) as step:
            taken = {part: f.load(BYTES, f.at(f.at(packed, step, way.parts * 64), part, 64), 64) for part in parts}
            of_step = f.at(weights, step, size * way.columns)
            for column, own in enumerate(sums):
                weight = _weight(f, f.at(of_step, column, size), way)
                for part, rows in taken.items():
                    _add_product(f, lookup, way, own[part], rows, weight)


def _weight(f: Function, place: Value, way: Way) -> Value:
    """What some rows weigh in a column, in all lanes of a register."""
    return f.splat(f.load(f"i{way.weights}", place, way.weights // 8), 512 // way.weights)


def _add_product(f: Function, lookup: str | None, way: Way, total: Value, rows: Value, weight: Value) -> None:
    """Add products of rows to a variable."""
    if way.rows == 4:
        add_products(f, str(lookup), total, f.cast("bitcast", rows, QUARTER), weight)
    else:
        multiply, kind = (multiplied, BYTES) if way.weights == 16 else (multiplied_wide, HALF)
        f.add_to(total, multiply(f, str(lookup), f.cast("bitcast", rows, kind), f.cast("bitcast", weight, kind)))


def _pack(f: Function, way: Way, c: dict[str, Value], block: dict[str, Value]) -> None:
    """Interleave some rows after others, within 16 bytes; as numbers of 16 bits with zeros between them."""
    rows = f.at(c["rows"], block["rows"], 4)
    with f.loop(0, block["steps"]) as step:
        taken = [f.load(BYTES, f.at(c["pixels"], f.index(rows, step * way.rows + i)), 64) for i in range(way.rows)]
        if way.rows * 8 < way.weights:
            taken = [each for row in taken for each in (row, f.zero(BYTES))]
        made = [_interleaved(f, taken[two], taken[two + 1], half) for half in range(2) for two in range(0, len(taken), 2)]
        if len(made) == 4:
            wide = [f.cast("bitcast", value, HALF) for value in made]
            made = [_interleaved(f, wide[two], wide[two + 1], half) for two in (0, 2) for half in range(2)]
        for part, value in enumerate(made):
            f.store(value, f.at(f.at(c["packed"], step, way.parts * 64), part, 64), 64)


def _interleaved(f: Function, one: Value, other: Value, half: int) -> Value:
    """The lower or upper halves of every 16 bytes of two registers, interleaved."""
    lanes = one.lanes
    each = lanes // 4
    order = [each * (i // each) + each // 2 * half + i % each // 2 + lanes * (i % 2) for i in range(lanes)]
    return f.shuffle(one, other, order)


class _Firing:
    """What fires: how many of its thresholds each sum is beyond."""

    def __init__(self, f: Function, lookup: str | None, c: dict[str, Value]) -> None:
        self.f, self.lookup, self.c = f, lookup, c
        self.planes = f.cast("ptrtoint", c["planes"], "i64")

    def column(self, column: Value, sums: list[Value]) -> None:
        """Fire the values of a column."""
        f, c = self.f, self.c
        with f.loop(f.index(c["of_column"], column), f.index(c["of_column"], column + 1)) as number:
            self.value(self.record(number), sums)

    def record(self, number: Value) -> dict[str, Value]:
        """The fields of a value."""
        record = self.f.at(self.c["records"], number, 4 * len(VALUE))
        return {name: self.f.index(record, i) for i, name in enumerate(VALUE)}

    def value(self, value: dict[str, Value], sums: list[Value]) -> None:
        """Fire one of them."""
        f, kind = self.f, sums[0].type
        counts = [f.variable(kind, "zeroinitializer") for _ in sums]
        with f.loop(value["first"], value["first"] + value["many"]) as t:
            for count, beyond in zip(counts, self.beyond(sums, t), strict=True):
                f.add_to(count, f.cast("zext", beyond, kind))
        found = self.narrowed([f.load(kind, count, 64) for count in counts], "packuswb")
        self.put(value, found)

    def put(self, value: dict[str, Value], found: Value) -> None:
        """Say how many spikes a value has in each image, bytes, where it belongs; and count them."""
        f, c = self.f, self.c
        with f.when(f.flag("eq", self.planes, 0)):
            f.store(found, f.at(c["values"], value["slot"], LANES), 64)
        with f.when(self.planes):
            into_planes(f, found, c["planes"], value["plane"], value["planes"])
        add_fired(f, self.lookup, c["totals"], value["slot"], found & f.load(BYTES, c["mask"], 64))

    def beyond(self, sums: list[Value], threshold: Value) -> list[Value]:
        """Which sums are beyond a threshold."""
        f, lanes = self.f, sums[0].lanes
        bits = 512 // lanes
        bound = f.load(f"i{bits}", f.at(self.c["thresholds"], threshold, bits // 8), bits // 8)
        return [f.compare("sgt", part, f.splat(bound, lanes)) for part in sums]

    def narrowed(self, parts: list[Value], bytes_by: str) -> Value:
        """Registers of 32 or of 16 bits as one of bytes."""
        f, lookup = self.f, self.lookup
        return narrowed(f, lookup, bytes_by, *(halved(f, lookup, parts) if len(parts) == 4 else parts))

    def end(self) -> None:
        """Nothing is left."""


class _Losing(_Firing):
    """What fires and is not lost: what fires waits, line by line, and is drawn for in the end."""

    def value(self, value: dict[str, Value], sums: list[Value]) -> None:
        """Keep what fires, a line of 64 images for each threshold."""
        f, c, kind = self.f, self.c, sums[0].type
        with f.loop(value["first"], value["first"] + value["many"]) as t:
            lines = [f.cast("sext", beyond, kind) for beyond in self.beyond(sums, t)]
            spikes = f.compare("slt", self.narrowed(lines, "packsswb"), f.zero(BYTES))
            f.store(f.cast("bitcast", spikes, "i64"), f.at(c["lines"], t, 8), 8)

    def end(self) -> None:
        """Clear what is lost, and add up the lines of each value."""
        f, c = self.f, self.c
        block = f.at(c["blocks"], f.arguments["end"] - 1, 8 * len(BLOCK))
        first, columns = (f.load("i64", f.at(block, BLOCK.index(name), 8), 8) for name in ("first", "columns"))
        values = f.index(c["of_column"], first + columns)
        last = self.record(values - 1)
        count = last["first"] + last["many"]
        with f.loop(0, count, LINES) as t:
            many = f.smallest(count - t, f.constant(LINES))
            f.call("lose_lines", c["drawing"], f.at(c["sources"], t, 8), f.at(c["lines"], t, 8), many)
        with f.loop(0, values) as number:
            value, found = self.record(number), f.variable(BYTES, "zeroinitializer")
            with f.loop(value["first"], value["first"] + value["many"]) as t:
                f.add_to(found, as_bytes(f, f.load("i64", f.at(c["lines"], t, 8), 8), "zext"))
            self.put(value, f.load(BYTES, found, 64))
