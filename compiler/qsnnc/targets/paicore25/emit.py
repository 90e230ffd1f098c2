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


def memory(contents: Contents, vectors: tuple[Vector, ...], to: dict[int, Destination], *, readout: bool) -> Memory:
    """Lay a core's records out, those of one Part 2 together, and its weights behind them.

    Parameters
    ----------
    to : dict
        Where each group is, seen from this core.
    """
    ordered = sorted(contents.sequences, key=lambda n: (n.parameters.compressed, n.parameters.threshold, n.parameters.leak))
    folds = sum(len(each.folds) for each in ordered)
    potentials = sum(piece.potentials for each in ordered for piece in each.folds)
    number = sum(each.rows for each in ordered) + len(contents.parameters)
    start, at = {}, number
    for vector in sorted(contents.vectors):
        start[vector] = at
        at += vectors[vector].rows
    pieces = [_Piece(each, piece, start[each.vector]) for each in ordered for piece in each.folds]
    rows = [_records(pieces, vectors, to, number, readout=readout)]
    rows += [vectors[vector].words() for vector in sorted(contents.vectors)]
    every = np.concatenate(rows)
    folded = sum(piece.number > 1 for each in ordered for piece in each.folds)
    elements = np.concatenate([each.element for each in ordered])
    assert len(every) == at == contents.used
    parameters = len(contents.parameters)
    assert number == folds + folded + potentials + parameters
    return Memory(every, number, folds + folded, parameters, potentials, at - number, elements)


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """A record, and the first row of its weights."""

    neurons: Neurons
    fold: Fold
    start: int

    @property
    def folded(self) -> bool:
        return self.fold.number > 1


_AXES = ((0, "y"), (1, "x"), (2, "xy"))


def _records(
    pieces: list[_Piece], vectors: tuple[Vector, ...], to: dict[int, Destination], number: int, *, readout: bool
) -> Words:
    """The rows of all records: where the parameters change, a full one."""
    parameters = [piece.neurons.parameters for piece in pieces]
    full = np.array([k == 0 or p != parameters[k - 1] for k, p in enumerate(parameters)])
    folded = np.array([piece.folded for piece in pieces])
    stored = np.array([piece.fold.potentials for piece in pieces])
    size = 1 + full + folded + stored
    at = np.cumsum(size) - size
    rows = np.zeros((number, 2), np.uint64)
    lengths = np.array([vectors[piece.neurons.vector].rows for piece in pieces])
    start = np.where(lengths > 0, [piece.start for piece in pieces], 1)
    address = np.array([piece.neurons.address[piece.fold.start] for piece in pieces])
    rows[at] = w.PART1.pack(
        {
            "full": full,
            "folded": folded,
            "output_potential": readout,
            "weight_start": start,
            "weight_end": np.where(lengths > 0, start + lengths - 1, 0),
            "skew": [piece.neurons.offset[piece.fold.start] for piece in pieces],
            **{name: [getattr(to[piece.neurons.group], name) for piece in pieces] for name in ("x", "y", "copies_y")},
            "axon": address % 512,
            "tick_relative": address // 512,
        }
    )
    heads = [p for p, there in zip(parameters, full, strict=True) if there]
    values = {name: [getattr(p, name) for p in heads] for name in ("threshold", "leak", "compressed")}
    rows[at[full] + 1] = w.PART2.pack({**values, "negative_threshold": FLOOR, "floor": 1})
    folds = [piece.fold for piece in pieces if piece.folded]
    if folds:
        fields = {"skew": "skew", "axon": "axon", "range": "ranges"}
        by_axis = {f"{name}_{axis}": [getattr(f, of)[k] for f in folds] for name, of in fields.items() for k, axis in _AXES}
        rows[(at + 1 + full)[folded]] = w.FOLD.pack({"number": [f.number for f in folds], **by_axis})
    return rows


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
