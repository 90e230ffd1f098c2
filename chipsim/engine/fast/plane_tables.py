"""Lay out a mapping for the kernels of `plane_kernel`: where the planes of its values lie, and what each core does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.callables import Kernels, begin
from chipsim.engine.fast.layout import CORE as RECORD
from chipsim.engine.fast.lines import Int, spread
from chipsim.engine.fast.merge import Merged, MergedCore
from chipsim.engine.fast.native import Code
from chipsim.engine.fast.plane_kernel import ADDED, CORE, FIRES
from chipsim.engine.fast.planes import PLANE, Lines, Program, Sums, Word, planes_of, program_of, sums_of
from chipsim.engine.fast.tables import Tables

#: lines of a sum that is made for counts of each image, at most: a counter holds it
MOST = 1 << 15
#: values of such a sum of what is sent
TOGETHER = MOST // 2
#: weights of SOPs and events that one core may have: each is a sum of up to 16 bits, which are added up again
KINDS = MOST // 16


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """How each image is counted."""

    cores: Int  # records of all cores, with what counts
    programs: Word  # of all
    sent: Program  # columns of values that weigh alike
    # (2, columns * bits), float64: what each bit of them counts: spikes of the encoder, and half of the paper's SOPs
    sent_weights: npt.NDArray[np.float64]
    planes: int  # behind those of values, for sums of spikes
    accumulators: int  # planes of them, at most


@dataclass(frozen=True, eq=False)
class PlaneTables:
    """Records and programs of `plane_kernel`."""

    tables: Tables
    sums: tuple[Sums, ...]  # of each form
    first: Int  # (values,): first plane of each
    planes: int  # of all, with those of zeros
    cores: Int  # (cores, fields of CORE)
    latched: Word  # planes, core by core, each as the bytes before it
    programs: Word
    fires: Word  # (values of cores and read-out neurons, fields of FIRES)
    levels: Word  # thresholds, a word for each bit
    slices: Word  # (encoder's values, 3): records of ``slices``
    lines: int  # of a core, at most
    accumulators: int  # planes of a core's, at most

    def of_kernels(self, function: Kernels, cores: Int) -> Int:
        """Records in which widths of counters have become addresses of their kernels."""
        found = cores.copy()
        for place in (number for number, name in enumerate(CORE) if name.split()[-1] == "add"):
            widths = cores[:, place]
            for width in np.unique(widths[widths > 0]).tolist():
                found[widths == width, place] = function.address(f"add{width}")
        return found


def sums_of_forms(merged: Merged, lines: Sequence[Lines] | None) -> tuple[Sums, ...] | None:
    """What all forms become, from their ``lines``; None: there are none, or a sum is too wide."""
    sums = []
    for form, own in zip(merged.forms, lines or (), strict=lines is not None):
        made = sums_of(form, own)
        if made is None:
            return None
        sums.append(made)
    return tuple(sums) or None


def build(t: Tables, sums: tuple[Sums, ...], code: Code) -> PlaneTables | None:
    """Lay out what the other tables say of cores without a state, from the ``sums`` of forms; None: too much is added up."""
    merged = t.merged
    begin(code, "planes", "slices", *{f"add{each.program.width}" for each in sums if each.program.width})
    many = planes_of(merged.values.size)
    first = 1 + np.cumsum(many) - many  # at 0, where lists are filled up, there are zeros
    words, cores = _cores(t, sums)
    words, taken, planes = _bundles(t, cores, words, first, many)
    if planes * PLANE >= 1 << 31:
        return None
    encoder = slice(0, merged.values.encoder)
    fires, levels = _fires(t, sums, first, many)
    fires_of = t.cores[:, RECORD.index("fires")].max(initial=0)
    if max(int(fires_of), *(len(each.lines.row) for each in sums)) >= MOST or _kinds(merged) >= KINDS:
        return None
    return PlaneTables(
        tables=t,
        sums=sums,
        first=first,
        planes=planes,
        cores=cores,
        latched=_latched(merged, sums, taken),
        programs=words,
        fires=fires,
        levels=levels,
        slices=np.stack([t.slot[encoder], first[encoder], many[encoder]], axis=1).astype(np.uint32),
        lines=max(each.lines.count for each in sums),
        accumulators=max(each.program.columns * each.program.stride for each in sums),
    )


def _kinds(merged: Merged) -> int:
    """How many weights in counts of SOPs and events the rows of a core have, at most."""
    large = [core for core in merged.cores if len(core.rows) >= KINDS]
    return max((len(np.unique(np.stack([core.sops, core.events]), axis=1).T) for core in large), default=0)


def counts(p: PlaneTables, fanout: Int) -> Counts:
    """Lay out what counts of each image are made from; ``fanout``, (values,), is what a spike counts in the paper's SOPs."""
    t, cores = p.tables, p.cores.copy()
    all_words = _Words(p.programs)
    sizes = planes_of(t.merged.values.size)
    value = _value_of_slot(t)
    spike, of_class, weigh = (slice(at, at + len(ADDED) + 1) for at in (CORE.index(f"{w} sums") for w in _COUNTED))
    known: dict[tuple[int, bytes, bytes], tuple[list[int], list[int], int]] = {}
    encoder, end, most = t.merged.values.encoder, p.planes, 0
    sent = [(p.first[:encoder], sizes[:encoder], np.ones(encoder, np.int64), fanout[:encoder])]
    for record, core in zip(cores, t.merged.cores, strict=True):
        key = core.form, core.sops.tobytes(), core.events.tobytes()
        if key not in known:
            known[key] = _weighed(core, p.sums[core.form].lines, all_words)
        record[of_class], record[weigh], planes = known[key]
        most = max(most, planes)
        if record[CORE.index("readout")]:
            continue
        own = value[t.fires[record[CORE.index("fire")] :][: record[CORE.index("fires")], 1]]
        kinds, kind = np.unique(fanout[own], return_inverse=True)
        number, shift = spread(p.first[own], sizes[own])
        column = 1 + np.repeat(kind, sizes[own])
        if len(kinds) > 1:  # the first column is all of them
            number, column, shift = np.tile(number, 2), np.append(0 * column, column), np.tile(shift, 2)
        columns = len(kinds) + (len(kinds) > 1)
        fields, program = all_words.add(number, column - (len(kinds) == 1), shift, columns)
        record[spike] = [*fields, PLANE * end]
        place = end + program.stride * np.arange(columns)[-len(kinds) :]
        sent.append((place, np.full(len(kinds), program.bits), np.zeros(len(kinds), np.int64), kinds))
        end += columns * program.stride
    program, weights = _sent(*(np.concatenate(each) for each in zip(*sent, strict=True)))
    return Counts(cores, all_words.joined(), program, weights, end - p.planes, max(most, program.columns * program.stride))


