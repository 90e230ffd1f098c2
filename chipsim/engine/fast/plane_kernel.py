"""The kernels that execute programs of `chipsim.engine.fast.planes`, 512 images at a time, one bit each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from chipsim.engine.fast.adder_kernel import LONGS, PLANES, Logic, add, declared
from chipsim.engine.fast.instructions import MASKS
from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import BYTES, LANES, WORDS
from chipsim.engine.fast.planes import IMAGES, PLANE, WIDTHS

#: times 64 images of a plane
BLOCKS = IMAGES // LANES
#: fields of the context of ``planes``, addresses in this order
CONTEXT = (
    "planes", "lines", "accumulators", "present", "totals", "cores", "latched", "programs", "fires", "levels",
    "potentials", "apart", "counts", "counts_apart", "count_of_kind",
)  # fmt: skip
#: what is added up: its program, among all words, its kernel, columns, positions, bytes of a sum and bits of it
ADDED = ("sums", "add", "columns", "positions", "size", "bits")
#: fields of a core's record, int64: where the planes that it latches are listed, and how many; its joins; how many planes
#: of the next core are fetched for each column; how it is added up; what fires or is read; and how bundles before it, and
#: each image's spikes, lines that weigh alike, and of these its SOPs and events are added up: to what place, in bytes, of
#: all planes or the sums
CORE = (
    "latch", "latched", "join", "joined", "aheads", *ADDED, "fire", "fires", "readout", "core",
    *(f"{what} {name}" for what in ("bundle", "spike", "class", "weigh") for name in (*ADDED, "place")),
)  # fmt: skip
#: fields of a record of what fires, uint32: its accumulator, its first plane and how many, its first threshold and how many,
#: and the place of its total; or the accumulator, the output that it is read as, and its excess
FIRES = ("accumulator", "plane", "planes", "first", "many", "total")
READ = ("accumulator", "output", "excess")


def run(lookup: str | None) -> str:
    """Cores begin .. end: latch their lines, add them up, fire or read out, and count by image where asked for."""
    f = Function("planes", context="ptr", begin="i64", end="i64")
    a = f.arguments
    c = {name: f.load("ptr", f.at(a["context"], i, 8), 8) for i, name in enumerate(CONTEXT)}
    apart, counts_apart, of_kind = (
        f.cast("ptrtoint", c[name], "i64") for name in ("apart", "counts_apart", "count_of_kind")
    )
    with f.loop(a["begin"], a["end"]) as number:
        record = f.at(c["cores"], number, 8 * len(CORE))
        core = {name: f.load("i64", f.at(record, i, 8), 8) for i, name in enumerate(CORE)}

        def added(kind: str, lines: Value, out: Value, aheads: Value, core: dict[str, Value] = core) -> None:
            words, kernel, *shape = (core[kind + name] for name in ADDED[:-1])
            program, ahead = f.at(c["programs"], words, 4), f.at(c["latched"], core["latch"] + core["latched"], 4)
            f.call(f.cast("inttoptr", kernel, "ptr"), program, lines, c["planes"], out, ahead, *shape, aheads)

        with f.when(core["bundle add"]):
            added("bundle ", c["planes"], f.at(c["planes"], core["bundle place"]), f.constant(0))
        latched = (c["planes"], f.at(c["latched"], core["latch"], 4), core["latched"])
        f.call("latch", *latched, f.at(c["programs"], core["join"], 4), core["joined"], c["lines"])
        sums = f.at(c["accumulators"], 1, PLANE)  # the first are zeros
        largest = f.flag("eq", core["add"], 0)
        with f.when(core["add"]):
            added("", c["lines"], sums, core["aheads"])
        with f.when(largest):
            f.call("maximum", f.at(c["programs"], core["sums"], 4), c["lines"], core["columns"], sums, core["size"])
        fires = f.at(c["fires"], core["fire"], 4 * len(FIRES))
        given = (fires, core["fires"], sums, core["size"], core["bits"])
        with f.when(f.flag("eq", core["readout"], 0)):
            f.call("fire", *given, c["levels"], c["planes"], c["present"], c["totals"])
        with f.when(core["readout"]):
            f.call("read", *given, c["potentials"], apart)
        with f.when(f.cast("ptrtoint", c["counts"], "i64")):
            nothing = f.constant(0)

            def counted(kind: str, base: str, *places: int, core: dict[str, Value] = core) -> None:
                sums = f.at(c[base], core[f"{kind}place"])
                added(kind, {"spike ": c["planes"], "weigh ": c["accumulators"]}.get(kind, c["lines"]), sums, nothing)
                for column, place in enumerate(places):
                    total = f.at(sums, core[f"{kind}size"], column)
                    target = f.at(f.at(c["counts"], of_kind, place), core["core"], 4 * LANES)
                    f.call("spread", total, core[f"{kind}bits"], nothing, target, counts_apart)

            with f.when(core["spike add"]):
                counted("spike ", "planes", 0)
            counted("class ", "accumulators")
            counted("weigh ", "accumulators", 1, 2)
    ternary = lookup in MASKS
    return declared(ternary, _latch(ternary), _maximum(ternary), _fire(ternary), _spread(), _read(), f)


def _latch(ternary: bool) -> Function:
    """Bring the planes that a core takes side by side, and join those that count alike."""
    f = Function("latch", internal=True, planes="ptr", latched="ptr", many="i64", joins="ptr", joined="i64", lines="ptr")
    a, logic = f.arguments, Logic(f, ternary)
    with f.loop(0, a["many"]) as i:
        f.store(f.load(PLANES, f.at(a["planes"], f.index(a["latched"], i)), 64), f.at(a["lines"], i + 1, PLANE), 64)
    made = f.at(a["lines"], a["many"] + 1, PLANE)
    with f.loop(0, a["joined"]) as i:
        three = [f.load(PLANES, f.at(a["lines"], f.index(a["joins"], i * 3 + part)), 64) for part in range(3)]
        for part, value in enumerate((logic.parity(*three), logic.majority(*three))):
            f.store(value, f.at(made, i * 2 + part, PLANE), 64)
    return f


def _fire(ternary: bool) -> Function:
    """A value is how many of its neurons' thresholds a sum reaches, bit by bit; what fired is added to the totals.

    A threshold is a word for each bit of the sum, all ones where its bit is 0: a sum reaches it if one more than the sum and
    the threshold's complement carries. A value without thresholds is the sum.
    """
    names = ("fires", "accumulators", "levels", "planes", "present", "totals")
    ends = dict.fromkeys(names[2:], "ptr")
    f = Function("fire", internal=True, fires="ptr", count="i64", accumulators="ptr", size="i64", bits="i64", **ends)
    a, logic = f.arguments, Logic(f, ternary)
    present = f.load(PLANES, a["present"], 64)
    with f.loop(0, a["count"]) as i:
        record = {name: f.index(f.at(a["fires"], i, 4 * len(FIRES)), number) for number, name in enumerate(FIRES)}
        total = f.at(a["accumulators"], record["accumulator"] * a["size"])
        value = f.at(a["planes"], record["plane"], PLANE)
        copied = f.splat(f.cast("trunc", f.mask(f.flag("eq", record["many"], 0)), "i32"), PLANE // 4)
        with f.loop(0, record["planes"]) as plane:
            f.store(f.load(PLANES, f.at(total, plane, PLANE), 64) & copied, f.at(value, plane, PLANE), 64)
        with f.loop(record["first"], record["first"] + record["many"] * a["bits"], a["bits"]) as level:
            reached = f.variable(PLANES, "")
            f.store(logic.complement(f.zero(PLANES)), reached, 64)
            with f.loop(0, a["bits"]) as bit:
                word = f.splat(f.load("i32", f.at(a["levels"], level + bit, 4), 4), 16)
                each = f.load(PLANES, f.at(total, bit, PLANE), 64)
                f.store(logic.majority(each, f.load(PLANES, reached, 64), word), reached, 64)
            with f.loop(0, record["planes"]) as plane:
                place, more = f.at(value, plane, PLANE), f.load(PLANES, reached, 64)
                before = f.load(PLANES, place, 64)
                f.store(before ^ more, place, 64)
                f.store(before & more, reached, 64)
        fired = f.variable("i64", "0")
        with f.loop(0, record["planes"]) as plane:
            seen = f.cast("bitcast", f.load(PLANES, f.at(value, plane, PLANE), 64) & present, LONGS)
            each = f.emit(LONGS, f"call {LONGS} @llvm.ctpop.v8i64({LONGS} {seen.name})")
            many = f.emit("i64", f"call i64 @llvm.vector.reduce.add.v8i64({LONGS} {each.name})")
            f.store(f.load("i64", fired, 8) + (many << plane), fired, 8)
        place = f.at(a["totals"], record["total"], 8)
        f.store(f.load("i64", place, 8) + f.load("i64", fired, 8), place, 8)
    return f


def _maximum(ternary: bool) -> Function:
    """The largest of some lines of each column, bit by bit: see `plan.maximum`; its size is in planes.

    A number is larger than another if it and the other's complement carry.
    """
    names = {"program": "ptr", "lines": "ptr", "columns": "i64", "out": "ptr", "size": "i64"}
    f = Function("maximum", internal=True, **names)
    a, logic = f.arguments, Logic(f, ternary)
    with f.loop(0, a["columns"]) as column:
        at, largest = f.index(a["program"], column), f.at(a["out"], column * a["size"])
        planes, many = f.index(a["program"], at), f.index(a["program"], at + 1)
        with f.loop(0, a["size"], PLANE) as plane:  # thresholds are compared with as many for each column
            f.store(f.zero(PLANES), f.at(largest, plane), 64)
        with f.loop(at + 2, at + 2 + many) as i:
            number, larger = f.at(a["lines"], f.index(a["program"], i)), f.variable(PLANES, "zeroinitializer")
            with f.loop(0, planes) as plane:
                own, other = (f.load(PLANES, f.at(each, plane, PLANE), 64) for each in (number, largest))
                f.store(logic.majority(own, logic.complement(other), f.load(PLANES, larger, 64)), larger, 64)
            with f.loop(0, planes) as plane:
                own, other = (f.load(PLANES, f.at(each, plane, PLANE), 64) for each in (number, largest))
                f.store(other ^ ((own ^ other) & f.load(PLANES, larger, 64)), f.at(largest, plane, PLANE), 64)
    return f


def _read() -> Function:
    """Potentials of a read-out core, for 64 images after the others."""
    ends = {"size": "i64", "bits": "i64", "potentials": "ptr", "apart": "i64"}
    f = Function("read", internal=True, fires="ptr", count="i64", accumulators="ptr", **ends)
    a = f.arguments
    with f.loop(0, a["count"]) as i:
        accumulator, output, excess = (f.index(f.at(a["fires"], i, 4 * len(FIRES)), number) for number in range(len(READ)))
        place = f.at(a["potentials"], output, 4 * LANES)
        f.call("spread", f.at(a["accumulators"], accumulator * a["size"]), a["bits"], excess, place, a["apart"])
    return f


def _spread() -> Function:
    """Numbers of so many bits, less their excess, as words of 32 bits: 64 images after 64, so many bytes ``apart``."""
    f = Function("spread", internal=True, planes="ptr", bits="i64", excess="i64", out="ptr", apart="i64")
    a = f.arguments
    less = f.splat(f.cast("trunc", f.constant(0) - a["excess"], "i32"), LANES)
    with f.loop(0, f.constant(BLOCKS)) as block:
        total, worth = f.variable(WORDS, ""), f.variable("i32", "1")
        f.store(less, total, 64)
        with f.loop(0, a["bits"]) as bit:
            there = f.load("i64", f.at(f.at(a["planes"], bit, PLANE), block, 8), 8)
            each = f.load("i32", worth, 8)
            mask = f.cast("bitcast", there, f"<{LANES} x i1>")
            counted = f"{WORDS} {f.splat(each, LANES).name}, {WORDS} zeroinitializer"
            f.add_to(total, f.emit(WORDS, f"select <{LANES} x i1> {mask.name}, {counted}"))
            f.store(each + each, worth, 8)
        f.store(f.load(WORDS, total, 64), f.at(a["out"], block * a["apart"]), 64)
    return f


def slices() -> str:
    """Put 64 images' values of the encoder, bytes, into planes, as the images of a block.

    A record: the value's place among the bytes, its first plane, and how many planes it has.
    """
    f = Function("slices", values="ptr", records="ptr", count="i64", planes="ptr", block="i64")
    a = f.arguments
    with f.loop(0, a["count"]) as i:
        slot, first, many = (f.index(f.at(a["records"], i, 12), number) for number in range(3))
        value = f.load(BYTES, f.at(a["values"], slot, LANES), 64)
        into_planes(f, value, f.at(a["planes"], a["block"], 8), first, many)
    return f.text()


def into_planes(f: Function, value: Value, planes: Value, first: Value, many: Value) -> None:
    """Put 64 images of a value, bytes, into its planes; ``planes``: where those of these images begin."""
    bit = f.variable("i8", "1")
    with f.loop(first, first + many) as plane:
        one = f.load("i8", bit, 8)
        there = f.compare("ne", value & f.splat(one, LANES), f.zero(BYTES))
        f.store(f.cast("bitcast", there, "i64"), f.at(planes, plane, PLANE), 8)
        f.store(one + one, bit, 8)


def kernels(lookup: str | None) -> dict[str, Callable[[], str]]:
    """What writes each kernel."""
    widths = {f"add{width}": partial(add, width, lookup) for width in WIDTHS}
    return {"planes": partial(run, lookup), "slices": slices, **widths}
