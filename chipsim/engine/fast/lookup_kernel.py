"""The kernels that execute a program of `chipsim.engine.fast.lookup`."""

from __future__ import annotations

from chipsim.engine.fast import product_kernel, tile_kernel
from chipsim.engine.fast.instructions import COLUMNS, DOTS, LOOKUPS, PLAIN, TILES
from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import BYTES, LANES
from chipsim.engine.fast.lookup import HEAD, KINDS
from chipsim.engine.fast.registers import whole_of
from chipsim.engine.fast.segments import TABLE, TOGETHER
from chipsim.engine.fast.segments_kernel import Segments, head, kernel


def dense(bits: int, name: str | None) -> str:
    """Return the kernel that makes all accumulators of a core, for a feature that there is."""
    assert name is not None
    if name in TILES:
        return tile_kernel.dense(bits, name)
    lanes, intrinsic = LOOKUPS[name]
    kind = f"<{lanes} x i8>"
    declared = f"declare {kind} @{intrinsic}({kind}, {kind})"
    return "\n".join([declared, *product_kernel.products(bits, name), _lookup(bits, name), _dense(bits, name)])


def pack(name: str | None) -> str:
    """Pack rows into indices, kind by kind, and lay the bytes of rows that are multiplied side by side."""
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
    target = f.at(a["packed"], f.load("i64", place, 8))
    packing = tile_kernel.pack if name in TILES else product_kernel.pack_quads if name in DOTS else product_kernel.pack_pairs
    packing(f, target, taken)
    return f.text()


def _bits(f: Function, which: str, value: Value) -> Value:
    """Some bits of a value: those that ``v & 3``, ``v >> 2`` and the like say."""
    if which in ("all", "sums"):
        return value
    _, operator, operand = which.split()
    return f.emit(BYTES, f"{ {'&': 'and', '>>': 'lshr'}[operator] } {BYTES} {value.name}, splat (i8 {operand})")


def _dense(bits: int, name: str) -> str:
    """Make all accumulators of a core."""
    names = ("program", "tables", "packed", "accumulators")
    f = Function(f"dense{bits}", **dict.fromkeys(names, "ptr"), count="i64")  # type: ignore[arg-type]
    a = f.arguments
    given = [a[one] for one in names]
    wide = head(f, "wide")
    if bits == 32 and name not in DOTS:
        with f.when(wide):
            f.call("multiply_wide", *given)
    with f.when(f.flag("eq", wide, 0)):
        with f.loop(0, a["count"]) as j:
            f.store(f.zero(f"<64 x i{bits}>"), f.at(a["accumulators"], j, LANES * bits // 8), 64)
        f.call(f"multiply{bits}", *given)
    f.call(f"lookup{bits}", *given)
    return f.text()


def _lookup(bits: int, name: str) -> str:
    """Add up tables: sums of bytes in a window, then those of even and odd lanes in 16 bits, register by register."""
    f = kernel(f"lookup{bits}", PLAIN.get(name, ""))
    lanes, _ = LOOKUPS[name]
    byte, half = f"<{lanes} x i8>", f"<{lanes // 2} x i16>"
    segments = Segments(f, "lookups", 3, COLUMNS[name], bits)
    columns, parts = range(segments.columns), range(LANES // lanes)

    def zeros(kind: str) -> list[list[Value]]:
        return [[f.variable(kind, "zeroinitializer") for _ in parts] for _ in columns]

    with segments.loop() as s:
        both, odd = zeros(half), zeros(half)
        with s.windows() as groups:
            sums = zeros(byte)
            with groups() as i:
                for one in range(TOGETHER):
                    place = s.packed(i + one)
                    indices = [f.load(byte, f.at(place, lanes * part), lanes) for part in parts]
                    for column in columns:
                        at = s.content(i, segments.columns * one + column, TABLE)
                        found = _looked_up(f, name, f.load("<16 x i8>", at, 16), indices)
                        for total, result in zip(sums[column], found, strict=True):
                            f.add_to(total, result)
            for column in columns:
                for total, every, second in zip(sums[column], both[column], odd[column], strict=True):
                    pairs = f.cast("bitcast", f.load(byte, total, 64), half)
                    f.add_to(every, pairs)
                    f.add_to(second, pairs >> 8)
        for column in columns:
            joined = []
            for every, place in zip(both[column], odd[column], strict=True):
                second = f.load(half, place, 64)
                even = f.load(half, every, 64) - (second << 8)
                joined.append(f.shuffle(even, second, [i // 2 + lanes // 2 * (i % 2) for i in range(lanes)]))
            total = whole_of(f, joined)
            s.add(column, f.cast("zext", total, f"<64 x i{bits}>") if bits > 16 else total, s.column(column)[1])
    return f.text()


def _looked_up(f: Function, name: str, content: Value, indices: list[Value]) -> list[Value]:
    """Bytes of a table of 16 at some indices, a register each."""
    lanes, intrinsic = LOOKUPS[name]
    kind = f"<{lanes} x i8>"
    table = f.shuffle(content, content, [i % TABLE for i in range(lanes)])
    return [f.emit(kind, f"call {kind} @{intrinsic}({kind} {table.name}, {kind} {index.name})") for index in indices]
