"""The kernel that runs the encoder on pixels: products, thresholds and levels of a block in one pass.

Four rows of bytes lie side by side, interleaved within 16 bytes, so that narrowing sums to 16 bits and counts to bytes,
which works within 16 bytes as well, brings the images back into their order. Sums begin at what lies in the middle of their
column's thresholds, taken off, so that mostly 16 bits tell which of these they reach, however large they are.
"""

from __future__ import annotations

from chipsim.engine.fast.draw_kernel import Queue, as_bytes, lose_eight
from chipsim.engine.fast.fire_kernel import HALF, NARROWING, QUARTER, add_fired, add_spikes, halved
from chipsim.engine.fast.instructions import DOTS
from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import BYTES, LANES
from chipsim.engine.fast.plane_kernel import into_planes
from chipsim.engine.fast.planes import PLANE
from chipsim.engine.fast.product_kernel import add_products, declared_quads

#: fields of the context, addresses in this order; ``planes`` is 0, or where those of these images begin
CONTEXT = (
    "blocks", "rows", "pixels", "packed", "weights", "bias", "of_column", "records", "thresholds",
    "values", "mask", "totals", "planes", "drawing", "sources",
)  # fmt: skip
#: fields of a block, int64: where its rows are listed, and how many quads; where its weights begin; its columns
BLOCK = ("rows", "quads", "weights", "first", "columns")
#: fields of a value, uint32: its slot, its thresholds, and its planes
VALUE = ("slot", "first", "many", "plane", "planes")
#: columns at a time
COLUMNS = 4
#: bytes of a quad of 64 images, and of the weights of four columns
QUAD, WEIGHTS = 4 * LANES, 4 * COLUMNS


