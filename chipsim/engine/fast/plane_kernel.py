"""The kernels that execute programs of `chipsim.engine.fast.planes`, 512 images at a time, one bit each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from chipsim.engine.fast.instructions import BITS, MASKS
from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import BYTES, LANES, WORDS
from chipsim.engine.fast.planes import AT_ONCE, HEAD, IMAGES, PLANE, WIDTHS

#: a plane in a register
PLANES, LONGS = "<16 x i32>", "<8 x i64>"
#: times 64 images of a plane
BLOCKS = IMAGES // LANES
#: fields of the context of ``planes``, addresses in this order
CONTEXT = (
    "planes", "lines", "accumulators", "present", "totals", "cores", "latched", "programs", "fires", "levels",
    "potentials", "apart", "counts", "counts_apart", "count_of_kind",
)  # fmt: skip
#: what is added up: its program, among all words, its kernel, columns, positions, bytes of a sum and bits of it
ADDED = ("sums", "add", "columns", "positions", "size", "bits")
#: numbers that an adding kernel is given: those of `ADDED`, and how many planes to fetch for each column
COUNTS = ("columns", "positions", "size", "aheads")
#: fields of a core's record, int64: where the planes that it latches are listed, and how many; its joins; how many planes
#: of the next core are fetched for each column; how it is added up; what fires or is read; and how each image's spikes,
#: lines that weigh alike, and of these its SOPs and events are added up: to what place, in bytes, of all planes or the sums
CORE = (
    "latch", "latched", "join", "joined", "aheads", *ADDED, "fire", "fires", "readout", "core",
    *(f"{what} {name}" for what in ("spike", "class", "weigh") for name in (*ADDED, "place")),
)  # fmt: skip
#: fields of a record of what fires, uint32: its accumulator, its first plane and how many, its first threshold and how many,
#: and the place of its total; or the accumulator, the output that it is read as, and its excess
FIRES = ("accumulator", "plane", "planes", "first", "many", "total")
READ = ("accumulator", "output", "excess")

DECLARED = (
    f"declare {LONGS} @llvm.ctpop.v8i64({LONGS})",
    f"declare i64 @llvm.vector.reduce.add.v8i64({LONGS})",
)


@dataclass(frozen=True)
class Logic:
    """Logic on planes in a function, all 512 images at a time or some of them."""

    f: Function
    ternary: bool  # there are instructions for any function of three bits
    words: int = PLANE // 4  # of 32 images

    @property
    def kind(self) -> str:
        """The type of a vector."""
        return f"<{self.words} x i32>"

    def parity(self, a: Value, b: Value, c: Value) -> Value:
        """The sum of three bits, modulo 2."""
        return self._function(0b10010110, a, b, c) if self.ternary else a ^ (b ^ c)

    def majority(self, a: Value, b: Value, c: Value) -> Value:
        """The carry of three bits."""
        return self._function(0b11101000, a, b, c) if self.ternary else self.either(b & c, a & (b ^ c))

    def carry_of_complements(self, a: Value, b: Value, c: Value) -> Value:
        """The complement of the carry of a bit and the complements of two, where there are functions of three bits."""
        return self._function(0b10001110, a, b, c)

    def complement(self, a: Value) -> Value:
        """All other bits."""
        return self.f.emit(self.kind, f"xor {self.kind} {a.name}, splat (i32 -1)")

    def either(self, a: Value, b: Value) -> Value:
        """One bit or the other."""
        return self.f.binary("or", a, b)

    def _function(self, table: int, *planes: Value) -> Value:
        """A function of three bits by its table; the first is the highest bit of an entry's number."""
        given = ", ".join(f"{plane.type} {plane.name}" for plane in planes)
        return self.f.emit(self.kind, f"call {self.kind} {_TERNARY}({given}, i32 {table})")


_TERNARY = "@llvm.x86.avx512.pternlog.d.512"


def _declared(ternary: bool, *functions: Function) -> str:
    """Functions, and the instructions that they use."""
    kind = f"<{PLANE // 4} x i32>"
    more = [f"declare {kind} {_TERNARY}({kind}, {kind}, {kind}, i32)"] if ternary else []
    return "\n".join([*DECLARED, *more, *(f.text() for f in functions)])


