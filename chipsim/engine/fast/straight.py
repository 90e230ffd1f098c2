"""Write a form as straight-line code: each row is an addition or a subtraction in a register.

Strands are taken in pairs and share partial sums. For strands a and b each row falls into one of four classes, up to its
sign: (1, 1), (1, -1), (1, 0), (0, 1). A class is summed once and counts for both, so that a row costs one addition where
two would have been needed. As many pairs as there are registers are worked on at a time, so that a row is loaded once for
all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.layout import LANES
from chipsim.engine.fast.merge import Form
from chipsim.engine.fast.plan import BYTE, Strand, narrow, strands

#: time of an addition that is written out, where one of a list is 1: some are shared, and no row is looked for
TIME = 0.55

Class = tuple[tuple[int, ...], tuple[int, ...]]  # strands, and the row's pattern on them, first non-zero +1


def write(form: Form, name: str, registers: int) -> str:
    """Return the LLVM IR of ``void name(values, offsets of the rows, cores, accumulators)``.

    The rows and the accumulators of ``cores`` cores lie one after the other. Each part of the code does all of them before
    the next part: it is fetched once for all, and instructions from afar come in more slowly than they are executed.
    """
    return _Writer(form, registers).function(name)


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
    def __init__(self, form: Form, registers: int) -> None:
        self.strands: Strand = strands(form)
        self.bound = form.bound.tolist()
        self.accumulators = form.matrix.shape[1]
        self.bits = 16 if narrow(form) else 32
        self.blocks = max(1, registers // 4)
        self.lines: list[str] = []
        self.names = 0
        self.stored: set[int] = set()
        self.before = "start"  # the label under way

    def function(self, name: str) -> str:
        groups = pairs(self.strands.digits)
        for number, start in enumerate(range(0, len(groups), self.blocks)):
            with self._every_core(f"b{number}"):
                self._block(groups[start : start + self.blocks])
        with self._every_core("rest"):
            for silent in sorted(set(range(self.accumulators)) - self.stored):
                self._store("zeroinitializer", silent)
        body = "\n".join(self.lines)
        arguments = "ptr noalias %values, ptr noalias %rows, i64 %cores, ptr noalias %accumulators"
        return f"define void @{name}({arguments}) {{\nstart:\n{body}\n  ret void\n}}\n"

    @contextmanager
    def _every_core(self, label: str) -> Iterator[None]:
        """Repeat for each core, with its ``offsets`` and its ``acc``."""
        self.offsets, self.acc = f"%{label}.offsets", f"%{label}.acc"
        core, size = f"%{label}.core", LANES * self.bits // 8 * self.accumulators
        self.lines += [
            f"  br label %{label}",
            f"{label}:",
            f"  {core} = phi i64 [0, %{self.before}], [{core}.next, %{label}]",
            f"  {core}.rows = mul i64 {core}, {4 * len(self.bound)}",
            f"  {self.offsets} = getelementptr i8, ptr %rows, i64 {core}.rows",
            f"  {core}.size = mul i64 {core}, {size}",
            f"  {self.acc} = getelementptr i8, ptr %accumulators, i64 {core}.size",
        ]
        yield
        self.lines += [
            f"  {core}.next = add i64 {core}, 1",
            f"  {core}.more = icmp ult i64 {core}.next, %cores",
            f"  br i1 {core}.more, label %{label}, label %{label}.end",
            f"{label}.end:",
        ]
        self.before = f"{label}.end"

    def _block(self, groups: list[tuple[int, ...]]) -> None:
        partial: dict[Class, tuple[str, int, int]] = {}  # name, lowest and highest value so far
        digits = self.strands.digits
        for row in np.flatnonzero(digits[:, [s for group in groups for s in group]].any(axis=1)).tolist():
            value, bound = self._load(row), self.bound[row]
            for group, pattern, sign in self._patterns(groups, digits[row]):
                name, low, high = partial.pop((group, pattern), ("", 0, 0))
                new = (low, high + bound) if sign > 0 else (low - bound, high)
                if name and (new[0] < -BYTE or new[1] > BYTE):
                    self._flush((group, pattern), name)
                    name, new = "", (0, bound) if sign > 0 else (-bound, 0)
                if not name and sign > 0:
                    result = value
                else:
                    result = self._op("add" if sign > 0 else "sub", 8, name or "zeroinitializer", value)
                partial[group, pattern] = (result, *new)
        for key, (name, _, _) in partial.items():
            self._flush(key, name)

    @staticmethod
    def _patterns(
        groups: list[tuple[int, ...]], digits: npt.NDArray[np.int8]
    ) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], int]]:
        for group in groups:
            pattern = tuple(int(digits[s]) for s in group)
            sign = next((d for d in pattern if d), 0)
            if sign:
                yield group, tuple(sign * d for d in pattern), sign

    def _flush(self, key: Class, name: str) -> None:
        """Widen a partial sum and add it to the accumulators that it counts for."""
        wide = self._name()
        self.lines.append(f"  {wide} = sext <64 x i8> {name} to <64 x i{self.bits}>")
        shifted = {0: wide}
        for strand, sign in zip(*key, strict=True):
            if not sign:
                continue
            shift, accumulator = int(self.strands.shift[strand]), int(self.strands.accumulator[strand])
            if shift not in shifted:
                shifted[shift] = self._op("shl", self.bits, wide, f"splat (i{self.bits} {shift})")
            if accumulator in self.stored:
                before = self._name()
                self.lines.append(f"  {before} = load <64 x i{self.bits}>, ptr {self._place(accumulator)}, align 64")
                self._store(self._op("add" if sign > 0 else "sub", self.bits, before, shifted[shift]), accumulator)
            else:
                first = shifted[shift] if sign > 0 else self._op("sub", self.bits, "zeroinitializer", shifted[shift])
                self._store(first, accumulator)

    def _load(self, row: int) -> str:
        """Load a row from where its value lies; it is not copied first."""
        entry, offset, place, value = (self._name() for _ in range(4))
        self.lines += [
            f"  {entry} = getelementptr i32, ptr {self.offsets}, i64 {row}",
            f"  {offset} = load i32, ptr {entry}, align 4",
            f"  {offset}.wide = zext i32 {offset} to i64",
            f"  {place} = getelementptr i8, ptr %values, i64 {offset}.wide",
            f"  {value} = load <64 x i8>, ptr {place}, align 64",
        ]
        return value

    def _store(self, value: str, accumulator: int) -> None:
        self.stored.add(accumulator)
        self.lines.append(f"  store <64 x i{self.bits}> {value}, ptr {self._place(accumulator)}, align 64")

    def _place(self, accumulator: int) -> str:
        place = self._name()
        self.lines.append(f"  {place} = getelementptr i8, ptr {self.acc}, i64 {accumulator * LANES * self.bits // 8}")
        return place

    def _op(self, op: str, bits: int, a: str, b: str) -> str:
        result = self._name()
        self.lines.append(f"  {result} = {op} <64 x i{bits}> {a}, {b}")
        return result

    def _name(self) -> str:
        self.names += 1
        return f"%v{self.names}"
