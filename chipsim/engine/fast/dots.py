"""Lay out the encoder's blocks of pixels for `dot_kernel`, where weights are bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chipsim.engine.fast.dot_kernel import BLOCK, COLUMNS, VALUE
from chipsim.engine.fast.instructions import DOTS, TILES
from chipsim.engine.fast.layout import LANES
from chipsim.engine.fast.memory import aligned
from chipsim.engine.fast.merge import Form, Int
from chipsim.engine.fast.native import Code
from chipsim.engine.fast.pixels import Graded, pixel_slots
from chipsim.engine.fast.plane_tables import PlaneTables
from chipsim.engine.fast.planes import planes_of
from chipsim.engine.fast.tables import Tables
from chipsim.mapping import Mapping

#: largest weight, and sums that 32 bits hold once more as large
BYTE, LARGEST = 127, 1 << 30
#: the largest number of 16 bits
MOST = (1 << 15) - 1
#: rows up to which this is quicker than tiles, most of whose rows would be empty
FEW = 64


@dataclass(frozen=True, slots=True, eq=False)
class DotTables:
    """Records and weights of `dot_kernel`."""

    slots: int  # pixels, filled up
    blocks: Int  # (blocks, fields of BLOCK)
    rows: npt.NDArray[np.uint32]  # four to a quad, as the bytes before each pixel's
    weights: npt.NDArray[np.int8]  # form by form, four columns after four, quad by quad
    bias: npt.NDArray[np.int32]  # (columns,): where sums begin
    of_column: npt.NDArray[np.uint32]  # (columns + 1,): first value of each
    records: npt.NDArray[np.uint32]  # (values, fields of VALUE)
    thresholds: npt.NDArray[np.signedinteger]  # what sums are to be beyond, in 16 or 32 bits
    sources: npt.NDArray[np.uint32]  # (thresholds,): of the encoder
    quads: int  # of a block, at most

    def kernel(self, *, losing: bool) -> str:
        """What executes it, where spikes are lost and where they are not."""
        return f"dots{8 * self.thresholds.itemsize}{'_lost' * losing}"


def dots(m: Mapping, tables: Tables, g: Graded, planes: PlaneTables | None, code: Code) -> DotTables | None:
    """Lay out the encoder; None where the processor or its weights do not allow it."""
    name, slots = code.target.lookup, pixel_slots(m)
    rows = max(len(form.matrix) for form in g.forms)
    if name not in DOTS or (name in TILES and rows > FEW) or LANES * slots >= 1 << 32:
        return None
    if any(np.abs(form.matrix).max(initial=0) > BYTE or form.largest >= LARGEST for form in g.forms):
        return None
    columns = np.array([block.weights.shape[1] for block in g.blocks])
    begin = np.cumsum(columns) - columns
    column = begin[g.block] + g.column
    bias, thresholds = _thresholds(g, column, int(columns.sum()))
    weights = [_weights(form) for form in g.forms]
    size = np.array([each.size for each in weights])
    quads = np.array([-(-len(block.pixels) // 4) for block in g.blocks])
    pixels = [np.resize(block.pixels, 4 * many) for block, many in zip(g.blocks, quads.tolist(), strict=True)]
    record = [4 * (np.cumsum(quads) - quads), quads, (np.cumsum(size) - size)[g.form], begin, columns]
    assert len(record) == len(BLOCK)
    slot = tables.slot[g.value]
    none = np.zeros(len(slot), np.int64)
    first, many = (none, none) if planes is None else (planes.first[g.value], planes_of(g.size))
    values = np.stack([slot, g.first, g.size, first, many], axis=1)
    assert values.shape[1] == len(VALUE)
    laid = aligned((int(size.sum()),), np.int8)
    np.concatenate([each.reshape(-1) for each in weights], out=laid)
    return DotTables(
        slots=slots,
        blocks=np.stack(record, axis=1),
        rows=(LANES * np.concatenate(pixels)).astype(np.uint32),
        weights=laid,
        bias=np.append(-bias, np.zeros(COLUMNS, np.int64)).astype(np.int32),
        of_column=np.searchsorted(column, np.arange(int(columns.sum()) + 1)).astype(np.uint32),
        records=values.astype(np.uint32),
        thresholds=thresholds,
        sources=g.source.astype(np.uint32),
        quads=int(quads.max()),
    )


def _thresholds(g: Graded, column: Int, columns: int) -> tuple[Int, npt.NDArray[np.signedinteger]]:
    """Middles of columns, and what a sum less its column's middle is to be beyond; in 16 bits, if that tells all apart.

    A number of 32 bits, or the nearest of 16, is beyond the same thresholds of 16 bits.
    """
    owner, never = np.repeat(column, g.size), np.repeat(g.largest[g.block], g.size) < g.threshold
    least, most = np.full(columns, LARGEST), np.full(columns, -LARGEST)
    np.minimum.at(least, owner[~never], g.threshold[~never])
    np.maximum.at(most, owner[~never], g.threshold[~never])
    middle = np.where(most >= least, (least + most) // 2, 0)
    beyond = np.where(never, 1 << 40, g.threshold - 1 - middle[owner])
    reach = beyond[~never]
    if reach.min(initial=0) >= -MOST - 1 and reach.max(initial=0) < MOST:
        return middle, np.minimum(beyond, MOST).astype(np.int16)
    return middle, np.minimum(beyond, (1 << 31) - 1).astype(np.int32)


def _weights(form: Form) -> npt.NDArray[np.int8]:
    """Weights of four columns after four, quad by quad, each column's four; filled up with zeros."""
    rows, columns = form.matrix.shape
    filled = np.zeros((-(-rows // 4) * 4, -(-columns // COLUMNS) * COLUMNS), np.int8)
    filled[:rows, :columns] = form.matrix
    return np.ascontiguousarray(filled.reshape(-1, 4, filled.shape[1] // COLUMNS, COLUMNS).transpose(2, 0, 3, 1))
