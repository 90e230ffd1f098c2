"""Lay out the tables that the machine code reads, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.kept import Kept
from chipsim.engine.fast.layout import CORE, FEATURES, LANES, PLACES
from chipsim.engine.fast.lines import Int, Small, spread
from chipsim.engine.fast.merge import Merged, Unit, ticks_of
from chipsim.engine.fast.native import Code
from chipsim.engine.fast.planes import Lines as PlaneLines
from chipsim.engine.fast.programs import Costs, Programs, none, programs, width, with_code
from chipsim.mapping import Mapping
from chipsim.mapping.dynamics import NeuronModel

#: steps of a frame whose values are held at a time
BLOCK = 8
#: times 64 images that a core does one after the other, at most
SIDE = 4
#: bytes of accumulators of cores that are added up together
NEAR = 1 << 15

Word = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """What arrives at cores, counted line by line: rows of values, or axons."""

    owner: Small  # (lines,): record of the core
    offset: Word  # (lines,): where it lies, in bytes
    events: Small  # (lines,): axons that one spike arrives at
    sops: Small  # (lines,): SOPs of one spike
    bound: Small  # (lines,): largest value

    def edges(self, cores: int) -> Int:
        """Where the lines of each record begin, and the end of all, (cores + 1,)."""
        return np.searchsorted(self.owner, np.arange(cores + 1, dtype=self.owner.dtype))


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """Records and lists of `kernels`. Values lie in *slots*: first one for each feature of the encoder, then the others."""

    merged: Merged
    slot: Int  # (values,): where its readers find it
    taken: Int  # (values + bundles,): the same, and where bundles are found
    fresh: Int  # (values,): where its core puts it, ``slots`` further if its spikes are sent as those of the next step
    slots: int
    block: int  # steps of a frame whose values are held at a time
    side: int  # times 64 images that each core does one after the other: where its program is larger than what it works on
    all_slots: int  # of those steps, and of the one before; or of those images
    cores: Int  # (cores, fields of CORE)
    cost: Int  # (cores,): vector additions, about
    row_offset: Word  # (rows of cores and units,): where the value lies, 64 bytes a slot; or among what arrives at the core
    lines: Lines  # the rows, as what is counted
    fires: Word  # (values of cores and read-out neurons, 4)
    thresholds: npt.NDArray[np.int32]
    kept: dict[str, npt.NDArray[np.int32]]  # constants of neurons: those of ``thresholds``, then those that are read out
    last: Int  # ``cores`` in the last step of a frame: spikes that would be sent in the next are not found
    lists: Word
    before: list[tuple[int, Int]]  # cores before which bundles are added up, and these
    tables: npt.NDArray[np.uint8]  # of lookups
    splits: Word  # (encoder's values that are not whole features, 4): records of ``split``
    split_thresholds: npt.NDArray[np.int32]
    features: int  # of the encoder, filled up
    outputs: int
    most_rows: int
    most_accumulators: int


def build(
    m: Mapping, merged: Merged, code: Code, costs: Costs, kept: Kept, planes: Sequence[PlaneLines] | None = None
) -> Tables:
    """Lay out the tables; forms that many cores share become ``code``, the others by their ``costs``, which may be ``kept``.

    With the lines of their ``planes`` forms are added up by `chipsim.engine.fast.planes`, and values of 64 images are only
    the encoder's.
    """
    slot, fresh, taken, slots, features = _slots(m, merged)
    block = min(BLOCK, m.steps)
    fires, thresholds, fire_offset = _fires(m, merged, fresh)
    form, unit, base = _united(merged, planes is None)
    if planes is None:
        forms, joined = (*merged.forms, *merged.joined), len(merged.joined)
        uses = np.bincount(form[unit > 0], minlength=len(forms))
        found = with_code(kept.of("programs", lambda: programs(forms, uses, code, costs, joined=joined)), forms, code)
    else:
        found = none(planes)
    arriving = merged.cores[0].arrives is not None  # then each core has rows of its own
    lines = _lines(merged, taken, arriving)
    words, change = _changes(merged, found.words)
    before = _before(merged, ticks_of(m))
    words, bundled = _bundled(merged, words, slot, taken, before)
    pack, row_offset = _packed(merged.units if planes is None else (), lines, taken, len(unit))
    records = _records(m, merged, found, form, fire_offset, np.array([change, unit, base, *pack, bundled]))
    layer_of = m.core_layer[records[:, CORE.index("core")]]
    tick = ticks_of(m)[records[:, CORE.index("core")]]
    late = np.array([e.tick != e.sent_tick for e in m.layers])[layer_of]
    records[:, CORE.index("together")] = together = 1 if arriving else _together(records, form, tick)
    last = records.copy()
    last[late, CORE.index("stepping")] = 0
    side = 1 if m.steps > 1 else side_by_side(found.tables.nbytes + found.words.nbytes, LANES * slots)
    times = np.where(unit > 0, found.time[form], 0) + [2 * len(core.rows) + 100 for core in merged.cores]
    features_encoded, split_thresholds = _splits(m, merged, slot)

    return Tables(
        merged=merged,
        slot=slot,
        taken=taken,
        fresh=fresh,
        slots=slots,
        block=block,
        side=side,
        all_slots=features + len(features_encoded) if planes else max(block + bool((fresh != slot).any()), side) * slots,
        cores=records,
        cost=times,
        row_offset=row_offset,
        lines=lines,
        fires=fires,
        thresholds=thresholds,
        kept=_kept(m, merged),
        last=last,
        lists=words,
        before=before,
        tables=found.tables,
        splits=features_encoded,
        split_thresholds=split_thresholds,
        features=features,
        outputs=m.outputs,
        most_rows=max(found.packed, int(records[:, CORE.index("rows")].max())),
        most_accumulators=int((together * records[:, CORE.index("accumulators")] + _own(merged)).max()),
    )


def _records(m: Mapping, merged: Merged, found: Programs, form: Int, fire_offset: Int, last: Int) -> Int:
    """The records of all cores, but for how many share their code; each core's ``form``, and its ``last`` fields."""
    core, rows, largest = np.array([(c.core, len(c.rows), c.largest) for c in merged.cores], np.int64).T
    for each in merged.units if (last[1] != 1).any() else ():  # all members have accumulators of one width
        largest[each.first : each.first + each.members] = merged.joined[each.form].largest
    states = []
    for layer in m.layers:
        fires, kept = layer.levels > 0, layer.neuron is not None
        states.append(
            [fires and not kept, not fires and not kept, fires and kept, not fires and kept, *_model(layer.neuron)]
        )
    spiking, readout, *state = np.array(states, np.int64)[m.core_layer[core]].T
    accumulators = np.array([each.matrix.shape[1] for each in (*merged.forms, *merged.joined)], np.int64)
    fires_of = np.diff(fire_offset)
    widths = width(largest, found.wide[form]) * (found.places[form, PLACES.index("maximum")] == 0)
    return np.stack(
        [
            *found.places[form].T, np.cumsum(rows) - rows, rows, fire_offset[core], fires_of[core], accumulators[form],
            *widths, spiking, readout, core, *state, np.ones(len(core), np.int64), *last,
        ],
        axis=1,
    )  # fmt: skip


