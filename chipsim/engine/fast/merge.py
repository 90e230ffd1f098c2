"""Reduce each core to a matrix of what arrives by what is added up, and share the matrices of equal cores."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast import maxima
from chipsim.engine.fast.lines import Int, Small, mix, number, numbered
from chipsim.engine.fast.values import LARGEST_VALUE, Values, alike, find
from chipsim.mapping import Mapping
from chipsim.mapping.totals import axon_sops

Matrix = npt.NDArray[np.signedinteger]  # int8 where that holds it, else int32


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """What equal cores share: a matrix of values by accumulators, and the bound of each value."""

    matrix: Matrix  # (rows, accumulators)
    bound: Int  # (rows,): largest value
    largest: int  # no partial sum of an accumulator is larger in magnitude, in whatever order it is summed
    maximum: bool = False  # accumulators are the largest of the rows that have a weight

    @property
    def levels(self) -> Int:
        """What the largest row of each accumulator can be, (accumulators,)."""
        return np.asarray(np.where(self.matrix != 0, self.bound[:, None], 0).max(axis=0, initial=0))


def ticks_of(m: Mapping) -> Int:
    """Tick of each core, (cores,)."""
    return np.asarray(np.array([layer.tick for layer in m.layers], np.int64)[m.core_layer])


def make_form(matrix: Matrix, bound: Int, *, maximum: bool = False) -> Form:
    """Return a form with its bound."""
    small = matrix.size > 0 and max(matrix.max(), -int(matrix.min())) <= 127  # -128 has no magnitude in a byte
    matrix = matrix.astype(np.int8 if small else np.int32, copy=False)
    most = np.abs(matrix).sum(axis=0, dtype=np.int64).max(initial=0) * bound.max(initial=0)
    if most >= 1 << 14:  # look closer: signs and single bounds matter
        weighed = matrix.astype(np.int64) * bound[:, None]
        most = max(np.maximum(weighed, 0).sum(axis=0).max(initial=0), -np.minimum(weighed, 0).sum(axis=0).min(initial=0))
    return Form(matrix, bound, int(most), maximum)


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """Weights of a core that differ from its form's: its neurons then have accumulators of their own."""

    neurons: int
    program: npt.NDArray[np.uint32]  # of the kernel ``change``


