"""The kernel that says what arrives at a core, axon by axon; where packets are dropped, some of them."""

from __future__ import annotations

from chipsim.engine.fast.draw_kernel import LINES, as_bytes, field, lose_lines
from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import ARRIVAL, BYTES, LANES, add_total

#: fields of an entry, uint32: where its source's value lies, how many spikes of it come before this one, and the axon's row
ENTRY = ("value", "rank", "row")


def arrive(lookup: str | None) -> str:
    """Latch a core's axons: each its source's bit, unless it is lost; and add them up on the core's rows.

    The core's first axon is line 1 of ``latched``; line 0 is nothing. Numbers are drawn for an axon that holds a bit in
    some image. What is in the ``counted`` lines, rows or axons, is added to the totals.
    """
    names = ("arrival", "entries", "drawing", "step", "values", "mask", "rows", "latched", "counted", "totals")
    f = Function("arrive", False, **dict.fromkeys(names, "ptr"), count="i64")
    a = f.arguments
    entry, axon, axons, lines, total = (f.load("i64", f.at(a["arrival"], i, 8), 8) for i in range(len(ARRIVAL)))
    mask = f.load(BYTES, a["mask"], 64)
    with f.loop(0, a["count"]) as row:
        f.store(f.zero(BYTES), f.at(a["rows"], row, LANES), 64)
    dropped = field(f, a["drawing"], "digits")
    first = f.load("i64", a["step"], 8) * field(f, a["drawing"], "places") + axon  # the place of its first axon in this step
    packets, places = (f.variable(f"[{8 * LINES} x i8]", "") for _ in range(2))
    with f.loop(0, axons, LINES) as begin:
        many = f.smallest(axons - begin, f.constant(LINES))
        latched, entries = f.at(a["latched"], begin + 1, LANES), f.at(a["entries"], (entry + begin) * len(ENTRY), 4)
        with f.loop(0, many) as i:
            value, rank = (f.index(f.at(entries, i, 4 * len(ENTRY)), ENTRY.index(name)) for name in ("value", "rank"))
            reached = f.compare("ugt", f.load(BYTES, f.at(a["values"], value, LANES), 64), f.splat(_byte(f, rank), LANES))
            bits = f.cast("zext", reached, BYTES) & mask
            f.store(bits, f.at(latched, i, LANES), 64)
            with f.when(dropped):
                f.store(f.cast("bitcast", f.compare("ne", bits, f.zero(BYTES)), "i64"), f.at(packets, i, 8), 8)
                f.store(first + begin + i, f.at(places, i, 8), 8)
        with f.when(dropped):
            f.call("lose_lines", a["drawing"], places, packets, many)
            with f.loop(0, many) as i:
                f.store(as_bytes(f, f.load("i64", f.at(packets, i, 8), 8), "zext"), f.at(latched, i, LANES), 64)
        with f.loop(0, many) as i:
            row = f.index(f.at(entries, i, 4 * len(ENTRY)), ENTRY.index("row"))
            f.add_to(f.at(a["rows"], row, LANES), f.load(BYTES, f.at(latched, i, LANES), 64))
    with f.loop(0, lines) as line:
        add_total(f, a["totals"], total + line, f.load(BYTES, f.at(a["counted"], line, LANES), 64))
    return lose_lines(lookup) + f.text()


def _byte(f: Function, number: Value) -> Value:
    return f.cast("trunc", number, "i8")