_COUNTED = ("spike", "class", "weigh")


class _Words:
    """Programs, one after the other."""

    def __init__(self, first: Word) -> None:
        self.parts, self.size = [first], len(first)

    def add(self, number: Int, column: Int, position: Int, columns: int) -> tuple[list[int], Program]:
        """Append a program for lines that are added: its fields, and itself."""
        program = program_of(number, column, position, np.ones(len(number), np.int64), columns)
        assert program is not None, "no core has more than `MOST` lines"
        fields = added(program, self.size)
        self.parts.append(program.words)
        self.size += len(program.words)
        return fields, program

    def joined(self) -> Word:
        """All of them."""
        return np.concatenate(self.parts)


def _weighed(core: MergedCore, lines: Lines, words: _Words) -> tuple[list[int], list[int], int]:
    """How a core's SOPs and events are added up: lines that weigh alike, each once, and then their sums by their weights.

    Returns
    -------
    two lists of int, int
        Fields of the record, and how many planes that takes.
    """
    weights, kind = np.unique(np.stack([core.sops, core.events], axis=1), axis=0, return_inverse=True)
    fields, alike = words.add(1 + np.arange(len(lines.row)), kind.reshape(-1)[lines.row], lines.plane, len(weights))
    which, digit = _digits(weights.T.reshape(-1))
    column, kind = np.divmod(which, len(weights))
    bit = np.arange(alike.bits)
    number = alike.stride * kind[:, None] + bit  # at 0, where lists are filled up, there are zeros
    position = digit[:, None] + bit
    more, total = words.add((1 + number).reshape(-1), np.repeat(column, len(bit)), position.reshape(-1), 2)
    place = 1 + alike.columns * alike.stride
    return [*fields, PLANE], [*more, PLANE * place], place + total.columns * total.stride


