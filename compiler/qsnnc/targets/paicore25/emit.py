"""The words of a core: registers, activation table, records and weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chipsim.paicore import words as w
from chipsim.paicore.fields import Words
from qsnnc.ir.layers import Int
from qsnnc.targets.paicore25.allocation import Contents, Neurons
from qsnnc.targets.paicore25.folding import Fold
from qsnnc.targets.paicore25.vectors import Vector

#: a floor that no potential reaches
FLOOR = -(1 << 31)
#: registers that time the signals between cores; paicorelib 2.0.0 allows no less
CYCLES = {"busy_cycle": 2, "delay_cycle": 2, "width_cycle": 2}


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the neurons of a core send to: an offset and further cores along y."""

    x: int
    y: int
    copies_y: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """The rows of a core, and what they are used for."""

    rows: Words  # (n, 2)
    neuron_number: int
    records: int
    parameters: int
    potentials: int
    weights: int
    elements: Int  # (neurons,) in the order of the records


def memory(contents: Contents, vectors: tuple[Vector, ...], to: Destination, *, readout: bool) -> Memory:
    """Lay a core's records out, those of one Part 2 together, and its weights behind them."""
    ordered = sorted(contents.sequences, key=lambda n: (n.parameters.compressed, n.parameters.threshold, n.parameters.leak))
    folds = sum(len(each.folds) for each in ordered)
    potentials = sum(piece.potentials for each in ordered for piece in each.folds)
    number = sum(each.rows for each in ordered) + len(contents.parameters)
    start, at = {}, number
    for vector in sorted(contents.vectors):
        start[vector] = at
        at += vectors[vector].rows
    rows: list[Words] = []
    last = None
    for each in ordered:
        begin = start[each.vector]
        span = (begin, begin + vectors[each.vector].rows - 1) if vectors[each.vector].rows else (1, 0)
        for piece in each.folds:
            full = each.parameters != last
            rows += _record(each, piece, span, to, full=full, readout=readout)
            last = each.parameters
    rows += [vectors[vector].words() for vector in sorted(contents.vectors)]
    every = np.concatenate(rows)
    folded = sum(piece.number > 1 for each in ordered for piece in each.folds)
    elements = np.concatenate([each.element for each in ordered])
    assert len(every) == at == contents.used
    parameters = len(contents.parameters)
    assert number == folds + folded + potentials + parameters
    return Memory(every, number, folds + folded, parameters, potentials, at - number, elements)


def _record(
    neurons: Neurons, piece: Fold, span: tuple[int, int], to: Destination, *, full: bool, readout: bool
) -> list[Words]:
    address = int(neurons.address[piece.start])
    part1 = {
        "full": full,
        "folded": piece.number > 1,
        "output_potential": readout,
        "weight_start": span[0],
        "weight_end": span[1],
        "skew": int(neurons.offset[piece.start]),
        "x": to.x,
        "y": to.y,
        "copies_y": to.copies_y,
        "axon": address % 512,
        "tick_relative": address // 512,
    }
    rows = [w.PART1.pack(part1)[None]]
    if full:
        p = neurons.parameters
        values = {"threshold": p.threshold, "leak": p.leak, "compressed": p.compressed}
        rows.append(w.PART2.pack({**values, "negative_threshold": FLOOR, "floor": 1})[None])
    if piece.number > 1:
        steps = {f"{name}_{axis}": by[k] for name, by in (("skew", piece.skew), ("axon", piece.axon)) for k, axis in _AXES}
        ranges = {f"range_{axis}": piece.ranges[k] for k, axis in _AXES}
        rows.append(w.FOLD.pack({"number": piece.number, **steps, **ranges})[None])
        rows.append(np.zeros((piece.potentials, 2), np.uint64))
    return rows


_AXES = ((0, "y"), (1, "x"), (2, "xy"))


def frames(x: int, y: int, registers: dict[str, int], rows: Words, table: Words | None) -> Words:
    """Configuration words of one core, CONFIG1 first."""
    back = {"test_core_x": -x, "test_core_y": -y}
    config = w.REGISTERS.pack({**registers, **CYCLES, **back})
    parts = [_header(x, y, w.CONFIG_REGISTERS, w.REGISTER_WORDS), config]
    if table is not None:
        parts += [_header(x, y, w.CONFIG_TABLE, w.TABLE_ENTRIES), table]
    parts += [_header(x, y, w.CONFIG_MEMORY, 2 * len(rows)), rows.reshape(-1)]
    return np.concatenate(parts)


def _header(x: int, y: int, kind: int, count: int) -> Words:
    return w.HEADER.pack({"header": kind, "x": x, "y": y, "count": count})