def _united(merged: Merged, together: bool) -> tuple[Int, Int, Int]:
    """What adds up each core, an index of forms and then of joined ones; and fields "unit" and "base"; (cores,) each."""
    form = np.array([core.form for core in merged.cores])
    unit, base = np.ones(len(form), np.int64), np.zeros(len(form), np.int64)
    for each in merged.units if together else ():
        own = slice(each.first, each.first + each.members)
        columns = np.array([merged.forms[number].matrix.shape[1] for number in form[own]])
        base[own] = np.cumsum(columns) - columns
        unit[own], form[own] = 0, len(merged.forms) + each.form
        unit[each.first] = each.members
    return form, unit, base


def _packed(units: Sequence[Unit], lines: Lines, taken: Int, cores: int) -> tuple[Int, Word]:
    """The fields "pack" and "packed", (2, cores), and where all rows lie, in bytes: those of cores, then those of units."""
    edge = lines.edges(cores)
    pack = np.stack([edge[:-1], np.diff(edge)])
    many = np.array([len(each.rows) for each in units], np.int64)
    pack[:, [each.first for each in units]] = len(lines.offset) + np.cumsum(many) - many, many
    rows = [(LANES * taken[each.rows]).astype(np.uint32) for each in units]
    return pack, np.concatenate([lines.offset, *rows])