def add(width: int, lookup: str | None) -> str:
    """Make the accumulators of a form, with a counter of so many bits, for as many images at a time as a register holds.

    An accumulator is a plane for each bit. The lowest bit of the counter is done after a position, and the others count on
    at the next. For each column some planes ``ahead`` are fetched: they lie scattered, and seldom in a near cache.
    """
    names = ("program", "lines", "planes", "out", "ahead")
    f = Function(f"add{width}", **dict.fromkeys(names, "ptr"), **dict.fromkeys(COUNTS, "i64"))  # type: ignore[arg-type]
    a, size = f.arguments, BITS[str(lookup)]
    adder = _Adder(Logic(f, lookup in MASKS, size // 4), width)
    cursor = f.variable("ptr", "")
    with f.loop(0, f.constant(PLANE), size) as part:
        lines, out = (f.at(a[name], part) for name in ("lines", "out"))
        f.store(a["program"], cursor, 8)
        with f.loop(0, a["columns"]) as column:
            with f.when(f.flag("eq", part, 0)), f.loop(column * a["aheads"], (column + 1) * a["aheads"]) as i:
                f.prefetch(f.at(a["planes"], f.index(a["ahead"], i)))
            adder.clear()
            place = f.at(out, column * a["size"])
            with f.loop(0, a["positions"]) as position:
                program = f.load("ptr", cursor, 8)
                many = [f.index(program, i) for i in range(HEAD)]
                f.store(f.at(program, HEAD, 4), cursor, 8)
                adder.add(lines, cursor, *many[:2], plus=True)
                adder.add(lines, cursor, *many[2:], plus=False)
                adder.done(f.at(place, position, PLANE))
            adder.rest(f.at(place, a["positions"], PLANE))
    return _declared(lookup in MASKS, f)


class _Adder:
    """A counter in registers, and what adds lines to it."""

    def __init__(self, logic: Logic, width: int) -> None:
        self.logic, self.f = logic, logic.f
        self.align = 4 * logic.words
        self.counter = [self.f.variable(logic.kind, "zeroinitializer") for _ in range(width)]

    def _loaded(self, place: Value) -> Value:
        return self.f.load(self.logic.kind, place, self.align)

    def clear(self) -> None:
        """Nothing is counted."""
        for value in self.counter:
            self.f.store(self.f.zero(self.logic.kind), value, self.align)

    def done(self, place: Value) -> None:
        """Store the lowest bit; the others count on, one bit lower."""
        self.f.store(self._loaded(self.counter[0]), place, self.align)
        for value, higher in pairwise(self.counter):
            self.f.store(self._loaded(higher), value, self.align)
        self.f.store(self.f.zero(self.logic.kind), self.counter[-1], self.align)

    def rest(self, place: Value) -> None:
        """Store the other bits; the highest is nothing."""
        for bit, value in enumerate(self.counter[:-1]):
            self.f.store(self._loaded(value), self.f.at(place, bit, PLANE), self.align)

    def add(self, lines: Value, cursor: Value, many: Value, rest: Value, *, plus: bool) -> None:
        """Add up the most lines ``many`` times, then those of the rest; or their complements, where not ``plus``."""
        most, *fewer = AT_ONCE
        if most < 1 << len(self.counter):
            with self.f.loop(0, many):
                self._some(lines, cursor, most, plus)
        for number, some in enumerate(fewer):
            with self.f.when(rest & (1 << (len(fewer) - 1 - number))):
                self._some(lines, cursor, some, plus)

    def _some(self, lines: Value, cursor: Value, some: int, plus: bool) -> None:
        """Add some lines, a power of two: full adders bit by bit, and what is carried beyond ripples on."""
        f = self.f
        program = f.load("ptr", cursor, 8)
        taken = (self._loaded(f.at(lines, f.index(program, i))) for i in range(some))
        more = self._carried(taken, some, plus) if self.logic.ternary else self._carried_in_pairs(taken, some, plus)
        if not plus:
            more = self.logic.complement(more)
        beyond = self.counter[some.bit_length() - 1 :]
        for number, place in enumerate(beyond):
            before = self._loaded(place)
            f.store(before ^ more, place, self.align)
            if number + 1 < len(beyond):
                more = before & more
        f.store(f.at(program, some, 4), cursor, 8)

    def _carried(self, lines: Iterator[Value], many: int, plus: bool) -> Value:
        """What lines carry beyond the bits that they are added to, in two halves; its complement, if not ``plus``."""
        if many == 1:
            return next(lines)
        place = self.counter[many.bit_length() - 2]
        three = self._loaded(place), self._carried(lines, many // 2, plus), self._carried(lines, many // 2, plus)
        self.f.store(self.logic.parity(*three), place, self.align)  # of two complements as well
        return self.logic.majority(*three) if plus else self.logic.carry_of_complements(*three)

    def _carried_in_pairs(self, lines: Iterator[Value], many: int, plus: bool) -> Value:
        """The same in fewer instructions, where one has two operands: see `_pair`."""
        place, (one, either) = self.counter[many.bit_length() - 2], self._pair(lines, many // 2, plus)
        before = self._loaded(place)
        self.f.store(total := before ^ either, place, self.align)
        return total ^ self._both(either, one ^ before, plus)

    def _pair(self, lines: Iterator[Value], many: int, plus: bool) -> tuple[Value, Value]:
        """What lines, and as many more, carry: the first, and whether one of them does but not the other.

        Two full adders in eight instructions, as pairs come and go ("MDFA": Demenkov, Kojevnikov, Kulikov and Yaroslavtsev,
        New upper bounds on the Boolean circuit complexity of symmetric functions, 2010).
        """
        if many == 1:
            first = next(lines)
            return first, first ^ next(lines)
        place = self.counter[many.bit_length() - 2]
        (a, either), (b, either_b) = (self._pair(lines, many // 2, plus) for _ in range(2))
        before = self._loaded(place)
        between = before ^ either
        self.f.store(between ^ either_b, place, self.align)
        more = self._both(either, a ^ before, plus)
        return between ^ more, more ^ self._both(either_b, b ^ between, not plus)

    def _both(self, either: Value, other: Value, plus: bool) -> Value:
        """One or the other; where not ``plus``, only the other."""
        return self.logic.either(either, other) if plus else self.logic.complement(either) & other


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

        latched = (c["planes"], f.at(c["latched"], core["latch"], 4), core["latched"])
        f.call("latch", *latched, f.at(c["programs"], core["join"], 4), core["joined"], c["lines"])
        sums = f.at(c["accumulators"], 1, PLANE)  # the first are zeros
        added("", c["lines"], sums, core["aheads"])
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
    return _declared(ternary, _latch(ternary), _fire(ternary), _spread(), _read(), f)


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
    the threshold's complement carries.
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
        with f.loop(0, record["planes"]) as plane:
            f.store(f.zero(PLANES), f.at(value, plane, PLANE), 64)
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
            f.store(f.load("i64", fired, 8) + f.emit("i64", f"shl i64 {many.name}, {plane.name}"), fired, 8)
        place = f.at(a["totals"], record["total"], 8)
        f.store(f.load("i64", place, 8) + f.load("i64", fired, 8), place, 8)
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