def _sent(first: Int, many: Int, encoder: Int, fanout: Int) -> tuple[Program, npt.NDArray[np.float64]]:
    """Columns that add up numbers of one weight, no more than a counter holds, and what their bits count.

    Parameters
    ----------
    first, many : ndarray, (numbers,)
        Their planes.
    encoder, fanout : ndarray, (numbers,)
        What each counts in spikes of the encoder, and in half of the paper's SOPs.

    Returns
    -------
    Program, ndarray, float64, (2, columns * bits)
    """
    order = np.lexsort((many, fanout, encoder))
    order = order[(encoder[order] != 0) | (fanout[order] != 0)]
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(fanout[order]) != 0) | (np.diff(encoder[order]) != 0)
    begin = np.flatnonzero(new)
    rank = np.arange(len(order)) - begin[np.cumsum(new) - 1]
    new |= rank % TOGETHER == 0
    number, shift = spread(first[order], many[order])
    column = np.repeat(np.cumsum(new) - 1, many[order])
    program = program_of(number, column, shift, np.ones(len(number), np.int64), int(new.sum()))
    assert program is not None, "no column has more numbers"
    weights = np.stack([encoder, fanout])[:, order[new]]
    return program, (weights[:, :, None] * 2.0 ** np.arange(program.bits)).reshape(2, -1)


def _digits(weights: Int) -> tuple[Int, Int]:
    """Binary digits of weights that are not negative: whose each is, and its place."""
    bits = int(weights.max(initial=0)).bit_length()
    found = np.nonzero((weights[:, None] >> np.arange(bits)) & 1)
    return found[0], found[1]


def added(program: Program, at: int) -> list[int]:
    """Fields `ADDED` of a record for a program that begins at a word; for the kernel stands its width."""
    return [at, program.width, program.columns, program.positions, PLANE * program.stride, program.bits]