def side_by_side(programs: int, values: int) -> int:
    """How many times 64 images each core does before the next core, from the bytes of its programs and of 64 images' values.

    Programs that are larger than values are fetched from afar for each 64 images, so they had better stay for some more.
    """
    return min(max(1, programs // values), SIDE)


def _lines(merged: Merged, taken: Int, arriving: bool) -> Lines:
    """The rows of all cores."""
    cores = merged.cores

    def joined(values: list[Int]) -> Small:
        return np.concatenate([np.zeros(0, np.int32), *values], dtype=np.int32, casting="same_kind")

    slot = (LANES * taken).astype(np.uint32)
    place = [LANES * np.arange(len(core.rows), dtype=np.uint32) if arriving else slot[core.rows] for core in cores]
    return Lines(
        np.repeat(np.arange(len(cores), dtype=np.int32), [len(core.rows) for core in cores]),
        np.concatenate([np.zeros(0, np.uint32), *place]),
        joined([core.events for core in cores]),
        joined([core.sops for core in cores]),
        joined([merged.forms[core.form].bound for core in cores]),
    )


def _changes(merged: Merged, words: Word) -> tuple[Word, list[int]]:
    """Programs with those of cores whose weights differ from their form's, and where these are; 0: there is none."""
    parts, at = [words], len(words)
    places = []
    for core in merged.cores:
        places.append(0 if core.change is None else at)
        if core.change is not None:
            parts.append(core.change.program)
            at += len(core.change.program)
    return np.concatenate(parts), places


def _before(merged: Merged, tick: Int) -> list[tuple[int, Int]]:
    """The first cores after the ``tick``, (cores,), that sends bundles: before each some are added up, and which."""
    bundles = merged.values.bundles
    at = np.searchsorted(tick[[core.core for core in merged.cores]], bundles.tick, side="right")
    return [(core, np.flatnonzero(at == core)) for core in np.unique(at).tolist()]


def _bundled(merged: Merged, words: Word, slot: Int, taken: Int, before: list[tuple[int, Int]]) -> tuple[Word, Int]:
    """Programs with those of bundles, and where these are, (cores,); 0: there is none.

    A program of the kernel ``bundle``: how many bundles there are, and of each where it is put, how many parts it has, and
    where these are, in bytes.
    """
    parts, at = [words], len(words)
    place = np.zeros(len(merged.cores), np.int64)
    for core, own in before:
        part, many = merged.values.bundles.parts(own)
        length = 2 + many
        begin = 1 + np.cumsum(length) - length
        program = np.empty(1 + int(length.sum()), np.int64)
        program[0], program[begin], program[begin + 1] = len(own), LANES * taken[len(slot) + own], many
        program[spread(begin + 2, many)[0]] = LANES * slot[part]
        place[core] = at
        parts.append(program.astype(np.uint32))
        at += len(program)
    return np.concatenate(parts), place


def _own(merged: Merged) -> Int:
    """Accumulators that cores have beside those of their form."""
    return np.array([0 if core.change is None else core.change.neurons for core in merged.cores])


def _together(records: Int, form: Int, tick: Int) -> Int:
    """How many cores from each one on share its code, as long as their accumulators stay in a near cache.

    They are of one ``tick``, (cores,): a core of a later one may read what they send.
    """
    end = np.append(np.flatnonzero(np.diff(form) | np.diff(tick)) + 1, len(form))
    number = np.arange(len(form))
    left = end[np.searchsorted(end, number, side="right")] - number
    room = NEAR // np.maximum(1, LANES * 2 * records[:, CORE.index("accumulators")])
    return np.where(records[:, CORE.index("code")] != 0, np.clip(room, 1, left), 1)


def _model(neuron: NeuronModel | None) -> tuple[int, ...]:
    """Fields of a core's record from ``fraction`` on."""
    if neuron is None:
        return (0,) * 6
    k, m = neuron.leak
    keep = 0 if neuron.reset == "value" else -1
    return (neuron.fraction_bits, m if k == 1 else 0, k != 1, k, m, keep)


def _kept(m: Mapping, merged: Merged) -> dict[str, npt.NDArray[np.int32]]:
    """Start, bias and amount of each threshold's neuron, then of those that are read out."""
    if not m.stateful:
        return {}
    owner = np.repeat(m.core_layer, np.diff(m.neuron_offset))
    mute = np.array([e.levels == 0 for e in m.layers])[owner]
    order = np.concatenate([_fired(m, merged), np.flatnonzero(mute)])
    sets = np.array([e.neuron is not None and e.neuron.reset == "value" for e in m.layers])[owner]
    none = np.array([e.neuron is None or e.neuron.reset == "none" for e in m.layers])[owner]
    amount = np.where(none, 0, np.where(sets, -m.neuron_amount.astype(np.int64), m.neuron_amount)).astype(np.int32)
    return {"start": m.neuron_start[order], "bias": m.neuron_bias[order], "amount": amount[order]}


def _fired(m: Mapping, merged: Merged) -> Int:
    """Neurons that fire, value by value."""
    values = merged.values
    return values.member[values.offset[values.encoder] :] - m.encoder_neurons


def features_of(m: Mapping) -> int:
    """How many features the encoder has, filled up."""
    return -(-(m.encoder_neurons // m.encoder.levels) // FEATURES) * FEATURES


def _slots(m: Mapping, merged: Merged) -> tuple[Int, Int, Int, int, int]:
    """A value that is a whole feature of the encoder is that feature's level; others, and bundles, get slots of their own.

    One whose spikes are sent as those of the next step is put into the values of that step, which lie behind.
    """
    values, levels = merged.values, m.encoder.levels
    features = features_of(m)
    whole = np.zeros(len(values.size), bool)
    whole[: values.encoder] = values.size[: values.encoder] == levels
    slot = np.empty(len(values.size), np.int64)
    slot[whole] = values.producer[whole]
    slot[~whole] = features + np.arange(int((~whole).sum()))
    slots = features + int((~whole).sum()) + values.bundles.count
    taken = np.append(slot, slots - values.bundles.count + np.arange(values.bundles.count))
    owner = np.concatenate([np.full(m.encoder_neurons, -1), np.repeat(m.core_layer, np.diff(m.neuron_offset))])[values.lead]
    late = np.array([*(e.tick != e.sent_tick for e in m.layers), False])[owner]
    return slot, np.where(late, slot + slots, slot), taken, slots, features


def _splits(m: Mapping, merged: Merged, slot: Int) -> tuple[Word, npt.NDArray[np.int32]]:
    """Records of the encoder's values that are parts of a feature: neuron i fires where the level reaches i + 1."""
    values = merged.values
    part = np.flatnonzero(values.size[: values.encoder] != m.encoder.levels)
    size = values.size[part]
    first = np.concatenate([[0], np.cumsum(size)[:-1]]) if len(part) else np.zeros(0, np.int64)
    inside = np.concatenate([np.zeros(0, np.int64), *(values.member[values.offset[v] : values.offset[v + 1]] for v in part)])
    records = np.stack([values.producer[part], slot[part], first, size], axis=1)
    return records.astype(np.uint32), (inside % m.encoder.levels + 1).astype(np.int32)


def _fires(m: Mapping, merged: Merged, slot: Int) -> tuple[Word, npt.NDArray[np.int32], Int]:
    """Records of each core: its values with their thresholds, or its read-out neurons with their outputs."""
    values = merged.values
    core_of = np.repeat(np.arange(m.cores), np.diff(m.neuron_offset))
    mute = np.array([e.levels == 0 for e in m.layers])[m.core_layer][core_of]
    limit = np.empty(m.cores, np.int64)
    limit[[core.core for core in merged.cores]] = [core.largest + 1 for core in merged.cores]
    # thresholds beyond what a potential reaches are cut to just beyond it: the same spikes, in 16 bits
    plain = np.array([e.neuron is None for e in m.layers])[m.core_layer][core_of]
    cut = np.clip(m.neuron_threshold, -limit[core_of], limit[core_of])
    threshold = np.where(merged.rank > 0, merged.rank, np.where(plain, cut, m.neuron_threshold)).astype(np.int32)
    fired = _fired(m, merged)
    first = values.offset[values.encoder : -1] - values.offset[values.encoder]
    own = np.arange(values.encoder, len(values.size))
    lead = fired[first]
    spiking = np.stack([merged.accumulator[lead], slot[own], first, values.size[own]], axis=1)
    read = np.flatnonzero(mute)
    zeros = np.zeros(len(read), np.int64)
    number = len(fired) + np.arange(len(read))
    reading = np.stack([merged.accumulator[read], m.neuron_element[read].astype(np.int64), number, zeros], axis=1)
    owner = np.concatenate([core_of[lead], core_of[read]])
    order = np.argsort(owner, kind="stable")
    offset = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=m.cores))])
    return np.concatenate([spiking, reading])[order].astype(np.uint32), threshold[fired], offset
