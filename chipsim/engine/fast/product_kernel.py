"""The kernels that multiply rows, in pairs or in quads: see `chipsim.engine.fast.products`."""

from __future__ import annotations

from collections.abc import Callable

from chipsim.engine.fast.instructions import COLUMNS, DOTS, PRODUCTS, WIDE_PRODUCTS
from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import BYTES, LANES
from chipsim.engine.fast.registers import called, vector, whole_of
from chipsim.engine.fast.segments import TOGETHER
from chipsim.engine.fast.segments_kernel import Segments, head, kernel

HALVES, WORDS = "<32 x i16>", "<32 x i32>"
#: images of a register of quads, and registers of 64 images
QUADS, REGISTERS = 16, 4


def products(bits: int, name: str) -> list[str]:
    """What multiplies, for accumulators of so many bits: declarations and kernels."""
    if name in DOTS:
        return [declared_quads(name), _multiply_quads(bits, name)]
    return [*declared_pairs(name), _multiply(bits, name), *([_multiply_wide(name)] if bits == 32 else [])]


def pack_quads(f: Function, target: Value, taken: Callable[[Value], Value]) -> None:
    """Lay the bytes of four rows side by side, image by image."""
    with f.loop(0, head(f, "multiplied")) as i:
        first = head(f, "rows at") + i * 4
        rows = [taken(first + number) for number in range(4)]
        for two in range(2):  # of 32 images each, rows 0 and 1, rows 2 and 3
            lanes = [32 * two + lane // 2 + LANES * (lane % 2) for lane in range(LANES)]
            one, other = (f.cast("bitcast", f.shuffle(a, b, lanes), HALVES) for a, b in (rows[:2], rows[2:]))
            for half in range(2):
                lanes = [16 * half + lane // 2 + 32 * (lane % 2) for lane in range(32)]
                quads = f.cast("bitcast", f.shuffle(one, other, lanes), BYTES)
                f.store(quads, f.at(target, i * REGISTERS + (2 * two + half), LANES), 64)


def pack_pairs(f: Function, target: Value, taken: Callable[[Value], Value]) -> None:
    """Lay the bytes of two rows side by side, image by image; as numbers of 16 bits, if products are wide."""
    wide = head(f, "wide")
    with f.loop(0, head(f, "multiplied")) as i:
        first = head(f, "rows at") + i * 2
        one, other = taken(first), taken(first + 1)
        for half in range(2):
            lanes = [32 * half + lane // 2 + LANES * (lane % 2) for lane in range(LANES)]
            both, number = f.shuffle(one, other, lanes), i * 2 + half
            with f.when(f.flag("eq", wide, 0)):
                f.store(both, f.at(target, number, LANES), 64)
            with f.when(wide):
                f.store(f.cast("zext", both, "<64 x i16>"), f.at(target, number, 2 * LANES), 64)


def count_quads(name: str) -> str:
    """Add rows in quads, each times its weight, to a count of each image: see `chipsim.engine.fast.counting`."""
    f = Function("count_quads", packed="ptr", weights="ptr", quads="i64", out="ptr")
    a = f.arguments
    kind = f"<{QUADS} x i32>"
    sums = [f.variable(kind, "zeroinitializer") for _ in range(REGISTERS)]
    with f.loop(0, a["quads"]) as i:
        place = f.at(a["packed"], i, REGISTERS * LANES)
        weights = f.splat(f.load("i32", f.at(a["weights"], i, 4), 4), QUADS)
        for number, total in enumerate(sums):
            add_products(f, name, total, f.load(kind, f.at(place, number, LANES), 64), weights)
    for number, total in enumerate(sums):
        f.add_to(f.at(a["out"], number, LANES), f.load(kind, total, 64))
    return "\n".join([declared_quads(name), f.text()])


def declared_pairs(name: str) -> list[str]:
    """Declare the instructions that multiply pairs, if there are any."""
    found = []
    for instructions, taken in ((PRODUCTS, 8), (WIDE_PRODUCTS, 16)):
        if name in instructions:
            lanes, intrinsic = instructions[name]
            kind = vector(taken, 8 * lanes)
            found.append(f"declare {vector(2 * taken, 8 * lanes)} @{intrinsic}({kind}, {kind})")
    return found


def declared_quads(name: str) -> str:
    """Declare the instruction that multiplies quads."""
    return f"declare <16 x i32> @{DOTS[name]}(<16 x i32>, <16 x i32>, <16 x i32>)"


def add_products(f: Function, name: str, total: Value, quad: Value, weights: Value) -> None:
    """Add products of quads to a variable."""
    kind = f"<{QUADS} x i32>"
    before = f.load(kind, total, 64)
    text = f"call {kind} @{DOTS[name]}({kind} {before.name}, {kind} {quad.name}, {kind} {weights.name})"
    f.store(f.emit(kind, text), total, 64)


def _multiply_quads(bits: int, name: str) -> str:
    """Add up products of quads, in 32 bits."""
    f = kernel(f"multiply{bits}")
    segments = Segments(f, "products", 2, COLUMNS[name], bits)
    kind = f"<{QUADS} x i32>"
    columns = range(segments.columns)
    with segments.loop() as s:
        sums = [[f.variable(kind, "zeroinitializer") for _ in range(REGISTERS)] for _ in columns]
        with f.loop(0, s.many) as i:
            place = s.packed(i)
            quads = [f.load(kind, f.at(place, number, LANES), 64) for number in range(REGISTERS)]
            for column in columns:
                weights = f.splat(f.load("i32", s.content(i, column, 4), 4), QUADS)
                for total, quad in zip(sums[column], quads, strict=True):
                    add_products(f, name, total, quad, weights)
        for column in columns:
            total = whole_of(f, [f.load(kind, part, 64) for part in sums[column]])
            s.add(column, f.cast("trunc", total, f"<64 x i{bits}>") if bits < 32 else total)
    return f.text()


def _multiply(bits: int, name: str) -> str:
    """Add up products of pairs, in 16 bits in a window."""
    f = kernel(f"multiply{bits}")
    segments = Segments(f, "products", 2, COLUMNS[name], bits)
    columns = range(segments.columns)
    with segments.loop() as s, s.windows() as groups:
        sums = [[f.variable(HALVES, "zeroinitializer") for _ in range(2)] for _ in columns]
        with groups() as i:
            for one in range(TOGETHER):
                place = s.packed(i + one)
                pairs = [f.load(BYTES, f.at(place, half, LANES), 64) for half in range(2)]
                for column in columns:
                    at = s.content(i, segments.columns * one + column, 2)
                    weights = f.cast("bitcast", f.splat(f.load("i16", at, 2), 32), BYTES)
                    for total, pair in zip(sums[column], pairs, strict=True):
                        f.add_to(total, multiplied(f, name, pair, weights))
        for column in columns:
            halves = [f.load(HALVES, total, 64) for total in sums[column]]
            total = f.shuffle(halves[0], halves[1], list(range(LANES)))
            s.add(column, f.cast("sext", total, f"<64 x i{bits}>") if bits > 16 else total)
    return f.text()


def _multiply_wide(name: str) -> str:
    """Add up products of pairs in 32 bits, for 32 lanes at a time: the registers hold no more."""
    f = kernel("multiply_wide")
    segments = Segments(f, "products", 1, COLUMNS[name], 32)
    columns = range(segments.columns)
    with segments.loop() as s, f.loop(0, f.constant(LANES), 32) as first:
        sums = [f.variable(WORDS, "zeroinitializer") for _ in columns]
        places = [f.at(f.arguments["accumulators"], s.column(column)[0] * LANES + first, 4) for column in columns]
        with f.when(s.window):
            for total, place in zip(sums, places, strict=True):
                f.store(f.load(WORDS, place, 64), total, 64)
        with f.loop(0, s.many) as i:
            pairs = f.load("<64 x i16>", f.at(s.packed(i), first * 4), 64)
            for column, total in enumerate(sums):
                weight = f.load("i32", s.content(i, column, 4), 4)
                weights = f.cast("bitcast", f.splat(weight, 32), "<64 x i16>")
                f.add_to(total, multiplied_wide(f, name, pairs, weights))
        for total, place in zip(sums, places, strict=True):
            f.store(f.load(WORDS, total, 64), place, 64)
    return f.text()


def multiplied(f: Function, name: str, pairs: Value, weights: Value) -> Value:
    """Sums of two products of bytes, those of ``pairs`` without a sign."""
    if name in PRODUCTS:
        lanes, intrinsic = PRODUCTS[name]
        return called(f, intrinsic, f"<{lanes // 2} x i16>", lanes, pairs, weights)
    pair, weight = (f.cast("bitcast", value, HALVES) for value in (pairs, weights))
    first, second = pair & 255, pair >> 8
    low, high = f.binary("ashr", weight << 8, 8), f.binary("ashr", weight, 8)
    return first * low + second * high


def multiplied_wide(f: Function, name: str, pairs: Value, weights: Value) -> Value:
    """Sums of two products of 16 bits, 32 of them."""
    if name in WIDE_PRODUCTS:
        lanes, intrinsic = WIDE_PRODUCTS[name]
        return called(f, intrinsic, f"<{lanes // 4} x i32>", lanes // 2, pairs, weights)
    even, odd = (
        [f.cast("sext", f.shuffle(v, v, list(range(start, LANES, 2))), WORDS) for v in (pairs, weights)] for start in (0, 1)
    )
    return even[0] * even[1] + odd[0] * odd[1]
