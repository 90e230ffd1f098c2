"""Write a form as straight-line code: each row is an addition or a subtraction in a register.

Where there are many registers, strands are taken in pairs and share partial sums. For strands a and b each row falls into
one of four classes, up to its sign: (1, 1), (1, -1), (1, 0), (0, 1). A class is summed once and counts for both, so that a
row costs one addition where two would have been needed. With few registers more strands at a time, each by itself, are
quicker: rows are loaded less often. As many strands as there are registers are worked on at a time, for as many images as
one register holds, so that a row is loaded once for all of them; then come the next images.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.layout import LANES
from chipsim.engine.fast.merge import Form
from chipsim.engine.fast.plan import BYTE, Strand, narrow, strands

#: registers from which strands are taken in pairs
MANY = 24

Class = tuple[tuple[int, ...], tuple[int, ...]]  # strands, and the row's pattern on them, first non-zero +1


def write(form: Form, name: str, registers: int, lanes: int = LANES) -> str:
    """Return the LLVM IR of ``void name(values, offsets of the rows, cores, accumulators)``.

    The rows and the accumulators of ``cores`` cores lie one after the other. Each part of the code does all of them before
    the next part: it is fetched once for all, and instructions from afar come in more slowly than they are executed.
    Vectors have so many ``lanes``, those of a register, of which there are ``registers`` for partial sums.
    """
    return _Writer(form, registers, lanes).function(name)


def pairs(digits: npt.NDArray[np.int8]) -> list[tuple[int, ...]]:
    """Pair strands that have the most rows in common."""
    used = (digits != 0).astype(np.float32)
    common = used.T @ used
    np.fill_diagonal(common, -1)
    left = np.ones(len(common), bool)
    out: list[tuple[int, ...]] = []
    for a in range(len(common)):
        if not left[a]:
            continue
        left[a] = False
        b = int(np.where(left, common[a], -1).argmax())
        out.append((a, b) if left[b] else (a,))
        left[b] = False
    return out


class _Writer:
    def __init__(self, form: Form, registers: int, lanes: int) -> None:
        self.lanes = lanes
        self.strands: Strand = strands(form)
        self.bound = form.bound.tolist()
        self.accumulators = form.matrix.shape[1]
        self.bits = 16 if narrow(form) else 32
        self.registers = registers
        self.lines: list[str] = []
        self.names = 0
        self.stored: set[int] = set()
        self.before = self.under_way = "start"  # the label before a loop, and of the block that is written

    def function(self, name: str) -> str:
        groups: list[tuple[int, ...]]
        if self.registers >= MANY:
            groups, at_once = pairs(self.strands.digits), self.registers // 4
        else:
            groups, at_once = [(strand,) for strand in range(self.strands.digits.shape[1])], self.registers
        for number, start in enumerate(range(0, len(groups), at_once)):
            with self._every_core(f"b{number}"):
                self._block(groups[start : start + at_once])
        with self._every_core("rest"):
            for silent in sorted(set(range(self.accumulators)) - self.stored):
                self._store("zeroinitializer", silent)
        body = "\n".join(self.lines)
        arguments = "ptr noalias %values, ptr noalias %rows, i64 %cores, ptr noalias %accumulators"
        return f"define void @{name}({arguments}) {{\nstart:\n{body}\n  ret void\n}}\n"

    @contextmanager
    def _every_core(self, label: str) -> Iterator[None]:
        """Repeat for each core and each register of its 64 images, with ``values``, ``offsets`` of the rows and ``acc``."""
        self.values, self.offsets, self.acc = f"%{label}.values", f"%{label}.offsets", f"%{label}.acc"
        turn, size, parts = f"%{label}.turn", LANES * self.bits // 8 * self.accumulators, LANES // self.lanes
        head = len(self.lines)
        self.under_way = label
        yield
        self.lines[head:head] = [
            f"  {turn}s = mul i64 %cores, {parts}",
            f"  br label %{label}",
            f"{label}:",
            f"  {turn} = phi i64 [0, %{self.before}], [{turn}.next, %{self.under_way}]",
            f"  {turn}.core = udiv i64 {turn}, {parts}",
            f"  {turn}.part = urem i64 {turn}, {parts}",
            f"  {turn}.rows = mul i64 {turn}.core, {4 * len(self.bound)}",
            f"  {self.offsets} = getelementptr i8, ptr %rows, i64 {turn}.rows",
            f"  {turn}.lane = mul i64 {turn}.part, {self.lanes}",
            f"  {self.values} = getelementptr i8, ptr %values, i64 {turn}.lane",
            f"  {turn}.size = mul i64 {turn}.core, {size}",
            f"  {turn}.own = getelementptr i8, ptr %accumulators, i64 {turn}.size",
            f"  {self.acc} = getelementptr i{self.bits}, ptr {turn}.own, i64 {turn}.lane",
        ]
        self.lines += [
            f"  {turn}.next = add i64 {turn}, 1",
            f"  {turn}.more = icmp ult i64 {turn}.next, {turn}s",
            f"  br i1 {turn}.more, label %{label}, label %{label}.end",
            f"{label}.end:",
        ]
        self.before = f"{label}.end"

    def _block(self, groups: list[tuple[int, ...]]) -> None:
        partial: dict[Class, tuple[str, int, int]] = {}  # name, lowest and highest value so far
        digits = self.strands.digits
        for row in np.flatnonzero(digits[:, [s for group in groups for s in group]].any(axis=1)).tolist():
            bound = self.bound[row]
            taken = list(self._patterns(groups, digits[row]))
            after = {}
            for group, pattern, sign in taken:
                _, low, high = partial.get((group, pattern), ("", 0, 0))
                after[group, pattern] = (low, high + bound) if sign > 0 else (low - bound, high)
            if any(low < -BYTE or high > BYTE for low, high in after.values()):  # all at once: it costs a block
                self._flush_all(partial)
                partial = {}
                after = {(g, p): (0, bound) if sign > 0 else (-bound, 0) for g, p, sign in taken}
            value = self._load(row)
            for group, pattern, sign in taken:
                before, *_ = partial.get((group, pattern), ("", 0, 0))
                result = self._op("add" if sign > 0 else "sub", "i8", before, value) if before or sign < 0 else value
                partial[group, pattern] = (result, *after[group, pattern])
        self._flush_all(partial)

    @staticmethod
    def _patterns(
        groups: list[tuple[int, ...]], digits: npt.NDArray[np.int8]
    ) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], int]]:
        for group in groups:
            pattern = tuple(int(digits[s]) for s in group)
            sign = next((d for d in pattern if d), 0)
            if sign:
                yield group, tuple(sign * d for d in pattern), sign

    def _flush_all(self, partial: dict[Class, tuple[str, int, int]]) -> None:
        """Widen the partial sums, in a block of its own: LLVM is quick at blocks whose vectors fit the registers."""
        self._next_block()
        for key, (part, *_) in partial.items():
            self._flush(key, part)
        self._next_block()

    def _flush(self, key: Class, part: str) -> None:
        """Widen a partial sum and add it to the accumulators that it counts for."""
        kind, wide = f"i{self.bits}", self._name()
        self.lines.append(f"  {wide} = sext <{self.lanes} x i8> {part} to <{self.lanes} x {kind}>")
        shifted = {0: wide}
        for strand, sign in zip(*key, strict=True):
            if not sign:
                continue
            shift, accumulator = int(self.strands.shift[strand]), int(self.strands.accumulator[strand])
            if shift not in shifted:
                shifted[shift] = self._op("shl", kind, wide, f"splat ({kind} {shift})")
            if accumulator in self.stored:
                before = self._loaded(kind, self._place(accumulator))
                self._store(self._op("add" if sign > 0 else "sub", kind, before, shifted[shift]), accumulator)
            else:
                first = shifted[shift] if sign > 0 else self._op("sub", kind, "", shifted[shift])
                self._store(first, accumulator)

    def _load(self, row: int) -> str:
        """Load a row from where its value lies; it is not copied first."""
        entry, offset, place = (self._name() for _ in range(3))
        self.lines += [
            f"  {entry} = getelementptr i32, ptr {self.offsets}, i64 {row}",
            f"  {offset} = load i32, ptr {entry}, align 4",
            f"  {offset}.wide = zext i32 {offset} to i64",
            f"  {place} = getelementptr i8, ptr {self.values}, i64 {offset}.wide",
        ]
        return self._loaded("i8", place)

    def _loaded(self, kind: str, place: str) -> str:
        """Load the lanes of a register of bytes."""
        name = self._name()
        self.lines.append(f"  {name} = load <{self.lanes} x {kind}>, ptr {place}, align {self.lanes}")
        return name

    def _store(self, value: str, accumulator: int) -> None:
        self.stored.add(accumulator)
        kind = f"<{self.lanes} x i{self.bits}>"
        self.lines.append(f"  store {kind} {value}, ptr {self._place(accumulator)}, align {self.lanes}")

    def _place(self, accumulator: int) -> str:
        place = self._name()
        self.lines.append(f"  {place} = getelementptr i8, ptr {self.acc}, i64 {accumulator * LANES * self.bits // 8}")
        return place

    def _op(self, op: str, kind: str, a: str, b: str) -> str:
        """An operation on all lanes; no name is zeros."""
        name = self._name()
        self.lines.append(f"  {name} = {op} <{self.lanes} x {kind}> {a or 'zeroinitializer'}, {b}")
        return name

    def _next_block(self) -> None:
        label = f"n{self._name()[1:]}"
        self.lines += [f"  br label %{label}", f"{label}:"]
        self.under_way = label

    def _name(self) -> str:
        self.names += 1
        return f"%v{self.names}"
