"""What the kernels of lookups and of products have in common: loops over segments of groups, and vectors in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from chipsim.engine.fast.ir import Function, Value
from chipsim.engine.fast.layout import LANES
from chipsim.engine.fast.lookup import HEAD
from chipsim.engine.fast.segments import TABLE, TOGETHER


def kernel(name: str, only: str = "") -> Function:
    """Begin a kernel that adds up the segments of one kind."""
    return Function(name, internal=True, only=only, program="ptr", tables="ptr", packed="ptr", accumulators="ptr")


def head(f: Function, name: str) -> Value:
    """A word at the head of the program."""
    return f.index(f.arguments["program"], HEAD.index(name))


@dataclass(frozen=True)
class Segments:
    """The segments of a program, which `loop` goes over."""

    f: Function
    what: str  # "lookups" or "products"
    words: int  # for each column
    columns: int
    bits: int  # of an accumulator

    @contextmanager
    def loop(self) -> Iterator[Segment]:
        """Go over all segments."""
        f = self.f
        program = f.arguments["program"]
        cursor = f.variable("i64", "0")
        f.store(head(f, f"{self.what} at"), cursor, 8)
        size = 3 + self.words * self.columns
        with f.loop(0, head(f, self.what)):
            at = f.load("i64", cursor, 8)
            many, window, first = (f.index(program, at + i) for i in range(3))
            yield Segment(self, at, many, window, f.at(f.arguments["tables"], first, TABLE), f.at(program, at + size, 4))
            f.store(at + many + size, cursor, 8)


@dataclass(frozen=True)
class Segment:
    """One of them."""

    every: Segments
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

    def packed(self, group: Value) -> Value:
        """Where the rows of a group lie."""
        f = self.every.f
        return f.at(f.arguments["packed"], f.index(self.places, group))

    def content(self, group: Value, column: int, size: int) -> Value:
        """Where the table or the weights of a group and a column lie, ``size`` bytes."""
        columns = self.every.columns
        return self.every.f.at(self.table, group * columns + column, size)

    def add(self, number: int, total: Value, least: Value | None = None) -> None:
        """Add a sum (64 lanes) to the accumulator of a column."""
        f, bits = self.every.f, self.every.bits
        accumulator, *_, factor = self.column(number)
        if least is not None:
            total = total + f.splat(f.cast("trunc", least, f"i{bits}"), LANES)
        scaled = total * f.splat(f.cast("trunc", factor, f"i{bits}"), LANES)
        f.add_to(f.at(f.arguments["accumulators"], accumulator, LANES * bits // 8), scaled)
