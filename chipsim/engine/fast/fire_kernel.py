"""The kernels that fire or read out the accumulators of a core."""

from __future__ import annotations

from chipsim.engine.fast.draw_kernel import LINES, as_bytes, lose_lines
from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import BYTES, LANES, WORDS, add_total, fire_record
from chipsim.engine.fast.registers import declared, narrowed, vector

#: registers of 512 bits
QUARTER, HALF, EIGHT = (vector(bits) for bits in (32, 16, 64))
ADDING = f"declare i64 @llvm.vector.reduce.add.v8i64({EIGHT})"


def fire(name: str, bits: int, *, masks: bool = False, sent: bool = False) -> str:
    """A value is how many of its neurons reach their thresholds; what fired is added to the totals.

    Comparisons of all images give a mask of 64 bits where the processor has ``masks``: spikes are counted in it.
    With 8 bits the accumulators are the encoder's levels, which are not negative. With ``sent`` each threshold has 64 bytes
    that say whether a spike is sent, all ones or 0.
    """
    ends = ("accumulators", "values", "mask", "totals", "thresholds", *["sent"] * sent)
    f = Function(name, fires="ptr", count="i64", **dict.fromkeys(ends, "ptr"))  # type: ignore[arg-type]
    a = f.arguments
    mask = f.load(BYTES, a["mask"], 64)
    present = _present(f, mask)
    with f.loop(0, a["count"]) as i:
        accumulator, value, first, many = fire_record(f, a["fires"], i)
        place = f.at(a["accumulators"], accumulator, LANES * bits // 8)
        if masks and not sent:
            result, fired = _masks(f, bits, place, first, many, present)
            total = f.at(a["totals"], value, 8)
            f.store(f.load("i64", total, 8) + fired, total, 8)
        else:
            result = _sent(f, bits, place, first, many) if sent else _counted(f, bits, place, first, many)
            add_total(f, a["totals"], value, result & mask)
        f.store(result, f.at(a["values"], value, LANES), 64)
    return f.text()


def maximum() -> str:
    """Fire the largest of some rows: see `plan.maximum`. A value of all levels is that itself."""
    ends = dict.fromkeys(("out", "mask", "totals", "thresholds"), "ptr")
    f = Function("maximum", program="ptr", values="ptr", rows="ptr", fires="ptr", count="i64", **ends)  # type: ignore[arg-type]
    a = f.arguments
    mask = f.load(BYTES, a["mask"], 64)
    with f.loop(0, a["count"]) as i:
        column, value, first, many = fire_record(f, a["fires"], i)
        at = f.index(a["program"], column)
        total, begin = f.variable(BYTES, "zeroinitializer"), at + 2
        with f.loop(begin, begin + f.index(a["program"], at + 1)) as j:
            row = f.load(BYTES, f.at(a["values"], f.index(a["rows"], f.index(a["program"], j))), 64)
            largest = f.load(BYTES, total, 64)
            pair = f"{BYTES} {largest.name}, {BYTES} {row.name}"
            f.store(f.emit(BYTES, f"call {BYTES} @llvm.umax.v64i8({pair})"), total, 64)
        with f.when(f.flag("ne", many, f.index(a["program"], at))):
            some = f.variable(BYTES, "zeroinitializer")
            with f.loop(first, first + many) as t:
                level = f.splat(f.cast("trunc", f.load("i32", f.at(a["thresholds"], t, 4), 4), "i8"), LANES)
                f.add_to(some, f.cast("zext", f.compare("uge", f.load(BYTES, total, 64), level), BYTES))
            f.store(f.load(BYTES, some, 64), total, 64)
        fired = f.load(BYTES, total, 64)
        f.store(fired, f.at(a["out"], value, LANES), 64)
        add_total(f, a["totals"], value, fired & mask)
    return f.text()


def fire_lost(name: str, bits: int, lookup: str | None) -> str:
    """As `fire`, but each threshold has a place of a record, ``drawing``, that says which of its spikes are lost."""
    ends = ("accumulators", "values", "mask", "totals", "thresholds", "drawing", "places")
    f = Function(name, fires="ptr", count="i64", **dict.fromkeys(ends, "ptr"))  # type: ignore[arg-type]
    a = f.arguments
    present = _present(f, f.load(BYTES, a["mask"], 64))
    waiting, (lines, places, owners) = f.variable("i64", "0"), (f.variable(f"[{8 * LINES} x i8]", "") for _ in range(3))

    def draw() -> None:
        """Add what is not lost of the spikes that wait to their values."""
        count = f.load("i64", waiting, 8)
        f.call("lose_lines", a["drawing"], places, lines, count)
        with f.loop(0, count) as line:
            spikes, owner = f.load("i64", f.at(lines, line, 8), 8), f.load("i64", f.at(owners, line, 8), 8)
            f.add_to(f.at(a["values"], owner, LANES), as_bytes(f, spikes, "zext"))
            add_spikes(f, a["totals"], owner, spikes & present)
        f.store(f.constant(0), waiting, 8)

    with f.loop(0, a["count"]) as i:
        accumulator, value, first, thresholds = fire_record(f, a["fires"], i)
        potential = f.load(f"<64 x i{bits}>", f.at(a["accumulators"], accumulator, LANES * bits // 8), 64)
        f.store(f.zero(BYTES), f.at(a["values"], value, LANES), 64)
        with f.loop(first, first + thresholds) as t:
            reached = f.compare("sge", potential, _threshold(f, bits, t, LANES))
            line = f.load("i64", waiting, 8)
            f.store(f.cast("bitcast", reached, "i64"), f.at(lines, line, 8), 8)
            f.store(f.index(a["places"], t), f.at(places, line, 8), 8)
            f.store(value, f.at(owners, line, 8), 8)
            f.store(line + 1, waiting, 8)
            with f.when(f.flag("eq", line, LINES - 1)):
                draw()
    draw()
    return lose_lines(lookup) + f.text()


def _present(f: Function, mask: Value) -> Value:
    """The images of a mask of bytes, a bit each."""
    return f.cast("bitcast", f.compare("slt", mask, f.zero(BYTES)), "i64")


def add_spikes(f: Function, totals: Value, value: Value, spikes: Value) -> None:
    """Add spikes, a bit each, to the total of a value."""
    total = f.at(totals, value, 8)
    f.store(f.load("i64", total, 8) + f.ones(spikes), total, 8)


def fire_wide(name: str, compared: int, lookup: str | None) -> str:
    """Fire accumulators of 32 bits, without noise; they are ``compared`` in 16 bits where their sums fit.

    Two registers become one of half as many bits by an instruction that does so within 16 bytes; in the end the bytes of
    four images are put where they belong.
    """
    names = ("fires", "count", "accumulators", "values", "mask", "totals", "thresholds")
    f = Function(name, **{each: "i64" if each == "count" else "ptr" for each in names})  # type: ignore[arg-type]
    a = f.arguments
    mask = f.load(BYTES, a["mask"], 64)
    with f.loop(0, a["count"]) as i:
        accumulator, value, first, many = fire_record(f, a["fires"], i)
        place = f.at(a["accumulators"], accumulator, 4 * LANES)
        potentials = [f.load(QUARTER, f.at(place, 64 * part), 64) for part in range(4)]
        if compared == 16:
            potentials = halved(f, lookup, potentials)
        kind, lanes = potentials[0].type, 512 // compared
        counts = [f.variable(kind, "zeroinitializer") for _ in potentials]
        with f.loop(first, first + many) as t:
            threshold = _threshold(f, compared, t, lanes)
            for count, potential in zip(counts, potentials, strict=True):
                f.add_to(count, f.cast("zext", f.compare("sge", potential, threshold), kind))
        found = [f.load(kind, count, 64) for count in counts]
        joined = narrowed(f, lookup, "packuswb", *(found if compared == 16 else halved(f, lookup, found)))
        fours = f.cast("bitcast", joined, QUARTER)
        result = f.cast("bitcast", f.shuffle(fours, fours, [4 * (k % 4) + k // 4 for k in range(16)]), BYTES)
        f.store(result, f.at(a["values"], value, LANES), 64)
        add_fired(f, lookup, a["totals"], value, result & mask)
    return "\n".join([*declared(lookup), ADDING, f.text()])


def add_fired(f: Function, lookup: str | None, totals: Value, value: Value, fired: Value) -> None:
    """Add what fired, a byte for each image, to the total of a value, by an instruction that adds up bytes."""
    eights = narrowed(f, lookup, "psadbw", fired, f.zero(BYTES))
    all_fired = f.emit("i64", f"call i64 @llvm.vector.reduce.add.v8i64({EIGHT} {eights.name})")
    total = f.at(totals, value, 8)
    f.store(f.load("i64", total, 8) + all_fired, total, 8)


def halved(f: Function, lookup: str | None, parts: list[Value]) -> list[Value]:
    """Four registers of 32 bits as two of 16, which saturate."""
    return [narrowed(f, lookup, "packssdw", *parts[two : two + 2]) for two in (0, 2)]


def _counted(f: Function, bits: int, place: Value, first: Value, many: Value) -> Value:
    """How many thresholds each lane reaches, some lanes at a time."""
    low, *high = (_reached(f, bits, f.at(place, lane, bits // 8), first, many) for lane in range(0, LANES, _lanes(bits)))
    return f.shuffle(low, high[0], list(range(LANES))) if high else low


def _lanes(bits: int) -> int:
    """Lanes whose potentials and counts the registers hold."""
    return 32 if bits == 32 else LANES


def _reached(f: Function, bits: int, place: Value, first: Value, many: Value) -> Value:
    """How many thresholds some lanes reach, counted in the width of their potentials: narrowing takes the longest."""
    lanes = _lanes(bits)
    kind = f"<{lanes} x i{bits}>"
    potential = f.load(kind, place, 64)
    count = f.variable(kind, "")
    f.store(f.splat(f.cast("trunc", many, f"i{bits}"), lanes), count, 64)
    with f.loop(first, first + many) as t:
        missed = f.compare("slt" if bits > 8 else "ult", potential, _threshold(f, bits, t, lanes))
        f.add_to(count, f.cast("sext", missed, kind))
    found = f.load(kind, count, 64)
    return found if bits == 8 else f.cast("trunc", found, f"<{lanes} x i8>")


def _masks(f: Function, bits: int, place: Value, first: Value, many: Value, present: Value) -> tuple[Value, Value]:
    """How many thresholds each lane reaches, and how many all lanes together whose images are ``present``."""
    potential = f.load(f"<64 x i{bits}>", place, 64)
    count, fired = f.variable(BYTES, "zeroinitializer"), f.variable("i64", "0")
    with f.loop(first, first + many) as t:
        reached = f.compare("sge" if bits > 8 else "uge", potential, _threshold(f, bits, t, LANES))
        f.add_to(count, f.cast("zext", reached, BYTES))
        spikes = f.ones(f.cast("bitcast", reached, "i64") & present)
        f.store(f.load("i64", fired, 8) + spikes, fired, 8)
    return f.load(BYTES, count, 64), f.load("i64", fired, 8)


def _sent(f: Function, bits: int, place: Value, first: Value, many: Value) -> Value:
    """How many thresholds are reached, of neurons whose spike is sent."""
    a = f.arguments
    potential, fired = f.load(f"<64 x i{bits}>", place, 64), f.variable(BYTES, "zeroinitializer")
    with f.loop(first, first + many) as t:
        reached = f.compare("sge" if bits > 8 else "uge", potential, _threshold(f, bits, t, LANES))
        f.add_to(fired, f.cast("zext", reached, BYTES) & f.load(BYTES, f.at(a["sent"], t, LANES), 64))
    return f.load(BYTES, fired, 64)


def _threshold(f: Function, bits: int, number: Value, lanes: int) -> Value:
    threshold = f.load("i32", f.at(f.arguments["thresholds"], number, 4), 4)
    return f.splat(threshold if bits == 32 else f.cast("trunc", threshold, f"i{bits}"), lanes)


def read(bits: int) -> str:
    """Potentials of a read-out core: record (accumulator, output)."""
    f = Function(f"read{bits}", fires="ptr", count="i64", accumulators="ptr", potentials="ptr")
    a = f.arguments
    with f.loop(0, a["count"]) as i:
        accumulator, output, _, _ = fire_record(f, a["fires"], i)
        potential = f.load(f"<64 x i{bits}>", f.at(a["accumulators"], accumulator, LANES * bits // 8), 64)
        wide = potential if bits == 32 else f.cast("sext", potential, WORDS)
        f.store(wide, f.at(a["potentials"], output, 4 * LANES), 64)
    return f.text()
