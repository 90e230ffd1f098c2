"""Write LLVM IR as values with operators, loops and conditions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the function under way."""

    code: Function
    type: str
    name: str

    @property
    def element(self) -> str:
        """The type of a lane; of a scalar its own."""
        return self.type.split(" x ")[-1].removesuffix(">")

    @property
    def lanes(self) -> int:
        """How many lanes a vector has."""
        return int(self.type[1:].split(" x ")[0])

    def __add__(self, other: Value | int) -> Value:
        return self.code.binary("add", self, other)

    def __sub__(self, other: Value | int) -> Value:
        return self.code.binary("sub", self, other)

    def __mul__(self, other: Value | int) -> Value:
        return self.code.binary("mul", self, other)

    def __and__(self, other: Value | int) -> Value:
        return self.code.binary("and", self, other)

    def __or__(self, other: Value | int) -> Value:
        return self.code.binary("or", self, other)

    def __xor__(self, other: Value | int) -> Value:
        return self.code.binary("xor", self, other)

    def __lshift__(self, other: Value | int) -> Value:
        return self.code.binary("shl", self, other)

    def __rshift__(self, other: Value | int) -> Value:
        return self.code.binary("lshr", self, other)


class Function:
    """A function being written; every argument is i64 or ptr and nothing is returned."""

    def __init__(self, name: str, internal: bool = False, only: str = "", **arguments: str) -> None:
        listed = ", ".join(f"{kind} %{arg}" for arg, kind in arguments.items())
        self.head = f"define {'internal ' * internal}void @{name}({listed})" + " noinline" * internal
        if only:  # of a processor that has no more: see `chipsim.engine.fast.instructions`
            self.head += f' "target-cpu"="x86-64" "target-features"="{only}"'
        self.arguments = {arg: Value(self, kind, f"%{arg}") for arg, kind in arguments.items()}
        self.entry: list[str] = []
        self.lines: list[str] = []
        self.count = 0

    def text(self) -> str:
        """Return the whole function."""
        return "\n".join([f"{self.head} {{", *self.entry, *self.lines, "  ret void", "}", ""])

    def emit(self, kind: str, text: str) -> Value:
        """Append an instruction that gives a value."""
        name = self._fresh()
        self.lines.append(f"  {name} = {text}")
        return Value(self, kind, name)

    def binary(self, op: str, a: Value, b: Value | int) -> Value:
        """Append an arithmetic instruction; a number stands in every lane."""
        right = b.name if isinstance(b, Value) else f"splat ({a.element} {b})" if a.type != a.element else str(b)
        assert not isinstance(b, Value) or a.type == b.type, f"{op} {a.type}, {b.type}"
        return self.emit(a.type, f"{op} {a.type} {a.name}, {right}")

    def constant(self, number: int) -> Value:
        """A number, i64."""
        return Value(self, "i64", str(number))

    def zero(self, kind: str) -> Value:
        """A vector of zeros."""
        return Value(self, kind, "zeroinitializer")

    def cast(self, op: str, value: Value, kind: str) -> Value:
        """Append a conversion: zext, sext, trunc, bitcast, inttoptr."""
        return self.emit(kind, f"{op} {value.type} {value.name} to {kind}")

    def compare(self, how: str, a: Value, b: Value) -> Value:
        """Compare, integers (``sge``, ``uge``) or floats (``oge``), element by element."""
        word = "fcmp" if how.startswith("o") else "icmp"
        kind = f"<{a.lanes} x i1>" if a.type != a.element else "i1"
        return self.emit(kind, f"{word} {how} {a.type} {a.name}, {b.name}")

    def flag(self, how: str, a: Value, b: Value | int) -> Value:
        """Compare two i64: 1 or 0, i64."""
        right = b.name if isinstance(b, Value) else str(b)
        return self.cast("zext", self.emit("i1", f"icmp {how} i64 {a.name}, {right}"), "i64")

    def ones(self, bits: Value) -> Value:
        """How many bits of an i64 are set."""
        return self.emit("i64", f"call i64 @llvm.ctpop.i64(i64 {bits.name})")

    def mask(self, value: Value) -> Value:
        """All ones for 1, as `flag` gives it; else 0."""
        return self.constant(0) - value

    def smallest(self, a: Value, b: Value) -> Value:
        """The smaller of two i64."""
        return self.emit("i64", f"call i64 @llvm.smin.i64(i64 {a.name}, i64 {b.name})")

    def splat(self, value: Value, lanes: int) -> Value:
        """Repeat a scalar in every lane."""
        kind = f"<{lanes} x {value.type}>"
        one = self.emit(kind, f"insertelement {kind} poison, {value.type} {value.name}, i64 0")
        return self.shuffle(one, one, [0] * lanes)

    def shuffle(self, a: Value, b: Value, lanes: list[int]) -> Value:
        """Take the lanes, numbered over both vectors."""
        mask = f"<{len(lanes)} x i32> <{', '.join(f'i32 {lane}' for lane in lanes)}>"
        kind = f"<{len(lanes)} x {a.element}>"
        return self.emit(kind, f"shufflevector {a.type} {a.name}, {b.type} {b.name}, {mask}")

    def at(self, base: Value, index: Value | int, size: int = 1) -> Value:
        """Return the address ``base + index * size`` bytes."""
        offset = index * size if isinstance(index, Value) else Value(self, "i64", str(index * size))
        return self.emit("ptr", f"getelementptr i8, ptr {base.name}, i64 {offset.name}")

    def load(self, kind: str, place: Value, align: int) -> Value:
        """Load from an address."""
        return self.emit(kind, f"load {kind}, ptr {place.name}, align {align}")

    def store(self, value: Value, place: Value, align: int) -> None:
        """Store at an address."""
        self.lines.append(f"  store {value.type} {value.name}, ptr {place.name}, align {align}")

    def prefetch(self, place: Value) -> None:
        """Ask for the line at an address, into the second cache; an address that cannot be read does no harm."""
        self.lines.append(f"  call void @llvm.prefetch.p0(ptr {place.name}, i32 0, i32 2, i32 1)")

    def do(self, intrinsic: str, *operands: Value | int) -> None:
        """Append an instruction on tiles: numbers are those of tiles, but for the bytes between lines, which come last."""
        given = []
        for number, operand in enumerate(operands):
            kind = "i64" if number == 2 and intrinsic in ("tileloadd64", "tilestored64") else "i8"
            given.append(f"{operand.type} {operand.name}" if isinstance(operand, Value) else f"{kind} {operand}")
        self.lines.append(f"  call void @llvm.x86.{intrinsic}({', '.join(given)})")

    def index(self, base: Value, at: Value | int) -> Value:
        """Load entry ``at`` of an array of uint32, as i64."""
        return self.cast("zext", self.load("i32", self.at(base, at, 4), 4), "i64")

    def variable(self, kind: str, start: str) -> Value:
        """A place on the stack; LLVM turns it into a register."""
        name = self._fresh()
        align = 64 if kind.startswith("<") or kind.startswith("[") else 8
        self.entry.append(f"  {name} = alloca {kind}, align {align}")
        if start:
            self.lines.append(f"  store {kind} {start}, ptr {name}, align {align}")
        return Value(self, "ptr", name)

    def add_to(self, place: Value, value: Value) -> None:
        """Add to a vector variable."""
        self.store(self.load(value.type, place, 64) + value, place, 64)

    @contextmanager
    def loop(self, start: Value | int, stop: Value, step: Value | int = 1) -> Iterator[Value]:
        """Repeat for i in range(start, stop, step)."""
        label = self._label()
        begin = start.name if isinstance(start, Value) else str(start)
        counter = self.variable("i64", begin)
        self.lines += [f"  br label %{label}.test", f"{label}.test:"]
        i = self.load("i64", counter, 8)
        more = self.emit("i1", f"icmp slt i64 {i.name}, {stop.name}")
        self.lines += [f"  br i1 {more.name}, label %{label}.body, label %{label}.end", f"{label}.body:"]
        yield i
        self.store(i + step, counter, 8)
        self.lines += [f"  br label %{label}.test", f"{label}.end:"]

    @contextmanager
    def when(self, value: Value) -> Iterator[None]:
        """Do it only where an i64 is not zero."""
        label = self._label()
        true = self.emit("i1", f"icmp ne i64 {value.name}, 0")
        self.lines += [f"  br i1 {true.name}, label %{label}.body, label %{label}.end", f"{label}.body:"]
        yield
        self.lines += [f"  br label %{label}.end", f"{label}.end:"]

    def call(self, function: str | Value, *arguments: Value) -> None:
        """Call a function by name or address."""
        target = function.name if isinstance(function, Value) else f"@{function}"
        self.lines.append(f"  call void {target}({', '.join(f'{a.type} {a.name}' for a in arguments)})")

    def _fresh(self) -> str:
        self.count += 1
        return f"%x{self.count}"

    def _label(self) -> str:
        self.count += 1
        return f"l{self.count}"