@dataclass(frozen=True, slots=True, eq=False)
class MergedCore:
    """One core: which values its rows take, what a spike on a row counts, and what fires from its accumulators."""

    core: int
    form: int  # index of its `Form`
    rows: Small  # (rows,): number that is taken; of what arrives axon by axon the value of the first axon's source
    events: Int  # (rows,): axons that one spike of the value arrives at
    sops: Int  # (rows,): SOPs of one spike of it there
    largest: int  # no partial sum of an accumulator is larger in magnitude
    arrives: Int | None = None  # (axons,): row of each axon, where not all that is sent arrives
    change: Change | None = None  # where some weights differ from the form's


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """Cores that are added up together: see `chipsim.engine.fast.units`."""

    first: int  # index of its first member; the others follow
    members: int
    form: int  # index among joined forms: the columns of all members
    rows: Small  # numbers that it takes, for all members
    saves: int  # time, in additions of a list


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """A mapping after merging."""

    values: Values
    forms: tuple[Form, ...]
    cores: tuple[MergedCore, ...]  # in the order of their ticks
    accumulator: Int  # (neurons,): accumulator of each neuron in its core
    rank: Int  # (neurons,): least accumulator that a neuron of a maximum fires at; 0: the others have thresholds
    joined: tuple[Form, ...] = ()  # of units
    units: tuple[Unit, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Classes:
    """A distinct crossbar: classes of equal rows and of equal columns."""

    row: Small  # (axons,): class, the first axon that has this row
    sops: Int  # (axons,): of one spike
    column: Int  # (neurons,): number of the accumulator
    weights: npt.NDArray[np.int8]  # (axons, accumulators)
    maximum: bool = False


def merge(
    m: Mapping,
    sent: Int | None = None,
    *,
    apart: bool = False,
    arriving: bool = False,
    bundled: bool = True,
    maximal: bool = True,
    noisy: bool = False,
) -> Merged:
    """Find values, bundles and forms.

    Parameters
    ----------
    sent : ndarray, optional
        Packets that a spike of each source sends, where not all of them arrive.
    apart : bool
        Every source is a value of its own.
    arriving : bool
        A row is what arrives by some axons of equal weights, which may be less than was sent.
    bundled : bool
        Values of several accumulators may be taken as their sum, which does not tell which neurons fired.
    maximal : bool
        Where bundles are, cores may be the largest of their values.
    noisy : bool
        Spikes of the encoder are lost.
    """
    sent = np.diff(m.target_offset) if sent is None else sent
    classes = [_classes(m.crossbar(k)) for k in range(len(m.crossbar_shape))]
    accumulator = np.concatenate([classes[k].column for k in m.core_crossbar])
    row = np.concatenate([np.zeros(0, np.int32), *(classes[k].row for k in m.core_crossbar)])
    row += np.repeat(m.axon_offset[:-1].astype(np.int32), np.diff(m.axon_offset))
    crossbar, rank = m.core_crossbar, np.zeros(m.neurons, np.int64)
    told = np.arange(m.encoder_neurons + m.neurons)  # those that are the same need not be told apart
    bundled = bundled and not (apart or arriving)
    if bundled and maximal:
        weights = [each.weights if each.weights.shape[1] == len(each.column) else None for each in classes]
        listening = partial(alike, m, accumulator=accumulator, sent=sent, bundled=True)
        found = maxima.find(m, weights, row, accumulator, listening, noisy=noisy)
        told, accumulator, rank = found.alike, found.accumulator, found.rank
        classes, crossbar = _with_maxima(m, classes, accumulator, rank)
    elif not apart:
        told = alike(m, row, accumulator, sent, bundled=bundled)
    values = find(m, accumulator, told)
    # one row takes what arrives from sources that nobody else tells apart
    together = find(m, accumulator, alike(m, row, accumulator, sent, bundled=False)) if apart and arriving else values
    forms, cores, placed = _cores(m, classes, crossbar, together, accumulator, arriving)
    return Merged(values, forms, cores, placed, rank)


def _with_maxima(m: Mapping, classes: list[_Classes], group: Int, rank: Int) -> tuple[list[_Classes], Int]:
    """Classes with those of maxima, a column for each ``group`` of neurons; and which each core has, (cores,)."""
    known: dict[tuple[int, bytes], int] = {}
    which = m.core_crossbar.astype(np.int64)
    classes = classes.copy()
    for core in np.flatnonzero(rank[m.neuron_offset[:-1]]).tolist():
        k, column = which[core], group[m.neuron_offset[core] : m.neuron_offset[core + 1]]
        which[core] = number = known.setdefault((int(k), column.tobytes()), len(classes))
        if number == len(classes):
            member = column[:, None] == np.arange(column.max() + 1)
            taken = (classes[k].weights != 0).astype(np.float32) @ member.astype(np.float32) > 0
            classes.append(replace(classes[k], column=column, weights=taken.astype(np.int8), maximum=True))
    return classes, which


def _classes(crossbar: npt.NDArray[np.int8]) -> _Classes:
    row, first_row = numbered(crossbar)
    column, first = numbered(crossbar, axis=1)
    weights = crossbar if len(first) == crossbar.shape[1] else crossbar[:, first]
    return _Classes(first_row[row].astype(np.int32), axon_sops(crossbar), column, weights)


@dataclass(frozen=True, slots=True, eq=False)
class _Alike:
    """Cores of one crossbar whose axons are taken alike."""

    crossbar: int
    cores: list[int]
    speaker: Int  # (rows,): the first axon of each row
    bound: Int  # (rows,): largest value
    axons: Int  # that are added up
    row: Int  # of each of them
    arrives: Int | None  # (axons of a core,): row of each, where not all that is sent arrives


def _cores(
    m: Mapping, classes: list[_Classes], crossbar: npt.NDArray[np.integer], values: Values, accumulator: Int, arriving: bool
) -> tuple[tuple[Form, ...], tuple[MergedCore, ...], Int]:
    """Reduce each core to its values; cores that reduce alike, in whatever order of lines, share a form."""
    value = values.taken.astype(np.int32)[m.axon_source]
    forms: list[Form] = []
    known: dict[tuple[bytes, bytes, tuple[int, ...], bool], int] = {}
    merged = []
    placed = np.empty_like(accumulator)
    groups = list(_arriving_alike(m, classes, value) if arriving else _sent_alike(m, crossbar, values, value))
    matrices = [_matrix(classes[each.crossbar], each.axons, each.row, len(each.bound)) for each in groups]
    for group, matrix, shared in zip(groups, matrices, _perhaps_shared(groups, matrices), strict=True):
        of, row, bound, cores = classes[group.crossbar], group.row, group.bound, np.array(group.cores)
        by_row, by_column = (np.arange(n) for n in matrix.shape)
        if shared:
            by_row, by_column = _in_order(matrix, bound)
            matrix, bound = matrix[by_row][:, by_column], bound[by_row]
        form = known.setdefault((matrix.tobytes(), bound.tobytes(), matrix.shape, of.maximum), len(forms))
        if form == len(forms):
            forms.append(make_form(matrix, bound, maximum=of.maximum))
        events = np.bincount(row, minlength=len(bound))[by_row]
        sops = np.bincount(row, of.sops[group.axons], len(bound)).astype(np.int64)[by_row]
        arrives = None if group.arrives is None else np.argsort(by_row)[group.arrives]
        rows = value[m.axon_offset[cores][:, None] + group.speaker[by_row]]
        for core, own in zip(group.cores, rows, strict=True):
            merged.append(MergedCore(core, form, own, events, sops, forms[form].largest, arrives))
        place = np.argsort(by_column)[of.column]
        placed[m.neuron_offset[cores][:, None] + np.arange(len(place))] = place
    ticks = ticks_of(m).tolist()
    merged.sort(key=lambda one: (ticks[one.core], one.form, one.core))
    return tuple(forms), tuple(merged), placed


def _perhaps_shared(groups: list[_Alike], matrices: list[Matrix]) -> list[bool]:
    """Whether a matrix may be that of another group in another order; those of single cores are left as they are.

    Putting lines in order costs time, and pays where code is shared.
    """
    marks = [
        (matrix.shape, np.sort(128 * matrix.sum(axis=1) + each.bound).tobytes(), np.sort(matrix.sum(axis=0)).tobytes())
        if len(each.cores) > 1
        else None
        for each, matrix in zip(groups, matrices, strict=True)
    ]
    count = Counter(marks)
    return [mark is not None and count[mark] > 1 for mark in marks]


def _sent_alike(m: Mapping, crossbar: npt.NDArray[np.integer], values: Values, value: Small) -> Iterator[_Alike]:
    """Group cores where all that is sent arrives: one source speaks for its value, which may take several axons."""
    told = values.spoken()[m.axon_source]  # value that an axon brings, at most; 0: another source speaks for it
    first, last = m.axon_offset, np.empty(len(values.taken_size), np.int64)
    alike: dict[tuple[int, bytes, bytes], list[int]] = defaultdict(list)
    for core, k in enumerate(crossbar.tolist()):
        own = slice(first[core], first[core + 1])
        taken = value[own][told[own] > 0]
        last[taken] = order = np.arange(len(taken))
        once = (last[taken] == order).all()  # no value comes by several axons
        alike[k, told[own].tobytes(), b"" if once else number(taken)[0].tobytes()].append(core)
    for (k, _, several), cores in alike.items():
        own = slice(first[cores[0]], first[cores[0] + 1])
        axons = np.flatnonzero(told[own])
        row = lead = np.arange(len(axons))
        if several:
            row, lead = number(value[own][axons])
        speaker = axons[lead]
        yield _Alike(k, cores, speaker, told[own][speaker].astype(np.int64), axons, row, None)


def _arriving_alike(m: Mapping, classes: list[_Classes], value: Small) -> Iterator[_Alike]:
    """Group cores where less may arrive than was sent: one axon speaks for those of its value that have equal weights."""
    alike: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for core, k in enumerate(m.core_crossbar.tolist()):
        row = _arriving(value[m.axon_offset[core] : m.axon_offset[core + 1]], classes[k].row)
        alike[k, row.tobytes()].append(core)
    for (k, content), cores in alike.items():
        row = np.frombuffer(content, np.int64)
        _, axons = number(row)
        yield _Alike(k, cores, axons, np.bincount(row, minlength=len(axons)), axons, np.arange(len(axons)), row)


def _in_order(matrix: Matrix, bound: Int) -> tuple[Int, Int]:
    """Orders of rows and columns that depend on what is in them, not on where they stand.

    Lines are told apart by what they hold, then by what the lines hold that they cross (Weisfeiler and Leman's refinement).
    Lines that stay alike keep their order; then matrices that could be put in one order may stay apart, and nothing is lost.
    """
    low, high = int(matrix.min(initial=0)), int(matrix.max(initial=0))
    if high - low < 1 << 12:
        weights, place = np.arange(low, high + 1), matrix.astype(np.int64) - low
    else:
        weights, place = np.unique(matrix, return_inverse=True)
        place = place.reshape(matrix.shape)
    mark = mix(weights.astype(np.int64).astype(np.uint64))[:, None]
    row, column = mix(bound.astype(np.uint64)), np.zeros(matrix.shape[1], np.uint64)
    rows, columns = matrix.shape
    # entries of tables (weights, rows) and (weights, columns)
    down, across = place * rows + np.arange(rows)[:, None], place * columns + np.arange(columns)
    some = weights[:, None] != 0
    for _ in range(3):
        column = column + np.where(some, mix(row ^ mark), 0).take(down).sum(axis=0)
        row = row + np.where(some, mix(column ^ mark), 0).take(across).sum(axis=1)
    return np.argsort(row, kind="stable"), np.argsort(column, kind="stable")


def _arriving(value: Small, row_class: Small) -> Int:
    """Row of each axon: of those whose sources are of one value and whose weights are equal, at most `LARGEST_VALUE`."""
    key = value.astype(np.int64) * (len(value) + 1) + row_class
    order = np.argsort(key, kind="stable")
    in_order = key[order]
    rank = np.arange(len(key)) - np.searchsorted(in_order, in_order)
    part = np.empty(len(key), np.int64)
    part[order] = np.cumsum(rank % LARGEST_VALUE == 0)
    return number(part)[0]


def _matrix(classes: _Classes, axons: Int, row: Int, rows: int) -> Matrix:
    """Rows of axons of one value, added up: a source may hold several axons of a core."""
    taken = classes.weights[axons]
    if len(axons) == rows:
        return taken
    matrix = np.zeros((rows, taken.shape[1]), np.int32)
    np.add.at(matrix, row, taken)
    return matrix