def _cores(t: Tables, sums: Sequence[Sums]) -> tuple[Word, Int]:
    """The programs of all forms, and the records of all cores."""
    words: list[Word] = [np.zeros(1, np.uint32)]
    of_form, at = [], 1
    for each in sums:
        joins = PLANE * each.lines.joins.astype(np.uint32).reshape(-1)
        words += [joins, each.program.words]
        of_form.append([len(each.lines.row), at, len(each.lines.joins), *added(each.program, at + len(joins))])
        at += len(joins) + len(each.program.words)
    form = np.array([core.form for core in t.merged.cores])
    shared = np.array(of_form, np.int64)[form]
    taken = shared[:, 0]
    aheads = -(-np.append(taken[1:], 0) // shared[:, 3 + ADDED.index("columns")])
    own = t.cores[:, [RECORD.index(name) for name in ("fire", "fires", "readout", "core")]]
    none = np.zeros((len(form), (1 + len(_COUNTED)) * (len(ADDED) + 1)), np.int64)
    parts = [(np.cumsum(taken) - taken)[:, None], shared[:, :3], aheads[:, None], shared[:, 3:], own, none]
    return np.concatenate(words), np.concatenate(parts, axis=1)


def _bundles(t: Tables, cores: Int, words: Word, first: Int, many: Int) -> tuple[Word, Int, int]:
    """Lay out how bundles are added up, before the first core after the tick that sends them.

    Returns
    -------
    ndarray
        Programs with theirs; the records of ``cores`` are filled in.
    ndarray, (values + bundles,)
        The first plane of each.
    int
        Planes of all, with those of zeros.
    """
    all_words, end = _Words(words), int(1 + many.sum())
    taken = np.append(first, np.zeros(t.merged.values.bundles.count, np.int64))
    field = CORE.index("bundle sums")
    for core, own in t.before:
        part, parts = t.merged.values.bundles.parts(own)
        number, shift = spread(first[part], many[part])
        column = np.repeat(np.repeat(np.arange(len(own)), parts), many[part])
        fields, program = all_words.add(number, column, shift, len(own))
        cores[core, field : field + len(fields) + 1] = [*fields, PLANE * end]
        taken[len(first) + own] = end + program.stride * np.arange(len(own))
        end += program.stride * len(own)
    return all_words.joined(), taken, end


def _value_of_slot(t: Tables) -> Int:
    """Which value is put into each slot."""
    value = np.zeros(int(t.fresh.max(initial=-1)) + 1, np.int64)
    value[t.fresh] = np.arange(len(t.fresh))
    return value


def _latched(merged: Merged, sums: Sequence[Sums], first: Int) -> Word:
    """Which planes each core latches, in bytes."""
    most = max(len(each.lines.row) + each.program.columns for each in sums)
    found = [np.zeros(0, np.int64)]
    for core in merged.cores:
        lines = sums[core.form].lines
        found.append(first[core.rows[lines.row]] + lines.plane)
    found.append(np.zeros(most, np.int64))  # fetching reaches beyond
    return (PLANE * np.concatenate(found)).astype(np.uint32)


def _fires(t: Tables, sums: Sequence[Sums], first: Int, many: Int) -> tuple[Word, Word]:
    """Records of what fires or is read, and the levels of all thresholds."""
    form = np.array([core.form for core in t.merged.cores])
    fire, fires, readout = (t.cores[:, RECORD.index(name)] for name in ("fire", "fires", "readout"))
    count = len(t.fires)
    owner = np.empty(count, np.int64)
    owner[np.repeat(fire - (np.cumsum(fires) - fires), fires) + np.arange(count)] = np.repeat(np.arange(len(form)), fires)
    accumulator, slot, threshold, size = t.fires.astype(np.int64).T
    edge = np.cumsum([0, *(each.program.columns for each in sums)])
    excess = np.concatenate([each.program.excess for each in sums])[edge[form[owner]] + accumulator]
    bits = np.array([each.program.bits for each in sums], np.int64)[form[owner]]
    levels = [each.levels if each.maximum else np.zeros(each.matrix.shape[1], np.int64) for each in t.merged.forms]
    whole = size == np.concatenate(levels)[edge[form[owner]] + accumulator]
    size = np.where(whole, 0, size)  # the largest is the value
    read = readout[owner] != 0
    value = _value_of_slot(t)
    level, words = _levels(t.thresholds, threshold, np.where(read, 0, size), excess, bits)
    own = value[np.where(read, t.fresh[0] if len(t.fresh) else 0, slot)]
    firing = np.stack([accumulator, first[own], many[own], level, size, slot], axis=1)
    reading = np.stack([accumulator, slot, excess, *[np.zeros(count, np.int64)] * (len(FIRES) - 3)], axis=1)
    return np.where(read[:, None], reading, firing).astype(np.uint32), words


def _levels(thresholds: npt.NDArray[np.int32], begin: Int, size: Int, excess: Int, bits: Int) -> tuple[Int, Word]:
    """Where the levels of each record begin, and these: each set of thresholds once.

    Parameters
    ----------
    begin, size, excess, bits : ndarray, (records,)
        First threshold, thresholds, what the sum exceeds the potential by, and bits of the sum.
    """
    place, words, at = np.zeros(len(begin), np.int64), [np.zeros(1, np.uint32)], 1
    for many, wide in sorted(set(zip(size[size > 0].tolist(), bits[size > 0].tolist(), strict=True))):
        mine = np.flatnonzero((size == many) & (bits == wide))
        own = thresholds[begin[mine][:, None] + np.arange(many)].astype(np.int64) + excess[mine][:, None]
        own = np.clip(own, 0, (1 << wide) - 1)
        number = np.zeros(len(mine), np.int64)
        for column in own.T:  # a set is known by the number of its first ones, and the next
            number = np.unique((number << wide) + column, return_inverse=True)[1]
        _, lead = np.unique(number, return_index=True)
        levels = (own[lead][:, :, None] >> np.arange(wide)) & 1
        words.append(np.where(levels, 0, 0xFFFFFFFF).astype(np.uint32).reshape(-1))
        place[mine] = at + number * many * wide
        at += len(words[-1])
    return place, np.concatenate(words)
