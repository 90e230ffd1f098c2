"""Decide how each form is added up, and lay out what the machine code of that reads.

- As code of its own (`straight`): what many cores share and is sparse.
- By lookups and products (`lookup`), or tile by tile (`tiles`): what is dense, on a processor that has the instructions.
- As a list (`plan`): the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast import plan, planes, straight
from chipsim.engine.fast.callables import begin
from chipsim.engine.fast.instructions import BITS, TILES, TIMES
from chipsim.engine.fast.layout import LANES, PLACES
from chipsim.engine.fast.lines import Int
from chipsim.engine.fast.lookup import cost, lookups
from chipsim.engine.fast.memory import address, aligned
from chipsim.engine.fast.merge import Form, Merged
from chipsim.engine.fast.native import Code
from chipsim.engine.fast.planes import Lines
from chipsim.engine.fast.products import largest_weight
from chipsim.engine.fast.segments import TABLE

#: cores that must share a form before it is worth code of its own
SHARED = 3
#: additions that are written out as code in all; compiling takes some 20 microseconds for each
WRITTEN = 15_000

#: in additions of a list: time of a strand, which is widened and multiplied in the end
STRAND = 8
#: of a value that is fired, and of each of its thresholds
FIRED = (10, 3)
#: of a row that is compared, and of the largest
COMPARED, STORED = 2, 8
#: bits must take so much less time than bytes: a data set seldom fills its last batch
GAIN = 1.04

Word = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class Programs:
    """How all forms are added up."""

    words: Word  # programs of lists and of lookups, one after the other; at 0 there is none
    tables: npt.NDArray[np.uint8]
    places: Int  # (forms, fields of PLACES); but for the code of those that are written
    written: tuple[int, ...]  # forms with code of their own
    wide: npt.NDArray[np.bool_]  # (forms,): accumulators have 32 bits whatever their size
    time: Int  # (forms,): in additions of a list
    packed: int  # rows that indices and pairs take, at most


def none(lines: Sequence[Lines]) -> Programs:
    """Programs where forms, of some ``lines``, are added up bit by bit: see `chipsim.engine.fast.planes`."""
    count = len(lines)
    time = np.array([each.time for each in lines], np.int64) // 4  # for 64 images, at most
    places, wide = np.zeros((count, len(PLACES)), np.int64), np.zeros(count, np.bool_)
    return Programs(np.zeros(1, np.uint32), _joined([]), places, (), wide, time, 0)


class Costs:
    """Times of forms by count of instructions, in additions of a list; each is worked out once.

    Parameters
    ----------
    instruction : str, optional
        What looks up bytes, or multiplies; None: all forms are lists.
    """

    def __init__(self, instruction: str | None) -> None:
        self.instruction, self.takes = instruction, TIMES[instruction]
        self._added: dict[Form, int] = {}
        self._dense: dict[Form, int] = {}
        self._stranded: dict[Form, int] = {}

    def added(self, form: Form) -> int:
        """Additions of a list, without what it does beside them."""
        if form not in self._added:
            self._added[form] = 0 if form.maximum else plan.additions(form)
        return self._added[form]

    def listed(self, form: Form) -> int:
        """Time of a form by a list."""
        at_once = max(1, plan.BYTE // max(1, int(form.bound.max(initial=1))))
        strands = self._strands(form)
        segments = max(strands, strands / 2 + self.added(form) / at_once)
        return int(self.added(form) + STRAND * segments + self.takes.copied * len(form.bound))

    def written(self, form: Form) -> int:
        """Time of a form by code of its own."""
        return int(self.takes.written * self.added(form) + self.takes.strand * self._strands(form))

    def _strands(self, form: Form) -> int:
        """Strands of a form, at most."""
        if form not in self._stranded:
            self._stranded[form] = min(int(form.matrix.shape[1]) * largest_weight(form).bit_length(), self.added(form))
        return self._stranded[form]

    def dense(self, form: Form) -> int:
        """Time of a form by lookups, products or tiles, with its rows."""
        assert self.instruction is not None
        if form not in self._dense:
            self._dense[form] = cost(form, self.instruction) + int(self.takes.packed * len(form.bound))
        return self._dense[form]

    def least(self, form: Form) -> int:
        """Time of a form as a maximum, or without code of its own."""
        if form.maximum:
            return int(COMPARED * np.count_nonzero(form.matrix) + STORED * form.matrix.shape[1])
        return self.listed(form) if self.instruction is None else min(self.dense(form), self.listed(form))

    def times(self, forms: Sequence[Form], uses: Int) -> Int:
        """Time of each form, however it is added up, (forms,)."""
        found = [self.least(form) for form in forms]
        for n in _written(forms, uses, found, self):
            found[n] = self.written(forms[n])
        return np.array(found, np.int64)


def in_bits(merged: Merged, costs: Costs, images: int) -> tuple[Lines, ...] | None:
    """The lines of all forms, where adding up bits takes less time than all else by count of instructions; else None.

    So many ``images`` come at a time.
    """
    instruction = costs.instruction
    if instruction is None or instruction not in BITS:
        return None
    forms = merged.forms
    uses = np.bincount([core.form for core in merged.cores], minlength=len(forms))
    compared = np.count_nonzero(merged.rank)
    fired_values = merged.values.size[merged.values.encoder :]
    fired = FIRED[0] * len(fired_values) + FIRED[1] * int(fired_values.sum() - compared)
    in_bytes = float(uses @ costs.times(forms, uses) - sum(unit.saves for unit in merged.units) + fired)
    register, full = BITS[instruction], images / planes.IMAGES
    left = in_bytes * full / GAIN - planes.LINE[register] * planes.ENTER * merged.values.encoder
    lines: dict[int, Lines] = {}
    for number in np.argsort([-many * form.matrix.size for many, form in zip(uses.tolist(), forms, strict=True)]).tolist():
        lines[number] = planes.lines_of(forms[number])  # what takes longest first: it mostly tells
        left -= uses[number] * lines[number].taking(register)
        if left <= 0:
            return None
    return tuple(lines[number] for number in range(len(forms)))


def programs(
    forms: Sequence[Form], uses: Int, code: Code, costs: Costs, *, joined: int = 0, bytes_without_sign: bool = False
) -> Programs:
    """Decide by counting instructions, and lay out.

    Parameters
    ----------
    uses : ndarray, int64
        How many cores have each form, of which none is laid out without.
    code : Code
        Where machine code of forms goes.
    joined : int
        The last so many forms are those of units.
    bytes_without_sign : bool
        Rows may be beyond 127, as only lookups and products take them.
    """
    instruction, own = costs.instruction, len(forms) - joined
    dense = [
        instruction is not None
        and not form.maximum
        and (bytes_without_sign or n >= own or costs.dense(form) < costs.listed(form))
        for n, form in enumerate(forms)
    ]
    time = [costs.dense(form) if better else costs.least(form) for form, better in zip(forms, dense, strict=True)]
    written = _written(forms, uses[:own], time, costs)
    for n in written:  # compiled while this thread lays out the others
        code.begin(*_text(forms[n], code))
    begin(code, *_walking(forms, dense, {*written, *np.flatnonzero(uses == 0).tolist()}, instruction))
    words: list[Word] = [np.zeros(1, np.uint32)]
    tables: list[npt.NDArray[np.uint8]] = []
    places = np.zeros((len(forms), len(PLACES)), np.int64)
    packed = at = content = 0
    for n, form in enumerate(forms):
        if not uses[n]:
            continue
        if n in written:
            time[n] = costs.written(form)
            continue
        at += len(words[-1])
        if form.maximum:
            places[n, PLACES.index("maximum")] = at
            words.append(plan.maximum(form.matrix, np.arange(len(form.bound)), form.levels))
        elif dense[n]:
            found = lookups(form, str(instruction))
            places[n, 1:3] = at, content
            tables.append(found.tables)
            content += len(found.tables)
            packed = max(packed, found.packed)
            words.append(found.program)
        else:
            places[n, 3] = at
            words.append(plan.lists(form))
    wide = np.asarray((places[:, 1] != 0) & (instruction in TILES))
    times = np.array(time, np.int64)
    return Programs(np.concatenate(words), _joined(tables), places, tuple(written), wide, times, packed)


def with_code(found: Programs, forms: Sequence[Form], code: Code) -> Programs:
    """Programs with the ``code`` of those forms that have some, and tables where vectors can be loaded from."""
    places, tables = found.places.copy(), found.tables
    for n in found.written:
        code.begin(*_text(forms[n], code))
    for n in found.written:
        places[n, PLACES.index("code")] = code.add(*_text(forms[n], code))
    return replace(found, places=places, tables=_joined([tables]) if address(tables) % LANES else tables)


def width(largest: Int, wide: npt.NDArray[np.bool_]) -> Int:
    """Fields "narrow", "wide" and "short" of cores' records, (3, cores).

    They come from the largest partial sums, and from which accumulators are wide whatever these are; if they are for no
    other reason, they are short.
    """
    fits = largest < plan.NARROW
    return np.stack([fits & ~wide, wide | ~fits, fits & wide]).astype(np.int64)


def _written(forms: Sequence[Form], uses: Int, time: list[int], costs: Costs) -> list[int]:
    """The forms that become code: those that save most, as long as there is room."""
    shared = [n for n in np.flatnonzero(uses >= SHARED).tolist() if not forms[n].maximum]
    saved = {n: (time[n] - costs.written(forms[n])) * int(uses[n]) for n in shared}
    room, found = WRITTEN, []
    for n in sorted(saved, key=lambda n: -saved[n]):
        if costs.added(forms[n]) <= room and saved[n] > 0:
            room -= costs.added(forms[n])
            found.append(n)
    return found


def _text(form: Form, code: Code) -> tuple[bytes, Callable[[str], str]]:
    """What a form's code depends on, and what writes it."""
    what = b"\0".join([repr(form.matrix.shape).encode(), form.matrix.tobytes(), form.bound.tobytes()])
    return what, lambda name: straight.write(form, name, code.target.registers, code.target.lanes)


def _walking(forms: Sequence[Form], dense: Sequence[bool], others: set[int], instruction: str | None) -> set[str]:
    """Names of the kernels that walk the programs of forms, but for some ``others``."""
    found = set()
    for n, (form, packed) in enumerate(zip(forms, dense, strict=True)):
        if n not in others and not form.maximum:
            wide = not plan.narrow(form) or (packed and instruction in TILES)
            found |= {f"{'dense' if packed else 'list'}{32 if wide else 16}", *(["pack"] if packed else [])}
    return found


def _joined(contents: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Tables one after the other, at a place that vectors can be loaded from."""
    size = sum(len(content) for content in contents)
    out = aligned((max(TABLE, size),), np.uint8)
    np.concatenate([np.zeros(0, np.uint8), *contents], out=out[:size])
    return out
