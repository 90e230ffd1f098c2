"""The kernels that execute a program of `chipsim.engine.fast.lookup`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import BYTES, LANES
from chipsim.engine.fast.lookup import HEAD, KINDS
from chipsim.engine.fast.segments import TABLE, TOGETHER

#: what looks up bytes in a table of 16, by the feature that has it: lanes, name
LOOKUPS = {
    "avx512bw": (64, "llvm.x86.avx512.pshuf.b.512"),
    "avx2": (32, "llvm.x86.avx2.pshuf.b"),
    "ssse3": (16, "llvm.x86.ssse3.pshuf.b.128"),
    "neon": (16, "llvm.aarch64.neon.tbl1.v16i8"),
}
#: what multiplies pairs of bytes, the first without a sign, and adds the two products; saturates, which `lookup` rules out
PRODUCTS = {
    "avx512bw": "llvm.x86.avx512.pmaddubs.w.512",
    "avx2": "llvm.x86.avx2.pmadd.ub.sw",
    "ssse3": "llvm.x86.ssse3.pmadd.ub.sw.128",
}
#: what multiplies pairs of 16 bits and adds the two products in 32
WIDE_PRODUCTS = {
    "avx512bw": "llvm.x86.avx512.pmaddw.d.512",
    "avx2": "llvm.x86.avx2.pmadd.wd",
    "ssse3": "llvm.x86.sse2.pmadd.wd",
}
#: columns that are worked on at a time: as many as the registers hold
COLUMNS = {"avx512bw": 4, "avx2": 2, "ssse3": 1, "neon": 1}
HALVES, WORDS = "<32 x i16>", "<32 x i32>"


def instruction(features: str) -> str | None:
    """Return the feature of a processor's widest lookups; None if it has none."""
    return next((name for name in LOOKUPS if f"+{name}" in features.split(",")), None)


def dense(bits: int, name: str | None) -> str:
    """Return the kernel that makes all accumulators of a core, for a feature that there is."""
    assert name is not None
    lanes, intrinsic = LOOKUPS[name]
    kind = f"<{lanes} x i8>"
    parts = [f"declare {kind} @{intrinsic}({kind}, {kind})"]
    if name in PRODUCTS:
        parts.append(f"declare <{lanes // 2} x i16> @{PRODUCTS[name]}({kind}, {kind})")
    parts += [_lookup(bits, name), _multiply(bits, name)]
    if bits == 32:
        if name in WIDE_PRODUCTS:
            halves = f"<{lanes // 2} x i16>"
            parts.insert(0, f"declare <{lanes // 4} x i32> @{WIDE_PRODUCTS[name]}({halves}, {halves})")
        parts.append(_multiply_wide(name))
    return "\n".join([*parts, _dense(bits)])


