"""The kernels that count: totals of a run, counts of each image, and these put in order."""

from __future__ import annotations

from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import BYTES, HALVES, LANES, SQUARE, WORDS, add_total, transposed


def tally() -> str:
    """Totals of values that lie one after the other."""
    f = Function("tally", values="ptr", mask="ptr", count="i64", totals="ptr")
    a = f.arguments
    mask = f.load(BYTES, a["mask"], 64)
    with f.loop(0, a["count"]) as i:
        add_total(f, a["totals"], i, f.load(BYTES, f.at(a["values"], i, LANES), 64) & mask)
    return f.text()


def count_runs() -> str:
    """Add up the rows of an owner by image, each times its two weights: see `chipsim.engine.fast.counting`."""
    f = Function("count_runs", table="ptr", owner="i64", values="ptr", one="ptr", other="ptr")
    a = f.arguments
    offsets, runs, segments, first = (f.load("ptr", f.at(a["table"], i, 8), 8) for i in range(4))

    def in_bytes(begin: Value, end: Value) -> Value:
        total = f.variable(BYTES, "zeroinitializer")
        with f.loop(begin, end) as row:
            f.add_to(total, f.load(BYTES, f.at(a["values"], f.index(offsets, row)), 64))
        return f.cast("zext", f.load(BYTES, total, 64), HALVES)

    def in_halves(begin: Value, end: Value, which: dict[int, str]) -> None:
        sums = {out: f.variable(HALVES, "zeroinitializer") for out in which.values()}
        with f.loop(begin, end) as r:
            first, count, *weights = (f.index(f.at(runs, r, 16), i) for i in range(4))
            half = in_bytes(first, first + count)
            for number, out in which.items():
                f.add_to(sums[out], half * f.splat(f.cast("trunc", weights[number], "i16"), LANES))
        for out, place in sums.items():
            f.add_to(a[out], f.cast("sext", f.load(HALVES, place, 64), WORDS))

    with f.loop(f.index(first, a["owner"]), f.index(first, a["owner"] + 1)) as s:
        begin, end, at_once, which = (f.index(segments, s * 4 + i) for i in range(4))
        with f.when(f.flag("eq", at_once, 0)):
            for number, outs in enumerate(({0: "one"}, {1: "other"}, {0: "one", 1: "other"}), 1):
                with f.when(f.flag("eq", which, number)):
                    in_halves(begin, end, outs)
        with f.when(at_once):
            row, count, *weights = (f.index(f.at(runs, begin, 16), i) for i in range(4))
            total, last = f.variable(HALVES, "zeroinitializer"), row + count
            with f.loop(row, last, at_once) as start:
                f.add_to(total, in_bytes(start, f.smallest(start + at_once, last)))
            word = f.cast("zext", f.load(HALVES, total, 64), WORDS)
            for weight, out in zip(weights, ("one", "other"), strict=True):
                with f.when(weight):
                    f.add_to(a[out], word * f.splat(f.cast("trunc", weight, "i32"), LANES))
    return f.text()


def weigh() -> str:
    """Totals of owners: those of their lines, each times two weights; ``places``, shifted, say where these totals are."""
    names = ("totals", "places", "one", "other", "edge", "ones", "others")
    f = Function("weigh", owners="i64", shift="i64", **dict.fromkeys(names, "ptr"))  # type: ignore[arg-type]
    a = f.arguments
    with f.loop(0, a["owners"]) as owner:
        begin, end = (f.load("i64", f.at(a["edge"], owner + i, 8), 8) for i in range(2))
        sums = [f.variable("i64", "0") for _ in range(2)]
        with f.loop(begin, end) as line:
            place = f.index(a["places"], line) >> a["shift"]
            total = f.load("i64", f.at(a["totals"], place, 8), 8)
            for place, weight in zip(sums, ("one", "other"), strict=True):
                weighed = total * f.cast("sext", f.load("i32", f.at(a[weight], line, 4), 4), "i64")
                f.store(f.load("i64", place, 8) + weighed, place, 8)
        for place, out in zip(sums, ("ones", "others"), strict=True):
            f.store(f.load("i64", place, 8), f.at(a[out], owner, 8), 8)
    return f.text()


def by_image(bits: int) -> str:
    """Some rows of counts, (rows, 64), image by image, (images, columns), in so many bits: see `image_counts`.

    Sixteen images at a time, whose counts lie in a row: as many streams as are written to memory.
    """
    f = Function(f"by_image{bits}", columns="i64", images="i64", rows="ptr", counts="ptr", out="ptr")
    a = f.arguments
    kind, size, scratch = f"<{SQUARE} x i32>", bits // 8, f.variable(f"[{SQUARE * SQUARE} x i{bits}]", "")
    with f.loop(0, a["images"], SQUARE) as part, f.loop(0, a["columns"], SQUARE) as first:
        images, columns = (f.smallest(f.constant(SQUARE), a[name] - i) for name, i in (("images", part), ("columns", first)))
        taken = [f.load(kind, f.at(a["counts"], f.index(a["rows"], first + i) * LANES + part, 4), 64) for i in range(SQUARE)]
        lines = transposed(f, taken)
        if bits < 32:
            lines = [f.cast("trunc", line, f"<{SQUARE} x i{bits}>") for line in lines]
        out = f.at(a["out"], part * a["columns"] + first, size)
        whole = f.flag("eq", (images ^ SQUARE) | (columns ^ SQUARE), 0)
        with f.when(whole):
            for i, line in enumerate(lines):
                f.store(line, f.at(out, a["columns"] * i, size), size)
        with f.when(whole ^ 1):
            for i, line in enumerate(lines):
                f.store(line, f.at(scratch, SQUARE * i, size), SQUARE * size)
            with f.loop(0, images) as image, f.loop(0, columns) as column:
                count = f.load(f"i{bits}", f.at(scratch, image * SQUARE + column, size), size)
                f.store(count, f.at(out, image * a["columns"] + column, size), size)
    return f.text()
