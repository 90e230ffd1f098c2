"""The kernel that adds up lines of `chipsim.engine.fast.planes`: full adders, and a counter in registers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from chipsim.engine.fast.instructions import BITS, MASKS
from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.planes import AT_ONCE, HEAD, PLANE

#: a plane in a register
PLANES, LONGS = "<16 x i32>", "<8 x i64>"
#: numbers that the kernel is given: of a program, bytes of a sum, and how many planes to fetch for each column
COUNTS = ("columns", "positions", "size", "aheads")
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
        return a ^ -1

    def either(self, a: Value, b: Value) -> Value:
        """One bit or the other."""
        return a | b

    def _function(self, table: int, *planes: Value) -> Value:
        """A function of three bits by its table; the first is the highest bit of an entry's number."""
        given = ", ".join(f"{plane.type} {plane.name}" for plane in planes)
        return self.f.emit(self.kind, f"call {self.kind} {_TERNARY}({given}, i32 {table})")


_TERNARY = "@llvm.x86.avx512.pternlog.d.512"


def declared(ternary: bool, *functions: Function) -> str:
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
    return declared(lookup in MASKS, f)


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