def dots(lookup: str | None, bits: int, *, losing: bool = False) -> str:
    """Blocks begin .. end: what is sent of 64 images, as bytes or as bits; sums are compared in 16 bits or in 32.

    ``losing``: some spikes are lost.
    """
    assert lookup in DOTS
    f = Function(f"dots{bits}{'_lost' * losing}", context="ptr", begin="i64", end="i64")
    a = f.arguments
    c = {name: f.load("ptr", f.at(a["context"], i, 8), 8) for i, name in enumerate(CONTEXT)}
    fire = _Losing(f, c) if losing else _Firing(f, c)
    sums = [[f.variable(QUARTER, "zeroinitializer") for _ in range(4)] for _ in range(COLUMNS)]
    with f.loop(a["begin"], a["end"]) as number:
        record = f.at(c["blocks"], number, 8 * len(BLOCK))
        block = {name: f.load("i64", f.at(record, i, 8), 8) for i, name in enumerate(BLOCK)}
        _pack(f, c, block)
        with f.loop(0, block["columns"], COLUMNS) as start:
            first = block["first"] + start
            for column, own in enumerate(sums):
                bias = f.splat(f.load("i32", f.at(c["bias"], first + column, 4), 4), 16)
                for part in own:
                    f.store(bias, part, 64)
            weights = f.at(f.at(c["weights"], block["weights"]), start * block["quads"], WEIGHTS // COLUMNS)
            with f.loop(0, block["quads"]) as quad:
                taken = [f.load(QUARTER, f.at(f.at(c["packed"], quad, QUAD), part, LANES), 64) for part in range(4)]
                for column, own in enumerate(sums):
                    weight = f.splat(f.load("i32", f.at(f.at(weights, quad, WEIGHTS), column, 4), 4), 16)
                    for total, four in zip(own, taken, strict=True):
                        add_products(f, str(lookup), total, four, weight)
            for column, own in enumerate(sums):
                with f.when(f.flag("slt", start + column, block["columns"])):
                    parts = [f.load(QUARTER, part, 64) for part in own]
                    fire.column(first + column, halved(f, parts) if bits == 16 else parts)
    fire.end()
    signed = f"declare {BYTES} @llvm.x86.avx512.packsswb.512({HALF}, {HALF})"
    more = [lose_eight()] if losing else []
    return "\n".join([*NARROWING, signed, *more, declared_quads(str(lookup)), f.text()])


def _pack(f: Function, c: dict[str, Value], block: dict[str, Value]) -> None:
    """Interleave four rows after four, within 16 bytes."""
    rows = f.at(c["rows"], block["rows"], 4)
    with f.loop(0, block["quads"]) as quad:
        taken = [f.load(BYTES, f.at(c["pixels"], f.index(rows, quad * 4 + i)), 64) for i in range(4)]
        twos = [_interleaved(f, taken[two], taken[two + 1], half) for half in range(2) for two in (0, 2)]
        wide = [f.cast("bitcast", value, HALF) for value in twos]
        for part in range(4):
            one, other = wide[2 * (part // 2) : 2 * (part // 2) + 2]
            f.store(_interleaved(f, one, other, part % 2), f.at(f.at(c["packed"], quad, QUAD), part, LANES), 64)


def _interleaved(f: Function, one: Value, other: Value, half: int) -> Value:
    """The lower or upper halves of every 16 bytes of two registers, interleaved."""
    lanes = int(one.type[1:].split(" x ")[0])
    each = lanes // 4
    order = [each * (i // each) + each // 2 * half + i % each // 2 + lanes * (i % 2) for i in range(lanes)]
    return f.shuffle(one, other, order)


class _Firing:
    """What fires: how many of its thresholds each sum is beyond."""

    def __init__(self, f: Function, c: dict[str, Value]) -> None:
        self.f, self.c = f, c
        self.planes = f.cast("ptrtoint", c["planes"], "i64")

    def column(self, column: Value, sums: list[Value]) -> None:
        """Fire the values of a column."""
        f, c = self.f, self.c
        with f.loop(f.index(c["of_column"], column), f.index(c["of_column"], column + 1)) as number:
            record = f.at(c["records"], number, 4 * len(VALUE))
            self.value(number, {name: f.index(record, i) for i, name in enumerate(VALUE)}, sums)

    def value(self, number: Value, value: dict[str, Value], sums: list[Value]) -> None:
        """Fire one of them."""
        f, c, kind = self.f, self.c, sums[0].type
        counts = [f.variable(kind, "zeroinitializer") for _ in sums]
        with f.loop(value["first"], value["first"] + value["many"]) as t:
            for count, beyond in zip(counts, self.beyond(sums, t), strict=True):
                f.add_to(count, f.cast("zext", beyond, kind))
        found = _narrowed(f, [f.load(kind, count, 64) for count in counts], "packuswb.512")
        with f.when(f.flag("eq", self.planes, 0)):
            f.store(found, f.at(c["values"], value["slot"], LANES), 64)
        with f.when(self.planes):
            into_planes(f, found, c["planes"], value["plane"], value["planes"])
        add_fired(f, c["totals"], value["slot"], found & f.load(BYTES, c["mask"], 64))

    def beyond(self, sums: list[Value], threshold: Value) -> list[Value]:
        """Which sums are beyond a threshold."""
        f, lanes = self.f, int(sums[0].type[1:].split(" x ")[0])
        bits = 512 // lanes
        bound = f.load(f"i{bits}", f.at(self.c["thresholds"], threshold, bits // 8), bits // 8)
        return [f.compare("sgt", part, f.splat(bound, lanes)) for part in sums]

    def end(self) -> None:
        """Nothing is left."""


class _Losing(_Firing):
    """What fires and is not lost: drawn for eight thresholds at a time."""

    def __init__(self, f: Function, c: dict[str, Value]) -> None:
        super().__init__(f, c)
        mask = f.load(BYTES, c["mask"], 64)
        self.present = f.cast("bitcast", f.compare("slt", mask, f.zero(BYTES)), "i64")
        self.later = Queue(f, c["drawing"], 1, self.sent)
        self.queue = Queue(f, c["drawing"], 0, self.sent, self.later)

    def value(self, number: Value, value: dict[str, Value], sums: list[Value]) -> None:
        """Begin a value at nothing, and let its spikes wait."""
        f, c, kind = self.f, self.c, sums[0].type
        with f.when(f.flag("eq", self.planes, 0)):
            f.store(f.zero(BYTES), f.at(c["values"], value["slot"], LANES), 64)
        with f.when(self.planes), f.loop(value["plane"], value["plane"] + value["planes"]) as plane:
            f.store(f.constant(0), f.at(c["planes"], plane, PLANE), 8)
        with f.loop(value["first"], value["first"] + value["many"]) as t:
            lines = [f.cast("sext", beyond, kind) for beyond in self.beyond(sums, t)]
            spikes = f.compare("slt", _narrowed(f, lines, "packsswb.512"), f.zero(BYTES))
            self.queue.push(f.cast("bitcast", spikes, "i64"), f.index(c["sources"], t), number)

    def sent(self, number: Value, spikes: Value) -> None:
        """Add spikes, a bit each, to a value."""
        f, c = self.f, self.c
        record = f.at(c["records"], number, 4 * len(VALUE))
        value = {name: f.index(record, i) for i, name in enumerate(VALUE)}
        with f.when(f.flag("eq", self.planes, 0)):
            f.add_to(f.at(c["values"], value["slot"], LANES), as_bytes(f, spikes, "zext"))
        with f.when(self.planes):
            carried = f.variable("i64", "0")
            f.store(spikes, carried, 8)
            with f.loop(value["plane"], value["plane"] + value["planes"]) as plane:
                place, more = f.at(c["planes"], plane, PLANE), f.load("i64", carried, 8)
                before = f.load("i64", place, 8)
                f.store(before ^ more, place, 8)
                f.store(before & more, carried, 8)
        add_spikes(f, c["totals"], value["slot"], spikes & self.present)

    def end(self) -> None:
        """Draw for what still waits."""
        self.queue.flush()
        self.later.flush()


def _narrowed(f: Function, parts: list[Value], bytes_by: str) -> Value:
    """Registers of 32 or of 16 bits as one of bytes."""
    return f.intrinsic(BYTES, bytes_by, *(halved(f, parts) if len(parts) == 4 else parts))
