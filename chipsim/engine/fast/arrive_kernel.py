"""The kernel that says what arrives at a core, axon by axon; where packets are dropped, with a draw for each image."""

from __future__ import annotations

from chipsim.engine.fast.draw_kernel import NUMBERS, numbers
from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import ARRIVAL, BYTES, LANES, add_total

#: what is drawn from, int64: ``limit`` in 2**-24, the first image's number, and the axons of the mapping
DRAWING = ("seed", "stream", "image", "limit", "axons")
#: fields of an entry, uint32: where its source's value lies, how many spikes of it come before this one, and the axon's row
ENTRY = ("value", "rank", "row")


def arrive() -> str:
    """Latch a core's axons: each its source's bit, unless a number is below ``limit``; and add them up on the core's rows.

    The core's first axon is entry 8 of ``arrival`` and line 8 of ``latched``; around its axons lie entries of nothing, so
    that whole blocks of `NUMBERS` can be taken wherever the axons begin. Numbers are drawn for a block and an image where
    one of its bits is set. What is in the ``counted`` lines, rows or axons, is added to the totals.
    """
    names = ("arrival", "entries", "drawing", "step", "values", "mask", "rows", "latched", "counted", "totals")
    f = Function("arrive", False, **dict.fromkeys(names, "ptr"), count="i64")
    a = f.arguments
    entry, axon, axons, lines, total = (f.load("i64", f.at(a["arrival"], i, 8), 8) for i in range(len(ARRIVAL)))
    seed, stream, image, limit, all_axons = (f.load("i64", f.at(a["drawing"], i, 8), 8) for i in range(len(DRAWING)))
    mask = f.load(BYTES, a["mask"], 64)
    todo = f.variable("i64", "0")
    with f.loop(0, a["count"]) as row:
        f.store(f.zero(BYTES), f.at(a["rows"], row, LANES), 64)
    first = f.load("i64", a["step"], 8) * all_axons + axon  # the number of its first axon in this step
    with f.loop(_block(f, first), _block(f, first + axons + NUMBERS - 1)) as block:
        line = block * NUMBERS - first + NUMBERS
        at, bits = f.at(a["entries"], (line + entry) * len(ENTRY), 4), f.at(a["latched"], line, LANES)
        some = f.zero(BYTES)
        for i in range(NUMBERS):
            value, rank, _ = _entry(f, at, i)
            reached = f.compare("ugt", f.load(BYTES, f.at(a["values"], value, LANES), 64), f.splat(_byte(f, rank), LANES))
            bit = f.cast("zext", reached, BYTES) & mask
            f.store(bit, f.at(bits, i, LANES), 64)
            some = f.binary("or", some, bit)
        f.store(f.cast("bitcast", f.compare("ne", some, f.zero(BYTES)), "i64"), todo, 8)
        with f.when(limit), f.loop(0, _bits(f, f.load("i64", todo, 8))):
            left = f.load("i64", todo, 8)
            lane = f.emit("i64", f"call i64 @llvm.cttz.i64(i64 {left.name}, i1 true)")
            f.store(left & (left - 1), todo, 8)
            for i, number in enumerate(numbers(f, (block + 1, stream), (seed, image + lane))):
                place = f.at(f.at(bits, i, LANES), lane)
                f.store(f.load("i8", place, 1) & f.cast("zext", f.compare("uge", number, limit), "i8"), place, 1)
        for i in range(NUMBERS):
            _, _, row = _entry(f, at, i)
            f.add_to(f.at(a["rows"], row, LANES), f.load(BYTES, f.at(bits, i, LANES), 64))
    with f.loop(0, lines) as line:
        add_total(f, a["totals"], total + line, f.load(BYTES, f.at(a["counted"], line, LANES), 64))
    return f.text()


def _entry(f: Function, at: Value, i: int) -> list[Value]:
    return [f.index(at, len(ENTRY) * i + field) for field in range(len(ENTRY))]


def _block(f: Function, number: Value) -> Value:
    return f.emit("i64", f"udiv i64 {number.name}, {NUMBERS}")


def _bits(f: Function, word: Value) -> Value:
    """How many bits are set."""
    return f.emit("i64", f"call i64 @llvm.ctpop.i64(i64 {word.name})")


def _byte(f: Function, number: Value) -> Value:
    return f.cast("trunc", number, "i8")