def pack() -> str:
    """Pack rows into indices, kind by kind, and lay the bytes of pairs side by side."""
    f = Function("pack", program="ptr", values="ptr", offsets="ptr", packed="ptr")
    a = f.arguments
    row, place = f.variable("i64", str(len(HEAD))), f.variable("i64", "0")

    def taken(position: Value) -> Value:
        source = f.index(a["offsets"], f.index(a["program"], position))
        return f.load(BYTES, f.at(a["values"], source), 64)

    for number, (size, bits, numbers) in enumerate(KINDS):
        with f.loop(0, f.index(a["program"], number)):
            first, target = f.load("i64", row, 8), f.load("i64", place, 8)
            index: Value | None = None
            for position in range(size - size // numbers, -1, -(size // numbers)):
                value = _bits(f, bits, taken(first + position))
                for more in range(1, size // numbers):
                    value = value + taken(first + position + more)
                if index is not None:
                    for _ in range(4 // numbers):
                        index = index + index
                index = value if index is None else index + value
            assert index is not None
            f.store(index, f.at(a["packed"], target), 64)
            f.store(first + size, row, 8)
            f.store(target + LANES, place, 8)
    wide = _head(f, "wide")
    with f.loop(0, _head(f, "pairs")) as i:
        first = _head(f, "rows at") + i * 2
        one, other = taken(first), taken(first + 1)
        for half in range(2):
            lanes = [32 * half + lane // 2 + LANES * (lane % 2) for lane in range(LANES)]
            both, at = f.shuffle(one, other, lanes), f.load("i64", place, 8)
            with f.when(f.flag("eq", wide, 0)):
                f.store(both, f.at(a["packed"], at + (i * 2 + half) * LANES), 64)
            with f.when(wide):
                f.store(f.cast("zext", both, "<64 x i16>"), f.at(a["packed"], at + (i * 2 + half) * 2 * LANES), 64)
    return f.text()


def _bits(f: Function, which: str, value: Value) -> Value:
    """Some bits of a value: those that ``v & 3``, ``v >> 2`` and the like say."""
    if which in ("all", "sums"):
        return value
    _, operator, operand = which.split()
    return f.emit(BYTES, f"{ {'&': 'and', '>>': 'lshr'}[operator] } {BYTES} {value.name}, splat (i8 {operand})")


def _head(f: Function, name: str) -> Value:
    """A word at the head of the program."""
    return f.index(f.arguments["program"], HEAD.index(name))


def _dense(bits: int) -> str:
    """Make all accumulators of a core."""
    names = ("program", "tables", "packed", "accumulators")
    f = Function(f"dense{bits}", **dict.fromkeys(names, "ptr"), count="i64")  # type: ignore[arg-type]
    a = f.arguments
    wide = _head(f, "wide")
    if bits == 32:
        with f.when(wide):
            f.call("multiply_wide", *(a[one] for one in names))
    with f.when(f.flag("eq", wide, 0)):
        with f.loop(0, a["count"]) as j:
            f.store(f.zero(f"<64 x i{bits}>"), f.at(a["accumulators"], j, LANES * bits // 8), 64)
        f.call(f"multiply{bits}", *(a[one] for one in names))
    f.call(f"lookup{bits}", *(a[one] for one in names))
    return f.text()


@dataclass(frozen=True)
class _Segments:
    """What loops over the segments of a program have in common."""

    f: Function
    what: str  # "lookups" or "products"
    words: int  # for each column
    columns: int
    bits: int  # of an accumulator

    @contextmanager
    def loop(self) -> Iterator[_Segment]:
        """Go over all segments."""
        f = self.f
        program = f.arguments["program"]
        cursor = f.variable("i64", "0")
        f.store(_head(f, f"{self.what} at"), cursor, 8)
        size = 3 + self.words * self.columns
        with f.loop(0, _head(f, self.what)):
            head = f.load("i64", cursor, 8)
            many, window, first = (f.index(program, head + i) for i in range(3))
            yield _Segment(
                self, head, many, window, f.at(f.arguments["tables"], first, TABLE), f.at(program, head + size, 4)
            )
            f.store(head + many + size, cursor, 8)


@dataclass(frozen=True)
class _Segment:
    every: _Segments
    head: Value
    many: Value
    window: Value
    table: Value
    places: Value

    def column(self, number: int) -> list[Value]:
        """The words of a column."""
        every, first = self.every, 3 + self.every.words * number
        return [every.f.index(every.f.arguments["program"], self.head + first + i) for i in range(every.words)]

    @contextmanager
    def windows(self) -> Iterator[Callable[[], AbstractContextManager[Value]]]:
        """Go over all windows; what it gives goes over the groups of one, some at a time."""
        f = self.every.f
        with f.loop(0, self.many, self.window) as begin:
            end = f.smallest(begin + self.window, self.many)
            yield lambda: f.loop(begin, end, TOGETHER)

    def add(self, number: int, total: Value, least: Value | None = None) -> None:
        """Add a sum (64 lanes) to the accumulator of a column."""
        f, bits = self.every.f, self.every.bits
        accumulator, *_, factor = self.column(number)
        if least is not None:
            total = total + f.splat(f.cast("trunc", least, f"i{bits}"), LANES)
        scaled = total * f.splat(f.cast("trunc", factor, f"i{bits}"), LANES)
        f.add_to(f.at(f.arguments["accumulators"], accumulator, LANES * bits // 8), scaled)


def _lookup(bits: int, name: str) -> str:
    """Add up tables: sums of bytes in a window, then those of even and odd lanes in 16 bits."""
    f = _kernel(f"lookup{bits}")
    segments = _Segments(f, "lookups", 3, COLUMNS[name], bits)
    columns = range(segments.columns)
    with segments.loop() as s:
        both, odd = ([f.variable(HALVES, "zeroinitializer") for _ in columns] for _ in range(2))
        with s.windows() as groups:
            sums = [f.variable(BYTES, "zeroinitializer") for _ in columns]
            with groups() as i:
                for one in range(TOGETHER):
                    index = f.load(BYTES, f.at(f.arguments["packed"], f.index(s.places, i + one)), 64)
                    for column, total in enumerate(sums):
                        place = f.at(s.table, i * segments.columns + (segments.columns * one + column), TABLE)
                        f.add_to(total, _looked_up(f, name, f.load("<16 x i8>", place, 16), index))
            for total, every, second in zip(sums, both, odd, strict=True):
                pairs = f.cast("bitcast", f.load(BYTES, total, 64), HALVES)
                f.add_to(every, pairs)
                f.add_to(second, f.emit(HALVES, f"lshr {HALVES} {pairs.name}, splat (i16 8)"))
        for column in columns:
            second = f.load(HALVES, odd[column], 64)
            even = f.load(HALVES, both[column], 64) - f.emit(HALVES, f"shl {HALVES} {second.name}, splat (i16 8)")
            total = f.shuffle(even, second, [i // 2 + 32 * (i % 2) for i in range(LANES)])
            s.add(column, f.cast("zext", total, f"<64 x i{bits}>") if bits > 16 else total, s.column(column)[1])
    return f.text()


def _multiply(bits: int, name: str) -> str:
    """Add up products of pairs, in 16 bits in a window."""
    f = _kernel(f"multiply{bits}")
    segments = _Segments(f, "products", 2, COLUMNS[name], bits)
    columns = range(segments.columns)
    with segments.loop() as s, s.windows() as groups:
        sums = [[f.variable(HALVES, "zeroinitializer") for _ in range(2)] for _ in columns]
        with groups() as i:
            for one in range(TOGETHER):
                place = f.at(f.arguments["packed"], f.index(s.places, i + one))
                pairs = [f.load(BYTES, f.at(place, half, LANES), 64) for half in range(2)]
                for column in columns:
                    at = f.at(s.table, i * segments.columns + (segments.columns * one + column), 2)
                    weights = f.cast("bitcast", f.splat(f.load("i16", at, 2), 32), BYTES)
                    for total, pair in zip(sums[column], pairs, strict=True):
                        f.add_to(total, _multiplied(f, name, pair, weights))
        for column in columns:
            halves = [f.load(HALVES, total, 64) for total in sums[column]]
            total = f.shuffle(halves[0], halves[1], list(range(LANES)))
            s.add(column, f.cast("sext", total, f"<64 x i{bits}>") if bits > 16 else total)
    return f.text()


def _multiply_wide(name: str) -> str:
    """Add up products of pairs in 32 bits, for 32 lanes at a time: the registers hold no more."""
    f = _kernel("multiply_wide")
    segments = _Segments(f, "products", 1, COLUMNS[name], 32)
    columns = range(segments.columns)
    with segments.loop() as s, f.loop(0, f.constant(LANES), 32) as first:
        sums = [f.variable(WORDS, "zeroinitializer") for _ in columns]
        places = [f.at(f.arguments["accumulators"], s.column(column)[0] * LANES + first, 4) for column in columns]
        with f.when(s.window):
            for total, place in zip(sums, places, strict=True):
                f.store(f.load(WORDS, place, 64), total, 64)
        with f.loop(0, s.many) as i:
            pairs = f.load("<64 x i16>", f.at(f.arguments["packed"], f.index(s.places, i) + first * 4), 64)
            for column, total in enumerate(sums):
                at = f.at(s.table, i * segments.columns + column, 4)
                weights = f.cast("bitcast", f.splat(f.load("i32", at, 4), 32), "<64 x i16>")
                f.add_to(total, _multiplied_wide(f, name, pairs, weights))
        for total, place in zip(sums, places, strict=True):
            f.store(f.load(WORDS, total, 64), place, 64)
    return f.text()


def _kernel(name: str) -> Function:
    return Function(name, internal=True, program="ptr", tables="ptr", packed="ptr", accumulators="ptr")


def _looked_up(f: Function, name: str, content: Value, index: Value) -> Value:
    """Bytes of a table of 16 at 64 indices."""
    lanes, intrinsic = LOOKUPS[name]
    kind = f"<{lanes} x i8>"
    table = f.shuffle(content, content, [i % TABLE for i in range(lanes)])
    parts = [
        f.emit(kind, f"call {kind} @{intrinsic}({kind} {table.name}, {kind} {part.name})")
        for part in _parts(f, index, lanes)
    ]
    return _whole(f, parts)


def _multiplied(f: Function, name: str, pairs: Value, weights: Value) -> Value:
    """Sums of two products of bytes, those of ``pairs`` without a sign."""
    if name in PRODUCTS:
        lanes, kind = LOOKUPS[name][0], f"<{LOOKUPS[name][0]} x i8>"
        parts = [
            f.emit(f"<{lanes // 2} x i16>", f"call <{lanes // 2} x i16> @{PRODUCTS[name]}({kind} {a.name}, {kind} {b.name})")
            for a, b in zip(_parts(f, pairs, lanes), _parts(f, weights, lanes), strict=True)
        ]
        return _whole(f, parts)
    pair, weight = (f.cast("bitcast", value, HALVES) for value in (pairs, weights))
    first = f.emit(HALVES, f"and {HALVES} {pair.name}, splat (i16 255)")
    second = f.emit(HALVES, f"lshr {HALVES} {pair.name}, splat (i16 8)")
    low = f.emit(HALVES, f"ashr {HALVES} {f.emit(HALVES, f'shl {HALVES} {weight.name}, splat (i16 8)').name}, splat (i16 8)")
    high = f.emit(HALVES, f"ashr {HALVES} {weight.name}, splat (i16 8)")
    return first * low + second * high


def _multiplied_wide(f: Function, name: str, pairs: Value, weights: Value) -> Value:
    """Sums of two products of 16 bits, 32 of them."""
    if name in WIDE_PRODUCTS:
        lanes = LOOKUPS[name][0] // 2
        kind, sums = f"<{lanes} x i16>", f"<{lanes // 2} x i32>"
        return _whole(
            f,
            [
                f.emit(sums, f"call {sums} @{WIDE_PRODUCTS[name]}({kind} {a.name}, {kind} {b.name})")
                for a, b in zip(_parts(f, pairs, lanes), _parts(f, weights, lanes), strict=True)
            ],
        )
    even, odd = (
        [f.cast("sext", f.shuffle(v, v, list(range(start, LANES, 2))), WORDS) for v in (pairs, weights)] for start in (0, 1)
    )
    return even[0] * even[1] + odd[0] * odd[1]


def _parts(f: Function, value: Value, lanes: int) -> list[Value]:
    """A vector of 64 lanes in parts."""
    if lanes == LANES:
        return [value]
    return [f.shuffle(value, value, list(range(start, start + lanes))) for start in range(0, LANES, lanes)]


def _whole(f: Function, parts: list[Value]) -> Value:
    """Parts joined to one vector."""
    while len(parts) > 1:
        lanes = int(parts[0].type[1:].split(" x ")[0])
        parts = [f.shuffle(a, b, list(range(2 * lanes))) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]
